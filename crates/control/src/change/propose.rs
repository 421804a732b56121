//! What a command would do: the plan that people read, that approvals bind to, and that a dry run shows.

use super::{Class, Fact, Kind, Phase, draft, start};
use crate::{Code, Command, Draft, Observed, Refusal, Request, State, fact, rollout, service};
use model::{Claim, Digest, EnvironmentName, Listen, ReleaseId, ServiceKey, ServiceName, ServiceSpec, Strategy};
use policy::{Answer, Policy, Question};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The longest label, in characters.
const MAX_LABEL: usize = 100;

/// What a command would do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The changes it would make, one for each service. Empty when it steers a change that exists, or alters nothing.
    pub changes: Vec<PlannedChange>,
    /// The digest over all of them: what the actor agrees to.
    pub digest: Digest,
    /// How many others must approve before anything happens.
    pub approvals: u32,
}

/// What would be done to one service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlannedChange {
    /// Which service.
    pub service: ServiceKey,
    /// What sort of change: `deploy`, `config`, `rollback`, `scale`, `remove`.
    pub kind: String,
    /// How much ceremony it needs.
    pub class: Class,
    /// What will be done, in order.
    pub steps: Vec<Step>,
    /// Who feels it if it goes wrong.
    pub blast_radius: String,
    /// How it is undone.
    pub reversibility: String,
    /// The digest over all this, but for what gives way, and over what the service is now: another state gives another
    /// digest.
    pub digest: Digest,
}

/// One step of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What is done.
    pub what: String,
    /// Why.
    pub because: String,
}

fn step(what: impl Into<String>, because: impl Into<String>) -> Step {
    Step { what: what.into(), because: because.into() }
}

/// A change that a command asks for.
struct Wanted {
    service: ServiceKey,
    kind: Kind,
    class: Class,
}

/// Says what a command would do, without doing it.
///
/// # Errors
/// A refusal, the same that the command itself would get.
pub fn plan(state: &State, observed: &Observed, policy: &Policy, request: &Request) -> Result<Plan, Refusal> {
    let drafts = crate::turn::commanded(state, observed, policy, request)?;
    Ok(Plan {
        digest: digest(&drafts),
        changes: planned_in(&drafts).cloned().collect(),
        approvals: permitted(policy, request)?,
    })
}

/// The digest of the plan that these drafts carry out: that of its only change, so that whoever proposes it and whoever
/// approves it see the same, or one over all of them.
pub(crate) fn digest(drafts: &[Draft]) -> Digest {
    match planned_in(drafts).collect::<Vec<_>>().as_slice() {
        [only] => only.digest,
        all => Digest::of_value(&all),
    }
}

fn planned_in(drafts: &[Draft]) -> impl Iterator<Item = &PlannedChange> {
    drafts.iter().filter_map(|draft| match &draft.what {
        fact::Fact::Change(Fact::Proposed { plan, .. }) => Some(&**plan),
        fact::Fact::Change(_)
        | fact::Fact::Service(_)
        | fact::Fact::Release(_)
        | fact::Fact::Rollout(_)
        | fact::Fact::Instance(_)
        | fact::Fact::Cache(_)
        | fact::Fact::Sleep(_)
        | fact::Fact::Clock(_) => None,
    })
}

/// Drafts the proposals a command makes, and the start of those that need no approval.
pub(crate) fn decide(state: &State, policy: &Policy, request: &Request) -> Result<Vec<Draft>, Refusal> {
    let approvals_needed = permitted(policy, request)?;
    let wanted = wanted(state, &request.command)?;
    let mut drafts = Vec::new();
    let mut next = state.next;
    for Wanted { service, kind, class } in wanted {
        let change = next.take_change();
        let plan = Arc::new(planned(state, &service, &kind)?);
        let fact =
            Fact::Proposed { change, service: service.clone(), kind: kind.clone(), class, plan, approvals_needed };
        drafts.push(draft(state, fact));
        if approvals_needed == 0 {
            drafts.extend(start(state, &mut next, change, &service, &kind)?);
        }
    }
    if drafts.is_empty() {
        return Err(Refusal::new(Code::NothingToDo, "everything is already as the configuration says", ""));
    }
    Ok(drafts)
}

/// Asks policy; the number of approvals needed, or its denial.
pub(crate) fn permitted(policy: &Policy, request: &Request) -> Result<u32, Refusal> {
    let (environment, service) = match &request.command {
        Command::Apply { environment, .. } => (Some(environment), None),
        Command::Deploy { service, .. }
        | Command::Rollback { service, .. }
        | Command::Scale { service, .. }
        | Command::PurgeCache { service, .. } => (Some(&service.environment), Some(service)),
        Command::Approve { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Promote { .. }
        | Command::Cancel { .. } => (None, None),
    };
    match policy.decide(&Question { actor: &request.actor, act: request.command.act(), environment, service }) {
        Answer::Permit { approvals } => Ok(approvals),
        Answer::Deny(why) => Err(Refusal::new(Code::Denied, why, "")),
    }
}

/// The changes a command asks for; none when it steers a change that exists.
fn wanted(state: &State, command: &Command) -> Result<Vec<Wanted>, Refusal> {
    let one = |service: &ServiceKey, kind, class| Ok(vec![Wanted { service: service.clone(), kind, class }]);
    match command {
        Command::Apply { environment, services, prune } => wanted_by_config(state, environment, services, *prune),
        Command::Deploy { service, artifact, label, strategy, supersede } => {
            if label.as_ref().is_some_and(|l| l.chars().count() > MAX_LABEL) {
                let message = format!("a label may have at most {MAX_LABEL} characters");
                return Err(Refusal::new(Code::Invalid, message, "use a tag, a commit or a short name"));
            }
            let kind =
                Kind::Deploy { artifact: *artifact, label: label.clone(), strategy: *strategy, supersede: *supersede };
            free(state, service, &kind)?;
            one(service, kind, Class::Normal)
        }
        Command::Rollback { service, to } => {
            let kind = Kind::Rollback { to: rollback_target(state, service, *to)? };
            free(state, service, &kind)?;
            one(service, kind, Class::Emergency)
        }
        Command::Scale { service, replicas } => {
            let kind = Kind::Scale { replicas: *replicas };
            free(state, service, &kind)?;
            let mut spec = (*known(state, service)?.spec).clone();
            if spec.replicas == *replicas {
                return Err(Refusal::new(Code::NothingToDo, format!("{service} already has {replicas} replicas"), ""));
            }
            spec.replicas = *replicas;
            service::check(service, &spec)?;
            one(service, kind, Class::Standard)
        }
        Command::PurgeCache { .. }
        | Command::Approve { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Promote { .. }
        | Command::Cancel { .. } => Ok(Vec::new()),
    }
}

fn wanted_by_config(
    state: &State,
    environment: &EnvironmentName,
    services: &BTreeMap<ServiceName, ServiceSpec>,
    prune: bool,
) -> Result<Vec<Wanted>, Refusal> {
    let key = |name: &ServiceName| ServiceKey { environment: environment.clone(), name: name.clone() };
    let declared: BTreeMap<ServiceKey, &ServiceSpec> = services.iter().map(|(name, spec)| (key(name), spec)).collect();
    for (key, spec) in &declared {
        service::check(key, spec)?;
    }
    service::check_routes(state, &declared, prune.then_some(environment))?;
    let mut wanted = Vec::new();
    for (key, spec) in
        declared.iter().filter(|(key, spec)| state.services.get(*key).is_none_or(|s| s.removed || *s.spec != ***spec))
    {
        let kind = Kind::Config { spec: Arc::new((*spec).clone()) };
        free(state, key, &kind)?;
        wanted.push(Wanted { service: key.clone(), kind, class: Class::Normal });
    }
    let surplus = state
        .services
        .iter()
        .filter(|(key, s)| key.environment == *environment && !s.removed && !declared.contains_key(*key));
    for (key, _) in surplus.filter(|_| prune) {
        free(state, key, &Kind::Remove)?;
        wanted.push(Wanted { service: key.clone(), kind: Kind::Remove, class: Class::Normal });
    }
    in_order(state, wanted)
}

/// Puts whoever gives up a route before whoever takes it: a crash may come between any two changes of a command.
fn in_order(state: &State, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, Refusal> {
    let present = state.services.iter().filter(|(_, s)| !s.removed);
    let mut taken: BTreeMap<Claim, ServiceKey> =
        present.flat_map(|(key, s)| s.spec.claims().map(|claim| (claim, key.clone()))).collect();
    let (mut ordered, mut waiting): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|w| matches!(w.kind, Kind::Remove));
    taken.retain(|_, key| ordered.iter().all(|w| w.service != *key));
    while let Some(next) = waiting
        .iter()
        .position(|w| w.kind.claims().all(|claim| claim.against(&taken).all(|(_, other)| *other == w.service)))
    {
        let next = waiting.remove(next);
        taken.retain(|_, key| *key != next.service);
        taken.extend(next.kind.claims().map(|claim| (claim, next.service.clone())));
        ordered.push(next);
    }
    match waiting.first() {
        None => Ok(ordered),
        Some(stuck) => Err(Refusal::new(
            Code::RouteTaken,
            format!("{} and another service want to exchange a route", stuck.service),
            "give one of them no route, or another one, in an apply of its own first",
        )),
    }
}

/// The release a rollback goes to: the one asked for if it was proven, else the last proven one before the running.
fn rollback_target(state: &State, key: &ServiceKey, asked: Option<ReleaseId>) -> Result<ReleaseId, Refusal> {
    let service = known(state, key)?;
    if let Some(active) = state.active_change(key).filter(|c| c.phase == Phase::Undoing) {
        return Err(Refusal::new(
            Code::ChangeUnderWay,
            format!("{} of {key} is {} already", active.id, active.phase),
            "wait until it is; that takes moments",
        ));
    }
    let Some(to) = asked else {
        return service.rollback_target(&state.releases).ok_or_else(|| {
            Refusal::new(
                Code::NoRollbackTarget,
                format!("{key} has no earlier release that was proven healthy"),
                match state.active_change(key) {
                    Some(active) => format!("withdraw what is under way with `qd cancel {}`", active.id),
                    None => "deploy a good one with `qd deploy`".to_owned(),
                },
            )
        });
    };
    let release = state.releases.get(&to).filter(|r| r.service == *key);
    let release = release.ok_or_else(|| {
        Refusal::new(Code::UnknownRelease, format!("{key} has no {to}"), format!("see `qd status {key}`"))
    })?;
    if service.running == Some(to) {
        return Err(Refusal::new(Code::NothingToDo, format!("{to} is already running"), ""));
    }
    if release.standing != crate::release::Standing::Proven {
        return Err(Refusal::new(
            Code::NoRollbackTarget,
            format!("{to} was never proven healthy"),
            "a rollback takes no risks; deploy it anew to have it judged",
        ));
    }
    Ok(to)
}

pub(crate) fn known<'s>(state: &'s State, key: &ServiceKey) -> Result<&'s service::Service, Refusal> {
    state.services.get(key).filter(|s| !s.removed).ok_or_else(|| unknown_service(state, key))
}

pub(crate) fn unknown_service(state: &State, key: &ServiceKey) -> Refusal {
    let names: Vec<_> = state.services.keys().map(ServiceKey::to_string).collect();
    let hint = match names.len() {
        0 => "declare it in quarterdeck.toml and run `qd apply`".to_owned(),
        _ => format!("known: {}; declare a new one in quarterdeck.toml and run `qd apply`", list(names.into_iter())),
    };
    Refusal::new(Code::UnknownService, format!("there is no service {key}"), hint)
}

/// Refuses while another change of the service is under way, unless this one takes its place: one that is only held back
/// gives way to any, and everything to a rollback, but for what is being undone already.
pub(crate) fn free(state: &State, key: &ServiceKey, kind: &Kind) -> Result<(), Refusal> {
    let gives_way = match kind {
        // A removal gives way to a declaration: the service is wanted after all.
        Kind::Config { .. } if state.services.get(key).is_none_or(|s| s.removed) => return Ok(()),
        Kind::Rollback { .. } => true,
        Kind::Deploy { supersede, .. } => *supersede,
        Kind::Config { .. } | Kind::Scale { .. } | Kind::Remove => false,
    };
    known(state, key)?;
    // What is being undone may still be all that answers; it is let be.
    let stays = |phase| phase == Phase::Undoing || (phase != Phase::HoldingBack && !gives_way);
    let Some(active) = state.active_change(key) else { return Ok(()) };
    if !stays(active.phase) {
        // Giving way is being undone, but for what was promoted already.
        return if active.phase == Phase::HoldingBack { Ok(()) } else { service::check_return(state, active) };
    }
    let instead = match (kind, active.phase) {
        (_, Phase::Undoing) => ", that takes moments".to_owned(),
        (Kind::Deploy { .. }, _) => {
            format!(", `qd cancel {}`, or deploy with --supersede to take its place", active.id)
        }
        (Kind::Config { .. } | Kind::Scale { .. } | Kind::Remove | Kind::Rollback { .. }, _) => {
            format!(" or `qd cancel {}`", active.id)
        }
    };
    let message = format!("{} of {key} is {}", active.id, active.phase);
    Err(Refusal::new(Code::ChangeUnderWay, message, format!("wait for it{instead}")))
}

/// Refuses to start a change that was proposed a while ago and would get in the way of what has happened since.
pub(crate) fn startable(state: &State, key: &ServiceKey, kind: &Kind) -> Result<(), Refusal> {
    if let Kind::Config { spec } = kind {
        service::check_routes(state, &BTreeMap::from([(key.clone(), &**spec)]), None)?;
    }
    free(state, key, kind)
}

/// What becomes of the change whose place this one takes.
fn giving_way(state: &State, key: &ServiceKey) -> Option<Step> {
    let active = state.active_change(key)?;
    Some(if active.phase == Phase::HoldingBack {
        let from = active.rollout.as_ref().and_then(|r| r.from);
        let old = from.map_or("nothing".to_owned(), |r| r.to_string());
        step(format!("end the hold-back of {}: {old} is kept warm no longer", active.id), "the next change begins")
    } else {
        step(format!("undo {}, which is {}", active.id, active.phase), "this takes its place")
    })
}

/// What would be done to one service, with the digest that approvals bind to.
pub(crate) fn planned(state: &State, key: &ServiceKey, kind: &Kind) -> Result<PlannedChange, Refusal> {
    let service = state.services.get(key);
    let running = service.and_then(|s| s.running);
    let (steps, blast_radius, reversibility, class) = match kind {
        Kind::Deploy { artifact, strategy, .. } => {
            let spec = &known(state, key)?.spec;
            let terms = rollout::Terms::of(state, spec, *strategy, running);
            let mut steps = vec![step(
                format!("create a release of {key} from artifact {}", artifact.short()),
                format!("with the configuration {}", Digest::of_value(&spec.run).short()),
            )];
            steps.extend(terms.steps(spec, running));
            (steps, terms.blast_radius(spec, running), terms.reversibility(running), Class::Normal)
        }
        Kind::Config { spec } => {
            let mut steps: Vec<Step> = match service {
                None => {
                    vec![step(format!("declare {key} on {}", routes(spec)), "it is new; it runs with its first deploy")]
                }
                Some(known) => {
                    let stays = known.removed.then(|| format!("keep {key} after all"));
                    let all = stays.into_iter().chain(differences(&known.spec, spec));
                    all.map(|what| step(what, "the configuration says so")).collect()
                }
            };
            let restarts = running.and_then(|r| state.releases.get(&r)).is_some_and(|r| *r.run != spec.run);
            let terms = rollout::Terms::of(state, spec, None, running);
            if restarts {
                steps.push(step(
                    "create a release with the new configuration",
                    "another way of running is another release",
                ));
                steps.extend(terms.steps(spec, running));
                (steps, terms.blast_radius(spec, running), terms.reversibility(running), Class::Normal)
            } else {
                (
                    steps,
                    "no request is moved to another release".into(),
                    "apply the earlier configuration".into(),
                    Class::Normal,
                )
            }
        }
        Kind::Rollback { to } => {
            let steps = vec![
                step(
                    format!("start {} × {to} where it is not running any more", known(state, key)?.spec.replicas),
                    "it was proven healthy",
                ),
                step(format!("send it all requests of {key}"), "a return to what was good needs no analysis"),
                step(
                    format!("stop {}", running.map_or("nothing".into(), |r| r.to_string())),
                    "nobody uses it any more",
                ),
            ];
            (steps, format!("all requests of {key} move to {to}"), "roll back once more".into(), Class::Emergency)
        }
        Kind::Scale { replicas } => {
            let now = known(state, key)?.spec.replicas;
            let what = if *replicas > now {
                format!("start {} of {key}", rollout::instances(replicas - now))
            } else {
                format!("drain and stop {} of {key}", rollout::instances(now - replicas))
            };
            let steps = vec![step(what, format!("{replicas} instead of {now} shall run"))];
            (steps, "no request is moved to another release".into(), format!("scale back to {now}"), Class::Standard)
        }
        Kind::Remove => {
            let steps = vec![
                step(format!("take {key} out of the route table"), "it is not in the configuration any more"),
                step("drain and stop all its instances", "nothing may use it any more"),
            ];
            let blast = format!("every request to {key} will be refused");
            (steps, blast, "declare and deploy it again".into(), Class::Normal)
        }
    };
    let basis = (key, kind.word(), Digest::of_value(kind), running, service.map(|s| Digest::of_value(&s.spec)), &steps);
    let digest = Digest::of_value(&basis);
    Ok(PlannedChange {
        service: key.clone(),
        kind: kind.word().to_owned(),
        class,
        // What gives way is shown and not agreed to: it may be over by the time the last approval comes.
        steps: giving_way(state, key).into_iter().chain(steps).collect(),
        blast_radius,
        reversibility,
        digest,
    })
}

fn routes(spec: &ServiceSpec) -> String {
    if spec.is_reached() { list(spec.reached_by().into_iter()) } else { "no route".to_owned() }
}

/// A list for people: a plan is read, not searched.
fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    const MOST: usize = 8;
    let more = items.len().saturating_sub(MOST);
    let mut shown: Vec<String> = items.take(MOST).map(|item| cut(&item)).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

fn cut(text: &str) -> String {
    const MOST: usize = 200;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}

/// How the routes and addresses of two declarations differ: those that both have are not listed, unless only their order differs.
fn other_routes(old: &ServiceSpec, new: &ServiceSpec) -> String {
    let (before, after) = (old.reached_by(), new.reached_by());
    let only = |these: &[String], others: &[String]| {
        let others: BTreeSet<&String> = others.iter().collect();
        these.iter().filter(|one| !others.contains(one)).cloned().collect::<Vec<_>>()
    };
    let (gone, added) = (only(&before, &after), only(&after, &before));
    let some = |these: Vec<String>| list(these.into_iter());
    match (gone.is_empty(), added.is_empty()) {
        (false, false) => format!("answer on {} instead of {}", some(added), some(gone)),
        (true, false) if old.is_reached() => format!("answer on {}, too", some(added)),
        (false, true) if new.is_reached() => format!("no longer answer on {}", some(gone)),
        _ => format!("answer on {} instead of {}", routes(new), routes(old)),
    }
}

/// What differs between two declarations, in words.
fn differences(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    let mut all = Vec::new();
    if old.replicas != new.replicas {
        all.push(format!("run {} instances instead of {}", new.replicas, old.replicas));
    }
    if old.sleep_after != new.sleep_after {
        all.push(new.sleep_after.map_or("let it never sleep".to_owned(), |after| {
            format!("let it sleep when nobody has asked for it for {after}")
        }));
    }
    if old.routes != new.routes || old.tcp != new.tcp {
        all.push(other_routes(old, new));
    }
    if old.traffic != new.traffic {
        all.push("carry requests in another way (traffic settings)".to_owned());
    }
    if old.rollout != new.rollout {
        all.push("let later releases take over in another way (rollout settings)".to_owned());
    }
    if old.run.listen != new.run.listen {
        all.push(match new.run.listen {
            Listen::Socket => "listen on a Unix socket instead of a port".to_owned(),
            Listen::Port => "listen on a port instead of a Unix socket".to_owned(),
        });
    }
    if old.run.command != new.run.command {
        let (new, old) = (cut(&new.run.command.join(" ")), cut(&old.run.command.join(" ")));
        all.push(format!("run `{new}` instead of `{old}`"));
    }
    if old.run.env != new.run.env {
        all.push(format!("set the environment variables {}", list(new.run.env.keys().cloned())));
    }
    if old.run.secrets != new.run.secrets {
        all.push("give it other secrets".to_owned());
    }
    let rest = |spec: &ServiceSpec| {
        let run = &spec.run;
        (
            run.ready.clone(),
            run.live.clone(),
            run.start_deadline,
            run.stop_deadline,
            run.limits.clone(),
            run.user.clone(),
        )
    };
    if rest(old) != rest(new) {
        all.push("check, limit or stop its instances in another way".to_owned());
    }
    all
}

/// The strategy that a service really gets.
pub(crate) const fn effective(strategy: Strategy, has_routes: bool) -> Strategy {
    match strategy {
        // Without requests there is nothing to judge a canary by.
        Strategy::Canary if !has_routes => Strategy::BlueGreen,
        Strategy::Canary | Strategy::BlueGreen | Strategy::Rolling | Strategy::Recreate => strategy,
    }
}

#[cfg(test)]
mod tests;
