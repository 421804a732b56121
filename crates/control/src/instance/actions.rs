//! What the driver should do about instances.

use super::{Condition, Instance, Retired};
use crate::{Observed, State, change::Change, turn::Planned};
use model::{Action, InstanceSeen, InstanceSpec, Span, Time};

/// How much longer than its drain deadline a retired instance waits for a data plane that does not say it knows.
const SILENCE: Span = Span::minutes(2);

/// What the driver should do.
pub(crate) fn plan(state: &State, observed: &Observed, now: Time) -> Vec<Planned> {
    let Some(seen) = &observed.instances else { return Vec::new() };
    let mut planned: Vec<Planned> =
        state.instances.values().filter_map(|i| plan_one(state, observed, i, seen.get(&i.id), now)).collect();
    for stray in seen.values().filter(|s| !state.instances.contains_key(&s.id)) {
        planned.push(if stray.runs() {
            Planned::new(Action::StopInstance(stray.id), "nothing wants it to run")
        } else {
            Planned::new(Action::ForgetInstance(stray.id), "it is gone")
        });
    }
    planned
}

fn plan_one(
    state: &State,
    observed: &Observed,
    i: &Instance,
    seen: Option<&InstanceSeen>,
    now: Time,
) -> Option<Planned> {
    let current = seen.filter(|s| s.attempt == i.attempt);
    let runs = current.is_some_and(InstanceSeen::runs);
    if let Some(retired) = i.retired {
        let why = drained(state, observed, i, retired, now)?;
        return seen.is_some_and(InstanceSeen::runs).then(|| Planned::new(Action::StopInstance(i.id), why));
    }
    match &i.condition {
        Condition::Starting { .. } if current.is_none() => {
            let release = state.releases.get(&i.release)?;
            let spec = InstanceSpec {
                id: i.id,
                attempt: i.attempt,
                service: i.service.clone(),
                release: i.release,
                artifact: release.artifact,
                run: (*release.run).clone(),
            };
            Some(Planned::new(Action::StartInstance(Box::new(spec)), "it shall run and the driver does not have it"))
        }
        Condition::Condemned { .. } if runs => Some(Planned::new(Action::StopInstance(i.id), "it shall be restarted")),
        Condition::Starting { .. }
        | Condition::Ready { .. }
        | Condition::Unready { .. }
        | Condition::Condemned { .. }
        | Condition::Ended { .. }
        | Condition::Failed { .. } => None,
    }
}

/// How long all instances of a service take to drain and stop at most.
pub(crate) fn longest_stop(state: &State, change: &Change) -> Span {
    let service = state.services.get(&change.service);
    let run = service.and_then(|s| state.releases.get(&s.running?)).map(|r| &r.run);
    let drain = service.map_or(Span::ZERO, |s| s.spec.traffic.drain_deadline);
    drain + SILENCE + run.map_or(Span::ZERO, |r| r.stop_deadline)
}

/// Why a retired instance may be stopped now; `None` while it may still have requests.
fn drained(state: &State, observed: &Observed, i: &Instance, retired: Retired, now: Time) -> Option<&'static str> {
    let spec = state.services.get(&i.service).map(|s| &s.spec);
    let deadline = spec.map_or(Span::seconds(30), |s| s.traffic.drain_deadline);
    let takes_requests = spec.is_none_or(|s| s.is_reached());
    let knows = observed.proxy.as_ref().is_some_and(|proxy| proxy.generation >= retired.generation);
    let waited = now.since(retired.at);
    match observed.in_flight(i.id) {
        Some(0) if knows => Some("it is retired and has no requests any more"),
        // One that says something may still obey a table from when it took some.
        None if !takes_requests => Some("it is retired and takes no requests"),
        // A moment more than the data plane gives its connections, so that it is the one who ends and counts them.
        Some(_) if knows && waited > deadline + Span(1_000) => Some("it is retired and its drain deadline has passed"),
        // A data plane that has not taken the table may still send it requests.
        Some(_) | None if waited > deadline + SILENCE => {
            Some("it is retired and the data plane has been silent for too long")
        }
        Some(_) | None => None,
    }
}
