//! The bets on failures: that the canary fails more often, and that it does not.

use crate::{
    label::{self, Factors},
    not_worse::NotWorse,
    rate::{Rate, Schedule},
    tally::ceiling,
    wealth::Wealth,
};
use model::Ratio;

/// The canary's odds of failing, relative to the running release's.
const ODDS: [f64; 6] = [1.7, 2.5, 5.0, 12.0, 40.0, 150.0];
/// The canary's rate of failing, for running releases that fail so seldom that odds say little.
const RATES: [f64; 3] = [0.1, 0.5, 0.97];
/// And one bet on the rate the canary has had so far.
const BETS: usize = ODDS.len() + RATES.len() + 1;

/// How much is staked on each of them, in this order.
const SHARES: [f64; BETS] = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0];

/// Below this rate of the canary a bet is settled on failures only. A unit that did not fail tells next to nothing then,
/// and what does not matter cannot mislead: units that were lost, or are late, are mostly such.
const SURE: f64 = 0.75;

/// Evidence on failures.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    rates: [Rate; 2],
    schedule: Schedule,
    factors: Factors<BETS>,
    pub(crate) worse: Wealth<BETS>,
    pub(crate) not_worse: NotWorse,
}

impl Failures {
    /// With the tolerance and error of acceptance, and where evidence against the canary convinces.
    pub(crate) fn new(tolerance: f64, miss: f64, bound: f64) -> Failures {
        Failures {
            rates: [Rate::new(0.1, 32_768.0), Rate::new(0.5, 1_024.0)],
            schedule: Schedule::default(),
            factors: label::no_bet(),
            worse: Wealth::new(SHARES, ceiling(bound)),
            not_worse: NotWorse::new(tolerance, miss),
        }
    }

    /// Plans the bets on the next unit with what was learned from earlier ones. The weight is strictly between zero and
    /// one.
    pub(crate) fn plan(&mut self, weight: Ratio) {
        if !self.schedule.due(weight.ppm()) {
            return;
        }
        let weight = weight.as_f64();
        let running = self.rates[0].estimate();
        let odds = ODDS.iter().map(|times| label::with_odds(running, *times));
        let learned = std::iter::once(self.rates[1].estimate());
        for (k, canary) in odds.chain(RATES).chain(learned).enumerate() {
            label::plan(&mut self.factors, k, weight, [running, canary]);
            if canary < SURE {
                self.factors.iter_mut().for_each(|[succeeded, _]| succeeded[k] = 0.0);
            }
        }
        self.not_worse.plan(weight, running);
    }

    /// Settles the bets that the canary is worse.
    pub(crate) fn settle_worse(&mut self, arm: usize, failed: bool) {
        self.worse.gain(&self.factors[arm][usize::from(failed)]);
    }

    /// Settles the bets that it is not.
    pub(crate) fn settle_not_worse(&mut self, arm: usize, failed: bool) {
        self.not_worse.settle(arm, failed);
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
    pub(crate) fn learn(&mut self, arm: usize, failed: bool) {
        self.rates[arm].observe(failed);
        self.schedule.learned(failed);
    }
}
