//! Commands about what is under way: promote, pause, resume, cancel, approve; and rollback, which may mean any of them.

use super::{
    args::{Intent, Steer},
    context::Context,
    failure::Failure,
    follow::{self, Wanted},
    propose::{self, Agreement},
};
use crate::{render, serve::clock::wall};
use api::message::CommandRequest;
use control::{Command, change::Phase, view::ChangeView};
use model::{ReleaseId, ServiceKey};
use serde_json::json;

/// What is done to a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Promote,
    Pause,
    Resume,
    Cancel,
    Approve,
}

impl Verb {
    fn command(self, view: &ChangeView) -> Command {
        let change = view.id;
        match self {
            Verb::Promote => Command::Promote { change },
            Verb::Pause => Command::Pause { change },
            Verb::Resume => Command::Resume { change },
            Verb::Cancel => Command::Cancel { change },
            Verb::Approve => Command::Approve { change, digest: view.plan.digest },
        }
    }

    /// What will happen.
    fn announce(self, view: &ChangeView) -> String {
        let to = view.rollout.as_ref().map_or("the new release".to_owned(), |r| r.to.to_string());
        match self {
            Verb::Promote => format!("{to} will get all requests now, without waiting for the evidence."),
            Verb::Pause => format!("{} will stay where it is; its guard goes on watching.", view.id),
            Verb::Resume => format!("{} will go on.", view.id),
            Verb::Cancel if view.phase == Phase::WaitingApproval => format!("{} will be withdrawn.", view.id),
            Verb::Cancel => format!("{} will be undone: requests return to what was there before.", view.id),
            Verb::Approve => format!("You are about to agree to the plan {}.", view.plan.digest.short()),
        }
    }

    /// What to wait for afterwards; `None`: it is done with the command.
    fn wanted(self) -> Option<Wanted> {
        match self {
            Verb::Promote => Some(Wanted::Done),
            Verb::Cancel => Some(Wanted::Undone),
            Verb::Pause | Verb::Resume | Verb::Approve => None,
        }
    }
}

/// Steers a change.
pub(crate) async fn steer(context: &Context, verb: Verb, steer: &Steer) -> Result<(), Failure> {
    let client = context.client()?;
    let view = client.change(steer.change).await?;
    expected(&steer.intent, &view)?;
    carry_out(context, &view, verb, &steer.intent).await
}

/// Approval binds to a plan; so does whatever names one.
fn expected(intent: &Intent, view: &ChangeView) -> Result<(), Failure> {
    match intent.expect {
        Some(expected) if expected != view.plan.digest => Err(Failure::Refused {
            code: "plan_changed",
            what: format!("the plan of {} is {}, not {}", view.id, view.plan.digest.short(), expected.short()),
            hint: format!("look at it with `qd change {}`", view.id),
        }),
        Some(_) | None => Ok(()),
    }
}

async fn carry_out(context: &Context, view: &ChangeView, verb: Verb, intent: &Intent) -> Result<(), Failure> {
    let out = &context.out;
    let text = verb.announce(view);
    if intent.dry_run {
        let document = json!({ "change": view, "would": verb.command(view) });
        return out.result(&document, |ink| format!("{}\n", render::wrap(&text, ink.width, "").trim_end()));
    }
    out.note(|ink| {
        let shown = match verb {
            // What is agreed to must be seen.
            Verb::Approve => render::change_plan(view, ink),
            Verb::Promote | Verb::Pause | Verb::Resume | Verb::Cancel => String::new(),
        };
        render::change_row(view, wall(), ink) + &shown + &render::wrap(&text, ink.width, "")
    });
    give(context, verb.command(view), intent, verb.wanted()).await
}

/// Returns to an earlier release: undoes what is under way when that leads there, else makes a change of its own.
pub(crate) async fn rollback(
    context: &Context,
    service: ServiceKey,
    to: Option<ReleaseId>,
    intent: &Intent,
) -> Result<(), Failure> {
    let client = context.client()?;
    let command = Command::Rollback { service: service.clone(), to };
    let active = match client.service(&service).await?.change {
        Some(id) => Some(client.change(id).await?),
        None => None,
    };
    let leads_there = |view: &ChangeView| {
        let from = view.rollout.as_ref().and_then(|r| r.from);
        from.is_some() && (to.is_none() || to == from) && view.phase != Phase::WaitingApproval
    };
    let Some(active) = active.filter(leads_there) else {
        return propose::propose(context, command, intent, Agreement::NotNeeded).await;
    };
    expected(intent, &active)?;
    let from = active.rollout.as_ref().and_then(|r| r.from).map_or(String::new(), |r| format!(" to {r}"));
    let text = format!("{} will be undone: all requests of {service} return{from}, which still runs.", active.id);
    if intent.dry_run {
        let document = json!({ "change": active, "would": command });
        return context.out.result(&document, |ink| render::wrap(&text, ink.width, ""));
    }
    context.out.note(|ink| render::wrap(&text, ink.width, ""));
    give(context, command, intent, Some(Wanted::Undone)).await
}

/// Gives a command that steers a change that exists.
async fn give(context: &Context, command: Command, intent: &Intent, wanted: Option<Wanted>) -> Result<(), Failure> {
    let client = context.client()?;
    let reason = propose::reason(context, intent)?;
    let request = CommandRequest { command, reason, expect: None, on_behalf_of: intent.on_behalf_of.clone() };
    let submitted = client.command(&request).await?;
    propose::begun(context, &submitted)?;
    match wanted {
        Some(wanted) if !intent.detach => follow::follow(context, &submitted.changes, wanted).await,
        Some(_) | None => {
            for id in &submitted.changes {
                let view = client.change(*id).await?;
                context.out.line(&json!({ "change": view }), |_| format!("{}\n", render::progress_line(&view)))?;
            }
            Ok(())
        }
    }
}
