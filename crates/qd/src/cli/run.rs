//! Running and ending the processes of Quarterdeck: `qd serve` and `qd down`.

use super::{
    args::Serve,
    context::{Context, shown},
    failure::Failure,
};
use crate::{
    render,
    serve::{self, Settings},
};
use api::message::{Afterwards, ShutdownRequest};
use serde_json::json;
use std::{io::IsTerminal as _, time::Duration};
use tracing_subscriber::EnvFilter;

/// How often is looked whether everything has ended.
const LOOK: Duration = Duration::from_millis(200);
/// How long everything may take to end: instances have deadlines of their own, which are shorter.
const END: Duration = Duration::from_secs(300);

/// Writes what happens to standard error; QD_LOG says how much of it.
fn log() {
    let filter = EnvFilter::try_from_env("QD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    // Only the first call in a process has an effect, and there is only one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Runs Quarterdeck until it is told to stop.
pub(crate) fn serve(context: &Context, options: &Serve) -> Result<(), Failure> {
    log();
    let config = context.config()?;
    let listen = if options.listen.is_empty() { config.proxy.listen.clone() } else { options.listen.clone() };
    let settings = Settings {
        policy: config.policy([api::access::name_of(rustix::process::getuid().as_raw()), "root".to_owned()]),
        data: config.data,
        listen: listen.clone(),
        tls: config.proxy.tls,
        proxy: config.proxy.settings,
        threads: config.proxy.threads,
        api_listen: config.api.listen,
    };
    let data = settings.data.clone();
    let secured = settings.tls.as_ref().map(|tls| tls.listen.clone()).unwrap_or_default();
    let ready = || {
        context.out.note(|ink| {
            let clear = listen.iter().map(|a| format!("http://{a}"));
            let addresses: Vec<String> = clear.chain(secured.iter().map(|a| format!("https://{a}"))).collect();
            let pieces = [
                format!("{} in {}", ink.good("Quarterdeck runs"), shown(&data)),
                format!("requests come in at {}", addresses.join(", ")),
                "^C drains and stops everything".to_owned(),
            ];
            ink.flow("", pieces)
                + &render::wrap("In another terminal: `qd apply`, `qd deploy`, `qd status`.", ink.width, "")
        });
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::file("start", "the threads of this program"))?;
    let afterwards = runtime.block_on(serve::run(settings, ready))?;
    context.out.note(|_| match afterwards {
        Afterwards::Stop => "Everything has stopped.\n".to_owned(),
        Afterwards::Keep => "Quarterdeck has stopped; services and their traffic go on.\n".to_owned(),
    });
    Ok(())
}

/// What `qd down` is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Down {
    pub(crate) keep_services: bool,
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
}

/// Stops Quarterdeck, and everything it runs unless that shall go on.
pub(crate) async fn down(context: &Context, asked: Down) -> Result<(), Failure> {
    let client = context.client()?;
    let out = &context.out;
    let services = if asked.keep_services { Afterwards::Keep } else { Afterwards::Stop };
    let runs = match client.status().await.map_err(Failure::from) {
        Ok(status) => Some(status),
        Err(failure) if failure.is_unreachable() => None,
        Err(failure) => return Err(failure),
    };
    let names: Vec<String> = runs
        .iter()
        .flat_map(|s| &s.services)
        .filter(|s| !s.instances.is_empty())
        .map(|s| s.service.to_string())
        .collect();
    let text = match (asked.keep_services, &runs) {
        (true, Some(_)) => "Quarterdeck stops. Services and their traffic go on until the next `qd serve`.".to_owned(),
        (true, None) => {
            return Err(Failure::other("Quarterdeck does not run here", "there is nothing to stop but services"));
        }
        (false, Some(_)) if names.is_empty() => "Quarterdeck stops. No service runs.".to_owned(),
        (false, Some(_)) => format!("Quarterdeck stops, and with it every instance of {}.", names.join(", ")),
        (false, None) => "Quarterdeck does not run here. What it left running is stopped.".to_owned(),
    };
    if asked.dry_run {
        return out
            .result(&json!({ "services": services, "running": names }), |ink| render::wrap(&text, ink.width, ""));
    }
    out.note(|ink| render::wrap(&text, ink.width, ""));
    out.confirm("Do this?", asked.yes)?;
    if runs.is_some() {
        client.shutdown(ShutdownRequest { services }).await?;
        let ended = async {
            // It answers until the last moment, so that silence is the end.
            while client.health().await.is_ok() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(END, ended)
            .await
            .map_err(|_| Failure::other("it has not ended after five minutes", "look at the log of `qd serve`"))?;
        return out.result(&json!({ "stopped": true, "services": services }), |_| "Stopped.\n".to_owned());
    }
    let stopped = serve::stop_without_serve(&context.data()?).await?;
    out.result(&json!({ "stopped": true, "services": services, "instances": stopped.instances }), |_| {
        let lost = if stopped.lost > 0 { format!("; {} had to be killed", stopped.lost) } else { String::new() };
        format!("Stopped: {}{lost}.\n", render::many(stopped.instances as u64, "instance"))
    })
}
