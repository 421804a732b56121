//! What was measured of a rollout: how each release does and surely does, how far the proofs are, what else bounds it.

use super::{
    figures::{count, latency, many, percent},
    ink::{Ink, wrap},
};
use control::view::{RolloutView, ShadowView};
use model::{ArmBounds, ArmFigures, Copies, Evidence, Finding, LatencyBounds, ReleaseId, evidence::rates};

/// What was measured: a line for each release, and how far the proofs are.
pub(super) fn evidence(rollout: &RolloutView, ink: Ink) -> String {
    if let (Some(shadow), Some(from)) = (&rollout.shadow, rollout.from) {
        return copies(shadow, from, rollout.to, ink);
    }
    let (Some(evidence), Some(from)) = (&rollout.evidence, rollout.from) else { return String::new() };
    if evidence.canary.units + evidence.running.units == 0 {
        return String::new();
    }
    let mut text = arm(rollout.to, &evidence.canary, evidence.canary_bounds.as_ref(), ink);
    text += &arm(from, &evidence.running, evidence.running_bounds.as_ref(), ink);
    let (worse, not_worse) = proofs(evidence);
    let e_value = strongest(evidence).map(|e| ink.dim(e));
    let shown = format!("proof that it is worse      {} {:.0} %", Ink::bar(worse), 100.0 * worse);
    text += &ink.flow("  ", [shown].into_iter().chain(e_value));
    let needed = evidence.units_needed.filter(|n| *n > 0 && not_worse < 1.0);
    let soon = rollout.time_needed.map_or(String::new(), |span| format!(", {span} at this rate"));
    let needed = needed.map(|n| ink.dim(format!("about {} more{soon}", many(n, "request"))));
    let shown = format!("proof that it is not worse  {} {:.0} %", Ink::bar(not_worse), 100.0 * not_worse);
    text += &ink.flow("  ", [shown].into_iter().chain(needed));
    text += &bounds(evidence, ink);
    text
}

/// What became of the copies that a release got before its first request.
fn copies(shadow: &ShadowView, from: ReleaseId, to: ReleaseId, ink: Ink) -> String {
    let Copies { both_fine, only_copy_failed, only_user_failed, both_failed, statuses_differ, .. } = shadow.copies;
    let quantile = |q| shadow.copies.latencies.quantile_us(q).map(|us| latency(us as f64 / 1e3));
    let compared = format!("{} of {} compared", count(shadow.copies.compared()), many(shadow.requests.into(), "copy"));
    let latencies = [(0.5, "p50"), (0.99, "p99")].map(|(q, name)| quantile(q).map(|l| format!("{name} {l}")));
    let mut text = ink.flow("  ", [compared].into_iter().chain(latencies.into_iter().flatten()));
    let only = |release, failed| format!("only {release} failed {}", count(failed));
    let copy_failed = only(to, only_copy_failed);
    text += &ink.flow(
        "  ",
        [
            format!("both fine {}", count(both_fine)),
            if only_copy_failed > only_user_failed { ink.warn(copy_failed) } else { copy_failed },
            only(from, only_user_failed),
            format!("both failed {}", count(both_failed)),
            format!("statuses differ {}", count(statuses_differ)),
        ],
    );
    let worse = (shadow.worse / shadow.worse_bound).clamp(0.0, 1.0);
    text += &ink.flow("  ", [format!("proof that copies fail more  {} {:.0} %", Ink::bar(worse), 100.0 * worse)]);
    if shadow.copies.crowded_out > 0 {
        let what = format!("{} not copied: too many copies were under way", many(shadow.copies.crowded_out, "request"));
        text += &wrap(&ink.dim(what), ink.width, "  ");
    }
    text
}

/// What may end a rollout besides the comparison, and what weakens it.
fn bounds(evidence: &Evidence, ink: Ink) -> String {
    let mut text = String::new();
    for found in &evidence.limits {
        let broken = (found.broken / found.broken_bound).clamp(0.0, 1.0);
        let seen = format!("{} of {} beyond", count(found.beyond), count(found.units));
        let seen = if found.is_kept() || found.units == 0 { seen } else { ink.warn(seen) };
        let proof = ink.dim(format!("proof that it is broken {:.0} %", 100.0 * broken));
        text += &ink.flow("  ", [format!("limit {}", found.limit), seen, proof]);
    }
    if let Some(budget) = evidence.exposure {
        let spent = evidence.excess_failures.max(0.0);
        text += &wrap(
            &format!("{spent:.1} of {} of its exposure spent", many(budget.into(), "failed request")),
            ink.width,
            "  ",
        );
    }
    if let Some(requests) = evidence.cookies_not_kept {
        let what = format!(
            "{} came without the cookie that tells users apart: each was judged by itself",
            many(requests, "request")
        );
        text += &wrap(&ink.warn(what), ink.width, "  ");
    }
    text
}

/// The largest e-value against the release, beside the one it takes.
fn strongest(evidence: &Evidence) -> Option<String> {
    let part = |finding: &&Finding| finding.worse / finding.worse_bound;
    let finding = evidence.findings.iter().max_by(|a, b| part(a).total_cmp(&part(b)))?;
    let (is, needed) = (finding.worse.exp(), finding.worse_bound.exp());
    let is = if is < 10.0 { format!("{is:.1}") } else { count(is as u64) };
    Some(format!("e-value {is} of {}", count(needed.round() as u64)))
}

fn arm(release: ReleaseId, figures: &ArmFigures, bounds: Option<&ArmBounds>, ink: Ink) -> String {
    let failed = format!(
        "{release}  {} of {} failed ({})",
        count(figures.failed),
        count(figures.units),
        percent(figures.failure_rate())
    );
    let quantile = |q| figures.latencies.quantile_us(q).map(|us| latency(us as f64 / 1e3));
    let p50 = quantile(0.5).map(|l| format!("p50 {l}"));
    let p99 = quantile(0.99).map(|l| format!("p99 {l}"));
    let mut text = ink.flow("  ", [failed].into_iter().chain(p50).chain(p99));
    if let Some(bounds) = bounds.filter(|_| figures.units > 0) {
        let shown = |name: &str, LatencyBounds { at_least_us, at_most_us }: LatencyBounds| {
            let ms = |us: u64| latency(us as f64 / 1e3);
            match (at_least_us, at_most_us) {
                (0, None) => None,
                (0, Some(most)) => Some(format!("{name} at most {}", ms(most))),
                (least, Some(most)) if ms(least) == ms(most) => Some(format!("{name} {}", ms(least))),
                (least, Some(most)) => Some(format!("{name} {} to {}", ms(least), ms(most))),
                (least, None) => Some(format!("{name} at least {}", ms(least))),
            }
        };
        let rate = format!("likely {} fail", rates(bounds.failure_rate));
        let known = [Some(rate), shown("p50", bounds.p50), shown("p99", bounds.p99)];
        text += &ink.flow("    ", known.into_iter().flatten().map(|piece| ink.dim(piece)));
    }
    text
}

/// How far the proofs are, from 0 to 1: that it is worse by some metric, that it is not worse by any.
pub(super) fn proofs(evidence: &Evidence) -> (f64, f64) {
    let share = |proof: f64, bound: f64| if bound > 0.0 { (proof / bound).clamp(0.0, 1.0) } else { 0.0 };
    let worse = evidence.findings.iter().map(|f| share(f.worse, f.worse_bound)).fold(0.0, f64::max);
    let not_worse = evidence.findings.iter().map(|f| share(f.not_worse, f.not_worse_bound)).reduce(f64::min);
    (worse, not_worse.unwrap_or(0.0))
}
