//! Simulated rollouts for the tests and the tables: seeded, so that every run gives the same figures.

use judge::{Test, Unit};
use model::{ArmRole, Judgement, Ratio, Span, Verdict};

/// A small deterministic source of random numbers (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Lognormal around 20 ms with sigma 0.6, in microseconds: the usual shape of response times.
    pub(crate) fn latency_us(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.share()).cos();
        20_000.0 * (0.6 * normal).exp()
    }
}

/// What a unit experiences: whether it failed, and its latency if it did not.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) failed: bool,
    pub(crate) latency_us: Option<u64>,
}

impl Outcome {
    /// Fails with this probability; otherwise takes the usual time, multiplied.
    pub(crate) fn draw(random: &mut Random, failing: f64, slowdown: f64) -> Outcome {
        let failed = random.chance(failing);
        Outcome { failed, latency_us: (!failed).then(|| (slowdown * random.latency_us()) as u64) }
    }

    /// Fails with this probability; nothing is known of latencies.
    pub(crate) fn fails(random: &mut Random, failing: f64) -> Outcome {
        Outcome { failed: random.chance(failing), latency_us: None }
    }
}

/// How one simulated rollout ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) verdict: Verdict,
    pub(crate) units: u64,
    pub(crate) canary_units: u64,
}

/// Runs one rollout until `stop` accepts the verdict, which it is asked after every unit, or for `most` units. `weight`
/// is the canary's at the n-th unit, and `world` says what the n-th unit experiences; `None` is a unit not to judge.
pub(crate) fn rollout(
    judgement: &Judgement,
    seed: u64,
    most: u64,
    weight: impl Fn(u64) -> f64,
    mut world: impl FnMut(&mut Random, ArmRole, u64) -> Option<Outcome>,
    stop: impl Fn(Verdict) -> bool,
) -> End {
    let mut test = Test::new(judgement);
    let mut random = Random::new(seed);
    let mut canary_units = 0;
    for n in 0..most {
        let weight = Ratio::from_f64(weight(n)).unwrap_or_default();
        let arm = if random.chance(weight.as_f64()) { ArmRole::Canary } else { ArmRole::Running };
        let Some(Outcome { failed, latency_us }) = world(&mut random, arm, n) else {
            test.skip(1);
            continue;
        };
        canary_units += u64::from(arm == ArmRole::Canary);
        test.observe(Unit { arm, weight, failed, latency_us });
        if stop(test.verdict()) {
            return End { verdict: test.verdict(), units: n + 1, canary_units };
        }
    }
    End { verdict: test.verdict(), units: most, canary_units }
}

/// Whether a canary was called worse.
pub(crate) fn is_worse(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Worse(_))
}

/// The default judgement without the margin for latencies that are larger but not harmful: the sharpest there is, as the
/// theory knows it.
pub(crate) fn sharp() -> Judgement {
    Judgement { latency_margin: Ratio::ZERO, latency_slack: Span::ZERO, ..Judgement::default() }
}

/// The judgement of failures alone.
pub(crate) fn failures_only() -> Judgement {
    Judgement { latency_tolerance: Ratio::ZERO, ..sharp() }
}

/// The four pairs of failure rates the judge is measured by.
pub(crate) const PAIRS: [(f64, f64); 4] = [(0.001, 0.01), (0.001, 0.05), (0.01, 0.02), (0.0, 1.0)];

/// The canary's weights it is measured at.
pub(crate) const WEIGHTS: [f64; 3] = [0.05, 0.1, 0.2];

/// Worlds in which the canary is as good as the running release, and judging is hard.
pub(crate) const GOOD_WORLDS: [&str; 13] = [
    "never fails",
    "fails 0.1 %",
    "fails 1 %",
    "fails 10 %",
    "failures and latency drift",
    "shared outages",
    "bursts of failures",
    "sticky users, some of whom always fail",
    "bots, fast and often failing",
    "clients that retry what failed",
    "weight grows from 1 to 50 %",
    "heavy-tailed latency",
    "cold caches within the warm-up",
];

/// One rollout of a good canary in one of [`GOOD_WORLDS`], watched after every unit.
pub(crate) fn good_rollout(world: &str, seed: u64, most: u64) -> End {
    let steps = [0.01, 0.05, 0.1, 0.25, 0.5];
    let weight = |n: u64| match world {
        "weight grows from 1 to 50 %" => steps[((n * 5 / most) as usize).min(4)],
        _ => 0.1,
    };
    let phase = |n: u64| n as f64 / most as f64;
    let mut burst = 0;
    let mut seen = vec![false; 4_096];
    let mut retry = false;
    let outcome = |random: &mut Random, _: ArmRole, n: u64| {
        let outcome = match world {
            "never fails" => Outcome::draw(random, 0.0, 1.0),
            "fails 1 %" => Outcome::draw(random, 0.01, 1.0),
            "fails 10 %" => Outcome::draw(random, 0.1, 1.0),
            "failures and latency drift" => Outcome::draw(random, 0.001 + 0.1 * phase(n), 1.0 + 4.0 * phase(n)),
            "shared outages" => {
                let outage = n % 700 > 600;
                Outcome::draw(random, if outage { 0.9 } else { 0.002 }, if outage { 10.0 } else { 1.0 })
            }
            "bursts of failures" => {
                burst = if random.chance(0.005) { 10 } else { u64::saturating_sub(burst, 1) };
                Outcome::draw(random, if burst > 0 { 0.8 } else { 0.001 }, 1.0)
            }
            "sticky users, some of whom always fail" => {
                // The square makes some users far more frequent than others.
                let user = (random.share().powi(2) * seen.len() as f64) as usize;
                if std::mem::replace(&mut seen[user], true) {
                    return None;
                }
                let always_fails = user.is_multiple_of(33);
                Outcome::draw(random, if always_fails { 1.0 } else { 0.001 }, 1.0)
            }
            "bots, fast and often failing" => {
                let bot = random.chance(0.2);
                Outcome::draw(random, if bot { 0.3 } else { 0.001 }, if bot { 0.05 } else { 1.0 })
            }
            "clients that retry what failed" => {
                let outcome = Outcome::draw(random, if retry { 0.6 } else { 0.01 }, 1.0);
                retry = outcome.failed;
                outcome
            }
            "heavy-tailed latency" => {
                let latency_us = Some((2_000.0 / (1.0 - random.share()).powf(0.9)) as u64);
                Outcome { failed: random.chance(0.001), latency_us }
            }
            "cold caches within the warm-up" if n < 200 => return None,
            _ => Outcome::draw(random, 0.001, 1.0),
        };
        Some(outcome)
    };
    rollout(&sharp(), seed, most, weight, outcome, is_worse)
}
