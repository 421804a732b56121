//! How many instances of which releases there shall be, and what is placed and retired until there are.

use super::{Fact, Instance, draft};
use crate::{Draft, State, change::Phase, sleep, state::Next};
use model::{ReleaseId, ServiceKey, Span, Strategy};
use std::collections::BTreeMap;

/// How many instances of which releases a service shall have now.
fn wanted(state: &State, key: &ServiceKey) -> Vec<(ReleaseId, u32)> {
    let Some(service) = state.services.get(key).filter(|s| !s.removed) else { return Vec::new() };
    let n = service.spec.replicas;
    let Some((change, rollout)) = state.active_change(key).and_then(|c| Some((c, c.rollout.as_ref()?))) else {
        let n = if sleep::is_asleep(service) { 0 } else { n };
        return service.running.map(|running| (running, n)).into_iter().collect();
    };
    let (from, to, phase) = (rollout.from, rollout.to, change.phase);
    // Until the new release is trusted for good, as many of the old stay as it had: it may have to take all again.
    let old = change.before.as_ref().map_or(n, |before| before.replicas);
    let gone = |release| state.copies(release).next().is_none();
    let both = |f: u32, t: u32| from.map(|from| (from, f)).into_iter().chain([(to, t)]).collect();
    match (phase, rollout.terms.strategy) {
        (Phase::Running | Phase::Paused, Strategy::Canary | Strategy::BlueGreen) => both(old, n),
        (Phase::Running | Phase::Paused, Strategy::Rolling) => {
            // An old instance goes when a new one has its share of the requests, not before.
            let taken_over = rollout.step.map_or(0, |step| state.ready(to).min(step + 1)).min(n);
            let left = if taken_over == 0 { old } else { old.min(n - taken_over) };
            // In an outage none is taken away: without requests to both releases nobody would see it end.
            let have = |release| state.instances_of(release).count() as u32;
            let left = if rollout.in_outage() { left.max(from.map_or(0, have).min(old)) } else { left };
            both(left, if from.is_some() { rollout.step.map_or(1, |step| step + 1).min(n) } else { n })
        }
        (Phase::Running | Phase::Paused, Strategy::Recreate) => both(0, if from.is_none_or(gone) { n } else { 0 }),
        (Phase::HoldingBack, _) => both(if rollout.terms.hold_back > Span::ZERO { old } else { 0 }, n),
        (Phase::Undoing, Strategy::Recreate) => both(if gone(to) { n } else { 0 }, 0),
        (Phase::Undoing, _) => {
            // What was there before may have to be started again first; until it is, the rest keeps answering.
            let kept = from.is_some_and(|from| state.ready(from) == 0);
            both(n, if kept { state.ready(to) } else { 0 })
        }
        (
            Phase::WaitingApproval
            | Phase::Succeeded
            | Phase::RolledBack
            | Phase::Failed
            | Phase::Cancelled
            | Phase::Superseded,
            _,
        ) => both(n, 0),
    }
}

/// Places and retires instances until each service has what it shall have.
pub(crate) fn settle(state: &State) -> Vec<Draft> {
    let mut next = state.next;
    state.services.keys().flat_map(|key| settle_service(state, key, &mut next)).collect()
}

fn settle_service(state: &State, key: &ServiceKey, next: &mut Next) -> Vec<Draft> {
    let wanted = wanted(state, key);
    let mut drafts = Vec::new();
    for (release, n) in &wanted {
        let have = state.instances_of(*release).count() as u32;
        for _ in have..*n {
            let fact = Fact::Placed { instance: next.take_instance(), service: key.clone(), release: *release };
            drafts.push(draft(state, key, *release, fact));
        }
    }
    let mut by_release: BTreeMap<ReleaseId, Vec<&Instance>> = BTreeMap::new();
    for i in state.instances_at(key).filter(|i| i.retired.is_none()) {
        by_release.entry(i.release).or_default().push(i);
    }
    for (release, mut have) in by_release {
        let n = wanted.iter().find(|(r, _)| *r == release).map_or(0, |(_, n)| *n as usize);
        // Those that are not ready go first, then the youngest.
        have.sort_by_key(|i| (!i.is_ready(), i.id));
        let is_asleep = state.services.get(key).is_some_and(sleep::is_asleep);
        let because = match n {
            0 if is_asleep => format!("{key} sleeps"),
            0 => format!("{release} is not needed any more"),
            n => format!("{n} are enough"),
        };
        for i in have.into_iter().skip(n) {
            drafts.push(draft(state, key, release, Fact::Retired { instance: i.id, because: because.clone() }));
        }
    }
    drafts
}
