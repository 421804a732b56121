//! What follows for a rollout from what is observed: the whole policy, as a flat list of questions in the order in which
//! they matter. It looks at the state and the observation only, so a restarted control plane goes on where the last one
//! stopped.

use super::{Fact, Rollout, Until, draft, draft_undo, ramp, shadow};
use crate::{
    Code, Draft, Observed, Refusal, Request, State,
    change::{self, Change, Outcome, Phase},
    instance,
};
use model::{
    AbsoluteLimit, ArmFigures, ChangeId, Evidence, Metric, OnDeadline, Ratio, ReleaseId, ServiceSpec, Span, Strategy,
    Time, Verdict,
};

/// How often an instance of a release under way may exit before that is a verdict.
pub const CRASH_LOOP_EXITS: u32 = 3;
/// From which part of a proof that a release is worse its share is not raised any more.
const LEANING: f64 = 0.2;

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
    let old_keeps = if baseline.is_some() { rollout.terms.hold_back_share } else { Ratio::ZERO };
    draft(change, Fact::Promoted { change: change.id, release: rollout.to, because, proven, baseline, old_keeps })
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
    if let Some((figures, why)) = shadow::against(observed, change, rollout, from) {
        return Some((Some(figures), why));
    }
    if let Some(evidence) = observed.evidence(change.id)
        && let Some(why) = against(evidence, from, watching && rollout.weight == Ratio::ONE)
    {
        return Some((Some(judged(change, rollout, from, evidence)), why));
    }
    let lost = || "its guard tripped, and the figures were lost with the data plane that had them".to_owned();
    observed.has_tripped(change.id).then(|| (None, lost()))
}

/// What the evidence says against the new release, when it convinces. `alone`: compared with what was before.
fn against(evidence: &Evidence, from: ReleaseId, alone: bool) -> Option<String> {
    let (did, was) = if alone { (" did", " was") } else { ("", "") };
    match evidence.verdict {
        Verdict::Worse(Metric::Failures) => Some(format!("it fails more often than {from}{did}")),
        Verdict::Worse(Metric::Latency) => Some(format!("it is slower than {from}{was}")),
        Verdict::BeyondLimit(limit) => {
            let found = evidence.limits.iter().find(|found| found.limit == limit);
            let seen = found.map_or(String::new(), |f| match limit {
                AbsoluteLimit::Failures(_) => format!(": {} of {} failed", f.beyond, f.units),
                AbsoluteLimit::Latency { below, .. } => format!(": {} of {} took {below} or more", f.beyond, f.units),
            });
            Some(format!("it breaks “{limit}”{seen}"))
        }
        Verdict::ExposureSpent => {
            let (more, budget) = (evidence.excess_failures, evidence.exposure.unwrap_or_default());
            Some(format!(
                "undecided when its exposure was spent: {more:.1} more requests failed than with {from}, {budget} were allowed"
            ))
        }
        Verdict::NoData | Verdict::Undecided | Verdict::NotWorse | Verdict::SharedOutage => None,
    }
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
    let first_start = change.phase != Phase::HoldingBack && rollout.step.is_none() && rollout.shadow.is_none();
    instances().filter(|i| !i.is_ready()).find_map(|i| {
        let since = if first_start { rollout.begun_at.max(i.placed_at) } else { i.condition.since() };
        let late = now.since(since) > limit;
        late.then(|| format!("{} was not ready within {limit}: {}", i.id, i.waiting_for(observed)))
    })
}

fn judged(change: &Change, rollout: &Rollout, from: ReleaseId, evidence: &Evidence) -> Draft {
    draft(change, Fact::Judged { change: change.id, from, to: rollout.to, evidence: Box::new(evidence.clone()) })
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
    // What exits now and then is not trusted with more; whether that is a crash loop shows soon.
    if !state.instances_of(rollout.to).all(|i| i.is_steady(now)) {
        return Vec::new();
    }
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
        return match rolling {
            true if ready >= 1 => stepped(0, Ratio::of(1, u64::from(spec.replicas))),
            false if ready >= spec.replicas => shadow::next(observed, change, rollout, from, now),
            true | false => Vec::new(),
        };
    };
    // While the data plane is silent, or has not taken the table with the guard, nothing is known, which is neither good
    // nor bad: everything stays as it is.
    if evidence.is_none() && rollout.terms.judgement.is_some() {
        return Vec::new();
    }
    let verdict = evidence.map_or(Verdict::NoData, |e| e.verdict);
    // With nothing left of the old release there is nothing to share an outage with, and nobody would see it end.
    let shared = verdict == Verdict::SharedOutage && state.instances_of(from).next().is_some();
    match (shared, rollout.in_outage()) {
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
    let step_time = if rollout.terms.steps.is_empty() && !rolling { ramp::PACE } else { rollout.terms.step_time };
    let rested = now.since(rollout.step_at.max(since.unwrap_or_default())) >= step_time;
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
    let early = rollout.first_step_at.is_some_and(|first| now.since(first) < rollout.terms.min_time);
    if let (Verdict::NotWorse, Some(evidence), true) = (verdict, evidence, rested && !early) {
        let because = format!("it is not worse than {from}");
        return vec![judged(change, rollout, from, evidence), promote(because, true)];
    }
    if rollout.deadline.is_some_and(|deadline| now >= deadline) {
        return overdue(observed, change, rollout, from, evidence.filter(|_| verdict != Verdict::NoData));
    }
    // Without a request to the canary at this weight, a larger weight would rest on nothing.
    let Some(evidence) = evidence.filter(|_| rested && verdict != Verdict::NoData) else { return Vec::new() };
    let leaning = leans_against(evidence);
    let next = if rollout.terms.steps.is_empty() {
        let most = if leaning { ramp::MOST_IN_DOUBT } else { ramp::MOST };
        ramp::next(rollout.weight, most, evidence, per_second(observed, [from, rollout.to]))
    } else {
        // A larger step would only harm more users until it is decided.
        rollout.terms.steps.get(step as usize + 1).copied().filter(|_| !leaning)
    };
    next.map(|next| stepped(step + 1, next)).unwrap_or_default()
}

/// How many requests two releases have had lately, together.
fn per_second(observed: &Observed, releases: [ReleaseId; 2]) -> f64 {
    let of = |release| {
        let recent = observed.recent(release);
        recent.tally.total() as f64 / (recent.window.0 as f64 / 1e3).max(1.0)
    };
    releases.map(of).iter().sum()
}

/// Whether the evidence speaks against the new release, though it does not convince.
fn leans_against(evidence: &Evidence) -> bool {
    let compared = evidence.findings.iter().any(|finding| finding.worse > LEANING * finding.worse_bound);
    compared || evidence.limits.iter().any(|limit| limit.broken > LEANING * limit.broken_bound)
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
