//! Changes: in full, as a row of a list, as a line of progress, and how they ended.

use super::{
    evidence,
    figures::count,
    ink::{Ink, wrap},
};
use control::{
    change::{Outcome, Phase},
    view::ChangeView,
};
use model::{ArmFigures, ReleaseId, Strategy, Time};

/// A change: who wants what and why, how far it is, what was measured, what can be done.
pub(crate) fn change(view: &ChangeView, now: Time, ink: Ink) -> String {
    let mut text = ink.flow(
        "",
        [
            format!("{}  {} {}  {}", ink.bold(view.id), view.kind, view.service, phase(view, ink)),
            format!("by {}", view.actor),
            ink.dim(format!("{} ago", now.since(view.proposed_at))),
        ],
    );
    text += &wrap(&format!("“{}”", view.reason), ink.width, "  ");
    let step = step_of(view).map_or(String::new(), |step| format!("{step}: "));
    text += &wrap(&format!("{step}{}", progress(view)), ink.width, "  ");
    if let Some(rollout) = &view.rollout {
        text += &evidence::evidence(rollout, ink);
        let undecided = view.open && view.phase != Phase::HoldingBack && view.phase != Phase::Undoing;
        if let Some(deadline) = rollout.deadline.filter(|_| undecided) {
            text += &wrap(&ink.dim(format!("to be decided within {}", deadline.since(now))), ink.width, "  ");
        }
        if let Some(until) = rollout.warm_until {
            let old = rollout.from.map_or("the old release".to_owned(), |r| r.to_string());
            text += &wrap(&format!("{old} stays warm for {} more", until.since(now)), ink.width, "  ");
        }
    }
    if !view.approvals.is_empty() {
        text += &wrap(&format!("approved by {}", view.approvals.join(", ")), ink.width, "  ");
    }
    let can = commands(view);
    if !can.is_empty() {
        text += &ink.flow("  ", can.into_iter().map(|command| ink.dim(command)));
    }
    text
}

/// How far a change is. What an instance waits for is said of it without naming it: `… are ready: waits for its turn`.
fn progress(view: &ChangeView) -> String {
    match view.progress.split_once(" are ready: ") {
        Some((ready, waits)) if waits.starts_with("is ") || waits.starts_with("waits ") => {
            format!("{ready} are ready; one {waits}")
        }
        Some(_) | None => view.progress.clone(),
    }
}

fn phase(view: &ChangeView, ink: Ink) -> String {
    match view.phase {
        Phase::Succeeded | Phase::HoldingBack => ink.good(view.phase),
        Phase::RolledBack | Phase::Failed | Phase::Undoing => ink.bad(view.phase),
        Phase::WaitingApproval | Phase::Paused => ink.warn(view.phase),
        Phase::Running | Phase::Cancelled | Phase::Superseded => view.phase.to_string(),
    }
}

/// How far a rollout that is under way is: `step 3 of 5`, or `step 3` when evidence says how many there are.
fn step_of(view: &ChangeView) -> Option<String> {
    let rollout = view.rollout.as_ref()?;
    let is_stepwise = matches!(rollout.strategy, Strategy::Canary | Strategy::Rolling) && rollout.from.is_some();
    let is_under_way = matches!(view.phase, Phase::Running | Phase::Paused);
    let of = if rollout.steps == 0 { String::new() } else { format!(" of {}", rollout.steps) };
    rollout.step.filter(|_| is_stepwise && is_under_way).map(|step| format!("step {step}{of}"))
}

/// What can be done to an open change.
fn commands(view: &ChangeView) -> Vec<String> {
    let id = view.id;
    let all: &[&str] = match (view.phase, view.rollout.is_some()) {
        (Phase::WaitingApproval, _) => &["approve", "cancel"],
        (Phase::Running, true) => &["promote", "pause", "cancel"],
        (Phase::Paused, true) => &["resume", "promote", "cancel"],
        (Phase::Running | Phase::Paused, false) => &["cancel"],
        (Phase::HoldingBack, _) => return vec![format!("`qd rollback {}` returns at once", view.service)],
        (
            Phase::Undoing
            | Phase::Succeeded
            | Phase::RolledBack
            | Phase::Failed
            | Phase::Cancelled
            | Phase::Superseded,
            _,
        ) => &[],
    };
    all.iter().map(|verb| format!("qd {verb} {id}")).collect()
}

/// A change in a list, in two lines.
pub(crate) fn change_row(view: &ChangeView, now: Time, ink: Ink) -> String {
    let head = [
        format!("{}  {} {}  {}", ink.bold(view.id), view.kind, view.service, phase(view, ink)),
        view.actor.clone(),
        ink.dim(format!("{} ago", now.since(view.proposed_at))),
    ];
    ink.flow("", head) + &wrap(&format!("“{}” {}", view.reason, ink.dim(progress(view))), ink.width, "  ")
}

/// A list of changes.
pub(crate) fn change_rows(views: &[ChangeView], now: Time, ink: Ink) -> String {
    match views {
        [] => "There are none.\n".to_owned(),
        views => views.iter().map(|view| change_row(view, now, ink)).collect(),
    }
}

/// How far a change is, as one line that says more than the last one, for a log: no colour, no width.
pub(crate) fn progress_line(view: &ChangeView) -> String {
    let mut line = format!("{}: ", view.id);
    if let Some(step) = step_of(view) {
        line += &format!("{step}, ");
    }
    line + &progress(view)
}

/// What was measured so far, to follow a line of progress; empty when nothing was.
pub(crate) fn figures_line(view: &ChangeView) -> String {
    let Some(rollout) = &view.rollout else { return String::new() };
    if let (Some(shadow), Some(from)) = (&rollout.shadow, rollout.from) {
        let seen = shadow.copies.compared() > 0;
        return if seen { format!(" ({})", shadow.copies.sentence(from, rollout.to)) } else { String::new() };
    }
    let (Some(seen), Some(from)) = (&rollout.evidence, rollout.from) else { return String::new() };
    if seen.canary.units == 0 {
        return String::new();
    }
    let arm =
        |release: ReleaseId, a: &ArmFigures| format!("{release} {} of {} failed", count(a.failed), count(a.units));
    let (worse, not_worse) = evidence::proofs(seen);
    let proven = format!("proof of worse {:.0} %, of not worse {:.0} %", 100.0 * worse, 100.0 * not_worse);
    format!(" ({}, {}; {proven})", arm(rollout.to, &seen.canary), arm(from, &seen.running))
}

/// How a change that nobody waits for any more ended, and what to do next.
pub(crate) fn outcome(view: &ChangeView, ink: Ink) -> String {
    let id = ink.bold(view.id);
    let Some(outcome) = view.outcome else {
        let (to, from) = view.rollout.as_ref().map_or((None, None), |r| (Some(r.to), r.from));
        let to = to.map_or(String::new(), |to| format!("{to} "));
        let stays = from.map_or(String::new(), |old| {
            format!("; {old} stays warm, `qd rollback {}` returns to it at once", view.service)
        });
        return wrap(&format!("{id}: {to}{}{stays}", ink.good("is promoted")), ink.width, "");
    };
    let how = match outcome {
        Outcome::Succeeded => ink.good(outcome),
        Outcome::RolledBack | Outcome::Failed => ink.bad(outcome),
        Outcome::Cancelled | Outcome::Superseded => ink.warn(outcome),
    };
    let mut text = wrap(&format!("{id} {how}: {}", progress(view)), ink.width, "");
    if let Some(rollout) = &view.rollout {
        text += &evidence::evidence(rollout, ink);
    }
    text + &wrap(&ink.dim(format!("`qd why {}` tells the whole story", view.id)), ink.width, "")
}
