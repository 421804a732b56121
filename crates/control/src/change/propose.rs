//! What a command would do: the plan that people read, that approvals bind to, and that a dry run shows.

use super::{Change, Class, Fact, Kind, Phase, draft, start};
use crate::{Code, Command, Draft, Refusal, Request, State, rollout, service};
use model::{ChangeId, Digest, EnvironmentName, ReleaseId, RouteMatch, ServiceKey, ServiceName, ServiceSpec, Strategy};
use policy::{Answer, Policy, Question};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

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
    /// The digest over all this and over what the service is now: another state gives another digest.
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
pub fn plan(state: &State, policy: &Policy, request: &Request) -> Result<Plan, Refusal> {
    let wanted = wanted(state, &request.command)?;
    let changes = wanted.iter().map(|w| planned(state, &w.service, &w.kind)).collect::<Result<Vec<_>, _>>()?;
    Ok(Plan { digest: Digest::of_value(&changes), changes, approvals: permitted(policy, request)? })
}

/// Drafts the proposals a command makes, and the start of those that need no approval.
pub(crate) fn decide(state: &State, policy: &Policy, request: &Request) -> Result<Vec<Draft>, Refusal> {
    let approvals_needed = permitted(policy, request)?;
    let wanted = wanted(state, &request.command)?;
    let mut planned_changes = Vec::new();
    let mut drafts = Vec::new();
    let mut next = state.next;
    for Wanted { service, kind, class } in wanted {
        let change = next.take_change();
        let plan = Box::new(planned(state, &service, &kind)?);
        planned_changes.push((*plan).clone());
        let fact =
            Fact::Proposed { change, service: service.clone(), kind: kind.clone(), class, plan, approvals_needed };
        drafts.push(draft(state, fact));
        if approvals_needed == 0 {
            drafts.extend(start(state, &mut next, change, &service, &kind)?);
        }
    }
    let digest = Digest::of_value(&planned_changes);
    if request.expect.is_some_and(|expected| expected != digest) {
        return Err(Refusal::new(
            Code::PlanChanged,
            "what would be done has changed since the plan was made",
            "look at the new plan and decide again",
        ));
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
        Command::Deploy { service, .. } | Command::Rollback { service, .. } | Command::Scale { service, .. } => {
            (Some(&service.environment), Some(service))
        }
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
            free(state, service, *supersede)?;
            let kind =
                Kind::Deploy { artifact: *artifact, label: label.clone(), strategy: *strategy, supersede: *supersede };
            one(service, kind, Class::Normal)
        }
        Command::Rollback { service, to } => {
            let to = rollback_target(state, service, *to)?;
            one(service, Kind::Rollback { to }, Class::Emergency)
        }
        Command::Scale { service, replicas } => {
            free(state, service, false)?;
            let mut spec = (*known(state, service)?.spec).clone();
            if spec.replicas == *replicas {
                return Err(Refusal::new(Code::NothingToDo, format!("{service} already has {replicas} replicas"), ""));
            }
            spec.replicas = *replicas;
            service::check(service, &spec)?;
            one(service, Kind::Scale { replicas: *replicas }, Class::Standard)
        }
        Command::Approve { .. }
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
        free(state, key, false).or_else(|r| if r.code == Code::UnknownService { Ok(()) } else { Err(r) })?;
        wanted.push(Wanted {
            service: key.clone(),
            kind: Kind::Config { spec: Arc::new((*spec).clone()) },
            class: Class::Normal,
        });
    }
    let surplus = state
        .services
        .iter()
        .filter(|(key, s)| key.environment == *environment && !s.removed && !declared.contains_key(*key));
    for (key, _) in surplus.filter(|_| prune) {
        free(state, key, false)?;
        wanted.push(Wanted { service: key.clone(), kind: Kind::Remove, class: Class::Normal });
    }
    Ok(wanted)
}

/// The release a rollback goes to: the one asked for if it was proven, else the last proven one before the running.
fn rollback_target(state: &State, key: &ServiceKey, asked: Option<ReleaseId>) -> Result<ReleaseId, Refusal> {
    let service = known(state, key)?;
    if let Some(active) = state.active_change(key).filter(|c| c.phase != Phase::HoldingBack) {
        return Err(Refusal::new(
            Code::ChangeUnderWay,
            format!("{} of {key} is {}", active.id, active.phase),
            format!("undo it with `qd cancel {}`", active.id),
        ));
    }
    let Some(to) = asked else {
        return service.rollback_target(&state.releases).ok_or_else(|| {
            Refusal::new(
                Code::NoRollbackTarget,
                format!("{key} has no earlier release that was proven healthy"),
                "deploy a good one with `qd deploy`",
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

fn known<'s>(state: &'s State, key: &ServiceKey) -> Result<&'s service::Service, Refusal> {
    state.services.get(key).filter(|s| !s.removed).ok_or_else(|| unknown_service(state, key))
}

pub(crate) fn unknown_service(state: &State, key: &ServiceKey) -> Refusal {
    let names: Vec<_> = state.services.keys().map(ServiceKey::to_string).collect();
    let hint = match names.as_slice() {
        [] => "declare it in quarterdeck.toml and run `qd apply`".to_owned(),
        names => format!("there are {}; declare a new one in quarterdeck.toml and run `qd apply`", names.join(", ")),
    };
    Refusal::new(Code::UnknownService, format!("there is no service {key}"), hint)
}

/// Refuses while another change of the service is under way. One that is only held back gives way.
fn free(state: &State, key: &ServiceKey, supersede: bool) -> Result<(), Refusal> {
    known(state, key)?;
    match state.active_change(key) {
        Some(active) if active.phase != Phase::HoldingBack && !supersede => Err(Refusal::new(
            Code::ChangeUnderWay,
            format!("{} of {key} is {}", active.id, active.phase),
            format!("wait for it, `qd cancel {}`, or deploy with --supersede to take its place", active.id),
        )),
        Some(_) | None => Ok(()),
    }
}

/// What would be done to one service, with the digest that approvals bind to.
pub(crate) fn planned(state: &State, key: &ServiceKey, kind: &Kind) -> Result<PlannedChange, Refusal> {
    let service = state.services.get(key);
    let running = service.and_then(|s| s.running);
    let (steps, blast_radius, reversibility, class) = match kind {
        Kind::Deploy { artifact, strategy, .. } => {
            let spec = &known(state, key)?.spec;
            let terms = rollout::Terms::of(spec, *strategy, running);
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
                    differences(&known.spec, spec).into_iter().map(|d| step(d, "the configuration says so")).collect()
                }
            };
            let restarts = running.and_then(|r| state.releases.get(&r)).is_some_and(|r| *r.run != spec.run);
            let terms = rollout::Terms::of(spec, None, running);
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
                format!("start {} more instances of {key}", replicas - now)
            } else {
                format!("drain and stop {} instances of {key}", now - replicas)
            };
            let steps = vec![step(what, format!("{replicas} instead of {now} are wanted"))];
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
        steps,
        blast_radius,
        reversibility,
        digest,
    })
}

fn routes(spec: &ServiceSpec) -> String {
    match spec.routes.as_slice() {
        [] => "no route".to_owned(),
        routes => routes.iter().map(RouteMatch::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// What differs between two declarations, in words.
fn differences(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    let mut all = Vec::new();
    if old.replicas != new.replicas {
        all.push(format!("run {} instances instead of {}", new.replicas, old.replicas));
    }
    if old.routes != new.routes {
        all.push(format!("answer on {} instead of {}", routes(new), routes(old)));
    }
    if old.traffic != new.traffic {
        all.push("carry requests in another way (traffic settings)".to_owned());
    }
    if old.rollout != new.rollout {
        all.push("let later releases take over in another way (rollout settings)".to_owned());
    }
    if old.run.command != new.run.command {
        all.push(format!("run `{}` instead of `{}`", new.run.command.join(" "), old.run.command.join(" ")));
    }
    let names = |spec: &ServiceSpec| spec.run.env.keys().cloned().collect::<Vec<_>>().join(", ");
    if old.run.env != new.run.env {
        all.push(format!("set the environment variables {}", names(new)));
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

/// Refuses a promotion that makes no sense; used by the rollout.
pub(crate) fn promotable(change: &Change) -> Result<ChangeId, Refusal> {
    change.phase.check(change.id, super::phase::Event::Promote)?;
    match &change.rollout {
        Some(rollout) if rollout.step.is_some() => Ok(change.id),
        Some(_) => Err(Refusal::new(
            Code::WrongPhase,
            format!("the new release of {} is not ready yet", change.id),
            "wait until its instances are ready",
        )),
        None => Err(Refusal::new(Code::WrongPhase, format!("{} moves no traffic", change.id), "")),
    }
}
