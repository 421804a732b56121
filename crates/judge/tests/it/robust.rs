//! No input gives a wrong verdict, a figure that is no number, or a panic.

use crate::simulate::{Random, sharp};
use judge::{Test, Unit, Watch};
use model::{ArmFigures, ArmRole, Evidence, Judgement, Metric, Ratio, Verdict};
use proptest::prelude::*;

const ARMS: [ArmRole; 2] = [ArmRole::Running, ArmRole::Canary];

fn unit(arm: ArmRole, weight_ppm: u32, failed: bool) -> Unit {
    let latency_us = (!failed).then_some(20_000);
    Unit { arm, weight: Ratio::from_ppm(weight_ppm).unwrap_or_default(), failed, latency_us }
}

fn assert_numbers(evidence: &Evidence) {
    for finding in &evidence.findings {
        for value in [finding.worse, finding.worse_bound, finding.not_worse, finding.not_worse_bound] {
            assert!(value.is_finite(), "{finding:?}");
        }
    }
}

#[test]
fn without_a_choice_units_are_counted_and_prove_nothing() {
    let mut test = Test::new(&sharp());
    for _ in 0..10_000 {
        test.observe(unit(ArmRole::Canary, 1_000_000, true));
        test.observe(unit(ArmRole::Running, 0, false));
        // Impossible, and therefore no evidence either.
        test.observe(unit(ArmRole::Canary, 0, true));
    }
    let evidence = test.evidence();
    assert_eq!(evidence.verdict, Verdict::NoData);
    assert_eq!((evidence.canary.units, evidence.canary.failed, evidence.running.units), (20_000, 20_000, 10_000));
    assert!(evidence.findings.iter().all(|finding| finding.worse.abs() < 1e-9 && finding.not_worse.abs() < 1e-9));
}

#[test]
fn one_silent_arm_is_no_data_and_skipped_units_are_told() {
    for speaking in ARMS {
        for silent_ppm in [10_000, 100_000, 500_000] {
            let weight_ppm = if speaking == ArmRole::Canary { 1_000_000 - silent_ppm } else { silent_ppm };
            let mut test = Test::new(&sharp());
            assert_eq!(test.verdict(), Verdict::NoData);
            for n in 0..10_000 {
                test.observe(unit(speaking, weight_ppm, n % 100 == 0));
            }
            assert_eq!(test.verdict(), Verdict::NoData, "{speaking:?} alone at {weight_ppm}");
        }
    }
    let mut test = Test::new(&sharp());
    test.skip(3);
    test.skip(u64::MAX);
    let evidence = test.evidence();
    assert_eq!((evidence.verdict, evidence.units_needed, evidence.unjudged), (Verdict::NoData, None, u64::MAX));
}

#[test]
fn worse_stays_whatever_follows() {
    let mut test = Test::new(&sharp());
    let mut random = Random::new(1);
    for n in 0..50_000 {
        let arm = ARMS[usize::from(random.chance(0.2))];
        test.observe(unit(arm, 200_000, n < 200 && arm == ArmRole::Canary));
    }
    assert_eq!(test.verdict(), Verdict::Worse(Metric::Failures));
    assert_eq!(test.evidence().units_needed, None);
}

#[test]
fn findings_tell_what_was_judged() {
    let metrics = |latency_tolerance| {
        let judgement = Judgement { latency_tolerance, ..sharp() };
        let evidence = Test::new(&judgement).evidence();
        evidence.findings.iter().map(|f| (f.metric, f.worse_bound.exp().round() as u64)).collect::<Vec<_>>()
    };
    assert_eq!(metrics(Ratio::ZERO), [(Metric::Failures, 1_000)]);
    // Two thirds of one in a thousand, and one third.
    assert_eq!(metrics(Ratio::from_percent(10).unwrap()), [(Metric::Failures, 1_500), (Metric::Latency, 3_000)]);
}

/// Extreme latencies and errors among ordinary ones; ratios at and next to their ends.
fn ratio() -> impl Strategy<Value = Ratio> {
    let ends = prop::sample::select(vec![0, 1, 2, 999_998, 999_999, 1_000_000]);
    prop_oneof![ends, 0..=1_000_000_u32].prop_map(|ppm| Ratio::from_ppm(ppm).unwrap_or_default())
}

fn judgement() -> impl Strategy<Value = Judgement> {
    [ratio(), ratio(), ratio(), ratio()].prop_map(|[false_alarm, miss, tolerance, latency_tolerance]| Judgement {
        false_alarm,
        miss,
        tolerance,
        latency_tolerance,
        ..sharp()
    })
}

/// A stretch of like units.
fn stretch() -> impl Strategy<Value = (usize, Ratio, bool, Option<u64>, usize)> {
    let latency = prop::option::of(prop_oneof![Just(0), Just(u64::MAX), 0..10_000_000_u64]);
    (0..2_usize, ratio(), any::<bool>(), latency, 1..400_usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_units_gives_numbers(
        judgement in judgement(),
        stretches in prop::collection::vec(stretch(), 1..40),
    ) {
        let mut test = Test::new(&judgement);
        let mut units = [0, 0];
        for (arm, weight, failed, latency_us, times) in stretches {
            for _ in 0..times {
                let was_worse = matches!(test.verdict(), Verdict::Worse(_));
                test.observe(Unit { arm: ARMS[arm], weight, failed, latency_us });
                prop_assert!(!was_worse || matches!(test.verdict(), Verdict::Worse(_)));
            }
            units[arm] += times as u64;
            let evidence = test.evidence();
            assert_numbers(&evidence);
            prop_assert_eq!(evidence.verdict, test.verdict());
            prop_assert_eq!([evidence.running.units, evidence.canary.units], units);
        }
    }

    #[test]
    fn every_baseline_gives_numbers(
        judgement in judgement(),
        baseline in (0..3_000_u64, 0..4_000_u64, prop::collection::vec(any::<u64>(), 0..50)),
        stretches in prop::collection::vec(stretch(), 1..20),
    ) {
        let (units, failed, latencies) = baseline;
        let mut baseline = ArmFigures { units, failed, ..ArmFigures::default() };
        latencies.into_iter().for_each(|us| baseline.latencies.record(us));
        let mut watch = Watch::new(&baseline, &judgement);
        for (_, _, failed, latency_us, times) in stretches {
            for _ in 0..times {
                watch.observe(failed, latency_us);
            }
            assert_numbers(&watch.evidence());
        }
    }
}

/// A canary that answers, but so slowly that the running release is far ahead, and one whose reports stop for a while.
#[test]
fn late_and_lost_reports_are_no_evidence() {
    for seed in 0..200 {
        let mut test = Test::new(&sharp());
        let mut random = Random::new(seed);
        for n in 0..20_000 {
            let arm = ARMS[usize::from(random.chance(0.1))];
            let failed = random.chance(0.01);
            let lost = n < 1_000 || (10_000..12_000).contains(&n);
            if arm == ArmRole::Canary && lost {
                test.skip(1);
            } else {
                test.observe(unit(arm, 100_000, failed));
            }
            assert!(
                !matches!(test.verdict(), Verdict::Worse(_)),
                "seed {seed}, unit {n}: {:?}",
                test.evidence().findings
            );
        }
    }
}
