//! Noticing that both releases got much worse together: something they share is failing.
//!
//! Each arm has a running sum (CUSUM) of evidence that units are now in distress (failed, or several times slower than
//! usual) far more often than the running release's were before. It rises within a few bad units, falls within a few
//! good ones, and is bounded. An outage found where there is none only pauses the judging for some units, so that no
//! error probability is at stake here.

use crate::rate::Rate;

/// The additional share of units in distress that the sums look for.
const SURGE: f64 = 0.3;
/// From which sum on an arm is in a surge, in nats.
const BEGINS: f64 = 8.0;
/// Below which it no longer is.
const ENDS: f64 = 2.0;
/// Sums are cut here, so that they fall quickly when things are well again.
const MOST: f64 = 12.0;
/// Units of the running release before "usual" means anything.
const USUAL: u64 = 64;
/// How much one unit moves the present rate of its arm.
const RECENT: f64 = 1.0 / 16.0;

/// What both arms do now, compared with what was usual.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    usual: Rate,
    seen: u64,
    sums: [f64; 2],
    surging: [bool; 2],
    recent: [f64; 2],
    steps: [f64; 2],
}

impl Outage {
    /// Nothing seen, and nothing usual yet.
    pub(crate) fn new() -> Outage {
        let usual = Rate::new(0.05, 32_768.0);
        Outage { usual, seen: 0, sums: [0.0; 2], surging: [false; 2], recent: [0.0; 2], steps: [0.0; 2] }
    }

    /// One unit, and whether it was in distress.
    pub(crate) fn observe(&mut self, arm: usize, distress: bool) {
        self.recent[arm] += RECENT * (if distress { 1.0 } else { 0.0 } - self.recent[arm]);
        if arm == 0 && !self.surging[0] {
            self.usual.observe(distress);
            self.seen += 1;
            if self.seen.is_multiple_of(64) || self.seen == USUAL {
                self.plan();
            }
        }
        let sum = (self.sums[arm] + self.steps[usize::from(distress)]).clamp(0.0, MOST);
        self.sums[arm] = sum;
        self.surging[arm] = if self.surging[arm] { sum > ENDS } else { sum >= BEGINS };
    }

    fn plan(&mut self) {
        let usual = self.usual.estimate().clamp(1e-3, 0.5);
        let surge = usual + SURGE * (1.0 - usual);
        self.steps = [((1.0 - surge) / (1.0 - usual)).ln(), (surge / usual).ln()];
    }

    /// Whether the running release is much worse than it was.
    pub(crate) fn running_surges(&self) -> bool {
        self.surging[0]
    }

    /// Whether both are, and the canary not much more than the running release: one that breaks something for both
    /// and is itself far worse must still be found.
    pub(crate) fn shared(&self) -> bool {
        self.surging[0] && self.surging[1] && self.recent[1] <= 2.0 * self.recent[0]
    }
}
