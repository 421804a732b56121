//! Canaries that are slow, found by bets on quantiles and, for comparison, by confidence bands around whole distributions.

use crate::{
    FALSE_ALARM,
    runs::{Runs, mean},
    simulate::{Outcome, Random, is_worse, rollout, sharp},
};
use model::{ArmRole, latency};

/// The most canary units that are waited for: what is not found by then is not found here.
const MOST: u64 = 40_000;

pub(crate) fn table(runs: Runs) {
    println!("\n### Slow canaries: canary units until it is called worse, weight 10 %, 0.1 % failures in both\n");
    println!("| canary | mean | 95 % within | by DKW bands, mean |\n|---|---|---|---|");
    for (name, times, tail) in [
        ("×2 slower", 2.0, 0.0),
        ("×1.5 slower", 1.5, 0.0),
        ("×1.1 slower", 1.1, 0.0),
        ("2 % of requests 1 s slower", 1.0, 0.02),
    ] {
        let world = |random: &mut Random, arm: ArmRole| {
            let canary = arm == ArmRole::Canary;
            let mut outcome = Outcome::draw(random, 0.001, if canary { times } else { 1.0 });
            if canary && random.chance(tail) {
                outcome.latency_us = outcome.latency_us.map(|us| us + 1_000_000);
            }
            outcome
        };
        let mut found = runs.each(500, |seed| {
            rollout(&sharp(), seed, 1_000_000, |_| 0.1, |random, arm, _| Some(world(random, arm)), is_worse)
                .canary_units
        });
        found.sort_unstable();
        let bands = runs.each(60, |seed| bands(seed, world));
        let missed = bands.iter().filter(|units| units.is_none()).count();
        let by_bands = match missed {
            0 => format!("{:.0}", mean(bands.into_iter().flatten().map(|units| units as f64))),
            _ => format!("not found within {MOST} by {missed} of {}", bands.len()),
        };
        let (mean, most) = (mean(found.iter().map(|units| *units as f64)), found[found.len() * 95 / 100]);
        println!("| {name} | {mean:.0} | {most} | {by_bands} |");
    }
    println!(
        "\nBands: two empirical distributions, each within 0.85 √((ln ln(e n) + 0.8 ln(1612 / α)) / n) of the truth at all times \
         (Howard and Ramdas 2022), half of the false alarms for each; the canary is slower when the bands part."
    );
}

/// Canary units until the bands around both distributions part; looked at after every canary unit.
fn bands(seed: u64, world: impl Fn(&mut Random, ArmRole) -> Outcome) -> Option<u64> {
    let mut random = Random::new(seed);
    let mut counts = [[0_u64; latency::BUCKETS]; 2];
    let mut units = [0_u64; 2];
    let radius = |n: u64| {
        let n = n as f64;
        0.85 * (((std::f64::consts::E * n).ln().ln() + 0.8 * (1612.0 / (FALSE_ALARM / 2.0)).ln()) / n).sqrt()
    };
    while units[1] < MOST {
        let canary = random.chance(0.1);
        let arm = usize::from(canary);
        let outcome = world(&mut random, if canary { ArmRole::Canary } else { ArmRole::Running });
        let Some(us) = outcome.latency_us else { continue };
        counts[arm][latency::bucket(us)] += 1;
        units[arm] += 1;
        if !canary || units[0] == 0 {
            continue;
        }
        let allowed = radius(units[0]) + radius(units[1]);
        let mut below = [0.0_f64; 2];
        for (running, canary) in counts[0].iter().zip(&counts[1]) {
            below[0] += *running as f64 / units[0] as f64;
            below[1] += *canary as f64 / units[1] as f64;
            if below[0] - below[1] > allowed {
                return Some(units[1]);
            }
        }
    }
    None
}
