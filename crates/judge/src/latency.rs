//! The bets on latency: that units of the canary are slower than quantiles of the running release, and that they are not.
//!
//! The thresholds are quantiles of the running release's earlier units, so that they move with it.

use crate::{
    histogram::Histogram,
    label::{self, Factors},
    not_worse::NotWorse,
    rate::Schedule,
    slower::{BETS, ODDS, QUANTILES, Slower},
    tally::ceiling,
};
use model::Ratio;

/// Latencies of the running release before the first bet.
const ENOUGH: u64 = 16;
/// At so many the past is halved, so that thresholds follow a service whose speed drifts.
const MEMORY: u64 = 16_384;
/// A unit is in distress when it is slower than the quantile with this index ...
const SLOW: usize = 3;
/// ... by more than this many buckets, which is four times.
const FAR: usize = 32;

/// Evidence on latency.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    running: Histogram,
    schedule: Schedule,
    factors: [Factors<BETS>; QUANTILES.len()],
    pub(crate) worse: Slower,
    pub(crate) not_worse: NotWorse,
}

impl Latency {
    /// With the tolerance and error of acceptance, and where evidence against the canary convinces.
    pub(crate) fn new(tolerance: f64, miss: f64, bound: f64) -> Latency {
        Latency {
            running: Histogram::new(),
            schedule: Schedule::default(),
            factors: [label::no_bet(); QUANTILES.len()],
            worse: Slower::new(ceiling(bound)),
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
        for (i, q) in QUANTILES.into_iter().enumerate() {
            let (bucket, above) = self.running.quantile(q);
            let rate = (above as f64 + 0.5) / (units + 1.0);
            self.worse.set_threshold(i, bucket);
            for (k, times) in ODDS.into_iter().enumerate() {
                label::plan(&mut self.factors[i], k, weight, [rate, label::with_odds(rate, times)]);
            }
            if i == 0 {
                self.not_worse.plan(weight, rate);
            }
        }
    }

    /// Settles the bets that the canary is worse.
    pub(crate) fn settle_worse(&mut self, arm: usize, us: u64) {
        let factors = &self.factors;
        self.worse.settle(us, |i, above| &factors[i][arm][above]);
    }

    /// Settles the bets that it is not.
    pub(crate) fn settle_not_worse(&mut self, arm: usize, us: u64) {
        self.not_worse.settle(arm, self.worse.is_above(0, us, 0));
    }

    /// The same for a unit that took longer than this, nobody knows by how much: bets on what it is beyond already.
    pub(crate) fn settle_worse_longer(&mut self, arm: usize, us: u64) {
        let factors = &self.factors;
        self.worse.settle_longer(us, |i| &factors[i][arm][1]);
    }

    /// The same for the bets that it is not.
    pub(crate) fn settle_not_worse_longer(&mut self, arm: usize, us: u64) {
        if self.worse.is_above(0, us, 0) {
            self.not_worse.settle(arm, true);
        }
    }

    /// What is gained from here on may have to be given back.
    pub(crate) fn mark(&mut self) {
        self.worse.mark();
        self.not_worse.mark();
    }

    /// Gives back what was gained since the last mark.
    pub(crate) fn give_back(&mut self) {
        self.worse.give_back();
        self.not_worse.give_back();
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
        self.worse.is_above(SLOW, us, FAR)
    }
}
