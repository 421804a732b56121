//! Random numbers good enough to decide which request meets a fault; a beginning (seed) gives the same row every time.

use std::cell::Cell;

/// The splitmix64 generator.
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    /// Begins a row of numbers.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(Cell::new(seed))
    }

    /// True for this share of calls.
    pub(crate) fn falls(&self, share: f64) -> bool {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        unit < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_for_about_the_share_asked_for() {
        let dice = Dice::new(7);
        let hits = (0..100_000).filter(|_| dice.falls(0.05)).count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
        assert!(!dice.falls(0.0));
        assert!(dice.falls(1.0));
    }
}
