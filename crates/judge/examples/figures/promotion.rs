//! Promotion: how soon good canaries are called not worse, and how often bad ones are.

use crate::{
    FALSE_ALARM, MISS,
    runs::{Runs, mean},
    simulate::{End, Outcome, Random, failures_only, is_worse, rollout, sharp},
};
use judge::theory;
use model::{ArmRole, Judgement, Verdict};
use std::fmt::Write as _;

/// The table, and the largest multiple of the bound.
pub(crate) fn good(runs: Runs) -> (String, f64) {
    let mut text = String::from("\n### Good canaries: units until they are called not worse, tolerance 1 %\n\n");
    text.push_str("| p0 = p1 | weight | bound | failures judged alone | × bound | with latency | never |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    let mut most = 0.0_f64;
    for p in [0.0, 0.001, 0.01, 0.05] {
        for weight in [0.05, 0.1, 0.2, 0.5] {
            let bound = theory::accept_units(weight, p, 0.01, FALSE_ALARM, MISS);
            let run = |judgement: &Judgement| {
                let ends: Vec<End> = runs.each(300, |seed| {
                    let world = |random: &mut Random, _, _| Some(Outcome::draw(random, p, 1.0));
                    rollout(judgement, seed, 500_000, |_| weight, world, |v| is_worse(v) || v == Verdict::NotWorse)
                });
                let never = ends.iter().filter(|end| end.verdict != Verdict::NotWorse).count();
                (mean(ends.iter().map(|end| end.units as f64)), never)
            };
            let ((alone, never), (both, never_both)) = (run(&failures_only()), run(&sharp()));
            let _ = writeln!(
                text,
                "| {} % | {} % | {bound:.0} | {alone:.0} | {:.2} | {both:.0} | {} of {} |",
                100.0 * p,
                100.0 * weight,
                alone / bound,
                never + never_both,
                2 * runs.count(300)
            );
            most = most.max(alone / bound);
        }
    }
    text.push_str("\nThe bound is `theory::accept_units`. \"Never\" counts rollouts, of both columns, that were called worse by mistake.\n");
    (text, most)
}

/// The table, and the largest share of bad canaries that were promoted.
pub(crate) fn bad(runs: Runs) -> (String, f64) {
    let mut text = String::from("\n### Canaries worse by the tolerance: promoted by mistake (allowed: 5 %)\n\n");
    text.push_str("| p0 → p1 | weight | canaries | promoted |\n|---|---|---|---|\n");
    let mut most = 0.0_f64;
    for p in [0.0, 0.001, 0.01, 0.05] {
        for weight in [0.05, 0.2, 0.5] {
            let promoted = runs.each(2_000, |seed| {
                let world = |random: &mut Random, arm: ArmRole, _| {
                    Some(Outcome::fails(random, if arm == ArmRole::Canary { p + 0.01 } else { p }))
                };
                // Looking on after it was called worse: acceptance alone is what is measured.
                let stop = |verdict| verdict == Verdict::NotWorse;
                rollout(&failures_only(), seed, 20_000, |_| weight, world, stop).verdict == Verdict::NotWorse
            });
            let share = promoted.iter().filter(|yes| **yes).count() as f64 / promoted.len() as f64;
            let (from, to) = (100.0 * p, 100.0 * p + 1.0);
            let _ = writeln!(
                text,
                "| {from:.1} % → {to:.1} % | {} % | {} | {:.1} % |",
                100.0 * weight,
                promoted.len(),
                100.0 * share
            );
            most = most.max(share);
        }
    }
    text.push_str("\nJudged by failures alone, each for 20,000 units, as if nobody had stopped them when they were called worse.\n");
    (text, most)
}
