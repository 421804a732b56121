//! Good canaries, rolled back by mistake: in hard worlds, by betting on the wrong unit, and by a budget.

use crate::{
    runs::Runs,
    simulate::{GOOD_WORLDS, Outcome, Random, failures_only, good_rollout, is_worse, rollout},
};
use judge::{Test, Unit};
use model::{ArmRole, Judgement, Ratio, Verdict};
use std::fmt::Write as _;

/// The table, and the largest share of rollouts that were rolled back in any world.
pub(crate) fn table(runs: Runs) -> (String, f64) {
    let mut text =
        String::from("\n### Good canaries: rolled back by mistake (allowed: 0.1 %), watched after every unit\n\n");
    text.push_str("| world | rollouts of 2,000 units | rolled back | rollouts of 50,000 units | rolled back |\n");
    text.push_str("|---|---|---|---|---|\n");
    let mut most = 0.0_f64;
    for world in GOOD_WORLDS {
        let rolled_back = |full, units| {
            let ends = runs.each(full, |seed| is_worse(good_rollout(world, seed, units).verdict));
            (ends.len(), ends.iter().filter(|worse| **worse).count())
        };
        let ((short, alarms), (long, late_alarms)) = (rolled_back(20_000, 2_000), rolled_back(400, 50_000));
        let _ = writeln!(text, "| {world} | {short} | {alarms} | {long} | {late_alarms} |");
        most = most.max(alarms as f64 / short as f64);
    }
    (text, most)
}

/// What breaks the promise: users who are assigned as a whole, and bet on once per request.
pub(crate) fn one_bet_per_request(runs: Runs) {
    println!("\n### What breaks it: good canaries, sticky users, 3 % of whom always fail, weight 10 %\n");
    println!("| users | requests | rolled back, one bet per request | one bet per user |\n|---|---|---|---|");
    for (users, requests) in [(200, 2_000), (500, 2_000), (500, 10_000), (2_000, 10_000)] {
        let [per_request, per_user] = [false, true].map(|once| {
            let ends = runs.each(2_000, |seed| sticky(seed, users, requests, once));
            100.0 * ends.iter().filter(|worse| **worse).count() as f64 / ends.len() as f64
        });
        println!("| {users} | {requests} | {per_request:.1} % | {per_user:.2} % |");
    }
}

fn sticky(seed: u64, users: usize, requests: usize, once: bool) -> bool {
    let weight = Ratio::from_percent(10).unwrap_or_default();
    let mut random = Random::new(seed);
    let kinds: Vec<(bool, bool)> = (0..users).map(|_| (random.chance(0.1), random.chance(0.03))).collect();
    let mut seen = vec![false; users];
    let mut test = Test::new(&failures_only());
    for _ in 0..requests {
        let user = (random.share() * users as f64) as usize;
        let (canary, failed) = kinds[user];
        if std::mem::replace(&mut seen[user], true) && once {
            test.skip(1);
            continue;
        }
        let arm = if canary { ArmRole::Canary } else { ArmRole::Running };
        test.observe(Unit { arm, weight, failed, latency_us: None });
    }
    is_worse(test.verdict())
}

/// What a budget of failed requests does to good canaries: stopped before they were called not worse.
pub(crate) fn exposure(runs: Runs) {
    println!("\n### Good canaries stopped because their exposure was spent, weight 10 %, tolerance 1 %\n");
    println!("| p0 = p1 | exposure 5 | 10 | 20 | 50 |\n|---|---|---|---|---|");
    for p in [0.001, 0.01, 0.03, 0.1] {
        print!("| {} % |", 100.0 * p);
        for budget in [5, 10, 20, 50] {
            let judgement = Judgement { exposure: Some(budget), ..failures_only() };
            let ends = runs.each(1_000, |seed| {
                let world = |random: &mut Random, _: ArmRole, _| Some(Outcome::fails(random, p));
                let stop = |verdict: Verdict| verdict.ends_exposure() || verdict == Verdict::NotWorse;
                rollout(&judgement, seed, 200_000, |_| 0.1, world, stop).verdict == Verdict::ExposureSpent
            });
            print!(" {:.1} % |", 100.0 * ends.iter().filter(|spent| **spent).count() as f64 / ends.len() as f64);
        }
        println!();
    }
    println!("\nA budget counts failures, not evidence: where many fail anyway, a small one is spent by bad luck.");
}
