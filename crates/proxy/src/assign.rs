//! Which arm a unit goes to, with an exactly known probability. Pure: no clock, no socket, no shared state.
//!
//! A unit is a point on a line of a million. The canary has the points from zero up to its weight, so that growing the
//! weight moves users towards the canary and never back. For requests the point is drawn; for sticky users it is a hash
//! of who they are, salted with the change so that the same users are not always the first to try something new.

use model::{Arm, ArmRole, Ratio};
use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

const WHOLE: u32 = Ratio::ONE.ppm();

/// A place on the line, below one million.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Point(u32);

impl Point {
    /// Where a uniformly distributed number lies. Off by less than 2^-44 from an exactly even spread.
    pub(crate) fn from_uniform(number: u64) -> Point {
        Point(((u128::from(number) * u128::from(WHOLE)) >> 64) as u32)
    }

    /// Whether it belongs to the canary at this weight.
    pub(crate) fn is_below(self, weight: Ratio) -> bool {
        self.0 < weight.ppm()
    }
}

/// Which arm has which points.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Split {
    /// `(first point behind the arm's share, arm)`, ascending, canaries first.
    ends: Vec<(u32, usize)>,
    /// The trusted arm that gets what a tripped canary gives up: the running one with the most weight.
    home: Option<usize>,
    canary: u32,
}

impl Split {
    /// Of the arms of a service. Weights that do not sum to one leave the rest to the trusted arm, or to the last.
    pub(crate) fn new(arms: &[Arm]) -> Split {
        let role = |wanted| arms.iter().enumerate().filter(move |(_, arm)| arm.role == wanted);
        let mut end = 0;
        let mut ends = Vec::with_capacity(arms.len());
        for (index, arm) in role(ArmRole::Canary).chain(role(ArmRole::Running)) {
            end = (end + arm.weight.ppm()).min(WHOLE);
            if arm.weight > Ratio::ZERO {
                ends.push((end, index));
            }
        }
        let home = role(ArmRole::Running).max_by_key(|(_, arm)| arm.weight).map(|(index, _)| index);
        let canary = role(ArmRole::Canary).map(|(_, arm)| arm.weight.ppm()).sum::<u32>().min(WHOLE);
        Split { ends, home, canary }
    }

    /// The arm a point belongs to. `None`: there is no arm.
    pub(crate) fn arm(&self, point: Point) -> Option<usize> {
        let found = self.ends.iter().find(|(end, _)| point.0 < *end).map(|(_, arm)| *arm);
        found.or(self.home).or(self.ends.last().map(|(_, arm)| *arm))
    }

    /// The trusted arm, if there is one.
    pub(crate) fn home(&self) -> Option<usize> {
        self.home
    }

    /// The probability that a unit is assigned to the canary.
    pub(crate) fn canary_weight(&self) -> Ratio {
        Ratio::from_ppm(self.canary).unwrap_or(Ratio::ONE)
    }
}

/// Who a sticky unit is: the same for the same key and salt on every machine, in every version.
pub(crate) fn unit_hash(key: &[u8], salt: u64) -> u64 {
    // FNV-1a over the key, begun at the salt; then a finaliser, because FNV alone leaves the high bits of short keys
    // nearly constant, and the high bits choose the arm.
    let hash = key.iter().fold(mix(salt ^ 0xcbf2_9ce4_8422_2325), |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

/// A bijection that spreads every input bit over all output bits (the finaliser of SplitMix64).
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One thread's random numbers (SplitMix64): even and fast, not secret.
pub(crate) struct Random(Cell<u64>);

impl Random {
    /// Begins at `seed`, or somewhere unpredictable.
    pub(crate) fn new(seed: Option<u64>) -> Random {
        Random(Cell::new(seed.unwrap_or_else(|| RandomState::new().build_hasher().finish())))
    }

    /// 64 even bits.
    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        mix(state)
    }

    /// An even number below `bound`; 0 when `bound` is 0.
    pub(crate) fn below(&self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests;
