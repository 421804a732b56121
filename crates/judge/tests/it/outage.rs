//! Both releases failing together is not evidence against either.

use crate::simulate::{Outcome, Random, sharp};
use judge::{Test, Unit};
use model::{ArmRole, Ratio, Verdict};

/// Feeds units with these failure rates (running, canary) and slowdowns, and returns the verdicts seen, without repeats.
fn feed(test: &mut Test, random: &mut Random, units: u64, failing: [f64; 2], slowdown: f64) -> Vec<Verdict> {
    let weight = Ratio::from_percent(20).unwrap_or_default();
    let mut verdicts = Vec::new();
    for _ in 0..units {
        let canary = random.chance(weight.as_f64());
        let arm = if canary { ArmRole::Canary } else { ArmRole::Running };
        let Outcome { failed, latency_us } = Outcome::draw(random, failing[usize::from(canary)], slowdown);
        test.observe(Unit { arm, weight, failed, latency_us });
        if verdicts.last() != Some(&test.verdict()) {
            verdicts.push(test.verdict());
        }
    }
    verdicts
}

#[test]
fn a_shared_outage_pauses_and_passes() {
    for (failing, slowdown) in [([0.9, 0.9], 1.0), ([1.0, 1.0], 1.0), ([0.001, 0.001], 50.0)] {
        let (mut test, mut random) = (Test::new(&sharp()), Random::new(11));
        feed(&mut test, &mut random, 500, [0.001; 2], 1.0);
        assert_eq!(test.verdict(), Verdict::Undecided);
        let during = feed(&mut test, &mut random, 300, failing, slowdown);
        assert_eq!(during.last(), Some(&Verdict::SharedOutage), "{failing:?} ×{slowdown}: {during:?}");
        assert!(!during.contains(&Verdict::NotWorse), "{during:?}");
        feed(&mut test, &mut random, 300, [0.001; 2], 1.0);
        assert_eq!(test.verdict(), Verdict::Undecided);
        feed(&mut test, &mut random, 20_000, [0.001; 2], 1.0);
        assert_eq!(test.verdict(), Verdict::NotWorse);
    }
}

#[test]
fn nothing_is_concluded_from_the_traffic_of_an_outage() {
    let (mut test, mut random) = (Test::new(&sharp()), Random::new(5));
    feed(&mut test, &mut random, 500, [0.001; 2], 1.0);
    feed(&mut test, &mut random, 200, [0.9; 2], 1.0);
    let before = test.evidence();
    // The canary suffers a little more from the same outage: no reason to undo it.
    let during = feed(&mut test, &mut random, 20_000, [0.85, 0.98], 1.0);
    let after = test.evidence();
    assert_eq!(during, [Verdict::SharedOutage]);
    assert_eq!(before.findings, after.findings);
}

#[test]
fn a_canary_that_drags_the_running_release_down_is_found() {
    let (mut test, mut random) = (Test::new(&sharp()), Random::new(9));
    feed(&mut test, &mut random, 500, [0.001; 2], 1.0);
    let during = feed(&mut test, &mut random, 2_000, [0.35, 1.0], 1.0);
    assert!(matches!(during.last(), Some(Verdict::Worse(_))), "{during:?}");
}

#[test]
fn a_canary_still_bad_after_an_outage_is_found() {
    let (mut test, mut random) = (Test::new(&sharp()), Random::new(13));
    feed(&mut test, &mut random, 500, [0.001; 2], 1.0);
    feed(&mut test, &mut random, 500, [0.9; 2], 1.0);
    assert_eq!(test.verdict(), Verdict::SharedOutage);
    let later = feed(&mut test, &mut random, 1_000, [0.001, 0.5], 1.0);
    assert!(matches!(later.last(), Some(Verdict::Worse(_))), "{later:?}");
}
