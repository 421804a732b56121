//! A release with nothing beside it, against what was usual before.

use crate::simulate::{Outcome, Random, is_worse, sharp};
use judge::Watch;
use model::{ArmFigures, Metric, Verdict};

fn baseline(random: &mut Random, units: u64, failing: f64) -> ArmFigures {
    let mut figures = ArmFigures::default();
    for _ in 0..units {
        let outcome = Outcome::draw(random, failing, 1.0);
        figures.units += 1;
        figures.failed += u64::from(outcome.failed);
        outcome.latency_us.into_iter().for_each(|us| figures.latencies.record(us));
    }
    figures
}

/// Feeds units until the release is called worse; how many it took.
fn until_worse(watch: &mut Watch, random: &mut Random, most: u64, failing: f64, slowdown: f64) -> Option<u64> {
    (1..=most).find(|_| {
        let outcome = Outcome::draw(random, failing, slowdown);
        watch.observe(outcome.failed, outcome.latency_us);
        is_worse(watch.verdict())
    })
}

/// Also with a short baseline, which says little: its uncertainty is part of the bound.
#[test]
fn a_release_that_stays_as_it_was_is_left_alone() {
    let alarms = (0..1_000)
        .filter(|seed| {
            let mut random = Random::new(*seed);
            let baseline = baseline(&mut random, [100, 1_000, 10_000][(seed % 3) as usize], 0.01);
            let mut watch = Watch::new(&baseline, &sharp());
            until_worse(&mut watch, &mut random, 3_000, 0.01, 1.0).is_some()
        })
        .count();
    assert!(alarms <= 1, "{alarms} of 1,000");
}

#[test]
fn a_change_is_found_at_once_and_late() {
    for good in [0, 20_000] {
        for (failing, slowdown, metric, most) in
            [(1.0, 1.0, Metric::Failures, 60), (0.1, 1.0, Metric::Failures, 1_500), (0.01, 2.0, Metric::Latency, 500)]
        {
            let mut random = Random::new(good + most);
            let baseline = baseline(&mut random, 5_000, 0.01);
            let mut watch = Watch::new(&baseline, &sharp());
            assert_eq!(until_worse(&mut watch, &mut random, good, 0.01, 1.0), None);
            let found = until_worse(&mut watch, &mut random, most, failing, slowdown);
            assert!(found.is_some(), "{failing} ×{slowdown} after {good}: {:?}", watch.evidence().findings);
            assert_eq!(watch.verdict(), Verdict::Worse(metric));
        }
    }
}

#[test]
fn a_release_as_good_as_its_baseline_is_accepted_and_a_worse_one_is_not() {
    let mut accepted = [0, 0];
    for seed in 0..300 {
        for (i, failing) in [0.01, 0.02].into_iter().enumerate() {
            let mut random = Random::new(seed);
            let baseline = baseline(&mut random, 5_000, 0.01);
            let mut watch = Watch::new(&baseline, &sharp());
            let was_accepted = (0..10_000).any(|_| {
                let outcome = Outcome::draw(&mut random, failing, 1.0);
                watch.observe(outcome.failed, outcome.latency_us);
                watch.verdict() == Verdict::NotWorse
            });
            accepted[i] += u64::from(was_accepted);
        }
    }
    assert!(accepted[0] >= 280 && accepted[1] <= 15, "{accepted:?} of 300");
}

#[test]
fn without_a_baseline_there_is_no_data() {
    let mut watch = Watch::new(&ArmFigures::default(), &sharp());
    assert_eq!(until_worse(&mut watch, &mut Random::new(1), 1_000, 1.0, 1.0), None);
    assert_eq!(watch.verdict(), Verdict::NoData);
    assert_eq!(watch.evidence().units_needed, None);
}
