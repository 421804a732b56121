//! Canaries that fail: how many more requests fail until they are called worse.

use crate::{
    FALSE_ALARM, MISS,
    runs::{Runs, mean},
    simulate::{Outcome, PAIRS, Random, WEIGHTS, failures_only, is_worse, rollout, sharp},
};
use judge::theory;
use model::{ArmRole, Judgement};
use std::fmt::Write as _;

/// The table, and what the pictures and the summary need of it.
pub(crate) struct Failing {
    pub(crate) text: String,
    /// The largest multiple of the limit: failures judged alone, and with latency.
    pub(crate) worst: (f64, f64),
    /// At a weight of 10 %, for each pair: the limit and the excess with latency.
    pub(crate) at_ten: Vec<(f64, f64)>,
}

pub(crate) fn table(runs: Runs) -> Failing {
    let mut failing = Failing { text: String::new(), worst: (0.0, 0.0), at_ten: Vec::new() };
    let text = &mut failing.text;
    text.push_str("\n### Failing canaries: failures more than without the canary, until it is called worse\n\n");
    text.push_str("| p0 → p1 | weight | limit | failures judged alone | × limit | with latency | × limit |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for pair in PAIRS {
        for weight in WEIGHTS {
            let limit = theory::limit_excess(weight, pair.0, pair.1, FALSE_ALARM, MISS);
            let (alone, both) = (excess(runs, &failures_only(), weight, pair), excess(runs, &sharp(), weight, pair));
            let _ = writeln!(
                text,
                "| {} % → {} % | {} % | {limit:.1} | {alone:.1} | {:.2} | {both:.1} | {:.2} |",
                100.0 * pair.0,
                100.0 * pair.1,
                100.0 * weight,
                alone / limit,
                both / limit
            );
            failing.worst = (failing.worst.0.max(alone / limit), failing.worst.1.max(both / limit));
            if weight == 0.1 {
                failing.at_ten.push((limit, both));
            }
        }
    }
    text.push_str("\n\"With latency\": latency is judged too, as by default, and has a third of the false alarms.\n");
    failing
}

/// The mean excess until a canary that fails with `p1` is called worse; all runs must find it.
fn excess(runs: Runs, judgement: &Judgement, weight: f64, (p0, p1): (f64, f64)) -> f64 {
    let canary_units = runs.each(4_000, |seed| {
        let world = |random: &mut Random, arm: ArmRole, _| {
            Some(Outcome::fails(random, if arm == ArmRole::Canary { p1 } else { p0 }))
        };
        let end = rollout(judgement, seed, 1_000_000, |_| weight, world, is_worse);
        assert!(is_worse(end.verdict), "{p0} -> {p1} at {weight} was not found with seed {seed}");
        end.canary_units as f64
    });
    (p1 - p0) * mean(canary_units)
}

/// Canaries that turn bad late.
pub(crate) fn late(runs: Runs) {
    println!("\n### Canaries that turn bad late: canary failures until called worse, 0.1 % → 5 %, weight 10 %\n");
    println!("| good units before | failures |\n|---|---|");
    for good in [0, 1_000, 10_000, 100_000] {
        let bad_units = runs.each(400, |seed| {
            let mut late = 0;
            let world = |random: &mut Random, arm: ArmRole, n| {
                let bad = arm == ArmRole::Canary && n >= good;
                late += u64::from(bad);
                Some(Outcome::draw(random, if bad { 0.05 } else { 0.001 }, 1.0))
            };
            let end = rollout(&sharp(), seed, 1_000_000, |_| 0.1, world, is_worse);
            assert!(is_worse(end.verdict));
            late as f64
        });
        println!("| {good} | {:.1} |", 0.049 * mean(bad_units));
    }
    println!(
        "\nThe price of having looked at good units for long is paid out of the purse: the logarithm of their number."
    );
}
