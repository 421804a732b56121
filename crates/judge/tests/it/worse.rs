//! Bad canaries are found near the limit; good ones are left alone.

use crate::simulate::{GOOD_WORLDS, Outcome, PAIRS, Random, WEIGHTS, good_rollout, is_worse, rollout, sharp};
use judge::theory;
use model::{ArmRole, Judgement, Metric, Verdict};

#[test]
fn failing_canaries_cost_at_most_1_75_times_the_limit() {
    for pair in PAIRS {
        for weight in WEIGHTS {
            let limit = theory::limit_excess(weight, pair.0, pair.1, 0.001, 0.05);
            let excess = (pair.1 - pair.0) * canary_units_to_find(&sharp(), 200, weight, pair);
            assert!(excess <= 1.75 * limit, "{pair:?} at {weight}: {excess:.1} failures, the limit is {limit:.1}");
        }
    }
}

/// The mean number of canary units until a canary that fails with `p1` was called worse; all runs must find it.
fn canary_units_to_find(judgement: &Judgement, runs: u64, weight: f64, (p0, p1): (f64, f64)) -> f64 {
    let mut sum = 0;
    for seed in 0..runs {
        let world = |random: &mut Random, arm: ArmRole, _| {
            Some(Outcome::fails(random, if arm == ArmRole::Canary { p1 } else { p0 }))
        };
        let end = rollout(judgement, seed, 1_000_000, |_| weight, world, is_worse);
        assert!(is_worse(end.verdict), "{p0} -> {p1} at {weight} was not found with seed {seed}");
        sum += end.canary_units;
    }
    sum as f64 / runs as f64
}

/// One in a thousand is allowed. The bound proves it; this would notice if the code did not do what the proof is about.
#[test]
fn good_canaries_are_not_rolled_back() {
    let (mut rollouts, mut rolled_back) = (0, 0);
    for world in GOOD_WORLDS {
        for seed in 0..500 {
            rollouts += 1;
            rolled_back += u64::from(is_worse(good_rollout(world, seed, 1_000).verdict));
        }
    }
    assert!(rolled_back * 1_000 <= rollouts, "{rolled_back} of {rollouts} good canaries were rolled back");
}

#[test]
fn slow_canaries_are_found_whether_all_or_few_requests_are_slow() {
    for (times, tail, most) in [(2.0, 0.0, 40.0), (1.5, 0.0, 100.0), (1.0, 0.02, 1_400.0)] {
        let runs = 50;
        let mut canary_units = 0;
        for seed in 0..runs {
            let world = |random: &mut Random, arm: ArmRole, _| {
                let canary = arm == ArmRole::Canary;
                let slow = if canary && random.chance(tail) { 50.0 } else { 1.0 };
                Some(Outcome::draw(random, 0.001, if canary { times * slow } else { 1.0 }))
            };
            let end = rollout(&sharp(), seed, 500_000, |_| 0.1, world, is_worse);
            assert_eq!(end.verdict, Verdict::Worse(Metric::Latency));
            canary_units += end.canary_units;
        }
        let mean = canary_units as f64 / runs as f64;
        assert!(mean <= most, "×{times}, {tail} in the tail: {mean} canary units");
    }
}

#[test]
fn a_canary_that_turns_bad_after_many_good_units_is_still_found() {
    for seed in 0..20 {
        let good = 50_000;
        let world = |random: &mut Random, arm: ArmRole, n| {
            Some(Outcome::draw(random, if arm == ArmRole::Canary && n >= good { 0.05 } else { 0.001 }, 1.0))
        };
        let end = rollout(&sharp(), seed, 200_000, |_| 0.1, world, is_worse);
        assert_eq!(end.verdict, Verdict::Worse(Metric::Failures));
        assert!(end.units >= good && end.units < good + 10_000, "found after {} units", end.units);
    }
}

/// The first step of a rollout: a version that is entirely broken costs a handful of requests.
#[test]
fn a_broken_canary_at_one_percent_costs_two_requests() {
    let found = canary_units_to_find(&sharp(), 300, 0.01, (0.0, 1.0));
    assert!(found <= 2.5, "{found} requests failed");
}

/// A service that answers within a millisecond, and a canary that takes `more_us` longer for half of its requests.
fn latency_verdict_of(judgement: &Judgement, more_us: u64) -> Verdict {
    let world = move |random: &mut Random, arm: ArmRole, _: u64| {
        let usual = 500 + (random.share() * 500.0) as u64;
        let late = arm == ArmRole::Canary && random.chance(0.5);
        Some(Outcome { failed: false, latency_us: Some(if late { usual + more_us } else { usual }) })
    };
    rollout(judgement, 7, 40_000, |_| 0.1, world, is_worse).verdict
}

#[test]
fn a_difference_that_nobody_would_notice_is_not_worse() {
    assert_eq!(latency_verdict_of(&sharp(), 800), Verdict::Worse(Metric::Latency));
    assert_eq!(latency_verdict_of(&Judgement::default(), 800), Verdict::NotWorse);
    assert_eq!(latency_verdict_of(&Judgement::default(), 12_000), Verdict::Worse(Metric::Latency));
}
