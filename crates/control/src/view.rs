//! What people and programs see. Built from the state and the observation, never stored.

use crate::{
    Observed, State,
    change::{Change, Class, Kind, Outcome, Phase, PlannedChange},
    instance::Instance,
    release,
    rollout::{self, CopyTerms},
    sleep::Rest,
};
use model::{
    Address, Certificate, ChangeId, ClosedAddress, Copies, Digest, Evidence, InstanceId, Ratio, ReleaseId, RouteMatch,
    ServiceKey, Span, Strategy, Tally, Time, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Everything at a glance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// When this was so.
    pub at: Time,
    /// Every service.
    pub services: Vec<ServiceView>,
    /// Every change that is open.
    pub changes: Vec<ChangeView>,
    /// The data plane; `None` while it is silent.
    pub proxy: Option<ProxyView>,
}

/// The data plane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProxyView {
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// Where it listens for connections that begin with TLS.
    #[serde(default)]
    pub listening_tls: Vec<SocketAddr>,
    /// The addresses of services that it cannot listen on.
    #[serde(default)]
    pub closed_tcp: Vec<ClosedAddress>,
    /// The certificates it presents there.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Whether it obeys the table that is intended now.
    pub up_to_date: bool,
    /// Open client connections.
    pub connections: u64,
    /// Requests that matched no route, since it started.
    pub unrouted: u64,
}

/// How a service is, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As many instances are ready as are wanted.
    Ok,
    /// Some are.
    Degraded,
    /// None is.
    Down,
    /// None shall run, because nobody asks for it.
    Asleep,
    /// None is, because it slept until a moment ago.
    Waking,
    /// It was never deployed.
    Empty,
    /// It is going away.
    Leaving,
}

/// A service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// Its name.
    pub service: ServiceKey,
    /// How it is.
    pub health: Health,
    /// The release that is trusted.
    pub running: Option<ReleaseView>,
    /// The release a rollback would return to.
    pub rollback_target: Option<ReleaseId>,
    /// Since when it sleeps, because nobody asks for it; a request wakes it up.
    #[serde(default)]
    pub asleep_since: Option<Time>,
    /// Instances wanted.
    pub replicas: u32,
    /// Instances of the running release that are ready.
    pub ready: u32,
    /// All instances, also those that start or drain.
    pub instances: Vec<InstanceView>,
    /// Which requests it gets.
    pub routes: Vec<RouteMatch>,
    /// The addresses whose connections it gets, as they are.
    #[serde(default)]
    pub tcp: Vec<SocketAddr>,
    /// The running release's requests lately.
    pub traffic: Option<TrafficView>,
    /// The change that is under way.
    pub change: Option<ChangeId>,
}

/// A release.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseView {
    /// Its id.
    pub id: ReleaseId,
    /// What people call it.
    pub label: Option<String>,
    /// What was built.
    pub artifact: Digest,
    /// What is known of it.
    pub standing: release::Standing,
}

/// An instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// Of which release.
    pub release: ReleaseId,
    /// One word: `starting`, `ready`, `unready`, `restarting`, `exited`, `failed`, `draining`.
    pub condition: String,
    /// Since when.
    pub since: Time,
    /// What keeps it from being ready; empty when nothing does.
    pub detail: String,
    /// Where it listens.
    pub address: Option<Address>,
    /// Which run of it.
    pub attempt: u32,
}

/// Requests of a release over the last half minute or so.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TrafficView {
    /// Over how long.
    pub window: Span,
    /// Requests per second.
    pub per_second: f64,
    /// The share that failed.
    pub failure_rate: f64,
    /// How they ended.
    pub tally: Tally,
    /// Milliseconds that half of them took at most.
    pub latency_ms_p50: Option<f64>,
    /// Milliseconds that 99 % of them took at most.
    pub latency_ms_p99: Option<f64>,
}

/// A change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangeView {
    /// Its id.
    pub id: ChangeId,
    /// Which service it alters.
    pub service: ServiceKey,
    /// `deploy`, `config`, `rollback`, `scale` or `remove`.
    pub kind: String,
    /// How much ceremony it needs.
    pub class: Class,
    /// How far it is.
    pub phase: Phase,
    /// Whether anything can still happen to it.
    pub open: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Who wanted it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When it was proposed.
    pub proposed_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// What is happening, or how it ended: one sentence.
    pub progress: String,
    /// What it was planned to do.
    pub plan: PlannedChange,
    /// How many others must approve.
    pub approvals_needed: u32,
    /// Who has.
    pub approvals: Vec<String>,
    /// How its traffic moves.
    pub rollout: Option<RolloutView>,
}

/// A rollout.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RolloutView {
    /// How the release takes over.
    pub strategy: Strategy,
    /// The release that had the requests before.
    pub from: Option<ReleaseId>,
    /// The release that shall have them.
    pub to: ReleaseId,
    /// Instances of it that are ready.
    pub ready: u32,
    /// Instances of it that are wanted.
    pub replicas: u32,
    /// Its share of the requests now.
    pub weight: Ratio,
    /// Which step, from 1; `None` while instances are starting.
    pub step: Option<u32>,
    /// How many steps there are; 0 when there are as many as the evidence takes.
    pub steps: u32,
    /// What it gets copies of before its first request; `None` when it does not, or not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowView>,
    /// When it must be decided.
    pub deadline: Option<Time>,
    /// Until when the old release is kept warm, once promoted.
    pub warm_until: Option<Time>,
    /// What was measured so far.
    pub evidence: Option<Evidence>,
    /// Units that are judged per second.
    pub units_per_second: Option<f64>,
    /// How long it will take, at this rate and share, until a release that is as good as the old one is called so.
    pub time_needed: Option<Span>,
}

/// A release that gets copies of requests, and no request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShadowView {
    /// The share of the safe requests that are copied.
    pub share: Ratio,
    /// How many copies are to be compared.
    pub requests: u32,
    /// What became of them so far.
    pub copies: Copies,
    /// The natural logarithm of the evidence (e-value) that copies fail more often.
    pub worse: f64,
    /// Where that convinces.
    pub worse_bound: f64,
}

/// Everything at a glance.
pub fn status(state: &State, observed: &Observed, now: Time) -> Status {
    Status {
        at: now,
        services: state.services.keys().filter_map(|key| service(state, observed, key)).collect(),
        changes: state.open_changes().map(|c| change(state, observed, c)).collect(),
        proxy: observed.proxy.as_ref().map(|p| ProxyView {
            listening: p.listening.clone(),
            listening_tls: p.listening_tls.clone(),
            closed_tcp: p.closed_tcp.clone(),
            certificates: p.certificates.clone(),
            up_to_date: p.generation >= state.routes.generation,
            connections: p.connections,
            unrouted: p.unrouted,
        }),
    }
}

/// One service; `None` when there is none of this name.
pub fn service(state: &State, observed: &Observed, key: &ServiceKey) -> Option<ServiceView> {
    let service = state.services.get(key)?;
    let ready = service.running.map_or(0, |r| state.ready(r));
    let health = match (service.removed, service.running, ready) {
        (true, _, _) => Health::Leaving,
        (_, None, _) => Health::Empty,
        (_, _, 0) => match service.rest {
            Some(Rest::Asleep { .. }) => Health::Asleep,
            Some(Rest::Waking { .. }) => Health::Waking,
            None => Health::Down,
        },
        (_, _, n) if n < service.spec.replicas => Health::Degraded,
        _ => Health::Ok,
    };
    Some(ServiceView {
        service: key.clone(),
        health,
        running: service.running.and_then(|id| release(state, id)),
        rollback_target: service.rollback_target(&state.releases),
        asleep_since: match service.rest {
            Some(Rest::Asleep { since }) => Some(since),
            Some(Rest::Waking { .. }) | None => None,
        },
        replicas: service.spec.replicas,
        ready,
        instances: state.instances_at(key).map(|i| instance(observed, i)).collect(),
        routes: service.spec.routes.clone(),
        tcp: service.spec.tcp.clone(),
        traffic: service.running.and_then(|id| traffic(observed, id)),
        change: service.active,
    })
}

/// One release.
pub fn release(state: &State, id: ReleaseId) -> Option<ReleaseView> {
    let release = state.releases.get(&id)?;
    Some(ReleaseView { id, label: release.label.clone(), artifact: release.artifact, standing: release.standing })
}

fn instance(observed: &Observed, i: &Instance) -> InstanceView {
    let seen = observed.instances.as_ref().and_then(|all| all.get(&i.id));
    InstanceView {
        id: i.id,
        release: i.release,
        condition: if i.retired.is_some() { "draining" } else { i.condition.word() }.to_owned(),
        since: i.retired.map_or(i.condition.since(), |r| r.at),
        detail: if i.is_ready() || i.retired.is_some() { String::new() } else { i.waiting_for(observed) },
        address: i.endpoint().or(seen.and_then(|s| s.address.as_ref())).cloned(),
        attempt: i.attempt,
    }
}

/// What a release did with its requests lately; `None` when it had none.
pub fn traffic(observed: &Observed, release: ReleaseId) -> Option<TrafficView> {
    let recent = observed.recent(release);
    let seconds = recent.window.0 as f64 / 1e3;
    let total = recent.tally.total();
    let ms = |q| recent.latencies.quantile_us(q).map(|us| us as f64 / 1e3);
    (total > 0 && seconds > 0.0).then(|| TrafficView {
        window: recent.window,
        per_second: total as f64 / seconds,
        failure_rate: recent.tally.failed() as f64 / total as f64,
        tally: recent.tally,
        latency_ms_p50: ms(0.5),
        latency_ms_p99: ms(0.99),
    })
}

/// One change.
pub fn change(state: &State, observed: &Observed, change: &Change) -> ChangeView {
    let replicas = state.services.get(&change.service).map_or(0, |s| s.spec.replicas);
    let rollout = change.rollout.as_ref().map(|r| RolloutView {
        strategy: r.terms.strategy,
        from: r.from,
        to: r.to,
        ready: state.ready(r.to),
        replicas,
        weight: r.weight,
        step: r.step.map(|step| step + 1),
        steps: if r.terms.strategy == Strategy::Rolling { replicas } else { r.terms.steps.len() as u32 },
        shadow: shadow(observed, change.id, r),
        deadline: r.deadline,
        warm_until: (change.phase == Phase::HoldingBack).then(|| r.warm_until()),
        evidence: observed.evidence(change.id).cloned(),
        units_per_second: observed.units_per_second(change.id),
        time_needed: time_needed(observed, change.id),
    });
    ChangeView {
        id: change.id,
        service: change.service.clone(),
        kind: change.kind.word().to_owned(),
        class: change.class,
        phase: change.phase,
        open: change.phase.is_open(),
        outcome: change.phase.outcome(),
        actor: change.actor.to_string(),
        reason: change.reason.clone(),
        proposed_at: change.proposed_at,
        ended_at: change.ended.as_ref().map(|e| e.at),
        progress: progress(state, observed, change, rollout.as_ref()),
        plan: (*change.plan).clone(),
        approvals_needed: change.approvals_needed,
        approvals: change.approvals.iter().map(ToString::to_string).collect(),
        rollout,
    }
}

fn shadow(observed: &Observed, change: ChangeId, rollout: &rollout::Rollout) -> Option<ShadowView> {
    let CopyTerms { share, requests } = rollout.terms.copies.filter(|_| rollout.shadow.is_some())?;
    let copies = observed.copies(change).cloned().unwrap_or_default();
    let [worse, worse_bound] = rollout::shadow::proof(rollout, &copies).unwrap_or_default();
    Some(ShadowView { share, requests, copies, worse, worse_bound })
}

fn time_needed(observed: &Observed, change: ChangeId) -> Option<Span> {
    let units = observed.evidence(change)?.units_needed? as f64;
    let rate = observed.units_per_second(change).filter(|rate| *rate > 0.0)?;
    // Longer than a year is not worth a figure.
    Some(units / rate).filter(|seconds| *seconds < 3.2e7).map(|seconds| Span::seconds(seconds.ceil() as u64))
}

/// What is happening to a change, or how it ended: one sentence.
fn progress(state: &State, observed: &Observed, change: &Change, view: Option<&RolloutView>) -> String {
    if let Some(ended) = &change.ended {
        return ended.because.clone();
    }
    let (Some(rollout), Some(view)) = (&change.rollout, view) else {
        return match (change.phase, &change.kind) {
            (Phase::WaitingApproval, _) => {
                format!("{} of {} approvals", change.approvals.len(), change.approvals_needed)
            }
            (_, Kind::Remove) => "instances are draining".to_owned(),
            _ => "instances are starting or stopping".to_owned(),
        };
    };
    match change.phase {
        Phase::Undoing => format!("returning: {}", rollout.undo.as_ref().map_or("", |u| &u.because)),
        Phase::HoldingBack if rollout.weight < Ratio::ONE => {
            format!("{} has {} of the requests, the old release keeps the rest for now", rollout.to, rollout.weight)
        }
        Phase::HoldingBack => format!("{} has all requests", rollout.to),
        Phase::Paused if rollout.shadow.is_some() => "paused while it gets copies".to_owned(),
        Phase::Paused => format!("paused at {}", view.weight),
        Phase::Running
            if let (Some(_), Some(CopyTerms { share, requests })) = (rollout.shadow, rollout.terms.copies) =>
        {
            let what = format!("{} gets copies of {share} of the safe requests, and no request", rollout.to);
            match &rollout.held {
                Some(held) => format!("held before its first request: {}", held.because),
                None if observed.proxy.is_none() => format!("{what}; the data plane is silent"),
                None => format!("{what}, until {requests} are compared"),
            }
        }
        Phase::WaitingApproval | Phase::Running if rollout.step.is_none() => {
            let waiting = state.instances_of(rollout.to).find(|i| !i.is_ready()).map(|i| i.waiting_for(observed));
            let waiting = waiting.filter(|w| !w.is_empty()).map_or(String::new(), |w| format!(": {w}"));
            format!("{} of {} instances are ready{waiting}", view.ready, view.replicas)
        }
        Phase::WaitingApproval
        | Phase::Running
        | Phase::Succeeded
        | Phase::RolledBack
        | Phase::Failed
        | Phase::Cancelled
        | Phase::Superseded => {
            if let Some(held) = &rollout.held {
                return format!("held at {}: {}", view.weight, held.because);
            }
            if rollout.terms.judgement.is_some() && observed.proxy.is_none() {
                return format!("{} gets {} of the requests; the data plane is silent", rollout.to, view.weight);
            }
            let verdict = match view.evidence.as_ref().map_or(Verdict::NoData, |e| e.verdict) {
                Verdict::NoData => "waiting for requests to judge",
                Verdict::Undecided => "not decided yet",
                Verdict::Worse(_) => "worse",
                Verdict::NotWorse => "not worse",
                Verdict::SharedOutage => "both releases are failing",
                Verdict::BeyondLimit(_) => "beyond a limit",
                Verdict::ExposureSpent => "its exposure is spent",
            };
            let early = view.evidence.as_ref().is_some_and(|e| e.verdict == Verdict::NotWorse);
            let earliest = match rollout.terms.min_time {
                span if early && span > Span::ZERO => {
                    format!(", promoted {span} after its first request at the earliest")
                }
                _ => String::new(),
            };
            format!("{} gets {} of the requests; {verdict}{earliest}", rollout.to, view.weight)
        }
    }
}
