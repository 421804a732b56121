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

    /// What would happen, for who only looks.
    fn would(self, view: &ChangeView) -> String {
        let to = view.rollout.as_ref().map_or("the new release".to_owned(), |r| r.to.to_string());
        match self {
            Verb::Promote => format!("{to} would get all requests now, without waiting for the evidence."),
            Verb::Pause => format!("{} would stay where it is; its guard would go on watching.", view.id),
            Verb::Resume => format!("{} would go on.", view.id),
            Verb::Cancel if view.phase == Phase::WaitingApproval => format!("{} would be withdrawn.", view.id),
            Verb::Cancel => format!("{} would be undone: requests would return to what was there before.", view.id),
            Verb::Approve => format!("You would agree to the plan {}.", view.plan.digest.short()),
        }
    }

    /// What the server has accepted. `view`: the change as it was before.
    fn accepted(self, view: &ChangeView) -> String {
        let id = view.id;
        let to = view.rollout.as_ref().map_or("the new release".to_owned(), |r| r.to.to_string());
        match self {
            Verb::Promote => format!("{id}: {to} gets all requests now, without waiting for the evidence."),
            Verb::Pause => format!("{id} is paused; its guard goes on watching. `qd resume {id}` lets it go on."),
            Verb::Resume => format!("{id} goes on."),
            Verb::Cancel if view.phase == Phase::WaitingApproval => format!("{id} is withdrawn."),
            Verb::Cancel => format!("{id} is being undone: requests return to what was there before."),
            Verb::Approve => format!("You agreed to the plan {} of {id}.", view.plan.digest.short()),
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
    if intent.dry_run {
        let document = json!({ "change": view, "would": verb.command(view) });
        return out.result(&document, |ink| render::wrap(&verb.would(view), ink.width, ""));
    }
    out.note(|ink| {
        let shown = match verb {
            // What is agreed to must be seen.
            Verb::Approve => render::change_plan(view, ink),
            Verb::Promote | Verb::Pause | Verb::Resume | Verb::Cancel => String::new(),
        };
        render::change_row(view, wall(), ink) + &shown
    });
    give(context, verb.command(view), intent, &verb.accepted(view), verb.wanted()).await
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
    if intent.dry_run {
        let document = json!({ "change": active, "would": command });
        let text = format!("{} would be undone: all requests of {service} would return{from}.", active.id);
        return context.out.result(&document, |ink| render::wrap(&text, ink.width, ""));
    }
    context.out.note(|ink| render::change_row(&active, wall(), ink));
    let accepted = format!("{} is being undone: all requests of {service} return{from}.", active.id);
    give(context, command, intent, &accepted, Some(Wanted::Undone)).await
}

/// Gives a command that steers a change that exists, and tells what was `accepted` only when it was.
async fn give(
    context: &Context,
    command: Command,
    intent: &Intent,
    accepted: &str,
    wanted: Option<Wanted>,
) -> Result<(), Failure> {
    let client = context.client()?;
    let reason = propose::reason(context, intent)?;
    let request = CommandRequest { command, reason, expect: None, on_behalf_of: intent.on_behalf_of.clone() };
    let submitted = client.command(&request).await?;
    propose::begun(context, &submitted, |ink| render::wrap(accepted, ink.width, ""))?;
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
