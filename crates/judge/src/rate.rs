//! How often something happened so far, estimated so that the past fades: what bets are planned with.
//!
//! Estimates need not be right for a verdict to be valid; a poor one only makes the bets poorer.

/// Hits among units, recent ones counting more.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    hits: f64,
    units: f64,
    memory: f64,
}

impl Rate {
    /// Nothing seen yet. `prior_hits` in one imagined unit; above `memory` units the past is halved.
    pub(crate) const fn new(prior_hits: f64, memory: f64) -> Rate {
        Rate { hits: prior_hits, units: 1.0, memory }
    }

    /// One more unit.
    pub(crate) fn observe(&mut self, hit: bool) {
        self.hits += if hit { 1.0 } else { 0.0 };
        self.units += 1.0;
        if self.units > self.memory {
            self.hits /= 2.0;
            self.units /= 2.0;
        }
    }

    /// Strictly between zero and one.
    pub(crate) fn estimate(&self) -> f64 {
        (self.hits / self.units).clamp(1e-7, 1.0 - 1e-6)
    }
}

/// The most units between two plans, so that bets follow a drift however long the rollout is.
const MOST: u64 = 1_024;

/// When to plan bets anew: at another weight, and each time that what was learned has grown by a sixteenth. Rare enough
/// that its logarithms cost little per unit, often enough that little is lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    weight_ppm: u32,
    units: u64,
    hits: u64,
    next_units: u64,
    next_hits: u64,
}

impl Schedule {
    /// Whether the bets must be planned before the next unit, which has this weight.
    pub(crate) fn due(&mut self, weight_ppm: u32) -> bool {
        let due = weight_ppm != self.weight_ppm || self.units >= self.next_units || self.hits >= self.next_hits;
        if due {
            self.weight_ppm = weight_ppm;
            self.next_units = self.units + (self.units / 16).clamp(1, MOST);
            self.next_hits = self.hits + (self.hits / 16).clamp(1, MOST);
        }
        due
    }

    /// One more unit was learned from.
    pub(crate) fn learned(&mut self, hit: bool) {
        self.units += 1;
        self.hits += u64::from(hit);
    }
}
