//! What was measured and what was concluded from it. The `judge` fills these in; the ledger keeps them.

use crate::{Latencies, ReleaseId, Span};
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
        let arm = |name: ReleaseId, a: &ArmFigures| {
            let p99 =
                a.latencies.quantile_us(0.99).map_or(String::new(), |us| format!(", p99 {:.1} ms", us as f64 / 1e3));
            format!("{name} {} of {} failed ({:.2} %){p99}", a.failed, a.units, 100.0 * a.failure_rate())
        };
        format!("{}; {}", arm(canary, &self.canary), arm(running, &self.running))
    }
}
