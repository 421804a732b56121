//! `qd cache`: what the data plane has stored of responses.

use super::{args::Intent, context::Context, failure::Failure, propose};
use crate::render;
use api::{
    Client,
    message::{CommandRequest, PlanRequest},
};
use control::Command;
use model::ServiceKey;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How often is looked whether the data plane obeys.
const LOOK: Duration = Duration::from_millis(50);
/// For how long.
const OBEYING: Duration = Duration::from_secs(10);

/// Has stored responses forgotten, and waits until they are.
pub(crate) async fn purge(
    context: &Context,
    service: ServiceKey,
    path: Option<String>,
    intent: &Intent,
) -> Result<(), Failure> {
    let client = context.client()?;
    let what = match &path {
        None => format!("What is stored of {service}"),
        Some(path) => format!("What is stored of {service} at {path} and below"),
    };
    let command = Command::PurgeCache { service: service.clone(), path: path.clone() };
    // What will be refused is so before anybody thinks of a reason.
    let asked = PlanRequest { command: command.clone(), reason: intent.reason.clone().unwrap_or_default() };
    client.plan(&asked).await?;
    if intent.dry_run {
        let text = format!("{what} would be forgotten by every data plane; the next requests would reach instances.");
        return context.out.result(&json!({ "would": command }), |ink| render::wrap(&text, ink.width, ""));
    }
    let reason = propose::reason(context, intent)?;
    let request = CommandRequest { command, reason, expect: intent.expect, on_behalf_of: intent.on_behalf_of.clone() };
    let submitted = client.command(&request).await?;
    let is_obeyed = !intent.detach && obeyed(&client).await?;
    let at = submitted.seq.first().map_or(String::new(), |seq| format!(" ({seq})"));
    let text = match (is_obeyed, intent.detach) {
        (true, _) => format!("{what} is forgotten{at}; the data plane asks instances anew."),
        (false, true) => format!("It is recorded{at}: {} is being forgotten.", lower_first(&what)),
        (false, false) => format!(
            "It is recorded{at}, but the data plane has not said within {} s that it obeys. It will as soon as it can: \
             `qd status` shows how it is.",
            OBEYING.as_secs()
        ),
    };
    let document = json!({ "purged": { "service": service, "path": path, "seq": submitted.seq, "obeyed": is_obeyed } });
    context.out.result(&document, |ink| render::wrap(&text, ink.width, ""))
}

/// Waits until the data plane obeys what is recorded by now. `false`: it has not said so in time.
async fn obeyed(client: &Client) -> Result<bool, Failure> {
    let began = Instant::now();
    loop {
        if client.status().await?.proxy.is_some_and(|proxy| proxy.up_to_date) {
            return Ok(true);
        }
        if began.elapsed() > OBEYING {
            return Ok(false);
        }
        sleep(LOOK).await;
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}
