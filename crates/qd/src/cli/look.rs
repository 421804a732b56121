//! Commands that only look: status, why, logs, change, changes.

use super::{
    args::ServiceArg,
    context::Context,
    failure::Failure,
    follow::{self, Wanted},
    ledger,
    live::Live,
};
use crate::{render, serve::clock::wall};
use api::message::LogQuery;
use control::story;
use model::{ChangeId, InstanceId, ServiceKey};
use serde_json::{Value, json};
use std::time::Duration;

/// How often a watched status is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Shows how everything is, or one service.
pub(crate) async fn status(context: &Context, service: Option<&ServiceArg>, watch: bool) -> Result<(), Failure> {
    let client = context.client()?;
    let only = service.map(|name| context.service(name));
    let mut live = Live::new(context.out.rows);
    let mut told = String::new();
    loop {
        let mut status = client.status().await?;
        if let Some(only) = &only {
            // Asked for by name, so that one that does not exist is said to be unknown.
            status.services = vec![client.service(only).await?];
            status.changes.retain(|c| c.service == *only);
        }
        if !watch {
            // What nobody can be shown by the state, because it cannot be recorded.
            if let Some(why) = client.health().await?.refusing {
                let text = format!("{} {why}.", context.out.notes.bad("No change is taken:"));
                context.out.note(|ink| render::wrap(&text, ink.width, ""));
            }
            return context.out.result(&status, |ink| render::status(&status, ink));
        }
        if context.out.live {
            live.show(&render::status(&status, context.out.notes));
        } else {
            let text = if context.out.json {
                serde_json::to_string(&status).unwrap_or_default() + "\n"
            } else {
                render::status(&status, context.out.ink) + "\n"
            };
            if text != told {
                context.out.write(&text)?;
                told = text;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// Tells the story of something. When nobody answers, it is read from the ledger itself.
pub(crate) async fn why(context: &Context, subject: Option<&str>, all: bool) -> Result<(), Failure> {
    let told = match subject.map(|s| subject_of(context, s)).transpose()? {
        Some(subject) => (subject.clone(), context.client()?.story(Some(&subject), all).await),
        None => (String::new(), context.client()?.story(None, all).await),
    };
    match told {
        (_, Ok(story)) => context.out.result(&story, |_| match story.left_out {
            0 => story.text.clone(),
            n => format!("{} earlier lines are left out; `qd ledger show` has all.\n{}", render::count(n), story.text),
        }),
        (subject, Err(error)) => {
            let failure = Failure::from(error);
            if !failure.is_unreachable() {
                return Err(failure);
            }
            context.out.note(|ink| ink.dim("Quarterdeck is not running; this is read from the ledger.\n"));
            let subject = if subject.is_empty() { None } else { Some(subject.as_str()) };
            ledger::story(context, subject, all)
        }
    }
}

/// The subject in the words of the API: a service gets the environment it is in.
fn subject_of(context: &Context, text: &str) -> Result<String, Failure> {
    match text.parse::<story::Subject>() {
        Ok(story::Subject::Service(_)) => match text.parse::<ServiceArg>() {
            Ok(name) => Ok(context.service(&name).to_string()),
            Err(error) => Err(Failure::usage(error.to_string(), "")),
        },
        Ok(story::Subject::Change(_) | story::Subject::Instance(_) | story::Subject::Everything) => Ok(text.to_owned()),
        Err(what) => Err(Failure::usage(what, "")),
    }
}

/// Shows as whom requests are recorded, and what that actor is here.
pub(crate) async fn whoami(context: &Context) -> Result<(), Failure> {
    let me = context.client()?.whoami().await?;
    context.out.result(&me, |_| {
        let role = match me.role {
            Some(policy::Role::Owner) => "an owner here, who may do everything",
            Some(policy::Role::Viewer) => "a viewer here, who may look",
            None => "nothing here yet; an owner can name you under [access] in quarterdeck.toml",
        };
        format!("{}: {role}\n", me.actor)
    })
}

/// Shows what a service prints.
pub(crate) async fn logs(
    context: &Context,
    service: &ServiceKey,
    lines: u32,
    follow: bool,
    instance: Option<InstanceId>,
) -> Result<(), Failure> {
    let query = LogQuery { lines: Some(lines), follow, instance };
    let mut logs = context.client()?.logs(service, &query).await?;
    // Parts end anywhere; JSON is made of whole lines.
    let mut rest = Vec::new();
    loop {
        let part = tokio::select! {
            part = logs.next() => part,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(part) = part else { return Ok(()) };
        rest.extend_from_slice(&part?);
        let whole = rest.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(&rest[..whole]).into_owned();
        rest.drain(..whole);
        if context.out.json {
            for line in text.lines() {
                context.out.line(&log_line(line), |_| String::new())?;
            }
        } else {
            context.out.write(&text)?;
        }
    }
}

/// A line of the server's, `12:04:31.250 INS-3! text`, for programs.
fn log_line(line: &str) -> Value {
    let mut words = line.splitn(3, ' ');
    let (time, source) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let stream = match source.chars().last() {
        Some('!') => "err",
        Some('*') => "note",
        Some(_) | None => "out",
    };
    let text = words.next().unwrap_or_default();
    let text = if stream == "out" { text.strip_prefix(' ').unwrap_or(text) } else { text };
    json!({ "time": time, "instance": source.trim_end_matches(['!', '*']), "stream": stream, "text": text })
}

/// Shows a change.
pub(crate) async fn change(context: &Context, id: ChangeId, follow: bool) -> Result<(), Failure> {
    if follow {
        return follow::follow(context, &[id], Wanted::Done).await;
    }
    let view = context.client()?.change(id).await?;
    context.out.result(&view, |ink| render::change(&view, wall(), ink) + "\n" + &render::change_plan(&view, ink))
}

/// Lists changes.
pub(crate) async fn changes(context: &Context, open: bool, limit: usize) -> Result<(), Failure> {
    let mut views = context.client()?.changes(open.then_some(true)).await?;
    views.truncate(limit);
    context.out.result(&views, |ink| render::change_rows(&views, wall(), ink))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_taken_apart_for_programs() {
        let line = |text| log_line(text).to_string();
        assert_eq!(
            line("12:04:31.250 INS-3  listening on 80"),
            r#"{"instance":"INS-3","stream":"out","text":"listening on 80","time":"12:04:31.250"}"#
        );
        assert_eq!(
            line("12:04:31.250 INS-3! oh no"),
            r#"{"instance":"INS-3","stream":"err","text":"oh no","time":"12:04:31.250"}"#
        );
    }
}
