//! The terms a rollout is begun on, and how they read in a plan.

use super::ramp;
use crate::{
    State,
    change::{self, propose::Step},
    sleep,
};
use model::{Judgement, OnDeadline, Ratio, ReleaseId, ServiceSpec, Span, Strategy};
use serde::{Deserialize, Serialize};

/// The terms a rollout was begun on; later edits of the service do not alter them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// How the release takes over.
    pub strategy: Strategy,
    /// The canary's shares. Empty: the share grows as evidence does. For `rolling`, not used.
    pub steps: Vec<Ratio>,
    /// How long each of these steps is held at least.
    pub step_time: Span,
    /// How long after the first step it is promoted at the earliest.
    #[serde(default)]
    pub min_time: Span,
    /// How long after the first copy, and after the first step, it must be decided; `None`: it is not judged.
    pub deadline: Option<Span>,
    /// What happens when it is not.
    pub on_deadline: OnDeadline,
    /// How long the old release stays warm after promotion.
    pub hold_back: Span,
    /// What evidence it takes; `None`: none.
    pub judgement: Option<Judgement>,
    /// What evidence it takes to go back while the old release is kept warm, compared with what was usual before, or with
    /// what the old release does with the share it keeps.
    #[serde(default)]
    pub watch: Option<Judgement>,
    /// The share of the requests that the old release keeps while it is kept warm.
    #[serde(default)]
    pub hold_back_share: Ratio,
    /// What it gets copies of before its first request; `None`: of nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopyTerms>,
}

/// What a release gets copies of before its first request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyTerms {
    /// Which share of the safe requests.
    pub share: Ratio,
    /// How many are to be compared.
    pub requests: u32,
}

impl Terms {
    /// The terms of a service for its next release.
    pub(crate) fn of(state: &State, spec: &ServiceSpec, strategy: Option<Strategy>, from: Option<ReleaseId>) -> Terms {
        let rollout = &spec.rollout;
        let has_routes = spec.is_reached();
        let strategy = change::propose::effective(strategy.unwrap_or(rollout.strategy), has_routes);
        // A release that answers nobody is nothing to be compared with, and nothing to go back to: whoever repairs a
        // service that is down must not wait for evidence. One that sleeps would answer whoever asks.
        let answers = from.is_some_and(|from| state.ready(from) > 0 || sleep::rests(state, from));
        let strategy = match strategy {
            Strategy::Canary | Strategy::Rolling if from.is_some() && !answers => Strategy::BlueGreen,
            Strategy::Canary | Strategy::Rolling | Strategy::BlueGreen | Strategy::Recreate => strategy,
        };
        let concurrent = answers && has_routes && matches!(strategy, Strategy::Canary | Strategy::Rolling);
        let stays_warm = answers && matches!(strategy, Strategy::Canary | Strategy::BlueGreen);
        let warm_share = if stays_warm && has_routes { rollout.hold_back_share } else { Ratio::ZERO };
        // Connections that are carried as they are cannot be copied.
        let is_shadowed = concurrent && strategy == Strategy::Canary && !spec.routes.is_empty();
        let copies = CopyTerms { share: rollout.shadow, requests: rollout.shadow_requests };
        let copies = Some(copies).filter(|copies| is_shadowed && copies.share > Ratio::ZERO);
        let false_alarm = match copies {
            None => rollout.judgement.false_alarm,
            // It is judged twice, and what may go wrong is shared between the two.
            Some(_) => half(rollout.judgement.false_alarm),
        };
        let judgement = Judgement { false_alarm, ..rollout.judgement.clone() };
        // Chance alone would spend a budget when all requests count, and what is promoted was not found to be harmful.
        let watch = Judgement { exposure: None, ..rollout.judgement.clone() };
        let watch = match warm_share {
            // With nothing beside it, a slower release looks just like a busier hour: only failures are watched.
            Ratio::ZERO => Judgement { latency_tolerance: Ratio::ZERO, ..watch },
            _ => watch,
        };
        Terms {
            strategy,
            steps: rollout.steps.clone(),
            step_time: rollout.step_time,
            min_time: rollout.min_time,
            deadline: (concurrent && strategy == Strategy::Canary).then_some(rollout.deadline),
            on_deadline: rollout.on_deadline,
            hold_back: if stays_warm { rollout.hold_back } else { Span::ZERO },
            judgement: concurrent.then_some(judgement),
            watch: (stays_warm && has_routes).then_some(watch),
            hold_back_share: warm_share,
            copies,
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
            min_time: Span::ZERO,
            deadline: None,
            on_deadline: OnDeadline::Hold,
            hold_back: Span::ZERO,
            judgement: None,
            watch: None,
            hold_back_share: Ratio::ZERO,
            copies: None,
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
        let warm = || match (self.hold_back, self.hold_back_share) {
            (Span::ZERO, _) => step(format!("stop {from}"), "nobody uses it any more"),
            (span, Ratio::ZERO) => {
                step(format!("keep {from} warm for {span}, then stop it"), "a return is then a matter of moments")
            }
            (span, share) => step(
                format!("leave {share} of the requests to {from} for {span}, then stop it"),
                "the two are compared further, and a return is a matter of moments",
            ),
        };
        match self.strategy {
            Strategy::Canary => {
                let judgement = self.judgement.clone().unwrap_or_default();
                let mut steps = vec![step(
                    format!("start {} beside {from}", instances(n)),
                    "users notice nothing of a release that does not start",
                )];
                steps.extend(
                    self.copying()
                        .map(|copies| step(copies, "nobody sees its answers, and what fails is undone first")),
                );
                steps.extend([
                    step(self.shares(), "every request is evidence; few users feel a bad release"),
                    step(
                        format!("roll back at once when it is worse (false alarm ≤ {})", judgement.false_alarm),
                        "the data plane judges every request and stops exposing users by itself",
                    ),
                ]);
                steps.extend(bounds(&judgement).map(|bound| step(bound, "the service asks for it")));
                let earliest = match self.min_time {
                    Span::ZERO => String::new(),
                    span => format!(", {span} after its first request at the earliest"),
                };
                steps.push(step(
                    format!("promote it when failures are not worse by more than {}{earliest}", judgement.tolerance),
                    "a good release should not wait for a timer",
                ));
                steps.push(warm());
                steps
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

    /// What it gets before its first request.
    fn copying(&self) -> Option<String> {
        let CopyTerms { share, requests } = self.copies?;
        Some(format!("send it copies of {share} of the safe requests until {requests} are compared"))
    }

    /// How its share grows.
    fn shares(&self) -> String {
        if self.steps.is_empty() {
            let [first, most] = [ramp::FIRST, ramp::MOST];
            return format!("send the new release {first} of the requests, and up to {most} as evidence grows");
        }
        let shares: Vec<_> = self.steps.iter().map(Ratio::to_string).collect();
        format!("send the new release {} of the requests, each for at least {}", shares.join(", "), self.step_time)
    }

    /// The canary's first share.
    pub(crate) fn first_share(&self) -> Ratio {
        self.steps.first().copied().unwrap_or(ramp::FIRST)
    }

    pub(crate) fn blast_radius(&self, spec: &ServiceSpec, from: Option<ReleaseId>) -> String {
        let who = if spec.is_reached() { "all its requests" } else { "no request is concerned; the work it does is" };
        match (from, self.strategy) {
            (None, _) => "nobody uses it yet".to_owned(),
            (Some(_), Strategy::Canary) => {
                let budget = self.judgement.as_ref().and_then(|judgement| judgement.exposure);
                let budget = budget.map_or(String::new(), |n| format!(", and no more than {n} failed requests"));
                let share = self.first_share();
                let first = match self.copies {
                    None => format!("{share} of its requests first"),
                    Some(_) => format!("nobody at first, then {share} of its requests"),
                };
                format!("{first}, more only as evidence allows{budget}")
            }
            (Some(_), Strategy::Rolling) => format!("1 of {} instances first", spec.replicas),
            (Some(_), Strategy::BlueGreen | Strategy::Recreate) => who.to_owned(),
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

/// What ends a rollout besides the comparison.
fn bounds(judgement: &Judgement) -> impl Iterator<Item = String> {
    let limits = judgement.limits.iter().map(|limit| format!("roll back when it is shown to break “{limit}”"));
    let budget = judgement.exposure.map(|n| format!("stop it when {n} more requests failed than otherwise would have"));
    limits.chain(budget)
}

/// Half of a probability of error, which is never none.
fn half(share: Ratio) -> Ratio {
    Ratio::from_ppm(share.ppm().div_ceil(2)).unwrap_or(share)
}

/// A number of instances, for people.
pub(crate) fn instances(n: u32) -> String {
    if n == 1 { "1 instance".to_owned() } else { format!("{n} instances") }
}
