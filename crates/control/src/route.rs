//! The route table that the data plane should obey, as a function of the state.

use crate::{
    Observed, State,
    change::{Change, Phase},
    instance::Instance,
    rollout::Rollout,
    service::Service,
    sleep,
    turn::Planned,
};
use model::{
    Action, Arm, ArmRole, Endpoint, Guard, Ratio, ReleaseId, RouteTable, ServiceKey, ServiceRoutes, Shadow, Span,
    Strategy,
};
use std::sync::Arc;

/// The routes of one service; `None` when it has none.
fn routes(state: &State, key: &ServiceKey) -> Option<ServiceRoutes> {
    let service = state.services.get(key).filter(|s| !s.removed && s.spec.is_reached())?;
    let under_way = state.active_change(key).and_then(|c| Some((c, c.rollout.as_ref()?)));
    let shadow = under_way.and_then(|(change, rollout)| shadow(state, change, rollout));
    let (arms, guard) = match under_way {
        Some((change, rollout)) => shared(state, service, change, rollout),
        None => (service.running.map(|r| arm(state, r, ArmRole::Running, Ratio::ONE)).into_iter().collect(), None),
    };
    let (purges, hold) = (service.purges.clone(), sleep::hold(service));
    let (spec, service) = (&service.spec, key.clone());
    let (routes, tcp, traffic) = (spec.routes.clone(), spec.tcp.clone(), spec.traffic.clone());
    Some(ServiceRoutes { service, routes, tcp, traffic, arms, guard, purges, shadow, hold })
}

fn arm(state: &State, release: ReleaseId, role: ArmRole, weight: Ratio) -> Arm {
    Arm { release, role, weight, endpoints: endpoints(state, release) }
}

fn endpoints(state: &State, release: ReleaseId) -> Vec<Endpoint> {
    let ready = |i: &Instance| Some(Endpoint { instance: i.id, address: i.endpoint()?.clone() });
    state.instances_of(release).filter_map(ready).collect()
}

/// The release that gets copies of a service's requests, before its first request.
fn shadow(state: &State, change: &Change, rollout: &Rollout) -> Option<Shadow> {
    let copies = rollout.terms.copies.filter(|_| rollout.shadow.is_some())?;
    let warm_up = rollout.terms.judgement.as_ref().map_or(Span::ZERO, |judgement| judgement.warm_up);
    let (release, share) = (rollout.to, copies.share);
    Some(Shadow { change: change.id, release, share, warm_up, endpoints: endpoints(state, release) })
}

/// The arms of a service whose requests are on the move, and the guard that watches.
fn shared(state: &State, service: &Service, change: &Change, rollout: &Rollout) -> (Vec<Arm>, Option<Guard>) {
    let alone = |release| vec![arm(state, release, ArmRole::Running, Ratio::ONE)];
    let to = rollout.to;
    let Some(from) = rollout.from else {
        return (if change.phase == Phase::Undoing { Vec::new() } else { alone(to) }, None);
    };
    let (ready_from, ready_to) = (state.ready(from), state.ready(to));
    match change.phase {
        Phase::Running | Phase::Paused => {
            let weight = match rollout.terms.strategy {
                // A share for a release that has nobody to answer would only be refused.
                Strategy::Canary if ready_to > 0 => rollout.weight,
                // Each instance its share, and no more than the step: a spare one that is not gone yet counts too.
                Strategy::Rolling if rollout.step.is_some() => {
                    Ratio::of(u64::from(ready_to), u64::from(ready_from + ready_to)).min(rollout.weight)
                }
                // Once the old instances are gone on purpose, requests wait for the new ones.
                Strategy::Recreate if ready_from == 0 => return (alone(to), None),
                Strategy::Canary | Strategy::Rolling | Strategy::BlueGreen | Strategy::Recreate => Ratio::ZERO,
            };
            let guard = rollout.terms.judgement.clone().filter(|_| rollout.step.is_some());
            let guard = guard.map(|judgement| Guard { change: change.id, judgement, baseline: None });
            if guard.is_none() && weight == Ratio::ZERO {
                return (alone(from), None);
            }
            let arms =
                vec![arm(state, from, ArmRole::Running, weight.complement()), arm(state, to, ArmRole::Canary, weight)];
            (arms, guard)
        }
        Phase::HoldingBack => match (&rollout.terms.watch, &rollout.baseline) {
            // The old release is in the table, with or without a share, so that the guard has somewhere to send users at
            // once. Without one there is nothing beside the new release to compare it with.
            (Some(watch), Some(baseline)) if ready_from > 0 => {
                let share = rollout.weight.complement();
                let baseline = Some(baseline.clone()).filter(|_| share == Ratio::ZERO);
                let guard = Guard { change: change.id, judgement: watch.clone(), baseline };
                let arms =
                    vec![arm(state, from, ArmRole::Running, share), arm(state, to, ArmRole::Canary, rollout.weight)];
                (arms, Some(guard))
            }
            _ => (alone(to), None),
        },
        Phase::Undoing if ready_from == 0 && ready_to > 0 => (alone(to), None),
        Phase::Undoing => (alone(from), None),
        Phase::WaitingApproval
        | Phase::Succeeded
        | Phase::RolledBack
        | Phase::Failed
        | Phase::Cancelled
        | Phase::Superseded => (service.running.map(alone).unwrap_or_default(), None),
    }
}

/// Brings the routes of one service up to date after an entry; raises the generation when that altered the table.
pub(crate) fn refresh(state: &mut State, key: &ServiceKey, generation: u64) {
    let new = routes(state, key);
    let old = state.routes.services.get(key);
    if new.as_ref() == old.map(Arc::as_ref) {
        return;
    }
    match new {
        Some(new) => drop(state.routes.services.insert(key.clone(), Arc::new(new))),
        None => drop(state.routes.services.remove(key)),
    }
    state.routes.generation = generation;
}

/// The whole table.
pub fn table(state: &State) -> RouteTable {
    let services = state.routes.services.values().map(|routes| (**routes).clone());
    RouteTable { generation: state.routes.generation, services: services.collect() }
}

/// Sets the table when the data plane obeys another one.
pub(crate) fn plan(state: &State, observed: &Observed) -> Option<Planned> {
    let proxy = observed.proxy.as_ref()?;
    // A data plane with a newer table than ours serves a newer ledger: never push it back.
    (proxy.generation < state.routes.generation)
        .then(|| Planned::new(Action::SetRoutes(table(state)), "the data plane has an older table"))
}
