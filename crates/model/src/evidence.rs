//! What was measured and what was concluded from it. The `judge` fills these in; the ledger keeps them.

use crate::{AbsoluteLimit, Latencies, ReleaseId, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A measured value with its window and how many units it was measured on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// The value, in the unit its name ends with.
    pub value: f64,
    /// Over how long.
    pub window: Span,
    /// On how many units.
    pub count: u64,
}

/// What a test looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Units that failed.
    Failures,
    /// Units slower than quantiles of the running release.
    Latency,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Failures => "failures",
            Metric::Latency => "latency",
        })
    }
}

/// What the evidence says of the canary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was measured, or too little on one side: neither pass nor fail.
    #[default]
    NoData,
    /// Not enough evidence either way.
    Undecided,
    /// Worse than the running release, by this metric.
    Worse(Metric),
    /// Not worse by more than the tolerance.
    NotWorse,
    /// Both releases got worse together: not evidence against the canary. Something they share is failing.
    SharedOutage,
    /// Beyond a limit that was set for it, whatever the running release does.
    BeyondLimit(AbsoluteLimit),
    /// Undecided when as many more requests had failed as it was allowed to risk.
    ExposureSpent,
}

impl Verdict {
    /// Whether the canary must get no more requests. Such a verdict stays.
    pub const fn ends_exposure(self) -> bool {
        match self {
            Verdict::Worse(_) | Verdict::BeyondLimit(_) | Verdict::ExposureSpent => true,
            Verdict::NoData | Verdict::Undecided | Verdict::NotWorse | Verdict::SharedOutage => false,
        }
    }
}

/// The figures of one arm.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ArmFigures {
    /// Units judged.
    pub units: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Their latencies.
    pub latencies: Latencies,
}

impl ArmFigures {
    /// The share of units that failed, 0 when there were none.
    pub fn failure_rate(&self) -> f64 {
        if self.units == 0 { 0.0 } else { self.failed as f64 / self.units as f64 }
    }
}

/// A verdict with the figures that led to it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What is concluded.
    pub verdict: Verdict,
    /// The running release's figures.
    pub running: ArmFigures,
    /// The canary's figures.
    pub canary: ArmFigures,
    /// What each test found.
    pub findings: Vec<Finding>,
    /// Units still needed, both arms together, until a canary that is as good as the running release is called so.
    /// `None`: unknown.
    pub units_needed: Option<u64>,
    /// Units that were not judged: warming up, seen before, or lost because a queue was full.
    pub unjudged: u64,
    /// Where the running release's true figures are.
    #[serde(default)]
    pub running_bounds: Option<ArmBounds>,
    /// Where the canary's true figures are.
    #[serde(default)]
    pub canary_bounds: Option<ArmBounds>,
    /// What the test of each limit found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitFinding>,
    /// How many more of the canary's units failed than would have at the running release's rate. Below zero when fewer.
    #[serde(default)]
    pub excess_failures: f64,
    /// How many may, before it gets no more; `None`: that is not bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<u32>,
    /// How many requests were judged each by itself although users were to be told apart, when that is nearly all:
    /// clients do not send back the cookie that they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookies_not_kept: Option<u64>,
}

/// Where the true figures of an arm are with a confidence of 95 %, at every look, however often one looks: confidence
/// sequences. They assume that what is estimated does not change meanwhile; verdicts do not assume that.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ArmBounds {
    /// The failure rate, from 0 to 1: lower and upper bound.
    pub failure_rate: [f64; 2],
    /// The median latency.
    pub p50: LatencyBounds,
    /// The latency that one unit of a hundred exceeds.
    pub p99: LatencyBounds,
}

/// Between which latencies a quantile is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LatencyBounds {
    /// Microseconds that it is at least.
    pub at_least_us: u64,
    /// Microseconds that it is at most; `None` while too few units were seen to bound it.
    pub at_most_us: Option<u64>,
}

/// What the test of one limit found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitFinding {
    /// The limit.
    pub limit: AbsoluteLimit,
    /// Units of the canary looked at.
    pub units: u64,
    /// Of these, beyond the limit: failed, or slower.
    pub beyond: u64,
    /// The natural logarithm of the evidence (e-value) that more than the allowed share are.
    pub broken: f64,
    /// Where that convinces.
    pub broken_bound: f64,
}

impl LimitFinding {
    /// Whether what was seen so far is within the limit; not so when nothing was seen.
    pub fn is_kept(&self) -> bool {
        self.units > 0 && self.beyond as f64 <= self.limit.allowed().as_f64() * self.units as f64
    }
}

/// What one test found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it looked at.
    pub metric: Metric,
    /// The natural logarithm of the evidence (e-value) that the canary is worse. It is called worse at `worse_bound`.
    pub worse: f64,
    /// Where `worse` convinces: `ln(1 / false_alarm)`, with the share of the error budget this metric has.
    pub worse_bound: f64,
    /// The natural logarithm of the evidence that it is not worse by more than the tolerance.
    pub not_worse: f64,
    /// Where `not_worse` convinces: `ln(1 / miss)`.
    pub not_worse_bound: f64,
}

impl Evidence {
    /// The figures of the releases by name, for people.
    pub fn sentence(&self, running: ReleaseId, canary: ReleaseId) -> String {
        let arm = |name: ReleaseId, a: &ArmFigures, bounds: Option<&ArmBounds>| {
            let p99 =
                a.latencies.quantile_us(0.99).map_or(String::new(), |us| format!(", p99 {:.1} ms", us as f64 / 1e3));
            let surely = bounds.map_or(String::new(), |b| format!(", likely {}", rates(b.failure_rate)));
            format!("{name} {} of {} failed ({:.2} %{surely}){p99}", a.failed, a.units, 100.0 * a.failure_rate())
        };
        let canary = arm(canary, &self.canary, self.canary_bounds.as_ref());
        format!("{canary}; {}", arm(running, &self.running, self.running_bounds.as_ref()))
    }

    /// How strong the evidence for the verdict is, and how strong it must be: e-values, which are what a stake of one has
    /// become in bets that are fair if the verdict is false. `None` when the verdict rests on no such bets.
    pub fn e_value(&self) -> Option<[f64; 2]> {
        let logs = match self.verdict {
            Verdict::Worse(metric) => {
                let finding = self.findings.iter().find(|finding| finding.metric == metric)?;
                [finding.worse, finding.worse_bound]
            }
            Verdict::NotWorse => {
                // All of them must convince: the weakest is what the verdict rests on.
                let margin = |finding: &&Finding| finding.not_worse - finding.not_worse_bound;
                let finding = self.findings.iter().min_by(|a, b| margin(a).total_cmp(&margin(b)))?;
                [finding.not_worse, finding.not_worse_bound]
            }
            Verdict::BeyondLimit(limit) => {
                let finding = self.limits.iter().find(|finding| finding.limit == limit)?;
                [finding.broken, finding.broken_bound]
            }
            Verdict::NoData | Verdict::Undecided | Verdict::SharedOutage | Verdict::ExposureSpent => return None,
        };
        Some(logs.map(f64::exp))
    }
}

/// Two bounds of a rate, for people: `0.4 % to 1.2 %`, `at most 3 %`.
pub fn rates([low, high]: [f64; 2]) -> String {
    let percent = |share: f64| match 100.0 * share {
        value if value < 1.0 => format!("{value:.2} %"),
        value if value < 10.0 => format!("{value:.1} %"),
        value => format!("{value:.0} %"),
    };
    // Less than what is shown as nothing.
    if low < 0.000_05 { format!("at most {}", percent(high)) } else { format!("{} to {}", percent(low), percent(high)) }
}
