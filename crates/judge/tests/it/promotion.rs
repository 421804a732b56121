//! Good canaries are accepted near the bound; worse ones are not.

use crate::simulate::{Outcome, Random, failures_only, is_worse, rollout, sharp};
use judge::{Test, Unit, theory};
use model::{ArmRole, Ratio, Verdict};

#[test]
fn a_good_canary_is_accepted_within_twice_the_bound() {
    for (p, weight) in [(0.0, 0.1), (0.0, 0.5), (0.001, 0.1), (0.001, 0.5), (0.01, 0.2), (0.01, 0.5)] {
        let (runs, mut units) = (100, 0);
        for seed in 0..runs {
            let world = |random: &mut Random, _, _| Some(Outcome::fails(random, p));
            let stop = |verdict| is_worse(verdict) || verdict == Verdict::NotWorse;
            let end = rollout(&failures_only(), seed, 500_000, |_| weight, world, stop);
            assert_eq!(end.verdict, Verdict::NotWorse, "{p} at {weight} with seed {seed}");
            units += end.units;
        }
        let (mean, bound) = (units as f64 / runs as f64, theory::accept_units(weight, p, 0.01, 0.001, 0.05));
        assert!(mean <= 2.0 * bound, "{p} at {weight}: {mean:.0} units, the bound is {bound:.0}");
    }
}

/// Five in a hundred are allowed; three standard deviations of a thousand rollouts on top.
const PROMOTED_OF_1000: usize = 50 + 21;

#[test]
fn a_canary_that_fails_more_often_by_the_tolerance_is_not_promoted() {
    for (p, weight) in [(0.0, 0.1), (0.001, 0.5), (0.01, 0.2), (0.01, 0.5)] {
        let promoted = (0..1_000)
            .filter(|seed| {
                let world = |random: &mut Random, arm: ArmRole, _| {
                    Some(Outcome::fails(random, if arm == ArmRole::Canary { p + 0.01 } else { p }))
                };
                let stop = |verdict| verdict == Verdict::NotWorse;
                rollout(&failures_only(), *seed, 6_000, |_| weight, world, stop).verdict == Verdict::NotWorse
            })
            .count();
        assert!(promoted <= PROMOTED_OF_1000, "{p} at {weight}: {promoted} of 1,000 were promoted");
    }
}

#[test]
fn a_canary_slower_than_the_median_by_the_tolerance_is_not_promoted() {
    // With sigma 0.6 this puts 60 % of the canary's latencies above the running release's median.
    let slowdown = (0.6_f64 * 0.2533).exp();
    let promoted = (0..1_000)
        .filter(|seed| {
            let world = |random: &mut Random, arm: ArmRole, _| {
                Some(Outcome::draw(random, 0.0, if arm == ArmRole::Canary { slowdown } else { 1.0 }))
            };
            let stop = |verdict| verdict == Verdict::NotWorse;
            rollout(&sharp(), *seed, 6_000, |_| 0.5, world, stop).verdict == Verdict::NotWorse
        })
        .count();
    assert!(promoted <= PROMOTED_OF_1000, "{promoted} of 1,000 were promoted");
}

#[test]
fn an_accepted_canary_that_turns_bad_loses_its_acceptance() {
    let world = |random: &mut Random, arm: ArmRole, n| {
        Some(Outcome::draw(random, if arm == ArmRole::Canary && n >= 20_000 { 0.2 } else { 0.001 }, 1.0))
    };
    let judgement = sharp();
    let accepted = rollout(&judgement, 7, 20_000, |_| 0.2, world, |_| false);
    assert_eq!(accepted.verdict, Verdict::NotWorse);
    let later = rollout(&judgement, 7, 30_000, |_| 0.2, world, is_worse);
    assert!(is_worse(later.verdict), "{later:?}");
}

#[test]
fn units_needed_is_close_to_the_units_it_takes() {
    let weight = Ratio::from_percent(20).unwrap();
    let mut test = Test::new(&sharp());
    let mut random = Random::new(3);
    let mut unit = |test: &mut Test| {
        let arm = if random.chance(weight.as_f64()) { ArmRole::Canary } else { ArmRole::Running };
        let Outcome { failed, latency_us } = Outcome::draw(&mut random, 0.002, 1.0);
        test.observe(Unit { arm, weight, failed, latency_us });
    };
    assert_eq!(test.evidence().units_needed, None);
    for _ in 0..500 {
        unit(&mut test);
    }
    let expected = test.evidence().units_needed.unwrap();
    let mut took = 0;
    while test.verdict() != Verdict::NotWorse {
        unit(&mut test);
        took += 1;
        assert!(took < 100_000, "never accepted: {:?}", test.evidence().findings);
    }
    assert!(took <= 3 * expected && expected <= 3 * took, "{expected} were expected, it took {took}");
    assert_eq!(test.evidence().units_needed, Some(0));
}
