//! The bets on latency: that units of the canary are slower than quantiles of the running release, and that they are not.
//!
//! Five thresholds catch both a release that is slower throughout and one that is slow for a few. They are quantiles of
//! the running release's earlier units, so that they move with it.

use crate::{
    histogram::Histogram,
    label::{self, Factors},
    not_worse::NotWorse,
    rate::Schedule,
    wealth::Wealth,
};
use model::{Ratio, latency::bucket};

/// The running release's quantiles that are the thresholds. The first is the one tolerances are given for.
pub(crate) const QUANTILES: [f64; 5] = [0.5, 0.75, 0.9, 0.97, 0.99];
/// The canary's odds of a unit above a threshold, relative to the running release's.
pub(crate) const ODDS: [f64; 6] = [1.3, 1.8, 3.0, 6.0, 15.0, 50.0];
/// One bet for each of the odds.
const BETS: usize = ODDS.len();

/// Latencies of the running release before the first bet.
const ENOUGH: u64 = 16;
/// At so many the past is halved, so that thresholds follow a service whose speed drifts.
const MEMORY: u64 = 16_384;
/// Buckets per doubling of latency.
const OCTAVE: usize = 16;

/// One threshold and the bets on it.
#[derive(Clone, Debug)]
struct Threshold {
    bucket: usize,
    factors: Factors<BETS>,
    worse: Wealth<BETS>,
}

/// Evidence on latency.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    running: Histogram,
    schedule: Schedule,
    thresholds: [Threshold; QUANTILES.len()],
    pub(crate) not_worse: NotWorse,
}

impl Latency {
    /// With the tolerance and error of acceptance, and where evidence against the canary is cut.
    pub(crate) fn new(tolerance: f64, miss: f64, ceiling: f64) -> Latency {
        let threshold =
            Threshold { bucket: usize::MAX, factors: label::no_bet(), worse: Wealth::new([1.0; BETS], ceiling) };
        Latency {
            running: Histogram::new(),
            schedule: Schedule::default(),
            thresholds: std::array::from_fn(|_| threshold.clone()),
            not_worse: NotWorse::new(tolerance, miss),
        }
    }

    /// Plans the bets on the next unit with what was learned from earlier ones. The weight is strictly between zero and
    /// one.
    pub(crate) fn plan(&mut self, weight: Ratio) {
        if self.running.total() < ENOUGH || !self.schedule.due(weight.ppm()) {
            return;
        }
        let weight = weight.as_f64();
        let units = self.running.total() as f64;
        for (i, (threshold, q)) in self.thresholds.iter_mut().zip(QUANTILES).enumerate() {
            let (bucket, above) = self.running.quantile(q);
            let rate = (above as f64 + 0.5) / (units + 1.0);
            threshold.bucket = bucket;
            for (k, times) in ODDS.into_iter().enumerate() {
                label::plan(&mut threshold.factors, k, weight, [rate, label::with_odds(rate, times)]);
            }
            if i == 0 {
                self.not_worse.plan(weight, rate);
            }
        }
    }

    /// Settles the bets that the canary is worse.
    pub(crate) fn settle_worse(&mut self, arm: usize, us: u64) {
        for threshold in &mut self.thresholds {
            let slow = bucket(us) > threshold.bucket;
            threshold.worse.gain(&threshold.factors[arm][usize::from(slow)]);
        }
    }

    /// The evidence in nats that the canary is slower: the mean over the thresholds.
    pub(crate) fn worse_log(&self) -> f64 {
        log_mean(&self.thresholds.each_ref().map(|threshold| threshold.worse.log()))
    }

    /// Whether that is at least `bound`; cheap when it is far below.
    pub(crate) fn worse_reaches(&self, bound: f64) -> bool {
        // The mean is at most the largest.
        self.thresholds.iter().any(|threshold| threshold.worse.log_at_most() >= bound) && self.worse_log() >= bound
    }

    /// Settles the bets that it is not.
    pub(crate) fn settle_not_worse(&mut self, arm: usize, us: u64) {
        self.not_worse.settle(arm, bucket(us) > self.thresholds[0].bucket);
    }

    /// Learns from the unit what to bet on later ones.
    pub(crate) fn learn(&mut self, arm: usize, us: u64) {
        if arm == 0 {
            self.running.record(us);
            if self.running.total() >= MEMORY {
                self.running.halve();
            }
        }
        self.schedule.learned(false);
    }

    /// Whether a unit was several times slower than nearly all earlier ones of the running release.
    pub(crate) fn distress(&self, us: u64) -> bool {
        bucket(us) > self.thresholds[3].bucket.saturating_add(2 * OCTAVE)
    }
}

/// The logarithm of the mean of numbers given as logarithms.
pub(crate) fn log_mean<const N: usize>(logs: &[f64; N]) -> f64 {
    let top = logs.iter().fold(f64::NEG_INFINITY, |top, log| top.max(*log));
    top + (logs.iter().map(|log| (log - top).exp()).sum::<f64>() / N as f64).ln()
}
