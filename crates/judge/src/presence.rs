//! Noticing that an arm is silent: its units do not arrive, although the weights say that they should.
//!
//! Reports may be lost, or a slow canary's first units still be under way when the running release's have long ended.
//! Then labels are no longer drawn with the known weight, and silence would look like evidence. Missing data is neither
//! pass nor fail: what was gained from a long run of one arm's units is given back, and nothing is bet on until the
//! other arm is heard again. Under the known weight a run of `g` expected units of the other arm has probability
//! `exp(-g)`, so that hardly any evidence is lost by this.

/// From this many expected units without one on, an arm is silent.
const SILENT: f64 = 5.0;
/// From this many on, there is no data of it.
const GONE: f64 = 20.0;

/// The present run of units of one arm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    arm: usize,
    /// How many units of the other arm were to be expected during the run.
    missed: f64,
    seen: [bool; 2],
}

impl Presence {
    /// Whether a unit of this arm goes on with the present run.
    pub(crate) fn goes_on_with(&self, arm: usize) -> bool {
        arm == self.arm
    }

    /// One unit, assigned to the canary with this probability.
    pub(crate) fn observe(&mut self, arm: usize, weight: f64) {
        if arm != self.arm {
            self.arm = arm;
            self.missed = 0.0;
        }
        self.missed += if arm == 1 { 1.0 - weight } else { weight };
        self.seen[arm] = true;
    }

    /// Whether the other arm is silent.
    pub(crate) fn silent(&self) -> bool {
        self.missed >= SILENT
    }

    /// Whether an arm was not heard of, at all or for long.
    pub(crate) fn no_data(&self) -> bool {
        self.seen.contains(&false) || self.missed >= GONE
    }
}
