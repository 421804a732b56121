//! Non-inferiority: evidence that the canary's rate of hits (failed, slow) is not higher than the running release's by
//! the tolerance or more.
//!
//! A unit's score is `(hit - centre) / weight` on the canary and `-(hit - centre) / (1 - weight)` on the running release:
//! its mean is exactly the difference of the two rates, at every moment, whatever the rates, the centre and the weight.
//! If the difference is at least the tolerance, a bet of `1 + stake * (tolerance - score)` gains nothing in the mean.
//! The stake is the one that grows fastest if both releases are alike at the rate seen so far.

use crate::{
    label::{self, Factors},
    wealth::Wealth,
};

/// Stakes relative to the best one: what is lost when the rate was estimated too low, the smaller ones keep.
const STAKES: [f64; 3] = [1.0, 0.6, 0.25];
/// How the coin is split over them.
const SHARES: [f64; 3] = [3.0, 1.5, 1.0];
/// The largest stake, relative to the one that loses everything on the worst outcome.
const MOST: f64 = 0.99;

/// How far above its bound evidence is counted, in nats: a canary that turns worse must lose its acceptance soon.
const CEILING: f64 = 2.0;

/// A test of one metric.
#[derive(Clone, Debug)]
pub(crate) struct NotWorse {
    tolerance: f64,
    bound: f64,
    wealth: Wealth<3>,
    factors: Factors<3>,
    growth: f64,
}

impl NotWorse {
    /// With an absolute tolerance and the probability to accept a canary that is worse by it.
    pub(crate) fn new(tolerance: f64, miss: f64) -> NotWorse {
        let bound = (1.0 / miss).ln();
        let wealth = Wealth::new(SHARES, bound + CEILING);
        NotWorse { tolerance, bound, wealth, factors: label::no_bet(), growth: 0.0 }
    }

    /// Plans the bets on the next units, which have this weight, given the running release's rate of hits. Both are
    /// strictly between zero and one.
    pub(crate) fn plan(&mut self, weight: f64, rate: f64) {
        // What a bet gains per stake, and how likely that is, by arm and hit.
        let gain = |arm: usize, hit: usize| {
            let surprise = hit as f64 - rate;
            self.tolerance - if arm == 1 { surprise / weight } else { -surprise / (1.0 - weight) }
        };
        let likely = |arm: usize, hit: usize| {
            (if arm == 1 { weight } else { 1.0 - weight }) * (if hit == 1 { rate } else { 1.0 - rate })
        };
        let gains = [0, 1].map(|arm| [0, 1].map(|hit| gain(arm, hit)));
        let mean = |f: &dyn Fn(f64) -> f64| (0..4).map(|i| likely(i / 2, i % 2) * f(gains[i / 2][i % 2])).sum::<f64>();
        // The worst score is at least 1, so that the stake that would lose everything is finite.
        let worst = ((1.0 - rate) / weight).max(rate / (1.0 - weight));
        let most = MOST / (worst - self.tolerance).max(0.5);
        // The mean growth is concave in the stake: bisect its slope.
        let (mut low, mut high) = (0.0, most);
        for _ in 0..24 {
            let stake = (low + high) / 2.0;
            if mean(&|gain| gain / (1.0 + stake * gain)) > 0.0 {
                low = stake;
            } else {
                high = stake;
            }
        }
        self.growth = mean(&|gain| (low * gain).ln_1p());
        for (arm, hits) in gains.iter().enumerate() {
            for (hit, gain) in hits.iter().enumerate() {
                self.factors[arm][hit] = STAKES.map(|share| (low * share * gain).ln_1p());
            }
        }
    }

    /// Settles the bets on one unit.
    pub(crate) fn settle(&mut self, arm: usize, hit: bool) {
        self.wealth.gain(&self.factors[arm][usize::from(hit)]);
    }

    /// See [`Wealth::mark`].
    pub(crate) fn mark(&mut self) {
        self.wealth.mark();
    }

    /// See [`Wealth::give_back`].
    pub(crate) fn give_back(&mut self) {
        self.wealth.give_back();
    }

    /// The evidence in nats, and where it convinces.
    pub(crate) fn log(&self) -> (f64, f64) {
        (self.wealth.log(), self.bound)
    }

    /// Whether it convinces.
    pub(crate) fn shown(&self) -> bool {
        self.wealth.reaches(self.bound)
    }

    /// Units still needed if both releases are alike; `None` when that is not known.
    pub(crate) fn units_needed(&self) -> Option<u64> {
        let missing = (self.bound - self.wealth.log()).max(0.0);
        (self.growth > 0.0).then(|| (missing / self.growth).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At the tolerance exactly, the mean factor is one for every stake, whatever rate the bets were planned with.
    #[test]
    fn a_canary_worse_by_the_tolerance_gains_nothing() {
        for (weight, planned, tolerance) in [(0.1, 0.01, 0.01), (0.5, 0.5, 0.1), (1e-6, 1e-7, 0.01), (0.999, 0.9, 1.0)]
        {
            let mut test = NotWorse::new(tolerance, 0.05);
            test.plan(weight, planned);
            let running = 0.2_f64.min(1.0 - tolerance);
            let rates = [running, running + tolerance];
            for k in 0..STAKES.len() {
                let mean: f64 = (0..2)
                    .map(|arm| {
                        let share = if arm == 1 { weight } else { 1.0 - weight };
                        let factor = |hit: usize| test.factors[arm][hit][k].exp();
                        share * (rates[arm] * factor(1) + (1.0 - rates[arm]) * factor(0))
                    })
                    .sum();
                assert!((mean - 1.0).abs() < 1e-6, "{weight} {planned} {tolerance}: {mean}");
            }
        }
    }
}
