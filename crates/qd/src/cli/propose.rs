//! Asking for a change: show the plan, get a reason, let a person agree, give the command, follow it.

use super::{
    args::Intent,
    context::Context,
    failure::Failure,
    follow::{self, Wanted},
};
use crate::render::{self, Ink};
use api::{
    Client,
    client::Error,
    message::{CommandRequest, PlanRequest, Submitted},
    problem,
};
use control::{Command, change::Plan, refusal};
use serde_json::json;

/// Whether a person has to agree before it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Agreement {
    /// What was typed says precisely what is wanted.
    NotNeeded,
    /// What will be done follows from something else, such as a file.
    Needed,
}

/// Shows what a command would do, then does it and follows it, unless it is a dry run.
pub(crate) async fn propose(
    context: &Context,
    command: Command,
    intent: &Intent,
    agreement: Agreement,
) -> Result<(), Failure> {
    let client = context.client()?;
    let out = &context.out;
    let plan = planned(&client, &command, intent).await?;
    if intent.dry_run {
        return out.result(&json!({ "plan": plan }), |ink| render::plan(&plan, ink));
    }
    if plan.changes.is_empty() {
        return out.result(&json!({ "plan": plan }), |ink| render::plan(&plan, ink));
    }
    if out.json {
        out.line(&json!({ "plan": plan }), |_| String::new())?;
    } else {
        out.note(|ink| render::plan(&plan, ink));
    }
    expected(intent, &plan)?;
    let reason = reason(context, intent)?;
    if agreement == Agreement::Needed {
        out.confirm("Do this?", intent.yes)?;
    }
    let request =
        CommandRequest { command, reason, expect: Some(plan.digest), on_behalf_of: intent.on_behalf_of.clone() };
    let submitted = client.command(&request).await?;
    if !intent.detach || out.json {
        begun(context, &submitted, |ink| {
            let ids: Vec<String> = submitted.changes.iter().map(|id| ink.bold(id)).collect();
            format!("{} recorded.\n", ids.join(", "))
        })?;
    }
    // A change may also end others, whose place it takes. The new ones have the highest ids.
    let new = &submitted.changes[submitted.changes.len().saturating_sub(plan.changes.len())..];
    if !intent.detach {
        return follow::follow(context, new, Wanted::Done).await;
    }
    for id in new {
        if !out.json {
            // The result, also for a script that wants nothing else.
            out.write(&format!("{id}\n"))?;
        }
        out.note(|_| format!("It is recorded; follow it with `qd change {id} --follow`.\n"));
    }
    Ok(())
}

/// What a command would do.
pub(crate) async fn planned(client: &Client, command: &Command, intent: &Intent) -> Result<Plan, Failure> {
    let reason = intent.reason.clone().unwrap_or_default();
    let nothing = |error: &Error| matches!(error, Error::Problem(p) if p.code == problem::Code::Refusal(refusal::Code::NothingToDo));
    match client.plan(&PlanRequest { command: command.clone(), reason }).await {
        // To be asked for what is already so is no failure when it was only looked at.
        Err(error) if nothing(&error) && intent.dry_run => {
            Ok(Plan { changes: Vec::new(), digest: model::Digest::of(b""), approvals: 0 })
        }
        other => Ok(other?),
    }
}

/// Refuses a plan that is not the one that was read before.
fn expected(intent: &Intent, plan: &Plan) -> Result<(), Failure> {
    match intent.expect {
        Some(expected) if expected != plan.digest => Err(Failure::Refused {
            code: "plan_changed",
            what: format!("the plan is {} now, not {}", plan.digest.short(), expected.short()),
            hint: "look at the new plan and decide again".to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// The reason: as given, or asked for.
pub(crate) fn reason(context: &Context, intent: &Intent) -> Result<String, Failure> {
    let given = match &intent.reason {
        Some(reason) => reason.trim().to_owned(),
        None if context.out.can_ask() => context.out.ask("Why? (recorded in the ledger) ")?,
        None => String::new(),
    };
    if given.is_empty() {
        return Err(Failure::Refused {
            code: "reason_required",
            what: "no reason was given, and every change needs one".to_owned(),
            hint: "say why with --reason \"…\"".to_owned(),
        });
    }
    Ok(given)
}

/// Tells that a command is recorded; to people as this text.
pub(crate) fn begun(context: &Context, submitted: &Submitted, text: impl FnOnce(Ink) -> String) -> Result<(), Failure> {
    if context.out.json {
        return context.out.line(&json!({ "submitted": submitted }), |_| String::new());
    }
    context.out.note(text);
    Ok(())
}
