//! What must always hold, each with a name and one sentence. Checked after every turn, in every story and every storm.

use crate::{audit::Step, data_plane::DataPlane, driver::Driver, serve::Serve};
use control::{
    Entry, Fact, Planned, State, cache,
    change::{self, Phase, phase::TRANSITIONS},
    instance::{self, Instance},
    release::Standing,
    rollout, route,
    sleep::{self, Rest},
};
use model::{
    Action, ActorKind, ArmRole, Claim, OnDeadline, Purge, Ratio, ReleaseId, ServiceKey, ServiceRoutes, Strategy, Time,
    Verdict,
};
use std::collections::BTreeMap;

/// An invariant.
pub struct Invariant {
    /// Its name.
    pub id: &'static str,
    /// What must always hold.
    pub says: &'static str,
    check: fn(&Moment<'_>) -> Result<(), String>,
}

/// An invariant that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which one.
    pub id: &'static str,
    /// What was found instead.
    pub why: String,
}

/// Every invariant there is.
pub const ALL: &[Invariant] = &[
    Invariant { id: "weights", says: "The weights of a service's arms sum to one, or it has no arm.", check: weights },
    Invariant {
        id: "exposure",
        says: "A canary never gets more than its step allows, and nothing once its guard has tripped or it is being undone while the old release can answer.",
        check: exposure,
    },
    Invariant {
        id: "capacity",
        says: "We never take instances or requests away so that fewer instances than wanted are ready to answer.",
        check: capacity,
    },
    Invariant {
        id: "rollback-target",
        says: "The running release and the proven one before it are kept, with their artifacts.",
        check: rollback_target,
    },
    Invariant { id: "proven", says: "A rollback goes to a release that was proven healthy.", check: proven },
    Invariant {
        id: "replay",
        says: "The fold of the ledger is the state, also when it begins at a snapshot.",
        check: replay,
    },
    Invariant {
        id: "durable-first",
        says: "No action is planned before the entry that caused it is durable.",
        check: durable_first,
    },
    Invariant {
        id: "ramp",
        says: "A canary without steps gets more only on evidence, at most twice as much at once, and never more than half.",
        check: ramp,
    },
    Invariant {
        id: "shadow",
        says: "A release that gets copies gets no request, and none before as many copies were compared as were asked for, or its deadline has passed.",
        check: shadow,
    },
    Invariant { id: "no-data", says: "Missing data never promotes a release.", check: no_data },
    Invariant { id: "entry-bytes", says: "Every entry fits, and is read back as what was written.", check: |_| Ok(()) },
    Invariant { id: "cause", says: "An entry follows from earlier entries only.", check: cause },
    Invariant { id: "phases", says: "A change moves along its transition table only.", check: phases },
    Invariant { id: "one-change", says: "A service has at most one change under way.", check: one_change },
    Invariant { id: "one-route", says: "No two services have the same route.", check: one_route },
    Invariant {
        id: "purged",
        says: "What was purged of a service is purged in every later table that has it.",
        check: purged,
    },
    Invariant { id: "sleep", says: "No service falls asleep while a change of it is under way.", check: sleep },
    Invariant {
        id: "drained",
        says: "An instance is stopped when it has no requests any more, or its drain deadline has passed.",
        check: drained,
    },
    Invariant {
        id: "terminates",
        says: "What follows from one observation ends after a few rounds.",
        check: terminates,
    },
    Invariant {
        id: "heals",
        says: "Once nothing is broken any more, everything becomes as it is intended.",
        check: |_| Ok(()),
    },
];

/// What there is to see after a turn.
pub(crate) struct Moment<'m> {
    /// What became durable.
    pub(crate) step: &'m Step,
    /// What the machine's clock says.
    pub(crate) now: Time,
    /// What the control plane wants done.
    pub(crate) actions: &'m [Planned],
    /// The control plane.
    pub(crate) serve: &'m Serve,
    /// The driver, before it does anything about that.
    pub(crate) driver: &'m Driver,
    /// The data plane, likewise.
    pub(crate) proxy: Option<&'m DataPlane>,
}

impl Moment<'_> {
    /// Checks everything.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        ALL.iter().try_for_each(|i| (i.check)(self).map_err(|why| Violation { id: i.id, why }))
    }

    fn tables(&self) -> impl Iterator<Item = (&ServiceKey, &ServiceRoutes)> {
        self.step.after.routes.services.iter().map(|(key, routes)| (key, routes.as_ref()))
    }

    fn rollouts(&self) -> impl Iterator<Item = (&Entry, &rollout::Fact)> {
        self.step.entries.iter().filter_map(|e| if let Fact::Rollout(fact) = &e.what { Some((e, fact)) } else { None })
    }
}

fn holds(what: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if what { Ok(()) } else { Err(otherwise()) }
}

fn weights(m: &Moment<'_>) -> Result<(), String> {
    m.tables().try_for_each(|(key, routes)| {
        let sum: u32 = routes.arms.iter().map(|arm| arm.weight.ppm()).sum();
        holds(routes.arms.is_empty() || sum == Ratio::ONE.ppm(), || format!("those of {key} sum to {sum} ppm"))
    })
}

fn exposure(m: &Moment<'_>) -> Result<(), String> {
    for (key, routes) in m.tables() {
        let Some(change) = m.step.after.active_change(key) else { continue };
        let Some(rollout) = &change.rollout else { continue };
        for arm in routes.arms.iter().filter(|arm| arm.role == ArmRole::Canary) {
            holds(arm.weight <= rollout.weight, || {
                format!("{} of {key} gets {} at the step {}", arm.release, arm.weight, rollout.weight)
            })?;
        }
        let answers = rollout.from.is_some_and(|from| m.step.after.ready(from) > 0);
        let exposed = routes.arms.iter().any(|arm| arm.release == rollout.to && arm.weight > Ratio::ZERO);
        holds(change.phase != Phase::Undoing || !answers || !exposed, || {
            format!("{} gets requests of {key} while it is being undone", rollout.to)
        })?;
    }
    let Some(proxy) = m.proxy else { return Ok(()) };
    proxy.saved.table.services.iter().try_for_each(|routes| {
        let tripped = routes.guard.as_ref().is_some_and(|g| proxy.saved.tripped.contains(&g.change));
        holds(!tripped || proxy.exposure(routes) == Ratio::ZERO, || {
            format!("{} after its guard tripped", routes.service)
        })
    })
}

/// How many instances are ready to answer a service's requests, not counting those of a release.
fn answering(state: &State, key: &ServiceKey, but: Option<ReleaseId>) -> usize {
    let routes = state.routes.services.get(key);
    let arms = routes.iter().flat_map(|r| &r.arms).filter(|arm| arm.weight > Ratio::ZERO && Some(arm.release) != but);
    arms.map(|arm| arm.endpoints.len()).sum()
}

/// Whether something happened to instances of a service that was not our doing, or that a person wanted: the end of
/// everything.
fn misfortune(m: &Moment<'_>, key: &ServiceKey) -> bool {
    m.step.entries.iter().any(|e| {
        let Fact::Instance(fact) = &e.what else { return false };
        let concerns = m.step.before.instances.get(&fact.instance()).is_some_and(|i| i.service == *key);
        concerns
            && matches!(
                fact,
                instance::Fact::Unready { .. }
                    | instance::Fact::Condemned { .. }
                    | instance::Fact::Ended { .. }
                    | instance::Fact::Failed { .. }
                    | instance::Fact::Halted { .. }
            )
    })
}

fn capacity(m: &Moment<'_>) -> Result<(), String> {
    let (before, after) = (&m.step.before, &m.step.after);
    for (key, service) in after.services.iter().filter(|(key, s)| !s.removed && !misfortune(m, key)) {
        let recreated = |state: &State| {
            let rollout = state.active_change(key).and_then(|c| c.rollout.as_ref());
            rollout.is_some_and(|r| r.terms.strategy == Strategy::Recreate)
        };
        // It was asked for that nothing answers for a while, or nothing is trusted to.
        let asleep = matches!(service.rest, Some(Rest::Asleep { .. }));
        let asked_for = recreated(before) || recreated(after) || service.running.is_none() || asleep;
        if asked_for || !after.routes.services.contains_key(key) {
            continue;
        }
        // A release that is withdrawn does not count, nor does what it leaves behind have to make up for it.
        let withdrawn = before.active_change(key).and_then(|c| Some((c.id, c.rollout.as_ref()?.to)));
        let withdrawn = withdrawn.filter(|(id, to)| {
            let now = after.active_change(key);
            let undone = now.is_some_and(|c| c.id == *id && c.phase == Phase::Undoing);
            undone || (now.is_none_or(|c| c.id != *id) && service.running != Some(*to))
        });
        let was = answering(before, key, withdrawn.map(|(_, to)| to));
        let is = answering(after, key, None);
        let replicas = |state: &State| state.services.get(key).map_or(0, |s| s.spec.replicas as usize);
        let wanted = replicas(before).min(replicas(after));
        holds(is >= was.min(wanted), || {
            format!("{key} went from {was} to {is} answering instances where {wanted} are wanted")
        })?;
    }
    Ok(())
}

fn rollback_target(m: &Moment<'_>) -> Result<(), String> {
    let (before, after) = (&m.step.before, &m.step.after);
    for (key, service) in &after.services {
        let target = service.rollback_target(&after.releases);
        for release in service.running.into_iter().chain(target) {
            let known = after.releases.get(&release).ok_or_else(|| format!("{release} of {key} was forgotten"))?;
            let kept = m.actions.iter().find_map(|p| match &p.action {
                Action::KeepArtifacts(kept) => Some(kept),
                Action::StartInstance(_)
                | Action::StopInstance(_)
                | Action::ForgetInstance(_)
                | Action::SetRoutes(_) => None,
            });
            holds(kept.is_none_or(|k| k.contains(&known.artifact)), || format!("{release} of {key} is not kept"))?;
        }
        let Some(was) = before.services.get(key).filter(|s| s.running == service.running) else { continue };
        let was = was.rollback_target(&before.releases);
        let still_proven = was.is_some_and(|r| after.releases.get(&r).is_none_or(|r| r.standing == Standing::Proven));
        holds(!still_proven || was == target, || format!("{key} could return to {was:?} and now to {target:?}"))?;
    }
    Ok(())
}

fn proven(m: &Moment<'_>) -> Result<(), String> {
    m.step.entries.iter().try_for_each(|e| {
        let Fact::Change(change::Fact::Proposed { kind: change::Kind::Rollback { to }, .. }) = &e.what else {
            return Ok(());
        };
        let standing = m.step.before.releases.get(to).map(|r| r.standing);
        holds(standing == Some(Standing::Proven), || format!("{to} is {standing:?}"))
    })
}

fn replay(m: &Moment<'_>) -> Result<(), String> {
    // A ledger that has stopped may hold entries that nobody was told of; only a restart tells.
    holds(m.serve.stopped.is_some() || m.serve.published.state == m.step.after, || {
        "the published state is not the fold of what is durable".to_owned()
    })
}

fn durable_first(m: &Moment<'_>) -> Result<(), String> {
    let state = &m.serve.published.state;
    m.actions.iter().try_for_each(|planned| match &planned.action {
        Action::StartInstance(spec) => {
            let wanted =
                state.instances.get(&spec.id).is_some_and(|i| i.attempt == spec.attempt && i.retired.is_none());
            holds(wanted, || format!("{} run {} is started and no entry says so", spec.id, spec.attempt))
        }
        Action::StopInstance(id) => {
            let condemned = |i: &Instance| matches!(i.condition, instance::Condition::Condemned { .. });
            let unwanted = state.instances.get(id).is_none_or(|i| i.retired.is_some() || condemned(i));
            holds(unwanted, || format!("{id} is stopped and no entry says so"))
        }
        Action::ForgetInstance(id) => holds(!state.instances.contains_key(id), || format!("{id} is forgotten")),
        Action::SetRoutes(table) => {
            holds(*table == route::table(state), || "the table set is not that of the ledger".to_owned())
        }
        Action::KeepArtifacts(_) => Ok(()),
    })
}

fn no_data(m: &Moment<'_>) -> Result<(), String> {
    m.rollouts().try_for_each(|(entry, fact)| {
        let rollout::Fact::Promoted { change, release, .. } = fact else { return Ok(()) };
        let judged = m.step.after.changes.get(change).and_then(|c| c.rollout.as_ref()?.terms.judgement.as_ref());
        let seen = m.serve.observed.evidence(*change);
        let rolling = m.step.after.changes.get(change).and_then(|c| Some(c.rollout.as_ref()?.terms.strategy))
            == Some(Strategy::Rolling);
        let enough = seen.is_some_and(|e| rolling || e.verdict != Verdict::NoData);
        let by_person = entry.actor.kind != ActorKind::Quarterdeck;
        holds(by_person || judged.is_none() || enough, || format!("{release} was promoted on nothing"))
    })
}

fn ramp(m: &Moment<'_>) -> Result<(), String> {
    m.rollouts().try_for_each(|(_, fact)| {
        let rollout::Fact::Stepped { change, weight, .. } = fact else { return Ok(()) };
        let rollout = |state: &'_ State| state.changes.get(change).and_then(|c| c.rollout.clone());
        let Some(now) = rollout(&m.step.after).filter(|r| r.terms.steps.is_empty()) else { return Ok(()) };
        if now.terms.strategy != Strategy::Canary {
            return Ok(());
        }
        let before = rollout(&m.step.before).filter(|r| r.step.is_some()).map(|r| r.weight);
        let seen = m.serve.observed.evidence(*change);
        match before {
            // What becomes durable in one turn is one step.
            None => holds(*weight == percent(1), || format!("{change} begins with {weight}")),
            Some(before) => {
                let canary = seen.map_or(0, |e| e.canary.units);
                let at_most = Ratio::from_ppm(before.ppm() * 2).unwrap_or(Ratio::ONE).min(percent(50));
                holds(canary > 0 && before < *weight && *weight <= at_most, || {
                    format!("{change} went from {before} to {weight} on {canary} canary units")
                })
            }
        }
    })
}

fn shadow(m: &Moment<'_>) -> Result<(), String> {
    for (key, routes) in m.tables() {
        let Some(shadow) = &routes.shadow else { continue };
        let has_requests = routes.arms.iter().any(|arm| arm.release == shadow.release);
        holds(!has_requests, || format!("{} of {key} gets copies and requests", shadow.release))?;
    }
    m.rollouts().try_for_each(|(entry, fact)| {
        let rollout::Fact::Stepped { change, step: 0, .. } = fact else { return Ok(()) };
        let before = m.step.before.changes.get(change).and_then(|c| c.rollout.as_ref());
        let Some(copies) = before.and_then(|r| r.terms.copies) else { return Ok(()) };
        let compared = m.serve.observed.copies(*change).map_or(0, model::Copies::compared);
        let deadline = before.filter(|r| r.shadow.is_some() && r.terms.on_deadline == OnDeadline::Promote);
        let overdue = deadline.and_then(|r| r.deadline).is_some_and(|deadline| entry.time >= deadline);
        holds(compared >= u64::from(copies.requests) || (overdue && compared > 0), || {
            format!("{change} begins with requests after {compared} copies")
        })
    })
}

const fn percent(n: u32) -> Ratio {
    match Ratio::from_percent(n) {
        Some(ratio) => ratio,
        None => Ratio::ZERO,
    }
}

fn cause(m: &Moment<'_>) -> Result<(), String> {
    let wrong = m.step.entries.iter().find(|e| e.cause.iter().any(|cause| *cause >= e.seq));
    holds(wrong.is_none(), || format!("{wrong:?}"))
}

fn phases(m: &Moment<'_>) -> Result<(), String> {
    m.step.moves.iter().try_for_each(|(id, from, to)| {
        let known = TRANSITIONS.iter().any(|(a, _, b)| a == from && b == to);
        holds(known, || format!("{id} went from {from:?} to {to:?}"))
    })
}

fn one_change(m: &Moment<'_>) -> Result<(), String> {
    let mut under_way: BTreeMap<&ServiceKey, u32> = BTreeMap::new();
    for change in m.step.after.changes.values() {
        // The declaration of a new service is not under way for long and nothing can conflict with it.
        if change.phase.is_open() && change.phase != Phase::WaitingApproval && change.before.is_some() {
            *under_way.entry(&change.service).or_default() += 1;
        }
    }
    under_way.into_iter().try_for_each(|(key, n)| holds(n == 1, || format!("{key} has {n}")))
}

fn one_route(m: &Moment<'_>) -> Result<(), String> {
    let mut taken: BTreeMap<Claim, &ServiceKey> = BTreeMap::new();
    for (key, routes) in m.tables() {
        let addresses = routes.tcp.iter().copied().map(Claim::Tcp);
        for claim in routes.routes.iter().map(Claim::of).chain(addresses) {
            let other = taken.insert(claim.clone(), key);
            holds(other.is_none(), || format!("{key} and {other:?} both have {claim}"))?;
        }
    }
    Ok(())
}

fn purged(m: &Moment<'_>) -> Result<(), String> {
    let carried = |key: &ServiceKey, purge: &Purge| {
        let Some(routes) = m.step.after.routes.services.get(key) else { return Ok(()) };
        holds(routes.purges.iter().any(|later| later.covers(purge)), || format!("{purge:?} of {key} is not carried"))
    };
    for (key, routes) in m.step.before.routes.services.iter() {
        routes.purges.iter().try_for_each(|purge| carried(key, purge))?;
    }
    m.step.entries.iter().try_for_each(|entry| {
        let Fact::Cache(cache::Fact::Purged { service, path, .. }) = &entry.what else { return Ok(()) };
        carried(service, &Purge { generation: entry.seq.0 + 1, path: path.clone() })
    })
}

fn sleep(m: &Moment<'_>) -> Result<(), String> {
    m.step.entries.iter().try_for_each(|entry| {
        let Fact::Sleep(sleep::Fact::Slept { service, .. }) = &entry.what else { return Ok(()) };
        let change = m.step.after.active_change(service).map(|change| change.id);
        holds(change.is_none(), || format!("{service} fell asleep during {change:?}"))
    })
}

fn drained(m: &Moment<'_>) -> Result<(), String> {
    let Some(proxy) = m.proxy else { return Ok(()) };
    m.actions.iter().try_for_each(|planned| {
        let Action::StopInstance(id) = &planned.action else { return Ok(()) };
        let Some(instance) = m.step.after.instances.get(id) else { return Ok(()) };
        let Some(retired) = instance.retired.filter(|_| m.driver.processes.get(id).is_some_and(|p| p.runs())) else {
            return Ok(());
        };
        let deadline = m.step.after.services.get(&instance.service).map(|s| s.spec.traffic.drain_deadline);
        let patient = deadline.is_none_or(|d| m.now.since(retired.at) > d);
        let in_flight = proxy.in_flight(*id);
        holds(patient || in_flight == 0, || format!("{id} is stopped with {in_flight} requests in flight"))
    })
}

fn terminates(m: &Moment<'_>) -> Result<(), String> {
    const ROUNDS: usize = 60;
    holds(m.serve.rounds < ROUNDS, || format!("{} rounds", m.serve.rounds))
}
