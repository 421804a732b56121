//! What is intended to run: services as their owners declared them.

use crate::{Code, Draft, Refusal, State, change, fact, release, sleep};
use model::{
    AbsoluteLimit, ChangeId, Check, Claim, EnvironmentName, Purge, Ratio, ReleaseId, RolloutSpec, RouteMatch,
    ServiceKey, ServiceSpec, Span, Strategy, check_together,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// How many times a release may be named in a service's history.
const KEPT_HISTORY: usize = 20;
/// The most instances one service may have.
pub const MAX_REPLICAS: u32 = 1_000;

/// The longest declaration, as JSON: it must fit into one entry together with the plan that describes it.
const MAX_SPEC_BYTES: usize = 32 << 10;
/// The most addresses whose connections one service may get: each costs a socket for each worker of the data plane.
const MAX_TCP: usize = 16;
/// The most names that routes may have, those of all services together: each is counted by itself and reported every second.
const MAX_ROUTE_NAMES: usize = 1_000;
/// The most steps a rollout may have.
const MAX_STEPS: usize = 50;
/// The most limits of a rollout: each has its share of the false alarms.
const MAX_LIMITS: usize = 16;

/// A service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// What is intended.
    pub spec: Arc<ServiceSpec>,
    /// The release that is trusted with its requests.
    pub running: Option<ReleaseId>,
    /// The releases that were trusted, oldest first; the last one is `running`.
    pub history: Vec<ReleaseId>,
    /// Its releases that are known, oldest first.
    pub releases: Vec<ReleaseId>,
    /// The change that is under way or held back.
    pub active: Option<ChangeId>,
    /// It is going away: its last instances are being stopped.
    pub removed: bool,
    /// What was purged of the responses that are stored of it, in the order in which it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<Purge>,
    /// How it rests, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<sleep::Rest>,
}

/// What can happen to a service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// This is intended from now on.
    Declared {
        /// Which service.
        service: ServiceKey,
        /// What is intended.
        spec: Arc<ServiceSpec>,
    },
    /// It shall not run any more.
    Removed {
        /// Which service.
        service: ServiceKey,
    },
}

impl Fact {
    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Declared { service, spec } => {
                let routes = if spec.is_reached() { spec.reached_by().join(", ") } else { "no routes".to_owned() };
                format!("{service} shall run {} × on {routes}", spec.replicas)
            }
            Fact::Removed { service } => format!("{service} shall not run any more"),
        }
    }
}

impl Service {
    /// The release to return to: the last one before `running` that was proven healthy.
    pub fn rollback_target(&self, releases: &imbl::OrdMap<ReleaseId, release::Release>) -> Option<ReleaseId> {
        let proven = |id: &&ReleaseId| releases.get(*id).is_some_and(|r| r.standing == release::Standing::Proven);
        self.history.iter().rev().filter(|id| Some(**id) != self.running).find(proven).copied()
    }
}

/// Refuses what could never run: no instance, an impossible step, routes that another service has.
pub(crate) fn check(key: &ServiceKey, spec: &ServiceSpec) -> Result<(), Refusal> {
    let invalid = |message: String, hint: &str| Err(Refusal::new(Code::Invalid, message, hint));
    if spec.replicas == 0 || spec.replicas > MAX_REPLICAS {
        return invalid(
            format!("{key} cannot have {} replicas", spec.replicas),
            "use 1 to 1000; to stop a service, remove it from the configuration and apply with --prune",
        );
    }
    if spec.traffic.cache_disk.is_some() && spec.traffic.cache.is_none() {
        return invalid(
            format!("{key}: cache_disk means nothing without cache: what is on disk is known in memory"),
            "say how much memory it may take, such as cache = \"64 MiB\"",
        );
    }
    let judgement = &spec.rollout.judgement;
    for (name, value) in [("false_alarm", judgement.false_alarm), ("miss", judgement.miss)] {
        if value.ppm() == 0 || value.ppm() >= 500_000 {
            return invalid(
                format!("{key}: {name} = {value} is not a usable probability of error"),
                "use more than 0 % and less than 50 %",
            );
        }
    }
    if judgement.tolerance.ppm() == 0 {
        return invalid(
            format!("{key}: tolerance = 0 % could never be shown, with any number of requests"),
            "say how much higher a failure rate would still be acceptable, such as 0.5 %",
        );
    }
    let size = serde_json::to_vec(spec).map_or(usize::MAX, |text| text.len());
    if size > MAX_SPEC_BYTES {
        return invalid(
            format!("{key}: its declaration is {size} bytes long and at most {MAX_SPEC_BYTES} are recorded"),
            "put large values into files or secrets",
        );
    }
    let steps = &spec.rollout.steps;
    if steps.len() > MAX_STEPS {
        return invalid(format!("{key}: {} rollout steps are too many", steps.len()), "use at most 50");
    }
    if steps.iter().any(|w| w.ppm() == 0) || !steps.is_sorted_by(|a, b| a < b) {
        return invalid(
            format!("{key}: rollout steps must be shares above 0 % that grow"),
            "for example [\"1 %\", \"10 %\", \"50 %\"]",
        );
    }
    check_bounds(key, &spec.rollout)?;
    if let Err(error) = spec.routes.iter().try_for_each(RouteMatch::check) {
        return invalid(format!("{key}: {error}"), "");
    }
    if let Err((_, error)) = check_together(&spec.routes) {
        return invalid(format!("{key}: {error}"), "");
    }
    sleep::check(key, spec)?;
    if spec.tcp.len() > MAX_TCP {
        return invalid(format!("{key}: {} TCP addresses are too many", spec.tcp.len()), "use at most 16");
    }
    if let Some(address) = spec.tcp.iter().find(|address| address.port() == 0) {
        return invalid(
            format!("{key}: nobody could know the port of tcp://{address}"),
            "name the port that clients connect to, such as 127.0.0.1:5432",
        );
    }
    check_instance_tls(key, spec)
}

/// Refuses TLS to instances that could not be what it says.
fn check_instance_tls(key: &ServiceKey, spec: &ServiceSpec) -> Result<(), Refusal> {
    let Some(tls) = &spec.traffic.instance_tls else { return Ok(()) };
    let invalid = |message: String, hint: &str| Err(Refusal::new(Code::Invalid, message, hint));
    if let Some(file) = tls.files().find(|file| !file.is_absolute()) {
        let hint = "give its absolute path: the data plane reads it";
        return invalid(format!("{key}: nobody could know where {} of instance_tls is", file.display()), hint);
    }
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if tls.name.parse::<IpAddr>().is_err() && !tls.name.split('.').all(is_part) {
        let hint = "use a name, or an IP address, that the certificates of the instances are for";
        return invalid(format!("{key}: no certificate can be for `{}` (instance_tls)", tls.name), hint);
    }
    let probes = [Some(&spec.run.ready), spec.run.live.as_ref()];
    if probes.into_iter().flatten().any(|probe| matches!(probe.check, Check::Http(_))) {
        let hint = "use \"tcp\", or { command = [\"…\"] } with a program that asks as the service wants to be asked";
        return invalid(
            format!("{key}: checks speak no TLS, and with instance_tls a path is not answered in clear"),
            hint,
        );
    }
    if !spec.tcp.is_empty() {
        let hint = "leave one of them out: over `tcp`, clients speak TLS with an instance themselves";
        return invalid(format!("{key}: what comes by `tcp` is carried as it is, without instance_tls"), hint);
    }
    Ok(())
}

/// Refuses limits that nothing can break or keep, and a budget or share that means nothing.
fn check_bounds(key: &ServiceKey, rollout: &RolloutSpec) -> Result<(), Refusal> {
    let invalid = |message: String, hint: &str| Err(Refusal::new(Code::Invalid, message, hint));
    let limits = &rollout.judgement.limits;
    if limits.len() > MAX_LIMITS {
        return invalid(format!("{key}: {} rollout limits are too many", limits.len()), "use at most 16");
    }
    let meaningless = |limit: &&AbsoluteLimit| match limit {
        AbsoluteLimit::Failures(share) => *share == Ratio::ZERO || *share == Ratio::ONE,
        AbsoluteLimit::Latency { quantile, below } => {
            *quantile == Ratio::ZERO || *quantile == Ratio::ONE || *below == Span::ZERO
        }
    };
    if let Some(limit) = limits.iter().find(meaningless) {
        let hint = "use a share above 0 % and below 100 %, and a time above zero: \"failures < 1 %\", \"p99 < 400ms\"";
        return invalid(format!("{key}: the limit “{limit}” can never be kept, or never be broken"), hint);
    }
    if rollout.judgement.exposure == Some(0) {
        let hint = "allow at least 1 failed request; the first one cannot be foreseen";
        return invalid(format!("{key}: an exposure of 0 failed requests would end every rollout at once"), hint);
    }
    if rollout.hold_back_share > Ratio::ZERO && rollout.hold_back == Span::ZERO {
        let hint = "say for how long the old release keeps its share: hold_back = \"10m\"";
        return invalid(format!("{key}: hold_back_share means nothing without hold_back"), hint);
    }
    if rollout.shadow > Ratio::ZERO && rollout.strategy != Strategy::Canary {
        let hint = "take `shadow` out, or set strategy = \"canary\"";
        return invalid(
            format!("{key}: shadow is what a canary begins with, and its strategy is {}", rollout.strategy),
            hint,
        );
    }
    if rollout.shadow > Ratio::ZERO && rollout.shadow_requests == 0 {
        let hint = "say how many copies are to be compared: shadow_requests = 200";
        return invalid(format!("{key}: a shadow of which nothing is compared shows nothing"), hint);
    }
    if rollout.hold_back_share.ppm() > 500_000 {
        let hint = "use 50 % or less";
        return invalid(format!("{key}: with a hold_back_share of more than half nothing is promoted"), hint);
    }
    Ok(())
}

/// Refuses two services on one route or address, among these declarations and all services that are not among them; and more
/// names of routes than are counted by.
pub(crate) fn check_routes(
    state: &State,
    declared: &BTreeMap<ServiceKey, &ServiceSpec>,
    pruned: Option<&EnvironmentName>,
) -> Result<(), Refusal> {
    let mut taken: BTreeMap<Claim, &ServiceKey> = BTreeMap::new();
    for (key, service) in &state.services {
        if declared.contains_key(key) || pruned != Some(&key.environment) {
            taken.extend(claims(state, key, service, declared.get(key).copied()).map(|claim| (claim, key)));
        }
    }
    for (key, spec) in declared {
        for claim in spec.claims() {
            if let Some(other) = claim.against(&taken).map(|(_, other)| *other).find(|other| *other != key) {
                let intended = declared.get(other).copied().or(state.services.get(other).map(|s| &*s.spec));
                let hint = if intended.is_some_and(|s| s.claims().any(|theirs| theirs.excludes(&claim))) {
                    match claim {
                        Claim::Route(_) => "give one of them another host or path".to_owned(),
                        Claim::Tcp(_) => "give one of them another port".to_owned(),
                    }
                } else {
                    format!("{other} gives it up when its change has succeeded; apply {key} after that")
                };
                return Err(Refusal::new(Code::RouteTaken, format!("{key} and {other} both want {claim}"), hint));
            }
            taken.insert(claim, key);
        }
    }
    let others = state
        .services
        .iter()
        .filter(|(key, service)| !service.removed && !declared.contains_key(key) && pruned != Some(&key.environment));
    let all = others.map(|(_, service)| &*service.spec).chain(declared.values().copied());
    let names: usize = all.map(route_names).sum();
    if names > MAX_ROUTE_NAMES {
        let message = format!("{names} names for routes, those of all services together, are too many to count by");
        return Err(Refusal::new(Code::Invalid, message, "use at most 1000: several routes may have the same name"));
    }
    Ok(())
}

fn route_names(spec: &ServiceSpec) -> usize {
    spec.routes.iter().filter_map(|route| route.name.as_ref()).collect::<BTreeSet<_>>().len()
}

/// The routes and addresses that a service has or would have again if its change were undone. `new` is what shall be intended for it.
fn claims<'s>(
    state: &'s State,
    key: &ServiceKey,
    service: &'s Service,
    new: Option<&ServiceSpec>,
) -> impl Iterator<Item = Claim> + 's {
    let keeps = match new {
        None => !service.removed,
        // What restarts or adds instances can fail, and then everything is again as it was.
        Some(new) => service.running.is_some() && (new.run != service.spec.run || new.replicas > service.spec.replicas),
    };
    // A removal fails by no accident; a person who cancels it is told when it is too late.
    let active = state.active_change(key).filter(|c| !matches!(c.kind, change::Kind::Remove));
    let before = active.and_then(|c| c.before.as_ref());
    let mine = keeps.then_some(&service.spec);
    mine.into_iter().chain(before).flat_map(|spec| spec.claims())
}

/// Refuses to return to what was there before a change when another service has its routes by now.
pub(crate) fn check_return(state: &State, change: &change::Change) -> Result<(), Refusal> {
    let Some(before) = &change.before else { return Ok(()) };
    for (key, service) in state.services.iter().filter(|(key, _)| **key != change.service) {
        let wanted = |claim: &Claim| before.claims().any(|mine| mine.excludes(claim));
        if let Some(claim) = claims(state, key, service, None).find(wanted) {
            return Err(Refusal::new(
                Code::RouteTaken,
                format!("{} cannot be undone: {key} has {claim} now", change.id),
                format!("give {key} another route first"),
            ));
        }
    }
    Ok(())
}

pub(crate) fn apply(state: &mut State, fact: &Fact) {
    match fact {
        Fact::Declared { service, spec } => match state.services.get_mut(service) {
            Some(known) => {
                known.spec = spec.clone();
                known.removed = false;
            }
            None => {
                let new = Service {
                    spec: spec.clone(),
                    running: None,
                    history: Vec::new(),
                    releases: Vec::new(),
                    active: None,
                    removed: false,
                    purges: Vec::new(),
                    rest: None,
                };
                state.services.insert(service.clone(), new);
            }
        },
        Fact::Removed { service } => {
            if let Some(known) = state.services.get_mut(service) {
                known.removed = true;
            }
        }
    }
}

/// Trusts a release with a service's requests instead of `before`.
pub(crate) fn trust(
    service: &mut Service,
    release: ReleaseId,
    before: Option<ReleaseId>,
    releases: &imbl::OrdMap<ReleaseId, release::Release>,
) {
    // What was trusted for a while and never proven is nothing to return to, and must not crowd out what is.
    let proven = |id: &ReleaseId| releases.get(id).is_some_and(|r| r.standing == release::Standing::Proven);
    service.history.retain(|id| proven(id) || Some(*id) == before);
    service.running = Some(release);
    service.history.push(release);
    if service.history.len() > KEPT_HISTORY {
        service.history.remove(0);
    }
}

/// Intends again what was intended before a change, if anything was.
pub(crate) fn restore(service: &mut Service, before: Option<Arc<ServiceSpec>>) {
    if let Some(before) = before {
        service.spec = before;
        service.removed = false;
    }
}

/// Takes the trust back that `release` was given, and gives it to `before`.
pub(crate) fn distrust(service: &mut Service, release: ReleaseId, before: Option<ReleaseId>) {
    if service.running == Some(release) {
        service.history.pop();
        service.running = before;
    }
}

/// A draft of a service fact within a change.
pub(crate) fn draft(change: ChangeId, fact: Fact) -> Draft {
    fact::draft(fact::change_stream(change), fact::Fact::Service(fact))
}
