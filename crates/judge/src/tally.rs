//! What was counted of one arm, and the errors and findings both judges speak of.

use crate::{confidence, histogram::Histogram};
use model::{ArmBounds, ArmFigures, Finding, Judgement, Metric, Ratio};

/// How much of the false alarms allowed failures may use when latency is judged too; latency has the rest.
const FAILURES_SHARE: f64 = 2.0 / 3.0;
/// How much of the false alarms allowed limits may use, all together, when there are any; the comparison has the rest.
const LIMITS_SHARE: f64 = 0.25;
/// How far above its bound evidence against a release is counted, in nats.
const CEILING: f64 = 50.0;

/// Counts of one arm.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) units: u64,
    failed: u64,
    latencies: Histogram,
}

impl Tally {
    /// Nothing counted.
    pub(crate) fn new() -> Tally {
        Tally { units: 0, failed: 0, latencies: Histogram::new() }
    }

    /// One more unit.
    pub(crate) fn count(&mut self, failed: bool, latency_us: Option<u64>) {
        self.units = self.units.saturating_add(1);
        self.failed = self.failed.saturating_add(u64::from(failed));
        if let Some(us) = latency_us {
            self.latencies.record(us);
        }
    }

    /// In the form that is reported.
    pub(crate) fn figures(&self) -> ArmFigures {
        ArmFigures { units: self.units, failed: self.failed, latencies: self.latencies.latencies() }
    }

    /// Where the true figures are.
    pub(crate) fn bounds(&self) -> ArmBounds {
        confidence::arm(self.failed, self.units, &self.latencies)
    }
}

/// The errors a judgement allows, split over what is judged.
#[derive(Clone, Debug)]
pub(crate) struct Errors {
    /// Where evidence of more failures convinces, in nats.
    pub(crate) failures_bound: f64,
    /// Where evidence of higher latency convinces; `None`: latency is not judged.
    pub(crate) latency_bound: Option<f64>,
    /// Where evidence that a limit is broken convinces; each of them has the same share.
    pub(crate) limits_bound: f64,
    /// The probability to accept what is worse.
    pub(crate) miss: f64,
}

impl Errors {
    /// Probabilities with which nothing could be decided, or everything would be, are taken as the nearest with which a
    /// test can work: one in a million, or a half.
    pub(crate) fn of(judgement: &Judgement) -> Errors {
        let workable = |error: Ratio| error.as_f64().clamp(1e-6, 0.5);
        let bound = |share: f64| -(share * workable(judgement.false_alarm)).ln();
        let miss = workable(judgement.miss);
        let (compared, limits) = match judgement.limits.len() {
            0 => (1.0, 1.0),
            n => (1.0 - LIMITS_SHARE, LIMITS_SHARE / n as f64),
        };
        let limits_bound = bound(limits);
        if judgement.latency_tolerance == Ratio::ZERO {
            Errors { failures_bound: bound(compared), latency_bound: None, limits_bound, miss }
        } else {
            let latency_bound = Some(bound(compared * (1.0 - FAILURES_SHARE)));
            Errors { failures_bound: bound(compared * FAILURES_SHARE), latency_bound, limits_bound, miss }
        }
    }
}

/// The most evidence that is kept of a bet that convinces at `bound`.
pub(crate) fn ceiling(bound: f64) -> f64 {
    bound + CEILING
}

/// A finding from pairs of evidence and its bound.
pub(crate) fn finding(metric: Metric, worse: (f64, f64), not_worse: (f64, f64)) -> Finding {
    Finding { metric, worse: worse.0, worse_bound: worse.1, not_worse: not_worse.0, not_worse_bound: not_worse.1 }
}
