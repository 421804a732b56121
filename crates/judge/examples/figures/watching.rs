//! The watch: a release with nothing beside it, against what was usual before.

use crate::{
    runs::{Runs, mean},
    simulate::{Outcome, Random, is_worse, sharp},
};
use judge::Watch;
use model::{ArmFigures, Latencies};

pub(crate) fn table(runs: Runs) {
    println!("\n### The watch: against a baseline of 5,000 units with 1 % failures, tolerance 1 %\n");
    println!(
        "| release watched | good units before | called worse | units since | failures since |\n|---|---|---|---|---|"
    );
    for (name, failing, slowdown) in [
        ("as before", 0.01, 1.0),
        ("1.9 % failures (within the tolerance)", 0.019, 1.0),
        ("5 % failures", 0.05, 1.0),
        ("all fail", 1.0, 1.0),
        ("×2 slower", 0.01, 2.0),
    ] {
        for good in [0_u64, 20_000] {
            let ends = runs.each(500, |seed| watched(seed, good, failing, slowdown));
            let found: Vec<f64> = ends.iter().flatten().map(|units| *units as f64).collect();
            let (count, units) = (found.len(), mean(found));
            println!("| {name} | {good} | {count} of {} | {units:.0} | {:.1} |", ends.len(), failing * units);
        }
    }
}

/// Units until a release is called worse that turns like this after so many good ones; `None`: not within 30,000.
fn watched(seed: u64, good: u64, failing: f64, slowdown: f64) -> Option<u64> {
    let mut random = Random::new(seed);
    let mut baseline = ArmFigures::default();
    let mut latencies = Latencies::default();
    for _ in 0..5_000 {
        let outcome = Outcome::draw(&mut random, 0.01, 1.0);
        baseline.units += 1;
        baseline.failed += u64::from(outcome.failed);
        outcome.latency_us.into_iter().for_each(|us| latencies.record(us));
    }
    baseline.latencies = latencies;
    let mut watch = Watch::new(&baseline, &sharp());
    for n in 0..good + 30_000 {
        let outcome = match n < good {
            true => Outcome::draw(&mut random, 0.01, 1.0),
            false => Outcome::draw(&mut random, failing, slowdown),
        };
        watch.observe(outcome.failed, outcome.latency_us);
        if is_worse(watch.verdict()) {
            return Some((n + 1).saturating_sub(good));
        }
    }
    None
}
