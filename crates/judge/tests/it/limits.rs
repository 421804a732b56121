//! Limits that hold whatever the running release does, and the budget of harm.

use crate::simulate::{End, Outcome, Random, rollout, sharp};
use model::{AbsoluteLimit, ArmRole, Judgement, Ratio, Span, Verdict};

fn percent(n: u32) -> Ratio {
    Ratio::from_percent(n).unwrap_or_default()
}

fn p99_below(ms: u64) -> AbsoluteLimit {
    AbsoluteLimit::Latency { quantile: percent(99), below: Span(ms) }
}

/// A rollout in which both releases fail and are slow alike, so that only limits speak.
fn alike(judgement: &Judgement, seed: u64, failing: f64, slowdown: f64) -> End {
    let world = |random: &mut Random, _: ArmRole, _| Some(Outcome::draw(random, failing, slowdown));
    rollout(judgement, seed, 4_000, |_| 0.3, world, Verdict::ends_exposure)
}

#[test]
fn a_release_beyond_a_limit_is_found_although_the_running_one_is_as_bad() {
    let failures = AbsoluteLimit::Failures(percent(2));
    let judgement = Judgement { limits: vec![p99_below(400), failures], ..sharp() };
    for seed in 0..50 {
        let end = alike(&judgement, seed, 0.08, 1.0);
        assert_eq!(end.verdict, Verdict::BeyondLimit(failures), "{} units", end.units);
        assert_eq!(alike(&judgement, seed, 0.0, 20.0).verdict, Verdict::BeyondLimit(p99_below(400)));
    }
}

#[test]
fn a_release_within_its_limits_is_left_alone_by_all_looks() {
    // The latency's 99 % quantile is near 80 ms, so that some units are beyond it in every rollout.
    let judgement = Judgement { limits: vec![p99_below(100), AbsoluteLimit::Failures(percent(2))], ..sharp() };
    let wrong = (0..2_000).filter(|seed| alike(&judgement, *seed, 0.02, 1.0).verdict.ends_exposure()).count();
    // One in a thousand, all tests together.
    assert!(wrong <= 5, "{wrong}");
}

#[test]
fn what_is_above_its_limit_so_far_is_not_promoted() {
    let judgement = Judgement { limits: vec![AbsoluteLimit::Failures(percent(1))], ..sharp() };
    let world = |random: &mut Random, _: ArmRole, _| Some(Outcome::draw(random, 0.012, 1.0));
    let promoted = |verdict| verdict == Verdict::NotWorse;
    let mut above = 0;
    for seed in 0..20 {
        let end = rollout(&judgement, seed, 20_000, |_| 0.5, world, promoted);
        let unlimited = rollout(&sharp(), seed, 20_000, |_| 0.5, world, promoted);
        assert!(end.units >= unlimited.units && unlimited.verdict == Verdict::NotWorse);
        above += u32::from(end.units > unlimited.units);
    }
    assert!(above > 5, "{above}");
}

#[test]
fn a_shared_outage_breaks_no_limit_and_spends_no_exposure() {
    let limits = vec![AbsoluteLimit::Failures(percent(5))];
    let judgement = Judgement { limits, exposure: Some(10), ..sharp() };
    for seed in 0..30 {
        let world = |random: &mut Random, _: ArmRole, n| {
            Some(Outcome::draw(random, if (1_000..1_500).contains(&n) { 0.9 } else { 0.001 }, 1.0))
        };
        let end = rollout(&judgement, seed, 3_000, |_| 0.2, world, Verdict::ends_exposure);
        assert!(!end.verdict.ends_exposure(), "{:?} after {} units", end.verdict, end.units);
    }
}

#[test]
fn no_more_than_the_exposure_fails_before_the_canary_is_cut_off() {
    // Twice as many failures are hard to prove at one in a million; the budget does not wait for the proof.
    let false_alarm = Ratio::from_ppm(1).unwrap();
    let judgement = Judgement { exposure: Some(8), false_alarm, latency_tolerance: Ratio::ZERO, ..sharp() };
    let mut spent = 0;
    for seed in 0..100 {
        let (mut units, mut failed) = ([0.0; 2], [0.0; 2]);
        let world = |random: &mut Random, arm: ArmRole, _| {
            let canary = arm == ArmRole::Canary;
            let outcome = Outcome::fails(random, if canary { 0.04 } else { 0.02 });
            units[usize::from(canary)] += 1.0;
            failed[usize::from(canary)] += f64::from(u8::from(outcome.failed));
            Some(outcome)
        };
        let end = rollout(&judgement, seed, 100_000, |_| 0.1, world, Verdict::ends_exposure);
        let more: f64 = failed[1] - units[1] * failed[0] / f64::max(units[0], 1.0);
        assert!(end.verdict.ends_exposure() && more < 9.0, "{:?}: {more}", end.verdict);
        spent += u32::from(end.verdict == Verdict::ExposureSpent);
    }
    assert!(spent > 90, "{spent}");
}
