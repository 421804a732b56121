//! Rollouts: how requests move from the running release to a new one, and back when the evidence says so.
//!
//! [`advance`] is the whole policy, as a flat list of questions in the order in which they matter. It looks at the state
//! and the observation only, so a restarted control plane goes on where the last one stopped.

use crate::{
    Code, Draft, Entry, Observed, Refusal, Request, State,
    change::{self, Change, Outcome, Phase, propose::Step},
    fact, instance, release, service,
};
use model::{
    ArmFigures, ChangeId, Evidence, Judgement, Metric, OnDeadline, Ratio, ReleaseId, ServiceSpec, Span, Strategy, Time,
    Verdict,
};
use serde::{Deserialize, Serialize};

/// How often an instance of a release under way may exit before that is a verdict.
pub const CRASH_LOOP_EXITS: u32 = 3;
/// From which part of a proof that a release is worse its share is not raised any more.
const LEANING: f64 = 0.2;

/// The terms a rollout was begun on; later edits of the service do not alter them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// How the release takes over.
    pub strategy: Strategy,
    /// The canary's shares. For `rolling`, not used.
    pub steps: Vec<Ratio>,
    /// How long each step is held at least.
    pub step_time: Span,
    /// How long after the first step it must be decided; `None`: it is not judged.
    pub deadline: Option<Span>,
    /// What happens when it is not.
    pub on_deadline: OnDeadline,
    /// How long the old release stays warm after promotion.
    pub hold_back: Span,
    /// What evidence it takes; `None`: none.
    pub judgement: Option<Judgement>,
    /// What evidence it takes to go back while the old release is kept warm, compared with what was usual before.
    #[serde(default)]
    pub watch: Option<Judgement>,
}

impl Terms {
    /// The terms of a service for its next release.
    pub(crate) fn of(state: &State, spec: &ServiceSpec, strategy: Option<Strategy>, from: Option<ReleaseId>) -> Terms {
        let rollout = &spec.rollout;
        let has_routes = !spec.routes.is_empty();
        let strategy = change::propose::effective(strategy.unwrap_or(rollout.strategy), has_routes);
        // A release that answers nobody is nothing to be compared with, and nothing to go back to: whoever repairs a
        // service that is down must not wait for evidence.
        let answers = from.is_some_and(|from| state.ready(from) > 0);
        let strategy = match strategy {
            Strategy::Canary | Strategy::Rolling if from.is_some() && !answers => Strategy::BlueGreen,
            Strategy::Canary | Strategy::Rolling | Strategy::BlueGreen | Strategy::Recreate => strategy,
        };
        let concurrent = answers && has_routes && matches!(strategy, Strategy::Canary | Strategy::Rolling);
        let stays_warm = answers && matches!(strategy, Strategy::Canary | Strategy::BlueGreen);
        Terms {
            strategy,
            steps: rollout.steps.clone(),
            step_time: rollout.step_time,
            deadline: (concurrent && strategy == Strategy::Canary).then_some(rollout.deadline),
            on_deadline: rollout.on_deadline,
            hold_back: if stays_warm { rollout.hold_back } else { Span::ZERO },
            judgement: concurrent.then(|| rollout.judgement.clone()),
            // With nothing beside it, a slower release looks just like a busier hour: only failures are watched.
            watch: (stays_warm && has_routes)
                .then(|| Judgement { latency_tolerance: Ratio::ZERO, ..rollout.judgement.clone() }),
        }
    }

    /// The terms of a return to a proven release: as fast as it can be ready, without analysis.
    pub(crate) fn return_to_proven(spec: &ServiceSpec) -> Terms {
        Terms {
            strategy: if spec.rollout.strategy == Strategy::Recreate {
                Strategy::Recreate
            } else {
                Strategy::BlueGreen
            },
            steps: Vec::new(),
            step_time: Span::ZERO,
            deadline: None,
            on_deadline: OnDeadline::Hold,
            hold_back: Span::ZERO,
            judgement: None,
            watch: None,
        }
    }

    /// What will be done, for a plan.
    pub(crate) fn steps(&self, spec: &ServiceSpec, from: Option<ReleaseId>) -> Vec<Step> {
        let step = |what: String, because: &str| Step { what, because: because.to_owned() };
        let n = spec.replicas;
        let Some(from) = from else {
            return vec![step(
                format!("start {} and send requests when all are ready", instances(n)),
                "nothing runs yet",
            )];
        };
        let warm = || match self.hold_back {
            Span::ZERO => step(format!("stop {from}"), "nobody uses it any more"),
            span => step(format!("keep {from} warm for {span}, then stop it"), "a return is then a matter of moments"),
        };
        match self.strategy {
            Strategy::Canary => {
                let shares: Vec<_> = self.steps.iter().map(Ratio::to_string).collect();
                let judgement = self.judgement.clone().unwrap_or_default();
                vec![
                    step(
                        format!("start {} beside {from}", instances(n)),
                        "users notice nothing of a release that does not start",
                    ),
                    step(
                        format!(
                            "send the new release {} of the requests, each for at least {}",
                            shares.join(", "),
                            self.step_time
                        ),
                        "every request is evidence; few users feel a bad release",
                    ),
                    step(
                        format!("roll back at once when it is worse (false alarm ≤ {})", judgement.false_alarm),
                        "the data plane judges every request and stops exposing users by itself",
                    ),
                    step(
                        format!("promote it when failures are not worse by more than {}", judgement.tolerance),
                        "a good release should not wait for a timer",
                    ),
                    warm(),
                ]
            }
            Strategy::BlueGreen => vec![
                step(
                    format!("start {} beside {from}", instances(n)),
                    "users notice nothing of a release that does not start",
                ),
                step("send the new release all requests at once".into(), "the strategy is blue-green"),
                warm(),
            ],
            Strategy::Rolling => vec![
                step(
                    format!("replace {} one by one, each held for {}", instances(n), self.step_time),
                    "never fewer instances ready than wanted",
                ),
                step(
                    "undo it when the new release is worse".into(),
                    "both releases are judged on the requests they get",
                ),
            ],
            Strategy::Recreate => vec![
                step(
                    format!("drain and stop all instances of {from}"),
                    "the strategy is recreate: the two must not run together",
                ),
                step(
                    format!("start {} of the new release", instances(n)),
                    "requests wait in the meantime, for a few seconds at most",
                ),
            ],
        }
    }

    pub(crate) fn blast_radius(&self, spec: &ServiceSpec, from: Option<ReleaseId>) -> String {
        let who =
            if spec.routes.is_empty() { "no request is concerned; the work it does is" } else { "all its requests" };
        match (from, self.strategy, self.steps.first()) {
            (None, _, _) => "nobody uses it yet".to_owned(),
            (Some(_), Strategy::Canary, Some(first)) => {
                format!("{first} of its requests first, more only as evidence allows")
            }
            (Some(_), Strategy::Rolling, _) => format!("1 of {} instances first", spec.replicas),
            (Some(_), Strategy::Canary | Strategy::BlueGreen | Strategy::Recreate, _) => who.to_owned(),
        }
    }

    pub(crate) fn reversibility(&self, from: Option<ReleaseId>) -> String {
        match (from, self.strategy) {
            (None, _) => "cancel it; there is nothing to return to".to_owned(),
            (Some(from), Strategy::Canary | Strategy::BlueGreen) if self.hold_back > Span::ZERO => {
                format!(
                    "undone in moments until {} after promotion: {from} stays warm; later by a rollback",
                    self.hold_back
                )
            }
            (Some(from), _) => format!("undone by starting {from} again"),
        }
    }
}

/// A number of instances, for people.
pub(crate) fn instances(n: u32) -> String {
    if n == 1 { "1 instance".to_owned() } else { format!("{n} instances") }
}

/// How far a rollout is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rollout {
    /// The release that had the requests before.
    pub from: Option<ReleaseId>,
    /// The release that shall have them.
    pub to: ReleaseId,
    /// The terms it was begun on.
    pub terms: Terms,
    /// When it was begun.
    pub begun_at: Time,
    /// Which step it is at, from 0; `None` while the new instances are starting.
    pub step: Option<u32>,
    /// The new release's share at this step.
    pub weight: Ratio,
    /// When this step was taken, or the rollout begun or promoted.
    pub step_at: Time,
    /// When it must be decided.
    pub deadline: Option<Time>,
    /// Since when its deadline stands still, because it is paused or held by an outage.
    pub stopped_at: Option<Time>,
    /// Why it takes no steps for now, when Quarterdeck itself holds it.
    pub held: Option<Held>,
    /// Why it is being undone, and what to call that when it is done.
    pub undo: Option<Undo>,
    /// What was usual before the promotion, to compare with while the old release is kept warm.
    #[serde(default)]
    pub baseline: Option<ArmFigures>,
}

/// Why Quarterdeck itself holds a rollout where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// One sentence.
    pub because: String,
    /// What must happen for it to go on.
    pub until: Until,
}

/// What must happen for a held rollout to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Until {
    /// What both releases share must work again.
    OutageEnds,
    /// The evidence must convince after all, or a person must decide: its deadline has passed.
    Decided,
}

/// Why a rollout is being undone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undo {
    /// One sentence.
    pub because: String,
    /// How the change will have ended.
    pub outcome: Outcome,
}

impl Rollout {
    /// The points in time that move when the clock is set.
    pub(crate) fn times_mut(&mut self) -> Vec<&mut Time> {
        let mut times = vec![&mut self.begun_at, &mut self.step_at];
        times.extend(self.deadline.as_mut());
        times.extend(self.stopped_at.as_mut());
        times
    }

    /// The deadline stands still from now on, if it did not before.
    pub(crate) fn stop_clock(&mut self, now: Time) {
        self.stopped_at.get_or_insert(now);
    }

    /// The deadline moves again: what was left of it is still left.
    pub(crate) fn start_clock(&mut self, now: Time) {
        if let Some(stopped_at) = self.stopped_at.take()
            && let Some(deadline) = &mut self.deadline
        {
            *deadline = *deadline + now.since(stopped_at);
        }
    }

    /// Whether something all releases share is failing.
    pub(crate) fn in_outage(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.until == Until::OutageEnds)
    }

    /// When the old release need not be kept warm any more.
    pub fn warm_until(&self) -> Time {
        self.step_at + self.terms.hold_back
    }
}

/// What can happen to a rollout.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// It is under way.
    Begun {
        /// Of which change.
        change: ChangeId,
        /// The release that had the requests before.
        from: Option<ReleaseId>,
        /// The release that shall have them.
        to: ReleaseId,
        /// On which terms.
        terms: Terms,
    },
    /// The new release gets this share from now on.
    Stepped {
        /// Of which change.
        change: ChangeId,
        /// Which step, from 0.
        step: u32,
        /// The share.
        weight: Ratio,
    },
    /// Quarterdeck itself holds it where it is.
    Held {
        /// Of which change.
        change: ChangeId,
        /// Why.
        because: String,
        /// What must happen for it to go on.
        until: Until,
    },
    /// The reason to hold it is gone.
    Released {
        /// Of which change.
        change: ChangeId,
    },
    /// The evidence convinces.
    Judged {
        /// Of which change.
        change: ChangeId,
        /// The release that had the requests before.
        from: ReleaseId,
        /// The release that was judged.
        to: ReleaseId,
        /// The verdict with its figures.
        evidence: Evidence,
    },
    /// The new release gets all requests.
    Promoted {
        /// Of which change.
        change: ChangeId,
        /// Which release.
        release: ReleaseId,
        /// Why.
        because: String,
        /// Whether real requests showed that it is good.
        proven: bool,
        /// What was usual before, to compare with while the old release is kept warm.
        #[serde(default)]
        baseline: Option<ArmFigures>,
    },
    /// It begins to be undone: the new release gets no requests any more.
    Undone {
        /// Of which change.
        change: ChangeId,
        /// The release that loses its requests.
        release: ReleaseId,
        /// Why.
        because: String,
        /// How the change will have ended.
        outcome: Outcome,
    },
}

impl Fact {
    /// Which change it belongs to.
    pub const fn change(&self) -> ChangeId {
        match self {
            Fact::Begun { change, .. }
            | Fact::Stepped { change, .. }
            | Fact::Held { change, .. }
            | Fact::Released { change }
            | Fact::Judged { change, .. }
            | Fact::Promoted { change, .. }
            | Fact::Undone { change, .. } => *change,
        }
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Begun { from: Some(from), to, terms, .. } => {
                format!("{to} begins to take over from {from} ({})", terms.strategy)
            }
            Fact::Begun { from: None, to, .. } => format!("{to} begins; nothing ran before"),
            Fact::Stepped { weight, .. } => format!("the new release gets {weight} of the requests"),
            Fact::Held { because, .. } => format!("held: {because}"),
            Fact::Released { .. } => "goes on".to_owned(),
            Fact::Judged { from, to, evidence, .. } => {
                let verdict = match evidence.verdict {
                    Verdict::Worse(metric) => format!("{to} is worse by its {metric}"),
                    Verdict::NotWorse => format!("{to} is not worse"),
                    Verdict::SharedOutage => "both releases got worse together".to_owned(),
                    Verdict::Undecided => "undecided".to_owned(),
                    Verdict::NoData => "no data".to_owned(),
                };
                format!("judged: {verdict}; {}", evidence.sentence(*from, *to))
            }
            Fact::Promoted { release, because, .. } => format!("{release} gets all requests: {because}"),
            Fact::Undone { release, because, .. } => format!("{release} gets no requests any more: {because}"),
        }
    }
}

fn draft(change: &Change, fact: Fact) -> Draft {
    fact::draft(fact::change_stream(change.id), fact::Fact::Rollout(fact)).caused_by(change.last)
}

pub(crate) fn draft_begin(change: ChangeId, from: Option<ReleaseId>, to: ReleaseId, terms: Terms) -> Draft {
    fact::draft(fact::change_stream(change), fact::Fact::Rollout(Fact::Begun { change, from, to, terms }))
}

/// The draft that begins to undo a change's rollout; the change must have one.
pub(crate) fn draft_undo(change: &Change, because: String, outcome: Outcome) -> Draft {
    let release = change.rollout.as_ref().map_or(ReleaseId(0), |r| r.to);
    draft(change, Fact::Undone { change: change.id, release, because, outcome })
}

/// Decides on a promotion by a person.
pub(crate) fn decide_promote(
    state: &State,
    observed: &Observed,
    request: &Request,
    id: ChangeId,
) -> Result<Vec<Draft>, Refusal> {
    let change = change::known(state, id)?;
    promotable(state, change)?;
    let because = request.because();
    Ok(change.rollout.iter().map(|rollout| promoted(observed, change, rollout, because.clone(), false)).collect())
}

/// The draft of a promotion, with what is usual now: afterwards nothing runs beside the new release to compare it with.
fn promoted(observed: &Observed, change: &Change, rollout: &Rollout, because: String, proven: bool) -> Draft {
    let watched = rollout.from.filter(|_| rollout.terms.watch.is_some());
    let baseline = watched.and_then(|from| usual(observed, change.id, from));
    draft(change, Fact::Promoted { change: change.id, release: rollout.to, because, proven, baseline })
}

/// What the release that had the requests did with them: as it was judged, or else lately.
fn usual(observed: &Observed, change: ChangeId, from: ReleaseId) -> Option<ArmFigures> {
    let judged = observed.evidence(change).map(|evidence| evidence.running.clone());
    let lately = || {
        let recent = observed.recent(from);
        ArmFigures { units: recent.tally.total(), failed: recent.tally.failed(), latencies: recent.latencies }
    };
    Some(judged.filter(|figures| figures.units > 0).unwrap_or_else(lately)).filter(|figures| figures.units > 0)
}

/// Refuses a promotion that would leave requests without the instances they need.
fn promotable(state: &State, change: &Change) -> Result<(), Refusal> {
    let id = change.id;
    change.phase.check(id, change::phase::Event::Promote)?;
    let Some(rollout) = &change.rollout else {
        return Err(Refusal::new(Code::WrongPhase, format!("{id} moves no traffic"), ""));
    };
    let ready = state.ready(rollout.to);
    let replicas = state.services.get(&change.service).map_or(0, |s| s.spec.replicas);
    if ready >= replicas {
        return Ok(());
    }
    let message = format!("{ready} of {replicas} instances of {} are ready", rollout.to);
    Err(Refusal::new(Code::WrongPhase, message, "wait until all are, or cancel it"))
}

/// What follows for a rollout from what is observed, now.
pub(crate) fn advance(state: &State, observed: &Observed, change: &Change, now: Time) -> Vec<Draft> {
    let (Some(rollout), Some(service)) = (&change.rollout, state.services.get(&change.service)) else {
        return Vec::new();
    };
    let undo = |because: String| {
        // What was a return itself is not rolled back: it did not work.
        let returns = rollout.from.is_some() && !matches!(change.kind, change::Kind::Rollback { .. });
        let outcome = if returns { Outcome::RolledBack } else { Outcome::Failed };
        vec![draft_undo(change, because, outcome)]
    };
    let finish = |outcome, because: String| {
        vec![change::draft(state, change::Fact::Finished { change: change.id, outcome, because })]
    };
    if let Some((evidence, why)) = tripped(observed, change, rollout) {
        let mut drafts = undo(why);
        drafts.splice(0..0, evidence);
        return drafts;
    }
    match change.phase {
        Phase::Running | Phase::Paused => {
            if let Some(why) = broken(state, observed, change, rollout, now) {
                return undo(why);
            }
            if change.phase == Phase::Paused {
                Vec::new()
            } else {
                forward(state, observed, change, rollout, &service.spec, now)
            }
        }
        Phase::HoldingBack => match broken(state, observed, change, rollout, now) {
            Some(why) if rollout.from.is_some() && rollout.terms.hold_back > Span::ZERO => undo(why),
            _ if now >= rollout.warm_until() => finish(Outcome::Succeeded, format!("{} has all requests", rollout.to)),
            _ => Vec::new(),
        },
        Phase::Undoing => {
            let Some(undo) = &rollout.undo else { return Vec::new() };
            let back = match rollout.from {
                Some(from) => state.ready(from) >= service.spec.replicas,
                None => state.instances_of(rollout.to).next().is_none(),
            };
            let deadline = service.spec.run.start_deadline;
            if back {
                finish(undo.outcome, undo.because.clone())
            } else if now.since(rollout.step_at) > Span(deadline.0.saturating_mul(2)) {
                finish(Outcome::Failed, format!("{}; and what ran before did not become ready again", undo.because))
            } else {
                Vec::new()
            }
        }
        Phase::WaitingApproval
        | Phase::Succeeded
        | Phase::RolledBack
        | Phase::Failed
        | Phase::Cancelled
        | Phase::Superseded => Vec::new(),
    }
}

/// Why the data plane stopped, or should have stopped, exposing users to the new release: with the figures as a draft, as
/// far as they are known.
fn tripped(observed: &Observed, change: &Change, rollout: &Rollout) -> Option<(Option<Draft>, String)> {
    let watching = change.phase == Phase::HoldingBack && rollout.baseline.is_some();
    if !watching && !matches!(change.phase, Phase::Running | Phase::Paused) {
        return None;
    }
    let from = rollout.from?;
    if let Some(evidence) = observed.evidence(change.id)
        && let Verdict::Worse(metric) = evidence.verdict
    {
        let what = match metric {
            Metric::Failures => "fails more often",
            Metric::Latency => "is slower",
        };
        let did = if watching { " did" } else { "" };
        return Some((Some(judged(change, rollout, from, evidence)), format!("it {what} than {from}{did}")));
    }
    let lost = || "its guard tripped, and the figures were lost with the data plane that had them".to_owned();
    observed.has_tripped(change.id).then(|| (None, lost()))
}

/// Why the new release cannot be relied on, whatever its requests say.
fn broken(state: &State, observed: &Observed, change: &Change, rollout: &Rollout, now: Time) -> Option<String> {
    let instances = || state.instances_of(rollout.to);
    if let Some((id, why)) = instances().find_map(|i| i.failed_to_start().map(|why| (i.id, why))) {
        return Some(format!("{id} could not be started: {why}"));
    }
    if let Some(i) = instances().find(|i| i.exits >= CRASH_LOOP_EXITS && !i.is_ready()) {
        let last = i.last_exit.as_ref().map_or(String::new(), |exit| format!("; the last time it {exit}"));
        return Some(format!("{} ended {} times{last}", i.id, i.exits));
    }
    let ended = || instances().next().map(|i| format!(": {} {}", i.id, i.waiting_for(observed))).unwrap_or_default();
    if change.phase == Phase::HoldingBack
        && state.ready(rollout.to) == 0
        && rollout.from.is_some_and(|from| state.ready(from) > 0)
    {
        return Some(format!("none of its instances answers any more{}", ended()));
    }
    let run = &state.releases.get(&rollout.to)?.run;
    let limit = run.start_deadline;
    if rollout.terms.strategy == Strategy::Recreate
        && instances().next().is_none()
        && let Some(from) = rollout.from
        && now.since(rollout.begun_at) > instance::longest_stop(state, change) + limit
    {
        return Some(format!("{from} did not stop"));
    }
    // Restarts do not extend the deadline of a release that has yet to become ready for the first time.
    let first_start = change.phase != Phase::HoldingBack && rollout.step.is_none();
    instances().filter(|i| !i.is_ready()).find_map(|i| {
        let since = if first_start { rollout.begun_at.max(i.placed_at) } else { i.condition.since() };
        let late = now.since(since) > limit;
        late.then(|| format!("{} was not ready within {limit}: {}", i.id, i.waiting_for(observed)))
    })
}

fn judged(change: &Change, rollout: &Rollout, from: ReleaseId, evidence: &Evidence) -> Draft {
    draft(change, Fact::Judged { change: change.id, from, to: rollout.to, evidence: evidence.clone() })
}

/// The next step of a rollout that nothing speaks against.
fn forward(
    state: &State,
    observed: &Observed,
    change: &Change,
    rollout: &Rollout,
    spec: &ServiceSpec,
    now: Time,
) -> Vec<Draft> {
    let id = change.id;
    let evidence = observed.evidence(id);
    let ready = state.ready(rollout.to);
    let promote = |because: String, proven| promoted(observed, change, rollout, because, proven);
    let stepped = |step: u32, weight| vec![draft(change, Fact::Stepped { change: id, step, weight })];
    let rolling = rollout.terms.strategy == Strategy::Rolling;
    let Some(from) = rollout.from.filter(|_| matches!(rollout.terms.strategy, Strategy::Canary | Strategy::Rolling))
    else {
        let all = ready >= spec.replicas;
        return if all {
            vec![promote(format!("{ready} of {ready} instances are ready"), rollout.from.is_none())]
        } else {
            Vec::new()
        };
    };
    let Some(step) = rollout.step else {
        return match (rolling, rollout.terms.steps.first()) {
            (true, _) if ready >= 1 => stepped(0, Ratio::of(1, u64::from(spec.replicas))),
            (false, Some(first)) if ready >= spec.replicas => stepped(0, *first),
            _ => Vec::new(),
        };
    };
    // While the data plane is silent, or has not taken the table with the guard, nothing is known, which is neither good
    // nor bad: everything stays as it is.
    if evidence.is_none() && rollout.terms.judgement.is_some() {
        return Vec::new();
    }
    let verdict = evidence.map_or(Verdict::NoData, |e| e.verdict);
    match (verdict == Verdict::SharedOutage, rollout.in_outage()) {
        (true, false) => {
            let because = format!("{from} and {} got worse together, so something they share is failing", rollout.to);
            return vec![draft(change, Fact::Held { change: id, because, until: Until::OutageEnds })];
        }
        (true, true) => return Vec::new(),
        (false, true) => return vec![draft(change, Fact::Released { change: id })],
        (false, false) => {}
    }
    // A step is rested on when its instances have answered for long enough.
    let since = state.instances_of(rollout.to).map(|i| i.condition.since()).max();
    let rested = now.since(rollout.step_at.max(since.unwrap_or_default())) >= rollout.terms.step_time;
    if rolling {
        if ready <= step || !rested {
            return Vec::new();
        }
        return if ready >= spec.replicas {
            vec![promote("every instance was replaced".into(), verdict == Verdict::NotWorse)]
        } else {
            stepped(step + 1, Ratio::of(u64::from(step) + 2, u64::from(spec.replicas)))
        };
    }
    if ready < spec.replicas {
        return Vec::new();
    }
    if let (Verdict::NotWorse, Some(evidence), true) = (verdict, evidence, rested) {
        let because = format!("it is not worse than {from}");
        return vec![judged(change, rollout, from, evidence), promote(because, true)];
    }
    if rollout.deadline.is_some_and(|deadline| now >= deadline) {
        return overdue(observed, change, rollout, from, evidence.filter(|_| verdict != Verdict::NoData));
    }
    match rollout.terms.steps.get(step as usize + 1) {
        // Without a request to the canary at this weight, a larger weight would rest on nothing; and while the evidence
        // leans against it, a larger weight would only harm more users until it is decided.
        Some(next) if rested && verdict != Verdict::NoData && !evidence.is_some_and(leans_against) => {
            stepped(step + 1, *next)
        }
        _ => Vec::new(),
    }
}

/// Whether the evidence speaks against the new release, though it does not convince.
fn leans_against(evidence: &Evidence) -> bool {
    evidence.findings.iter().any(|finding| finding.worse > LEANING * finding.worse_bound)
}

/// What becomes of a rollout that is undecided at its deadline.
fn overdue(
    observed: &Observed,
    change: &Change,
    rollout: &Rollout,
    from: ReleaseId,
    evidence: Option<&Evidence>,
) -> Vec<Draft> {
    let id = change.id;
    let seen = evidence.map_or("nothing was observed".to_owned(), |e| e.sentence(from, rollout.to));
    let because = format!("undecided at its deadline: {seen}");
    match (rollout.terms.on_deadline, evidence) {
        (OnDeadline::Rollback, _) => vec![draft_undo(change, because, Outcome::RolledBack)],
        (OnDeadline::Promote, Some(_)) => {
            vec![promoted(observed, change, rollout, because, false)]
        }
        // To promote what nobody has seen would be to fail open.
        (OnDeadline::Hold, _) | (OnDeadline::Promote, None) => match rollout.held {
            Some(_) => Vec::new(),
            None => vec![draft(change, Fact::Held { change: id, because, until: Until::Decided })],
        },
    }
}

pub(crate) fn apply(state: &mut State, entry: &Entry, fact: &Fact) {
    let Some(change) = state.changes.get_mut(&fact.change()) else { return };
    change.last = entry.seq;
    if let Fact::Begun { from, to, terms, .. } = fact {
        change.rollout = Some(Rollout {
            from: *from,
            to: *to,
            terms: terms.clone(),
            begun_at: entry.time,
            step: None,
            weight: Ratio::ZERO,
            step_at: entry.time,
            deadline: None,
            stopped_at: None,
            held: None,
            undo: None,
            baseline: None,
        });
        return;
    }
    let Some(rollout) = &mut change.rollout else { return };
    match fact {
        Fact::Begun { .. } | Fact::Judged { .. } => {}
        Fact::Stepped { step, weight, .. } => {
            if rollout.step.is_none() {
                rollout.deadline = rollout.terms.deadline.map(|span| entry.time + span);
            }
            rollout.step = Some(*step);
            rollout.weight = *weight;
            rollout.step_at = entry.time;
        }
        Fact::Held { because, until, .. } => {
            rollout.held = Some(Held { because: because.clone(), until: *until });
            if *until == Until::OutageEnds {
                rollout.stop_clock(entry.time);
            }
        }
        Fact::Released { .. } => {
            rollout.held = None;
            rollout.step_at = entry.time;
            rollout.start_clock(entry.time);
        }
        Fact::Promoted { release, proven, baseline, .. } => {
            rollout.weight = Ratio::ONE;
            rollout.baseline.clone_from(baseline);
            rollout.step_at = entry.time;
            rollout.held = None;
            change.phase = change.phase.after(change::phase::Event::Promote);
            let from = rollout.from;
            if let Some(service) = state.services.get_mut(&change.service) {
                service::trust(service, *release, from, &state.releases);
            }
            if *proven {
                release::set_standing(state, *release, release::Standing::Proven);
            }
        }
        Fact::Undone { release, because, outcome, .. } => {
            rollout.weight = Ratio::ZERO;
            rollout.step_at = entry.time;
            rollout.undo = Some(Undo { because: because.clone(), outcome: *outcome });
            change.phase = change.phase.after(change::phase::Event::Undo);
            let (from, before) = (rollout.from, change.before.clone());
            if let Some(service) = state.services.get_mut(&change.service) {
                service::distrust(service, *release, from);
                service::restore(service, before);
            }
        }
    }
}
