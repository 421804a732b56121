//! How others decide, on the same traffic: their rules, rebuilt from their documentation and code for this comparison only.
//!
//! - **Flagger** (fluxcd/flagger, `canary.spec.analysis` of its documentation): a check each minute, `request-success-rate` of at
//!   least 99 % over that minute; rolled back at the check after the fifth that failed (`threshold: 5`); promoted after
//!   five that passed (`stepWeight: 10`, `maxWeight: 50`; the weight is kept at 10 % here, so that exposure is alike).
//! - **Argo Rollouts** (argoproj/argo-rollouts, docs/features/analysis.md): a background analysis from the second step on, ten
//!   minutes after the first request, each five minutes `successCondition: result[0] >= 0.95` over five minutes,
//!   `failureLimit: 3`: failed with the fourth. Promoted after an hour.
//! - **Kayenta** (spinnaker/kayenta, its default judge): three judgements, one an hour, each a Mann-Whitney test at 98 % of
//!   the failure rates per minute of both releases since the beginning, with a tolerance of a quarter of the estimated
//!   difference; failed as soon as one says "high". Promoted after the third.

use crate::{
    FALSE_ALARM, MISS,
    runs::{Runs, mean},
    simulate::{Outcome, PAIRS, Random, is_worse, rollout, sharp},
};
use judge::theory;
use model::ArmRole;
use std::fmt::Write as _;

const WEIGHT: f64 = 0.1;
/// Their names, in the order of all figures here.
pub(crate) const NAMES: [&str; 3] = ["Flagger", "Argo Rollouts", "Kayenta"];
const RULES: [fn(&mut Random, Traffic) -> End; 3] = [flagger, argo, kayenta];
/// Requests per second of the second table.
const RATES: [f64; 3] = [10.0, 100.0, 1_000.0];

/// The tables, and what the pictures need of them.
pub(crate) struct Peers {
    pub(crate) text: String,
    /// For each pair of rates, the mean excess of each of [`NAMES`] at 100 requests/s.
    pub(crate) excess: Vec<[f64; 3]>,
    /// The excess for 0.1 % → 5 %.
    pub(crate) by_traffic: Vec<AtRate>,
}

/// The excess at one rate of requests.
pub(crate) struct AtRate {
    pub(crate) per_second: f64,
    pub(crate) ours: f64,
    pub(crate) theirs: [f64; 3],
}

/// What a rule is shown.
#[derive(Clone, Copy)]
struct Traffic {
    per_second: f64,
    running: f64,
    canary: f64,
}

/// How a rollout ended: rolled back or promoted, after so many minutes.
#[derive(Clone, Copy)]
struct End {
    rolled_back: bool,
    minutes: u64,
}

pub(crate) fn table(runs: Runs) -> Peers {
    let mut peers = Peers { text: String::new(), excess: Vec::new(), by_traffic: Vec::new() };
    let text = &mut peers.text;
    text.push_str("\n### Others: failures more than without the canary, until it is undone or promoted; weight 10 %, 100 requests/s\n\n");
    text.push_str("| p0 → p1 | limit | Quarterdeck | Flagger | Argo Rollouts | Kayenta |\n|---|---|---|---|---|---|\n");
    for (p0, p1) in PAIRS {
        let traffic = Traffic { per_second: 100.0, running: p0, canary: p1 };
        let limit = theory::limit_excess(WEIGHT, p0, p1, FALSE_ALARM, MISS);
        let theirs = RULES.map(|rule| harm(runs, rule, traffic));
        let shown = theirs.map(|(excess, missed)| match missed {
            0.0 => format!("{excess:.0}"),
            missed => format!("{excess:.0}, promoted by {:.0} %", 100.0 * missed),
        });
        let _ = writeln!(
            text,
            "| {} % → {} % | {limit:.1} | {:.1} | {} |",
            100.0 * p0,
            100.0 * p1,
            ours(runs, (p0, p1)),
            shown.join(" | ")
        );
        peers.excess.push(theirs.map(|(excess, _)| excess));
    }
    text.push_str(
        "\n### The same for 0.1 % → 5 %, by traffic: a threshold on a timer costs in proportion, evidence does not\n\n",
    );
    text.push_str("| requests/s | Quarterdeck | Flagger | Argo Rollouts | Kayenta |\n|---|---|---|---|---|\n");
    let our_excess = ours(runs, (0.001, 0.05));
    for per_second in RATES {
        let traffic = Traffic { per_second, running: 0.001, canary: 0.05 };
        let theirs = RULES.map(|rule| harm(runs, rule, traffic).0);
        let shown = theirs.map(|excess| format!("{excess:.0}"));
        let _ = writeln!(text, "| {per_second} | {our_excess:.1} | {} |", shown.join(" | "));
        peers.by_traffic.push(AtRate { per_second, ours: our_excess, theirs });
    }
    text.push_str("\n### Good canaries that they undo by mistake\n\n");
    text.push_str("| p0 = p1 | requests/s | Flagger | Argo Rollouts | Kayenta |\n|---|---|---|---|---|\n");
    for p in [0.001, 0.01] {
        for per_second in [10.0, 100.0] {
            let traffic = Traffic { per_second, running: p, canary: p };
            let undone = RULES.map(|rule| {
                let ends = runs.each(400, |seed| rule(&mut Random::new(seed), traffic).rolled_back);
                format!("{:.1} %", 100.0 * ends.iter().filter(|undone| **undone).count() as f64 / ends.len() as f64)
            });
            let _ = writeln!(text, "| {} % | {per_second} | {} |", 100.0 * p, undone.join(" | "));
        }
    }
    peers
}

/// The mean excess until a rule decides, and the share of rollouts that it promoted.
fn harm(runs: Runs, rule: fn(&mut Random, Traffic) -> End, traffic: Traffic) -> (f64, f64) {
    // What an hour of 1,000 requests per second takes to simulate need not be repeated often: it hardly varies.
    let full = if traffic.per_second > 100.0 { 10 } else { 200 };
    let ends = runs.each(full, |seed| rule(&mut Random::new(seed), traffic));
    let canary_per_minute = WEIGHT * traffic.per_second * 60.0;
    let excess = ends.iter().map(|end| (traffic.canary - traffic.running) * canary_per_minute * end.minutes as f64);
    let promoted = ends.iter().filter(|end| !end.rolled_back).count() as f64 / ends.len() as f64;
    (mean(excess), promoted)
}

fn ours(runs: Runs, (p0, p1): (f64, f64)) -> f64 {
    let canary_units = runs.each(1_000, |seed| {
        let world = |random: &mut Random, arm: ArmRole, _| {
            Some(Outcome::fails(random, if arm == ArmRole::Canary { p1 } else { p0 }))
        };
        rollout(&sharp(), seed, 1_000_000, |_| WEIGHT, world, is_worse).canary_units as f64
    });
    (p1 - p0) * mean(canary_units)
}

impl Traffic {
    /// The share of the canary's requests that fail in so many minutes; `None` when there are none.
    fn canary_failures(self, random: &mut Random, minutes: f64) -> Option<f64> {
        share(random, WEIGHT * self.per_second * 60.0 * minutes, self.canary)
    }

    fn running_failures(self, random: &mut Random, minutes: f64) -> Option<f64> {
        share(random, (1.0 - WEIGHT) * self.per_second * 60.0 * minutes, self.running)
    }
}

fn share(random: &mut Random, requests: f64, failing: f64) -> Option<f64> {
    let requests = requests.round() as u64;
    let failed = (0..requests).filter(|_| random.chance(failing)).count();
    (requests > 0).then(|| failed as f64 / requests as f64)
}

fn flagger(random: &mut Random, traffic: Traffic) -> End {
    let (mut failed, mut passed, mut minutes) = (0, 0, 0);
    loop {
        minutes += 1;
        if failed >= 5 {
            return End { rolled_back: true, minutes };
        }
        // A minute without requests has no value, which counts as failed.
        match traffic.canary_failures(random, 1.0) {
            Some(failures) if 1.0 - failures >= 0.99 => passed += 1,
            Some(_) | None => failed += 1,
        }
        if passed >= 5 {
            return End { rolled_back: false, minutes };
        }
    }
}

fn argo(random: &mut Random, traffic: Traffic) -> End {
    let mut failed = 0;
    for minutes in (15..=60).step_by(5) {
        failed += u32::from(traffic.canary_failures(random, 5.0).is_some_and(|failures| 1.0 - failures < 0.95));
        if failed > 3 {
            return End { rolled_back: true, minutes };
        }
    }
    End { rolled_back: false, minutes: 60 }
}

fn kayenta(random: &mut Random, traffic: Traffic) -> End {
    let (mut canary, mut running) = (Vec::new(), Vec::new());
    for minutes in 1..=180 {
        canary.extend(traffic.canary_failures(random, 1.0));
        running.extend(traffic.running_failures(random, 1.0));
        if minutes % 60 == 0 && is_high(&canary, &running) {
            return End { rolled_back: true, minutes };
        }
    }
    End { rolled_back: false, minutes: 180 }
}

/// Mann-Whitney: whether the confidence interval (98 %) of the shift between two samples lies above a quarter of its
/// estimate, which is the median of all pairwise differences. Normal approximation of the ranks.
fn is_high(canary: &[f64], running: &[f64]) -> bool {
    let mut differences: Vec<f64> = canary.iter().flat_map(|c| running.iter().map(move |r| c - r)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let (n, m) = (canary.len() as f64, running.len() as f64);
    let spread = 2.326 * (n * m * (n + m + 1.0) / 12.0).sqrt();
    let lower = differences.get((n * m / 2.0 - spread).max(0.0) as usize).copied().unwrap_or(0.0);
    let estimate = differences.get(differences.len() / 2).copied().unwrap_or(0.0);
    lower > 0.25 * estimate.abs()
}
