//! Prints the tables of `docs/concepts/judge.md`: `cargo run --release -p judge --example figures`. Seeds are fixed, so
//! that every run prints the same, but for the cost per unit.

#[path = "../tests/it/simulate.rs"]
mod simulate;

use judge::{Test, Unit, Watch, theory};
use model::{ArmFigures, ArmRole, Judgement, Latencies, Ratio, Verdict};
use simulate::{
    End, GOOD_WORLDS, Outcome, PAIRS, Random, WEIGHTS, canary_units_to_find, failures_only, good_rollout, is_worse,
    rollout, sharp,
};

const FALSE_ALARM: f64 = 0.001;
const MISS: f64 = 0.05;

fn main() {
    failing_canaries();
    slow_canaries();
    late_failures();
    good_canaries();
    broken_assumption();
    promotions();
    wrong_promotions();
    watches();
    cost();
}

fn failing_canaries() {
    println!("### Failing canaries: failures more than without the canary, until it is called worse\n");
    println!("| p0 → p1 | weight | limit | failures judged alone | × limit | with latency | × limit |");
    println!("|---|---|---|---|---|---|---|");
    for pair in PAIRS {
        for weight in WEIGHTS {
            let limit = theory::limit_excess(weight, pair.0, pair.1, FALSE_ALARM, MISS);
            let excess = |judgement| (pair.1 - pair.0) * canary_units_to_find(judgement, 4_000, weight, pair);
            let (alone, both) = (excess(&failures_only()), excess(&sharp()));
            println!(
                "| {} % → {} % | {} % | {limit:.1} | {alone:.1} | {:.2} | {both:.1} | {:.2} |",
                100.0 * pair.0,
                100.0 * pair.1,
                100.0 * weight,
                alone / limit,
                both / limit
            );
        }
    }
}

fn slow_canaries() {
    println!("\n### Slow canaries: canary units until it is called worse, weight 10 %, 0.1 % failures in both\n");
    println!("| canary | mean | 95 % within |\n|---|---|---|");
    for (name, times, tail) in [
        ("×2 slower", 2.0, 0.0),
        ("×1.5 slower", 1.5, 0.0),
        ("×1.1 slower", 1.1, 0.0),
        ("2 % of requests 1 s slower", 1.0, 0.02),
    ] {
        let mut found: Vec<u64> = (0..500)
            .map(|seed| {
                let world = |random: &mut Random, arm: ArmRole, _| {
                    let canary = arm == ArmRole::Canary;
                    let mut outcome = Outcome::draw(random, 0.001, if canary { times } else { 1.0 });
                    if canary && random.chance(tail) {
                        outcome.latency_us = outcome.latency_us.map(|us| us + 1_000_000);
                    }
                    Some(outcome)
                };
                rollout(&sharp(), seed, 1_000_000, |_| 0.1, world, is_worse).canary_units
            })
            .collect();
        found.sort_unstable();
        println!("| {name} | {:.0} | {} |", mean(&found), found[found.len() * 95 / 100]);
    }
}

fn late_failures() {
    println!("\n### Canaries that turn bad late: canary failures until called worse, 0.1 % → 5 %, weight 10 %\n");
    println!("| good units before | failures |\n|---|---|");
    for good in [0, 1_000, 10_000, 100_000] {
        let excess: Vec<u64> = (0..400)
            .map(|seed| {
                let mut late = 0;
                let world = |random: &mut Random, arm: ArmRole, n| {
                    let bad = arm == ArmRole::Canary && n >= good;
                    late += u64::from(bad);
                    Some(Outcome::draw(random, if bad { 0.05 } else { 0.001 }, 1.0))
                };
                let end = rollout(&sharp(), seed, 1_000_000, |_| 0.1, world, is_worse);
                assert!(is_worse(end.verdict));
                late
            })
            .collect();
        println!("| {good} | {:.1} |", 0.049 * mean(&excess));
    }
}

fn good_canaries() {
    println!("\n### Good canaries: rolled back by mistake (allowed: 0.1 %), watched after every unit\n");
    println!("| world | rollouts of 2,000 units | rolled back | rollouts of 50,000 units | rolled back |");
    println!("|---|---|---|---|---|");
    for world in GOOD_WORLDS {
        let rolled_back =
            |runs, most| (0..runs).filter(|seed| is_worse(good_rollout(world, *seed, most).verdict)).count();
        println!("| {world} | 20,000 | {} | 400 | {} |", rolled_back(20_000, 2_000), rolled_back(400, 50_000));
    }
}

/// Sticky users of whom some always fail: what one bet per request does, and one per user.
fn broken_assumption() {
    println!("\n### What breaks it: good canaries, sticky users, 3 % of whom always fail, weight 10 %\n");
    println!("| bets | rollouts | rolled back |\n|---|---|---|");
    let weight = Ratio::from_percent(10).unwrap_or_default();
    for (name, once) in [("one per request", false), ("one per user", true)] {
        let runs = 2_000;
        let rolled_back = (0..runs)
            .filter(|seed| {
                let mut random = Random::new(*seed);
                let users: Vec<(bool, bool)> = (0..500).map(|_| (random.chance(0.1), random.chance(0.03))).collect();
                let mut seen = vec![false; users.len()];
                let mut test = Test::new(&failures_only());
                for _ in 0..2_000 {
                    let user = (random.share() * users.len() as f64) as usize;
                    let (canary, failed) = users[user];
                    if std::mem::replace(&mut seen[user], true) && once {
                        test.skip(1);
                        continue;
                    }
                    let arm = if canary { ArmRole::Canary } else { ArmRole::Running };
                    test.observe(Unit { arm, weight, failed, latency_us: None });
                }
                is_worse(test.verdict())
            })
            .count();
        println!("| {name} | {runs} | {rolled_back} ({:.1} %) |", 100.0 * rolled_back as f64 / runs as f64);
    }
}

fn promotions() {
    println!("\n### Good canaries: units until they are called not worse, tolerance 1 %\n");
    println!("| p0 = p1 | weight | bound | failures judged alone | × bound | with latency | never |");
    println!("|---|---|---|---|---|---|---|");
    for p in [0.0, 0.001, 0.01, 0.05] {
        for weight in [0.05, 0.1, 0.2, 0.5] {
            let bound = theory::accept_units(weight, p, 0.01, FALSE_ALARM, MISS);
            let run = |judgement: &Judgement| {
                let ends: Vec<End> = (0..300)
                    .map(|seed| {
                        let world = |random: &mut Random, _, _| Some(Outcome::draw(random, p, 1.0));
                        rollout(judgement, seed, 500_000, |_| weight, world, |v| is_worse(v) || v == Verdict::NotWorse)
                    })
                    .collect();
                let units: Vec<u64> = ends.iter().map(|end| end.units).collect();
                (mean(&units), ends.iter().filter(|end| end.verdict != Verdict::NotWorse).count())
            };
            let (alone, never) = run(&failures_only());
            let (both, never_both) = run(&sharp());
            println!(
                "| {} % | {} % | {bound:.0} | {alone:.0} | {:.2} | {both:.0} | {} of 600 |",
                100.0 * p,
                100.0 * weight,
                alone / bound,
                never + never_both
            );
        }
    }
}

fn wrong_promotions() {
    println!("\n### Canaries worse by the tolerance: promoted by mistake (allowed: 5 %)\n");
    println!("| p0 → p1 | weight | promoted of 2,000 |\n|---|---|---|");
    for p in [0.0, 0.001, 0.01, 0.05] {
        for weight in [0.05, 0.2, 0.5] {
            let promoted = (0..2_000)
                .filter(|seed| {
                    let world = |random: &mut Random, arm: ArmRole, _| {
                        Some(Outcome::fails(random, if arm == ArmRole::Canary { p + 0.01 } else { p }))
                    };
                    // Looking on after it was called worse: acceptance alone is what is measured.
                    let stop = |verdict| verdict == Verdict::NotWorse;
                    rollout(&failures_only(), *seed, 20_000, |_| weight, world, stop).verdict == Verdict::NotWorse
                })
                .count();
            println!("| {:.1} % → {:.1} % | {} % | {promoted} |", 100.0 * p, 100.0 * p + 1.0, 100.0 * weight);
        }
    }
}

fn watches() {
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
            let runs = 500;
            let mut found = Vec::new();
            for seed in 0..runs {
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
                        found.push((n + 1).saturating_sub(good));
                        break;
                    }
                }
            }
            let units = if found.is_empty() { 0.0 } else { mean(&found) };
            println!("| {name} | {good} | {} of {runs} | {units:.0} | {:.1} |", found.len(), failing * units);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "measures the time a unit costs")]
fn cost() {
    println!("\n### Cost\n\n| judged | ns per unit |\n|---|---|");
    let mut random = Random::new(1);
    for (name, judgement, failing, weights) in [
        ("failures and latency, 0.1 % fail", sharp(), 0.001, [10, 10]),
        ("failures and latency, 30 % fail", sharp(), 0.3, [10, 10]),
        ("failures only, 0.1 % fail", failures_only(), 0.001, [10, 10]),
        ("failures and latency, the weight differs from unit to unit", sharp(), 0.001, [10, 11]),
    ] {
        let units: Vec<Unit> = (0..1_000_000)
            .map(|n| {
                let weight = Ratio::from_percent(weights[n % 2]).unwrap_or_default();
                let arm = if random.chance(0.1) { ArmRole::Canary } else { ArmRole::Running };
                let Outcome { failed, latency_us } = Outcome::draw(&mut random, failing, 1.0);
                Unit { arm, weight, failed, latency_us }
            })
            .collect();
        let mut test = Test::new(&judgement);
        let started = std::time::Instant::now();
        let mut worse = 0;
        for unit in &units {
            test.observe(*unit);
            worse += u64::from(is_worse(test.verdict()));
        }
        let ns = started.elapsed().as_nanos() as f64 / units.len() as f64;
        println!("| {name} (worse at {worse}) | {ns:.0} |");
    }
}

fn mean(values: &[u64]) -> f64 {
    values.iter().sum::<u64>() as f64 / values.len() as f64
}
