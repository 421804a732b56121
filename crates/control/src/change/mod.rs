//! Changes: what someone wants altered, from the proposal to the end.
//!
//! A change is a state machine. [`phase`] holds its transition table, from which the diagram in the documentation is
//! generated; [`propose`] says what a command would do; this file takes it through its life.

pub mod phase;
pub mod propose;

use crate::{Code, Draft, Entry, Observed, Refusal, Request, State, fact, release, rollout, service, state::Next};
use model::{Actor, ChangeId, Claim, Digest, ReleaseId, ServiceKey, ServiceSpec, Strategy, Time};
pub use phase::{Outcome, Phase};
pub use propose::{Plan, PlannedChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a change alters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A new release of a service.
    Deploy {
        /// What was built.
        artifact: Digest,
        /// What people call it.
        label: Option<String>,
        /// How it takes over, if not as the service says.
        strategy: Option<Strategy>,
        /// Whether it takes the place of a change that is under way.
        supersede: bool,
    },
    /// What is intended for a service. With another way of running it comes a new release.
    Config {
        /// What is intended from now on.
        spec: Arc<ServiceSpec>,
    },
    /// Back to a release that was proven.
    Rollback {
        /// Which one.
        to: ReleaseId,
    },
    /// Another number of instances.
    Scale {
        /// How many.
        replicas: u32,
    },
    /// The end of a service.
    Remove,
}

impl Kind {
    /// One word for people and programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Kind::Deploy { .. } => "deploy",
            Kind::Config { .. } => "config",
            Kind::Rollback { .. } => "rollback",
            Kind::Scale { .. } => "scale",
            Kind::Remove => "remove",
        }
    }

    /// The routes and addresses it intends.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> {
        let spec = match self {
            Kind::Config { spec } => Some(spec),
            Kind::Deploy { .. } | Kind::Rollback { .. } | Kind::Scale { .. } | Kind::Remove => None,
        };
        spec.into_iter().flat_map(|spec| spec.claims())
    }

    /// The artifact it names.
    pub(crate) const fn artifact(&self) -> Option<Digest> {
        match self {
            Kind::Deploy { artifact, .. } => Some(*artifact),
            Kind::Config { .. } | Kind::Rollback { .. } | Kind::Scale { .. } | Kind::Remove => None,
        }
    }
}

/// How much ceremony a change needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Known, reversible, done often.
    Standard,
    /// Everything else.
    Normal,
    /// To end harm: not held up by approvals.
    Emergency,
}

/// A change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Its id.
    pub id: ChangeId,
    /// Which service it alters.
    pub service: ServiceKey,
    /// What it alters.
    pub kind: Kind,
    /// How much ceremony it needs.
    pub class: Class,
    /// How far it is.
    pub phase: Phase,
    /// What it was planned to do.
    pub plan: Arc<PlannedChange>,
    /// Who wanted it.
    pub actor: Actor,
    /// For whom, when a program or an agent acted for a person.
    pub on_behalf_of: Option<Actor>,
    /// Why.
    pub reason: String,
    /// When it was proposed.
    pub proposed_at: Time,
    /// When it was started; `None` while it waits.
    pub started_at: Option<Time>,
    /// How many others must approve.
    pub approvals_needed: u32,
    /// Who approved.
    pub approvals: Vec<Actor>,
    /// What was intended before, to return to when it is undone.
    pub before: Option<Arc<ServiceSpec>>,
    /// How its traffic moves, when it has any to move.
    pub rollout: Option<rollout::Rollout>,
    /// How it ended and why.
    pub ended: Option<Ended>,
    /// The entry that last moved it: the cause of what follows.
    pub last: model::Seq,
}

/// How a change ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// When.
    pub at: Time,
    /// Why, one sentence.
    pub because: String,
}

/// What can happen to a change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// Someone wants it.
    Proposed {
        /// Its id.
        change: ChangeId,
        /// Which service it alters.
        service: ServiceKey,
        /// What it alters.
        kind: Kind,
        /// How much ceremony it needs.
        class: Class,
        /// What it would do.
        plan: Arc<PlannedChange>,
        /// How many others must approve.
        approvals_needed: u32,
    },
    /// Someone else agrees to the plan with this digest.
    Approved {
        /// Which change.
        change: ChangeId,
        /// The plan's digest.
        digest: Digest,
    },
    /// It is being carried out.
    Started {
        /// Which change.
        change: ChangeId,
    },
    /// It stays where it is until resumed.
    Paused {
        /// Which change.
        change: ChangeId,
    },
    /// It goes on.
    Resumed {
        /// Which change.
        change: ChangeId,
    },
    /// It is over.
    Finished {
        /// Which change.
        change: ChangeId,
        /// How.
        outcome: Outcome,
        /// Why.
        because: String,
    },
}

impl Fact {
    /// Which change it is about.
    pub const fn change(&self) -> ChangeId {
        match self {
            Fact::Proposed { change, .. }
            | Fact::Approved { change, .. }
            | Fact::Started { change }
            | Fact::Paused { change }
            | Fact::Resumed { change }
            | Fact::Finished { change, .. } => *change,
        }
    }

    /// Whether a person did it, rather than that it followed from something.
    pub(crate) const fn is_a_persons(&self) -> bool {
        match self {
            Fact::Proposed { .. } | Fact::Approved { .. } | Fact::Paused { .. } | Fact::Resumed { .. } => true,
            Fact::Started { .. } | Fact::Finished { .. } => false,
        }
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Proposed { change, service, kind, plan, approvals_needed, .. } => {
                let waits = match approvals_needed {
                    0 => String::new(),
                    1 => ", waiting for 1 approval".to_owned(),
                    n => format!(", waiting for {n} approvals"),
                };
                format!("proposed {change}: {} {service} (plan {}){waits}", kind.word(), plan.digest.short())
            }
            Fact::Approved { change, digest } => format!("approved {change} (plan {})", digest.short()),
            Fact::Started { change } => format!("{change} started"),
            Fact::Paused { change } => format!("paused {change}"),
            Fact::Resumed { change } => format!("resumed {change}"),
            Fact::Finished { change, outcome, because } => format!("{change} {outcome}: {because}"),
        }
    }
}

/// A draft of a change fact, caused by the entry that last moved the change.
pub(crate) fn draft(state: &State, fact: Fact) -> Draft {
    let change = fact.change();
    let draft = fact::draft(fact::change_stream(change), fact::Fact::Change(fact));
    match state.changes.get(&change) {
        Some(change) => draft.caused_by(change.last),
        None => draft,
    }
}

/// Decides on approvals, pauses and resumptions.
pub(crate) fn decide_approve(
    state: &State,
    request: &Request,
    id: ChangeId,
    digest: Digest,
) -> Result<Vec<Draft>, Refusal> {
    let change = known(state, id)?;
    change.phase.check(id, phase::Event::Start)?;
    let own = |reason: String| Refusal::new(Code::OwnApproval, reason, "ask someone else");
    // Whoever had someone else propose it wanted it all the same.
    let mine = |actor: &Actor| *actor == change.actor || Some(actor) == change.on_behalf_of.as_ref();
    if let Some(actor) = request.parties().find(|actor| mine(actor)) {
        return Err(own(format!("{actor} proposed {id} and cannot approve it")));
    }
    if let Some(actor) = request.parties().find(|actor| change.approvals.contains(actor)) {
        return Err(own(format!("{actor} has already approved {id}")));
    }
    let now = propose::planned(state, &change.service, &change.kind)?;
    if digest != change.plan.digest || now.digest != change.plan.digest {
        return Err(Refusal::new(
            Code::PlanChanged,
            format!(
                "what {id} would do is not what was {}",
                if digest == change.plan.digest { "proposed" } else { "read" }
            ),
            format!("look at it with `qd change {id}`; if the service has moved on, cancel it and propose it again"),
        ));
    }
    let mut drafts = vec![draft(state, Fact::Approved { change: id, digest })];
    if change.approvals.len() as u32 + 1 >= change.approvals_needed {
        propose::startable(state, &change.service, &change.kind)?;
        drafts.extend(start(state, &mut state.next.clone(), id, &change.service, &change.kind)?);
    }
    Ok(drafts)
}

pub(crate) fn decide_pause(state: &State, id: ChangeId) -> Result<Vec<Draft>, Refusal> {
    let change = known(state, id)?;
    change.phase.check(id, phase::Event::Pause)?;
    if change.rollout.is_none() {
        let hint = format!("wait for it, or `qd cancel {id}`");
        return Err(Refusal::new(
            Code::WrongPhase,
            format!("{id} moves no traffic that could be kept where it is"),
            hint,
        ));
    }
    Ok(vec![draft(state, Fact::Paused { change: id })])
}

pub(crate) fn decide_resume(state: &State, id: ChangeId) -> Result<Vec<Draft>, Refusal> {
    known(state, id)?.phase.check(id, phase::Event::Resume)?;
    Ok(vec![draft(state, Fact::Resumed { change: id })])
}

/// Decides on a cancellation: a waiting change is withdrawn, one under way is undone.
pub(crate) fn decide_cancel(state: &State, request: &Request, id: ChangeId) -> Result<Vec<Draft>, Refusal> {
    let change = known(state, id)?;
    let because = request.because();
    if change.phase == Phase::WaitingApproval {
        return Ok(vec![draft(state, Fact::Finished { change: id, outcome: Outcome::Cancelled, because })]);
    }
    change.phase.check(id, phase::Event::Undo)?;
    service::check_return(state, change)?;
    if change.rollout.is_some() {
        Ok(vec![rollout::draft_undo(change, because, Outcome::Cancelled)])
    } else {
        Ok(vec![draft(state, Fact::Finished { change: id, outcome: Outcome::Cancelled, because })])
    }
}

/// The change with an id.
pub(crate) fn known(state: &State, id: ChangeId) -> Result<&Change, Refusal> {
    state.changes.get(&id).ok_or_else(|| {
        Refusal::new(
            Code::UnknownChange,
            format!("there is no {id} among the open and recent changes"),
            "see `qd changes`",
        )
    })
}

/// Everything that happens at once when a change starts.
pub(crate) fn start(
    state: &State,
    next: &mut Next,
    id: ChangeId,
    key: &ServiceKey,
    kind: &Kind,
) -> Result<Vec<Draft>, Refusal> {
    let service = state.services.get(key);
    let mut drafts = Vec::new();
    let mut from = service.and_then(|s| s.running);
    let mut spec = service.map(|s| s.spec.clone());
    if let Some(active) = state.active_change(key) {
        // What is held back has been promoted: it stands. What is not, gives way to what was there before it.
        let outcome = if active.phase == Phase::HoldingBack { Outcome::Succeeded } else { Outcome::Superseded };
        if outcome == Outcome::Superseded {
            from = active.rollout.as_ref().map_or(from, |r| r.from);
            spec = active.before.clone().or(spec);
        }
        drafts
            .push(draft(state, Fact::Finished { change: active.id, outcome, because: format!("{id} took its place") }));
    }
    drafts.push(draft(state, Fact::Started { change: id }));
    let create = |release, artifact, spec: &ServiceSpec, label: &Option<String>| {
        let run = Arc::new(spec.run.clone());
        let fact = release::Fact::Created { release, service: key.clone(), artifact, run, label: label.clone() };
        fact::draft(fact::change_stream(id), fact::Fact::Release(fact))
    };
    let declare = |spec| service::draft(id, service::Fact::Declared { service: key.clone(), spec });
    let spec = spec.ok_or_else(|| propose::unknown_service(state, key));
    match kind {
        Kind::Deploy { artifact, label, strategy, .. } => {
            let (spec, new) = (spec?, next.take_release());
            drafts.push(create(new, *artifact, &spec, label));
            drafts.push(rollout::draft_begin(id, from, new, rollout::Terms::of(state, &spec, *strategy, from)));
        }
        Kind::Config { spec } => {
            drafts.push(declare(spec.clone()));
            if let Some(old) = from.and_then(|r| state.releases.get(&r)).filter(|r| *r.run != spec.run) {
                let new = next.take_release();
                drafts.push(create(new, old.artifact, spec, &old.label));
                drafts.push(rollout::draft_begin(id, from, new, rollout::Terms::of(state, spec, None, from)));
            }
        }
        Kind::Rollback { to } => {
            let spec = spec?;
            // A release is an artifact and a way of running it: what is intended returns with it.
            if let Some(run) = state.releases.get(to).map(|r| &r.run).filter(|run| ***run != spec.run) {
                drafts.push(declare(Arc::new(ServiceSpec { run: (**run).clone(), ..(*spec).clone() })));
            }
            drafts.push(rollout::draft_begin(id, from, *to, rollout::Terms::return_to_proven(&spec)));
        }
        Kind::Scale { replicas } => {
            let mut spec = (*spec?).clone();
            spec.replicas = *replicas;
            drafts.push(declare(Arc::new(spec)));
        }
        Kind::Remove => drafts.push(service::draft(id, service::Fact::Removed { service: key.clone() })),
    }
    Ok(drafts)
}

/// Finishes changes without a rollout once the world is as they want it.
pub(crate) fn advance(state: &State, observed: &Observed, change: &Change, now: Time) -> Option<Draft> {
    if change.phase != Phase::Running || change.rollout.is_some() {
        return None;
    }
    let finish = |outcome, because: String| Some(draft(state, Fact::Finished { change: change.id, outcome, because }));
    let service = state.services.get(&change.service)?;
    if service.removed {
        let gone = state.instances_at(&change.service).next().is_none();
        return if gone { finish(Outcome::Succeeded, "nothing of it runs any more".to_owned()) } else { None };
    }
    let Some(running) = service.running else {
        return finish(Outcome::Succeeded, "it will run with its first deploy".to_owned());
    };
    let replicas = service.spec.replicas;
    // Only what it adds can fail: instances that were there before it may be unready for reasons of their own.
    if change.before.as_ref().is_some_and(|before| before.replicas >= replicas) {
        return finish(Outcome::Succeeded, "it is in force".to_owned());
    }
    let ready = state.ready(running);
    if ready >= replicas {
        return finish(Outcome::Succeeded, format!("{ready} of {replicas} instances are ready"));
    }
    let limit = service.spec.run.start_deadline;
    if now.since(change.started_at?) > limit {
        let waiting = state.instances_of(running).find(|i| !i.is_ready()).map(|i| i.waiting_for(observed));
        let waiting = waiting.map_or(String::new(), |why| format!(": {why}"));
        return finish(Outcome::Failed, format!("{ready} of {replicas} instances were ready within {limit}{waiting}"));
    }
    None
}

pub(crate) fn apply(state: &mut State, entry: &Entry, fact: &Fact) {
    if let Fact::Proposed { change, service, kind, class, plan, approvals_needed } = fact {
        state.next.change = ChangeId(state.next.change.0.max(change.0 + 1));
        let new = Change {
            id: *change,
            service: service.clone(),
            kind: kind.clone(),
            class: *class,
            phase: Phase::WaitingApproval,
            plan: plan.clone(),
            actor: entry.actor.clone(),
            on_behalf_of: entry.on_behalf_of.clone(),
            reason: entry.why.clone().unwrap_or_default(),
            proposed_at: entry.time,
            started_at: None,
            approvals_needed: *approvals_needed,
            approvals: Vec::new(),
            before: None,
            rollout: None,
            ended: None,
            last: entry.seq,
        };
        state.changes.insert(*change, new);
        state.open.insert(*change);
        return;
    }
    let Some(change) = state.changes.get_mut(&fact.change()) else { return };
    change.last = entry.seq;
    match fact {
        Fact::Proposed { .. } => {}
        Fact::Approved { .. } => change.approvals.push(entry.actor.clone()),
        Fact::Started { .. } => {
            change.phase = change.phase.after(phase::Event::Start);
            change.started_at = Some(entry.time);
            if let Some(service) = state.services.get_mut(&change.service) {
                change.before = Some(service.spec.clone());
                service.active = Some(change.id);
            }
        }
        Fact::Paused { .. } => {
            change.phase = change.phase.after(phase::Event::Pause);
            if let Some(rollout) = &mut change.rollout {
                rollout.stop_clock(entry.time);
            }
        }
        Fact::Resumed { .. } => {
            change.phase = change.phase.after(phase::Event::Resume);
            // What is held by an outage goes on standing still until that is over.
            if let Some(rollout) = change.rollout.as_mut().filter(|r| !r.in_outage()) {
                rollout.start_clock(entry.time);
            }
        }
        Fact::Finished { outcome, because, .. } => {
            change.phase = change.phase.after(phase::Event::Finish(*outcome));
            change.ended = Some(Ended { at: entry.time, because: because.clone() });
            finish(state, fact.change(), *outcome);
        }
    }
}

/// What follows for the service and its releases when a change is over.
fn finish(state: &mut State, id: ChangeId, outcome: Outcome) {
    state.open.remove(&id);
    let Some(change) = state.changes.get(&id) else { return };
    let succeeded = outcome == Outcome::Succeeded;
    if let Some(service) = state.services.get_mut(&change.service) {
        if service.active == Some(id) {
            service.active = None;
        }
        if !succeeded {
            service::restore(service, change.before.clone());
            change.rollout.iter().for_each(|rollout| service::distrust(service, rollout.to, rollout.from));
        }
        if succeeded && service.removed {
            std::mem::take(&mut service.releases).iter().for_each(|release| drop(state.releases.remove(release)));
            state.services.remove(&change.service);
        }
    }
    if let (Some(rollout), Some(ended)) = (&change.rollout, &change.ended)
        && !matches!(change.kind, Kind::Rollback { .. })
        && let Some(release) = state.releases.get_mut(&rollout.to)
    {
        release.standing = match outcome {
            // One whose hold-back was cut short has shown nothing by that.
            Outcome::Succeeded if ended.at < rollout.warm_until() => release.standing,
            Outcome::Succeeded => release::Standing::Proven,
            Outcome::RolledBack | Outcome::Failed => release::Standing::Undone,
            Outcome::Cancelled | Outcome::Superseded => release::Standing::New,
        };
    }
    while state.changes.len() > state.open.len() + crate::state::KEPT_CHANGES {
        let Some(oldest) = state.changes.keys().find(|id| !state.open.contains(*id)).copied() else { return };
        state.changes.remove(&oldest);
    }
}
