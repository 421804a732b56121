//! Simulated rollouts for the tests and the tables: seeded, so that every run gives the same figures.

use judge::{Test, Unit};
use model::{ArmRole, Judgement, Ratio, Verdict};

/// A small deterministic source of random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }

    /// Lognormal around 20 ms with sigma 0.6: the usual shape of response times.
    pub fn latency_us(&mut self) -> f64 {
        20_000.0 * (0.6 * self.normal()).exp()
    }
}

/// What a unit experiences.
#[derive(Clone, Copy)]
pub struct Outcome {
    pub failed: bool,
    pub latency_us: Option<u64>,
}

impl Outcome {
    pub fn failed(failed: bool) -> Outcome {
        Outcome { failed, latency_us: None }
    }
}

/// How one simulated rollout ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub verdict: Verdict,
    pub units: u64,
    pub canary_units: u64,
}

/// Runs one rollout until `stop` accepts the verdict, or for `most` units. `world` says what the n-th unit experiences
/// on an arm; `weight` is the canary's weight at the n-th unit.
pub fn rollout(
    judgement: &Judgement,
    random: &mut Random,
    most: u64,
    weight: impl Fn(u64) -> f64,
    mut world: impl FnMut(&mut Random, ArmRole, u64) -> Outcome,
    stop: impl Fn(Verdict) -> bool,
) -> End {
    let mut test = Test::new(judgement);
    let mut canary_units = 0;
    for n in 0..most {
        let weight = Ratio::from_f64(weight(n)).unwrap_or_default();
        let arm = if random.chance(weight.as_f64()) { ArmRole::Canary } else { ArmRole::Running };
        canary_units += u64::from(arm == ArmRole::Canary);
        let Outcome { failed, latency_us } = world(random, arm, n);
        test.observe(Unit { arm, weight, failed, latency_us });
        if stop(test.verdict()) {
            return End { verdict: test.verdict(), units: n + 1, canary_units };
        }
    }
    End { verdict: test.verdict(), units: most, canary_units }
}
