//! The fold: the only place where state changes.

use crate::{Entry, Fact, State, change, clock, instance, release, rollout, route, service};
use model::ServiceKey;

/// Folds one entry into the state. It cannot fail: an entry that makes no sense in this state changes nothing.
pub fn apply(state: &mut State, entry: &Entry) {
    // What an entry takes away must be looked up before, what it brings after.
    let before = concerned(state, &entry.what);
    match &entry.what {
        Fact::Service(fact) => service::apply(state, fact),
        Fact::Release(fact) => release::apply(state, fact),
        Fact::Change(fact) => change::apply(state, entry, fact),
        Fact::Rollout(fact) => rollout::apply(state, entry, fact),
        Fact::Instance(fact) => instance::apply(state, entry, fact),
        Fact::Clock(fact) => clock::apply(state, fact),
    }
    let concerned = before.or_else(|| concerned(state, &entry.what));
    if let Some(key) = concerned {
        route::refresh(state, &key, entry.seq.0 + 1);
    }
    if let Fact::Instance(instance::Fact::Retired { instance, .. }) = &entry.what {
        let generation = state.routes.generation;
        if let Some(retired) = state.instances.get_mut(instance).and_then(|i| i.retired.as_mut()) {
            retired.generation = generation;
        }
    }
}

/// The service whose routes an entry may alter.
fn concerned(state: &State, fact: &Fact) -> Option<ServiceKey> {
    let of_change = |id| state.changes.get(&id).map(|c| c.service.clone());
    match fact {
        Fact::Service(service::Fact::Declared { service, .. } | service::Fact::Removed { service }) => {
            Some(service.clone())
        }
        Fact::Change(fact) => of_change(fact.change()),
        Fact::Rollout(fact) => of_change(fact.change()),
        Fact::Instance(fact) => state.instances.get(&fact.instance()).map(|i| i.service.clone()),
        Fact::Release(_) | Fact::Clock(_) => None,
    }
}
