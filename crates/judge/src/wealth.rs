//! Evidence as money: a stake of one, split over several bets, none of which can ever be in debt.
//!
//! Every bet multiplies its part by factors whose mean is at most one when the hypothesis is true, whatever happened
//! before. So the sum is a supermartingale that starts at one, and by Ville's inequality it reaches `1 / alpha` with
//! probability `alpha` at most, however often one looks. Parts are kept as logarithms, so nothing overflows or
//! vanishes; a part is cut at a ceiling, which can only lose evidence.
//!
//! A small purse is held back and paid out to the bets bit by bit, so that a release that turns bad after an hour is
//! found although the bets had lost their stakes by then.

/// The share of the stake that is held back at the start.
const PURSE: f64 = 0.1;

/// Units between two payments out of the purse.
const PERIOD: u32 = 64;

/// A stake of one, split over `K` bets and the purse.
#[derive(Clone, Debug)]
pub(crate) struct Wealth<const K: usize> {
    logs: [f64; K],
    marks: [f64; K],
    log_shares: [f64; K],
    log_purse: f64,
    payments: u32,
    until_payment: u32,
    ceiling: f64,
}

impl<const K: usize> Wealth<K> {
    /// Split in proportion to `shares`, which are above zero. No part grows above `ceiling` (a logarithm).
    pub(crate) fn new(shares: [f64; K], ceiling: f64) -> Self {
        let total: f64 = shares.iter().sum();
        let log_shares = shares.map(|share| (share / total).ln());
        let logs = log_shares.map(|share| share + (1.0 - PURSE).ln());
        Wealth { logs, marks: logs, log_shares, log_purse: PURSE.ln(), payments: 0, until_payment: PERIOD, ceiling }
    }

    /// One unit's outcome: the logarithm of every bet's factor.
    pub(crate) fn gain(&mut self, log_factors: &[f64; K]) {
        for (log, factor) in self.logs.iter_mut().zip(log_factors) {
            *log = (*log + factor).min(self.ceiling);
        }
        self.until_payment -= 1;
        if self.until_payment == 0 {
            self.pay_out();
        }
    }

    /// What is gained from here on may have to be given back.
    pub(crate) fn mark(&mut self) {
        self.marks = self.logs;
    }

    /// Gives back what was gained since the last mark. Giving away is always allowed: it never makes evidence.
    #[cold]
    pub(crate) fn give_back(&mut self) {
        for (log, mark) in self.logs.iter_mut().zip(&self.marks) {
            *log = log.min(*mark);
        }
    }

    /// The m-th payment is a share 1 / ((m + 1) ln(m + 2)) of what is left: the purse hardly ever empties, and a change
    /// after n units costs little more than ln(n) nats to find.
    #[cold]
    fn pay_out(&mut self) {
        self.until_payment = PERIOD;
        self.payments = self.payments.saturating_add(1);
        let share = 1.0 / ((f64::from(self.payments) + 1.0) * (f64::from(self.payments) + 2.0).ln());
        let paid = self.log_purse + share.ln();
        self.log_purse += (1.0 - share).ln();
        for (log, bet_share) in self.logs.iter_mut().zip(&self.log_shares) {
            *log = log_sum(*log, paid + bet_share).min(self.ceiling);
        }
    }

    /// The logarithm of all of it: the evidence against the hypothesis, in nats.
    pub(crate) fn log(&self) -> f64 {
        let top = self.logs.iter().fold(self.log_purse, |top, log| top.max(*log));
        let parts = self.logs.iter().map(|log| (log - top).exp()).sum::<f64>() + (self.log_purse - top).exp();
        top + parts.ln()
    }

    /// What [`Wealth::log`] is at most: all parts together are at most (K + 1) times the largest. Cheap.
    pub(crate) fn log_at_most(&self) -> f64 {
        self.logs.iter().fold(self.log_purse, |top, log| top.max(*log)) + (K as f64 + 1.0).ln()
    }

    /// Whether [`Wealth::log`] is at least `bound`; cheap when it is far below.
    pub(crate) fn reaches(&self, bound: f64) -> bool {
        self.log_at_most() >= bound && self.log() >= bound
    }
}

fn log_sum(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    high + (low - high).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stake_is_one_and_idle_money_is_kept() {
        let mut wealth = Wealth::new([1.0, 3.0], 50.0);
        assert!(wealth.log().abs() < 1e-12);
        for _ in 0..100_000 {
            wealth.gain(&[0.0, 0.0]);
        }
        assert!(wealth.log().abs() < 1e-9, "{}", wealth.log());
    }

    #[test]
    fn lost_bets_are_staked_again_out_of_the_purse() {
        let mut wealth = Wealth::new([1.0], 50.0);
        for _ in 0..6_400 {
            wealth.gain(&[-1.0]);
        }
        let low = wealth.log();
        assert!(low < -2.0, "{low}");
        for _ in 0..30 {
            wealth.gain(&[1.0]);
        }
        assert!(wealth.reaches(10.0), "{}", wealth.log());
    }

    #[test]
    fn extreme_factors_stay_finite() {
        let mut wealth = Wealth::new([1.0, 1.0], 50.0);
        for _ in 0..1_000_000 {
            wealth.gain(&[1e6, -1e6]);
        }
        assert!(wealth.log().is_finite() && wealth.reaches(50.0));
    }
}
