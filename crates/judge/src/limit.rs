//! Limits that a canary must keep whatever the running release does: "failures < 1 %", "p99 < 400ms".
//!
//! A threshold on what was measured would be crossed by chance as soon as few units count. So each limit is a hypothesis,
//! "no more than the allowed share is beyond", and bets against it: it is broken when they convince. A release that keeps
//! all limits is ever called beyond one with at most the share of the false alarms that limits have.

use crate::{above::against, tally::ceiling, wealth::Wealth};
use model::{AbsoluteLimit, LimitFinding};

/// The odds that are bet on, relative to the share that is allowed.
const ODDS: [f64; 6] = [1.3, 2.0, 4.0, 12.0, 60.0, 1_000.0];

/// All limits of one judgement.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    each: Vec<Tested>,
    bound: f64,
}

#[derive(Clone, Debug)]
struct Tested {
    limit: AbsoluteLimit,
    factors: [[f64; ODDS.len()]; 2],
    wealth: Wealth<{ ODDS.len() }>,
    units: u64,
    beyond: u64,
}

impl Limits {
    /// Nothing seen yet. `bound`: where evidence against one of them convinces, in nats.
    pub(crate) fn new(limits: &[AbsoluteLimit], bound: f64) -> Limits {
        let tested = |limit: &AbsoluteLimit| Tested {
            limit: *limit,
            factors: against(limit.allowed().as_f64(), ODDS),
            wealth: Wealth::new([1.0; ODDS.len()], ceiling(bound)),
            units: 0,
            beyond: 0,
        };
        Limits { each: limits.iter().map(tested).collect(), bound }
    }

    /// Takes one unit of the canary into account.
    pub(crate) fn observe(&mut self, failed: bool, latency_us: Option<u64>) {
        for tested in &mut self.each {
            let beyond = match tested.limit {
                AbsoluteLimit::Failures(_) => failed,
                AbsoluteLimit::Latency { below, .. } => match latency_us {
                    Some(us) => us >= below.0.saturating_mul(1_000),
                    // It failed at whatever moment it failed: that says nothing about how fast it is.
                    None => continue,
                },
            };
            tested.units = tested.units.saturating_add(1);
            tested.beyond = tested.beyond.saturating_add(u64::from(beyond));
            tested.wealth.gain(&tested.factors[usize::from(beyond)]);
        }
    }

    /// The first limit that is broken.
    pub(crate) fn broken(&self) -> Option<AbsoluteLimit> {
        self.each.iter().find(|tested| tested.wealth.reaches(self.bound)).map(|tested| tested.limit)
    }

    /// Whether what was seen so far is within all of them.
    pub(crate) fn kept(&self) -> bool {
        self.each.iter().all(|tested| self.finding(tested).is_kept())
    }

    /// What was found of each.
    pub(crate) fn findings(&self) -> Vec<LimitFinding> {
        self.each.iter().map(|tested| self.finding(tested)).collect()
    }

    fn finding(&self, tested: &Tested) -> LimitFinding {
        let Tested { limit, units, beyond, .. } = *tested;
        LimitFinding { limit, units, beyond, broken: tested.wealth.log(), broken_bound: self.bound }
    }
}
