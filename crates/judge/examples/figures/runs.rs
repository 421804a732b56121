//! How many runs there are, on both cores; and what a unit costs.

use crate::simulate::{Outcome, Random, failures_only, is_worse, sharp};
use judge::{Test, Unit};
use model::{ArmRole, Ratio};
use std::{fmt::Write as _, thread};

/// How many runs a figure is the mean of.
#[derive(Clone, Copy)]
pub(crate) struct Runs {
    divisor: u64,
}

impl Runs {
    pub(crate) fn of(short: bool) -> Runs {
        Runs { divisor: if short { 10 } else { 1 } }
    }

    /// So many of a full run's.
    pub(crate) fn count(self, full: u64) -> u64 {
        (full / self.divisor).max(1)
    }

    /// What each of so many seeds gives, in their order, on two threads.
    pub(crate) fn each<T: Send>(self, full: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
        let count = self.count(full);
        thread::scope(|scope| {
            let second = scope.spawn(|| (count / 2..count).map(&run).collect::<Vec<T>>());
            let mut all: Vec<T> = (0..count / 2).map(&run).collect();
            all.extend(second.join().unwrap_or_default());
            all
        })
    }
}

/// The mean; zero of nothing.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// What judging costs.
pub(crate) struct Cost {
    /// Nanoseconds per unit, failures and latency, of an ordinary rollout.
    pub(crate) usual: f64,
    pub(crate) text: String,
}

#[expect(clippy::disallowed_methods, reason = "measures the time a unit costs")]
pub(crate) fn cost() -> Cost {
    let mut text = String::from("\n### Cost\n\n| judged | ns per unit |\n|---|---|\n");
    let mut random = Random::new(1);
    let mut usual = 0.0;
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
        usual = if usual == 0.0 { ns } else { usual };
        let _ = writeln!(text, "| {name}{} | {ns:.0} |", if worse == 0 { "" } else { ", called worse" });
    }
    Cost { usual, text }
}
