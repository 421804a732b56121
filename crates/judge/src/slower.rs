//! The bets that a release is slower: one set of odds for each of several thresholds, which are quantiles of what is
//! usual. They catch both a release that is slower throughout and one that is slow for a few.

use crate::wealth::Wealth;
use model::latency::bucket;

/// The quantiles. The first is the one that tolerances are given for.
pub(crate) const QUANTILES: [f64; 5] = [0.5, 0.75, 0.9, 0.97, 0.99];
/// The odds of a unit above a threshold, relative to the usual.
pub(crate) const ODDS: [f64; 6] = [1.3, 1.8, 3.0, 6.0, 15.0, 50.0];
/// One bet for each of the odds.
pub(crate) const BETS: usize = ODDS.len();

/// The stakes of all bets, by threshold.
#[derive(Clone, Debug)]
pub(crate) struct Slower {
    buckets: [usize; QUANTILES.len()],
    wealth: [Wealth<BETS>; QUANTILES.len()],
}

impl Slower {
    /// Thresholds that no latency is above. No bet's evidence is kept above `ceiling`.
    pub(crate) fn new(ceiling: f64) -> Slower {
        Slower {
            buckets: [usize::MAX; QUANTILES.len()],
            wealth: std::array::from_fn(|_| Wealth::new([1.0; BETS], ceiling)),
        }
    }

    /// From the next unit on, threshold `i` is the end of this bucket.
    pub(crate) fn set_threshold(&mut self, i: usize, bucket: usize) {
        self.buckets[i] = bucket;
    }

    /// Whether a latency is above threshold `i` by so many buckets.
    pub(crate) fn is_above(&self, i: usize, us: u64, by: usize) -> bool {
        bucket(us) > self.buckets[i].saturating_add(by)
    }

    /// Settles the bets on one unit: `factors` gives those of threshold `i` for a unit above it or not.
    pub(crate) fn settle<'a>(&mut self, us: u64, factors: impl Fn(usize, usize) -> &'a [f64; BETS]) {
        let bucket = bucket(us);
        for (i, (wealth, threshold)) in self.wealth.iter_mut().zip(self.buckets).enumerate() {
            wealth.gain(factors(i, usize::from(bucket > threshold)));
        }
    }

    /// Settles the bets on a unit that took longer than this: `factors` gives those of threshold `i` for a unit above it.
    pub(crate) fn settle_longer<'a>(&mut self, us: u64, factors: impl Fn(usize) -> &'a [f64; BETS]) {
        let bucket = bucket(us);
        for (i, (wealth, threshold)) in self.wealth.iter_mut().zip(self.buckets).enumerate() {
            if bucket > threshold {
                wealth.gain(factors(i));
            }
        }
    }

    /// See [`Wealth::mark`].
    pub(crate) fn mark(&mut self) {
        self.wealth.iter_mut().for_each(Wealth::mark);
    }

    /// See [`Wealth::give_back`].
    pub(crate) fn give_back(&mut self) {
        self.wealth.iter_mut().for_each(Wealth::give_back);
    }

    /// The evidence in nats: the mean over the thresholds.
    pub(crate) fn log(&self) -> f64 {
        let logs = self.wealth.each_ref().map(Wealth::log);
        let top = logs.iter().fold(f64::NEG_INFINITY, |top, log| top.max(*log));
        top + (logs.iter().map(|log| (log - top).exp()).sum::<f64>() / logs.len() as f64).ln()
    }

    /// Whether that is at least `bound`; cheap when it is far below.
    pub(crate) fn reaches(&self, bound: f64) -> bool {
        // The mean is at most the largest.
        self.wealth.iter().any(|wealth| wealth.log_at_most() >= bound) && self.log() >= bound
    }
}
