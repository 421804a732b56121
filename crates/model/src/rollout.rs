//! How traffic moves from the running release to a new one, and what evidence it takes.

use crate::{Ratio, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The way a new release takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// A small, growing share of real requests, judged against the running release.
    #[default]
    Canary,
    /// All of it at once when the new instances are ready; the old ones stay warm for a while.
    BlueGreen,
    /// Instance by instance.
    Rolling,
    /// Stop the old, then start the new. Requests in between wait or are refused.
    Recreate,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Canary => "canary",
            Strategy::BlueGreen => "blue-green",
            Strategy::Rolling => "rolling",
            Strategy::Recreate => "recreate",
        })
    }
}

/// What happens to a rollout that is still undecided at its deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// Undo it: what could not be shown to be good is not kept.
    #[default]
    Rollback,
    /// Keep the weight as it is and wait for a person.
    Hold,
    /// Promote it: no evidence of harm is good enough for this service.
    Promote,
}

/// How a new release takes over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RolloutSpec {
    /// The way it takes over.
    pub strategy: Strategy,
    /// The canary's shares, growing. The last one is held until the verdict. Empty: the share grows as evidence does.
    pub steps: Vec<Ratio>,
    /// How long each of these steps is held at least.
    pub step_time: Span,
    /// How long after its first request a release is promoted at the earliest.
    #[serde(default)]
    pub min_time: Span,
    /// How long after the first request to the new release the rollout must be decided.
    pub deadline: Span,
    /// What to do when it is not.
    pub on_deadline: OnDeadline,
    /// How long the old release stays warm after promotion, for an instant return.
    pub hold_back: Span,
    /// The share of the requests that the old release keeps meanwhile, so that the two are compared further. Zero: none,
    /// and the new release is compared with what was usual before.
    #[serde(default)]
    pub hold_back_share: Ratio,
    /// The share of the requests that can do no harm twice of which a canary gets copies before it gets any request.
    /// Zero: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shadow: Ratio,
    /// How many copies are compared before it gets requests.
    #[serde(default = "usual_copies", skip_serializing_if = "are_usual_copies")]
    pub shadow_requests: u32,
    /// What evidence it takes.
    pub judgement: Judgement,
}

/// How many copies are compared where nobody said anything else.
const USUAL_COPIES: u32 = 200;

impl Default for RolloutSpec {
    fn default() -> Self {
        RolloutSpec {
            strategy: Strategy::Canary,
            steps: Vec::new(),
            step_time: Span::seconds(10),
            min_time: Span::ZERO,
            deadline: Span::minutes(60),
            on_deadline: OnDeadline::Rollback,
            hold_back: Span::minutes(10),
            hold_back_share: Ratio::ZERO,
            shadow: Ratio::ZERO,
            shadow_requests: USUAL_COPIES,
            judgement: Judgement::default(),
        }
    }
}

const fn usual_copies() -> u32 {
    USUAL_COPIES
}

fn are_usual_copies(copies: &u32) -> bool {
    *copies == USUAL_COPIES
}

fn is_zero(share: &Ratio) -> bool {
    *share == Ratio::ZERO
}

/// The errors that may be made and the harm that is tolerable when a release is judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The probability of undoing a good release, at any time during its rollout.
    pub false_alarm: Ratio,
    /// The probability of promoting one whose failure rate is worse by more than `tolerance`.
    pub miss: Ratio,
    /// How much higher the failure rate may be and still be called not worse (an absolute difference).
    pub tolerance: Ratio,
    /// How much larger the share of requests slower than the running release's median may be and still be called not
    /// worse (an absolute difference). Zero: latency is not judged.
    pub latency_tolerance: Ratio,
    /// How much slower, relatively, a request may be and still not count as slower: what nobody would notice is no harm.
    #[serde(default)]
    pub latency_margin: Ratio,
    /// How much slower, absolutely, on top of that. Without it the first connections to a new instance, or a millisecond
    /// more in a service that takes one, would be found and undone.
    #[serde(default)]
    pub latency_slack: Span,
    /// Requests to an instance that became ready less than this long ago are not judged.
    pub warm_up: Span,
    /// What the new release must keep within, whatever the running one does.
    #[serde(default)]
    pub limits: Vec<AbsoluteLimit>,
    /// How many more requests may fail than would have failed without the new release, before it gets no more of them
    /// although nothing is decided. `None`: only evidence ends its exposure.
    #[serde(default)]
    pub exposure: Option<u32>,
}

/// A limit on a rate or a latency of the new release, tested beside the comparison. It is broken when the evidence says
/// that it is, not when a few requests happen to be above it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AbsoluteLimit {
    /// The share of units that fail is below this.
    Failures(Ratio),
    /// A quantile of the latency is below a time: no more than the rest of the units take longer.
    Latency {
        /// Which quantile, such as 99 %.
        quantile: Ratio,
        /// The time it must be below.
        below: Span,
    },
}

impl AbsoluteLimit {
    /// The share of units that may be beyond: failed, or slower.
    pub const fn allowed(self) -> Ratio {
        match self {
            AbsoluteLimit::Failures(share) => share,
            AbsoluteLimit::Latency { quantile, .. } => quantile.complement(),
        }
    }
}

impl fmt::Display for AbsoluteLimit {
    /// As it is written in the configuration: `failures < 1 %`, `p99 < 400ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AbsoluteLimit::Failures(share) => write!(f, "failures < {share}"),
            AbsoluteLimit::Latency { quantile, below } => {
                let percent = quantile.to_string();
                write!(f, "p{} < {below}", percent.trim_end_matches(" %"))
            }
        }
    }
}

impl Default for Judgement {
    fn default() -> Self {
        Judgement {
            false_alarm: Ratio::from_ppm(1_000).unwrap_or_default(),
            miss: Ratio::from_percent(5).unwrap_or_default(),
            tolerance: Ratio::from_percent(1).unwrap_or_default(),
            latency_tolerance: Ratio::from_percent(10).unwrap_or_default(),
            latency_margin: Ratio::from_percent(10).unwrap_or_default(),
            latency_slack: Span(5),
            warm_up: Span::ZERO,
            limits: Vec::new(),
            exposure: None,
        }
    }
}
