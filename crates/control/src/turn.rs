//! One turn of the loop: what to record, and what to do.

use crate::{
    Command, Draft, Entry, Fact, Observed, Refusal, Request, State, cache, change, clock, instance, refusal::Code,
    release, rollout, route, service, sleep,
};
use model::{Action, ActorKind, ChangeId, ReleaseId, ServiceKey, Time};
use policy::Policy;
use std::collections::BTreeMap;

/// The longest reason, in characters.
const MAX_REASON: usize = 2_000;

/// What can make something be recorded.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// Someone asks for something.
    Command(Box<Request>),
    /// Something was reported, or time has passed: what follows from the world as it is now?
    Observed,
    /// The machine's clock was set, by this many milliseconds. It must be decided on, and recorded, before anything that
    /// happens by the new time: what is recorded earlier is moved with the rest.
    ClockStepped(i64),
    /// Quarterdeck is about to stop everything it runs.
    Halting,
}

/// An action and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Planned {
    /// What to do.
    pub action: Action,
    /// Why, one sentence.
    pub because: String,
}

impl Planned {
    pub(crate) fn new(action: Action, because: impl Into<String>) -> Planned {
        Planned { action, because: because.into() }
    }
}

/// What to record. For [`Input::Observed`], call it again after the drafts are folded, until it returns none: one fact
/// leads to the next.
///
/// # Errors
/// A refusal, for a command that cannot be followed now. Nothing is recorded then.
pub fn decide(
    state: &State,
    observed: &Observed,
    policy: &Policy,
    now: Time,
    input: &Input,
) -> Result<Vec<Draft>, Refusal> {
    let mut drafts = match input {
        Input::Command(request) => command(state, observed, policy, request)?,
        Input::ClockStepped(by_ms) => clock::decide(*by_ms),
        Input::Observed => consequences(state, observed, now),
        Input::Halting => instance::halt(state),
    };
    locate(state, &mut drafts);
    Ok(drafts)
}

/// Groups drafts for appending. Each group must be appended as a whole; between two groups a crash does no harm, because
/// what is missing is decided on again (or, of a command that makes many changes, whole changes are missing). No group
/// is longer than what one append takes.
pub fn batches(drafts: Vec<Draft>) -> Vec<Vec<Draft>> {
    let mut groups: Vec<Vec<Draft>> = Vec::new();
    for draft in drafts {
        let proposes = matches!(&draft.what, Fact::Change(change::Fact::Proposed { .. }));
        let begins = proposes || draft.actor.kind == ActorKind::Quarterdeck;
        match groups.last_mut() {
            Some(group) if !begins => group.push(draft),
            Some(_) | None => groups.push(vec![draft]),
        }
    }
    groups
}

/// Says of each draft which service it concerns, so that the story of a service can be told.
fn locate(state: &State, drafts: &mut [Draft]) {
    let mut proposed: BTreeMap<ChangeId, ServiceKey> = BTreeMap::new();
    for draft in drafts {
        if let Fact::Change(change::Fact::Proposed { change, service, .. }) = &draft.what {
            proposed.insert(*change, service.clone());
        }
        let of_change = |id: ChangeId| state.changes.get(&id).map(|c| &c.service).or(proposed.get(&id)).cloned();
        let service = match &draft.what {
            Fact::Service(service::Fact::Declared { service, .. } | service::Fact::Removed { service })
            | Fact::Release(release::Fact::Created { service, .. })
            | Fact::Instance(instance::Fact::Placed { service, .. })
            | Fact::Cache(cache::Fact::Purged { service, .. }) => Some(service.clone()),
            Fact::Change(fact) => of_change(fact.change()),
            Fact::Rollout(fact) => of_change(fact.change()),
            Fact::Instance(fact) => state.instances.get(&fact.instance()).map(|i| i.service.clone()),
            Fact::Sleep(fact) => Some(fact.service().clone()),
            Fact::Clock(_) => None,
        };
        draft.at = service.map(|s| s.to_string());
    }
}

fn command(state: &State, observed: &Observed, policy: &Policy, request: &Request) -> Result<Vec<Draft>, Refusal> {
    let drafts = commanded(state, observed, policy, request)?;
    let reason = request.reason.trim();
    if reason.is_empty() {
        return Err(Refusal::new(Code::ReasonRequired, "no reason was given", "say why with --reason \"…\""));
    }
    if reason.chars().count() > MAX_REASON {
        let message = format!("a reason may have at most {MAX_REASON} characters");
        return Err(Refusal::new(Code::Invalid, message, "say it shorter, and link to the rest"));
    }
    if request.expect.is_some_and(|expected| expected != change::propose::digest(&drafts)) {
        return Err(Refusal::new(
            Code::PlanChanged,
            "what would be done has changed since the plan was made",
            "look at the new plan and decide again",
        ));
    }
    Ok(drafts.into_iter().enumerate().map(|(i, draft)| signed(draft, i == 0, request)).collect())
}

/// What a command makes be recorded, whether or not a reason and an expectation come with it.
pub(crate) fn commanded(
    state: &State,
    observed: &Observed,
    policy: &Policy,
    request: &Request,
) -> Result<Vec<Draft>, Refusal> {
    change::propose::permitted(policy, request)?;
    match &request.command {
        Command::Apply { .. } | Command::Deploy { .. } | Command::Scale { .. } => {
            change::propose::decide(state, policy, request)
        }
        Command::Rollback { service, to } => match undoable(state, service, *to) {
            Some(change) => {
                service::check_return(state, change)?;
                let because = request.because();
                Ok(vec![rollout::draft_undo(change, because, change::Outcome::RolledBack)])
            }
            None => change::propose::decide(state, policy, request),
        },
        Command::PurgeCache { service, path } => cache::decide(state, service, path.as_deref()),
        Command::Approve { change, digest } => change::decide_approve(state, request, *change, *digest),
        Command::Pause { change } => change::decide_pause(state, *change),
        Command::Resume { change } => change::decide_resume(state, *change),
        Command::Promote { change } => rollout::decide_promote(state, observed, request, *change),
        Command::Cancel { change } => change::decide_cancel(state, request, *change),
    }
}

/// The change that a rollback need only undo, because what it would return to still runs.
fn undoable<'s>(state: &'s State, service: &ServiceKey, to: Option<ReleaseId>) -> Option<&'s change::Change> {
    let active = state.active_change(service)?;
    let rollout = active.rollout.as_ref()?;
    let returns = rollout.from.is_some() && (to.is_none() || to == rollout.from);
    (returns && active.phase.next(change::phase::Event::Undo).is_some()).then_some(active)
}

/// What follows from a command bears the name of who gave it, and what it begins with, or proposes, the reason.
fn signed(mut draft: Draft, first: bool, request: &Request) -> Draft {
    let proposes = matches!(&draft.what, Fact::Change(change::Fact::Proposed { .. }));
    draft.actor = request.actor.clone();
    draft.on_behalf_of = request.on_behalf_of.clone();
    draft.why = (first || proposes).then(|| request.reason.trim().to_owned());
    draft
}

/// One round of what follows from the state, the observation and the time. Instances come first, because changes look at
/// what is ready; then whoever falls asleep or wakes up for a change; placing and retiring come last, because a verdict may be that what would be retired is needed.
fn consequences(state: &State, observed: &Observed, now: Time) -> Vec<Draft> {
    // Before the driver has reported for the first time, nothing is known: deadlines that passed meanwhile prove nothing.
    if observed.instances.is_none() {
        return Vec::new();
    }
    let mut drafts = instance::advance(state, observed, now);
    if drafts.is_empty() {
        drafts = sleep::advance(state, observed, now);
    }
    if !drafts.is_empty() {
        return drafts;
    }
    let drafts: Vec<Draft> = state
        .open_changes()
        .flat_map(|change| match &change.rollout {
            Some(_) => rollout::advance(state, observed, change, now),
            None => change::advance(state, observed, change, now).into_iter().collect(),
        })
        .collect();
    if drafts.is_empty() { instance::settle(state) } else { drafts }
}

/// What to do now: everything in which the world differs from what is intended. Call it after every turn; actions that
/// were handed out and have not shown an effect yet come again.
pub fn plan(state: &State, observed: &Observed, now: Time) -> Vec<Planned> {
    let mut planned: Vec<Planned> = route::plan(state, observed).into_iter().collect();
    planned.extend(instance::plan(state, observed, now));
    if observed.instances.is_some() {
        planned.push(Planned::new(
            Action::KeepArtifacts(release::kept_artifacts(state)),
            "nothing else can be returned to",
        ));
    }
    planned
}

/// The changes that a command made, or else those it steered, as seen from its entries: what to show to who gave it.
pub fn changes_of(entries: &[Entry]) -> Vec<ChangeId> {
    let made = |entry: &Entry| match &entry.what {
        Fact::Change(change::Fact::Proposed { change, .. }) => Some(*change),
        Fact::Change(_)
        | Fact::Rollout(_)
        | Fact::Service(_)
        | Fact::Release(_)
        | Fact::Instance(_)
        | Fact::Cache(_)
        | Fact::Sleep(_)
        | Fact::Clock(_) => None,
    };
    let steered = |entry: &Entry| match &entry.what {
        Fact::Change(fact) => Some(fact.change()),
        Fact::Rollout(fact) => Some(fact.change()),
        Fact::Service(_) | Fact::Release(_) | Fact::Instance(_) | Fact::Cache(_) | Fact::Sleep(_) | Fact::Clock(_) => {
            None
        }
    };
    let mut ids: Vec<ChangeId> = entries.iter().filter_map(made).collect();
    if ids.is_empty() {
        ids = entries.iter().filter_map(steered).collect();
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests;
