//! Requests that clients give up: a canary that hangs is found by them, and nobody is blamed for impatient clients.

use crate::simulate::{Outcome, Random, sharp};
use judge::{Test, Unit};
use model::{ArmRole, Metric, Ratio, Verdict};

/// Requests of clients who wait for so long; how long a request takes is a lognormal around 20 ms, or for ever.
fn rollout(seed: u64, units: u64, patience: impl Fn(&mut Random) -> u64, hangs: f64) -> (Verdict, u64) {
    let (mut test, mut random) = (Test::new(&sharp()), Random::new(seed));
    let weight = Ratio::from_percent(10).unwrap_or_default();
    let mut given_up_on_canary = 0;
    for _ in 0..units {
        let arm = if random.chance(weight.as_f64()) { ArmRole::Canary } else { ArmRole::Running };
        let outcome = Outcome::draw(&mut random, 0.001, 1.0);
        let hung = arm == ArmRole::Canary && random.chance(hangs);
        let (takes, waits) = (outcome.latency_us.unwrap_or(0), patience(&mut random));
        if hung || takes > waits {
            given_up_on_canary += u64::from(arm == ArmRole::Canary);
            test.give_up(arm, weight, waits);
        } else {
            test.observe(Unit { arm, weight, failed: outcome.failed, latency_us: outcome.latency_us });
        }
        if test.verdict().ends_exposure() {
            break;
        }
    }
    (test.verdict(), given_up_on_canary)
}

#[test]
fn a_canary_that_hangs_is_found_by_clients_who_give_up() {
    for (hangs, at_most) in [(1.0, 40), (0.3, 80)] {
        for seed in 0..50 {
            let (verdict, given_up) = rollout(seed, 20_000, |_| 3_000_000, hangs);
            assert_eq!(verdict, Verdict::Worse(Metric::Latency), "{hangs}");
            assert!(given_up < at_most, "{given_up} clients gave up");
        }
    }
}

#[test]
fn impatient_clients_are_nobodys_fault() {
    // Half of them wait for 10 to 60 ms only, which a quarter of all requests take.
    let patience =
        |random: &mut Random| if random.chance(0.5) { 10_000 + (50_000.0 * random.share()) as u64 } else { 3_000_000 };
    let wrong = (0..2_000).filter(|seed| rollout(*seed, 3_000, patience, 0.0).0.ends_exposure()).count();
    // One in a thousand.
    assert!(wrong <= 6, "{wrong}");
}
