//! The fold: the only place where state changes.

use crate::{Entry, Fact, State, cache, change, clock, instance, release, rollout, route, service, sleep};
use model::ServiceKey;

/// Folds one entry into the state. It cannot fail: an entry that makes no sense in this state changes nothing.
pub fn apply(state: &mut State, entry: &Entry) {
    // What an entry takes away must be looked up before, what it brings after.
    let before = rerouted(state, &entry.what);
    match &entry.what {
        Fact::Service(fact) => service::apply(state, fact),
        Fact::Release(fact) => release::apply(state, fact),
        Fact::Change(fact) => change::apply(state, entry, fact),
        Fact::Rollout(fact) => rollout::apply(state, entry, fact),
        Fact::Instance(fact) => instance::apply(state, entry, fact),
        Fact::Cache(fact) => cache::apply(state, entry, fact),
        Fact::Sleep(fact) => sleep::apply(state, entry, fact),
        Fact::Clock(fact) => clock::apply(state, fact),
    }
    state.recorded_at = entry.time;
    if let Some(key) = before.or_else(|| rerouted(state, &entry.what)) {
        route::refresh(state, &key, entry.seq.0 + 1);
    }
    if let Fact::Instance(instance::Fact::Retired { instance, .. }) = &entry.what {
        let generation = state.routes.generation;
        if let Some(retired) = state.instances.get_mut(instance).and_then(|i| i.retired.as_mut()) {
            retired.generation = generation;
        }
    }
}

/// The service whose routes an entry alters, or may alter. Most entries alter none.
fn rerouted(state: &State, fact: &Fact) -> Option<ServiceKey> {
    let of_change = |id| state.changes.get(&id).map(|c| c.service.clone());
    match fact {
        Fact::Service(service::Fact::Declared { service, .. } | service::Fact::Removed { service }) => {
            Some(service.clone())
        }
        Fact::Change(fact) => match fact {
            change::Fact::Finished { change, .. } => of_change(*change),
            change::Fact::Proposed { .. }
            | change::Fact::Approved { .. }
            | change::Fact::Started { .. }
            | change::Fact::Paused { .. }
            | change::Fact::Resumed { .. } => None,
        },
        Fact::Rollout(fact) => match fact {
            rollout::Fact::Begun { change, .. }
            | rollout::Fact::Shadowed { change, .. }
            | rollout::Fact::Stepped { change, .. }
            | rollout::Fact::Promoted { change, .. }
            | rollout::Fact::Undone { change, .. } => of_change(*change),
            rollout::Fact::Compared { .. }
            | rollout::Fact::Held { .. }
            | rollout::Fact::Released { .. }
            | rollout::Fact::Judged { .. } => None,
        },
        // Only an instance that is ready, or was, is in the table; and requests wait no longer than elsewhere once something is heard of one.
        Fact::Instance(fact) => {
            let is_waking = |key| state.services.get(key).is_some_and(sleep::is_waking);
            let instance = state.instances.get(&fact.instance());
            instance.filter(|i| i.is_ready() || is_waking(&i.service)).map(|i| i.service.clone())
        }
        Fact::Cache(cache::Fact::Purged { service, .. }) => Some(service.clone()),
        Fact::Sleep(fact) => Some(fact.service().clone()),
        Fact::Release(_) | Fact::Clock(_) => None,
    }
}
