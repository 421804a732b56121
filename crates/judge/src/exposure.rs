//! How much harm a canary has done: failures more than the running release would have had on the same units.
//!
//! What is counted are failures, not evidence: with a rate of failure that is high anyway, chance alone spends some of a
//! budget. `docs/guide/releasing.md` says how much to allow.

/// The failures of both arms, outside of shared outages.
#[derive(Clone, Debug)]
pub(crate) struct Exposure {
    units: [u64; 2],
    failed: [u64; 2],
    budget: Option<u32>,
}

impl Exposure {
    /// Nothing seen yet. `budget`: how many failures more there may be.
    pub(crate) fn new(budget: Option<u32>) -> Exposure {
        Exposure { units: [0; 2], failed: [0; 2], budget }
    }

    /// Takes one unit of an arm into account.
    pub(crate) fn observe(&mut self, arm: usize, failed: bool) {
        self.units[arm] = self.units[arm].saturating_add(1);
        self.failed[arm] = self.failed[arm].saturating_add(u64::from(failed));
    }

    /// How many more of the canary's units failed than would have at the running release's rate.
    pub(crate) fn excess(&self) -> f64 {
        let usual = if self.units[0] == 0 { 0.0 } else { self.failed[0] as f64 / self.units[0] as f64 };
        self.failed[1] as f64 - usual * self.units[1] as f64
    }

    /// Whether there were as many as there may be.
    pub(crate) fn is_spent(&self) -> bool {
        self.budget.is_some_and(|budget| self.excess() >= f64::from(budget))
    }

    /// How many there may be.
    pub(crate) const fn budget(&self) -> Option<u32> {
        self.budget
    }
}
