//! Medians, spreads and ratios, as tables. A ratio is taken in each round, to the best peer of that round, and only then is
//! the median taken: what disturbs the machine for a while disturbs both.

use super::{case::Case, loader::Sample, program::Program};
use std::fmt::Write as _;

/// Values of some rounds.
#[derive(Default, Clone)]
pub(super) struct Values(Vec<f64>);

impl Values {
    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(super) fn median(&self) -> f64 {
        let middle = [self.0.len().saturating_sub(1) / 2, self.0.len() / 2];
        middle.iter().filter_map(|n| self.0.get(*n)).sum::<f64>() / 2.0
    }

    /// The median, and from where to where the values go.
    pub(super) fn shown(&self, digits: usize) -> String {
        let ends = self.0.first().zip(self.0.last());
        let (low, high) = ends.map_or((0.0, 0.0), |(low, high)| (*low, *high));
        format!("{:.digits$} ({low:.digits$} - {high:.digits$})", self.median())
    }
}

impl FromIterator<f64> for Values {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Values {
        let mut all = Values::default();
        values.into_iter().for_each(|value| all.add(value));
        all
    }
}

/// What a case gave: for each of its programs, a sample of each round.
pub(super) struct Outcome {
    pub(super) case: &'static Case,
    pub(super) samples: Vec<(Program, Vec<Sample>)>,
}

/// What is compared, and which way is better.
struct Measure {
    of: fn(&Sample) -> Option<f64>,
    better: fn(f64, f64) -> f64,
}

const PER_CPU_SECOND: Measure = Measure { of: |s| Some(s.per_cpu_second), better: f64::max };
const PER_SECOND: Measure = Measure { of: |s| Some(s.per_second), better: f64::max };
const P50: Measure = Measure { of: |s| s.p50_ms, better: f64::min };
const P99: Measure = Measure { of: |s| s.p99_ms, better: f64::min };

impl Outcome {
    /// For a case that nobody has run yet.
    pub(super) fn new(case: &'static Case) -> Outcome {
        Outcome { case, samples: case.programs.iter().map(|program| (*program, Vec::new())).collect() }
    }

    /// Requests per second of the slowest of some programs in the last round.
    pub(super) fn least_per_second(&self, of: &[Program]) -> f64 {
        let these = self.samples.iter().filter(|(program, _)| of.contains(program));
        these.filter_map(|(_, samples)| samples.last()).map(|sample| sample.per_second).fold(f64::INFINITY, f64::min)
    }

    fn values(&self, program: Program, measure: &Measure) -> Option<Values> {
        let (_, samples) = self.samples.iter().find(|(other, _)| *other == program)?;
        samples.iter().map(measure.of).collect()
    }

    /// Of each round, the program's value by the best peer's.
    fn ratios(&self, program: Program, measure: &Measure) -> Option<Values> {
        let (_, samples) = self.samples.iter().find(|(other, _)| *other == program)?;
        let peers = || self.samples.iter().filter(|(program, _)| program.is_peer());
        let ratio = |(round, sample): (usize, &Sample)| {
            let values = peers().filter_map(|(_, samples)| (measure.of)(samples.get(round)?));
            Some((measure.of)(sample)? / values.reduce(measure.better)?)
        };
        samples.iter().enumerate().map(ratio).collect()
    }

    /// How many cores other programs kept busy during each sample.
    pub(super) fn others(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().flat_map(|(_, samples)| samples).map(|sample| sample.others)
    }

    /// The row of our program in the table that sums up.
    pub(super) fn row(&self) -> String {
        let ratio = |measure| self.ratios(Program::Qd, measure).map_or("-".into(), |ratios| ratios.shown(2));
        format!("| {} | **{}** | {} | {} |", self.case.name, ratio(&PER_CPU_SECOND), ratio(&PER_SECOND), ratio(&P99))
    }

    /// What a canary and its guard cost, where both were measured: the CPU time of a request with them by that without.
    pub(super) fn cost_of_watching(&self) -> Option<Values> {
        let of = |program| self.samples.iter().find(|(other, _)| *other == program).map(|(_, samples)| samples);
        let (with, without) = (of(Program::Qd)?, of(Program::QdPlain)?);
        Some(with.iter().zip(without).map(|(with, without)| without.per_cpu_second / with.per_cpu_second).collect())
    }

    /// The table of this case.
    pub(super) fn table(&self) -> String {
        let mut text = format!("\n#### {}\n\n", self.case.name);
        text += "| | requests per CPU-second | by the better peer | requests/s | by the better peer | p50 ms | p99 ms | by the better peer | failed |\n";
        text += "|---|---|---|---|---|---|---|---|---|\n";
        for (program, samples) in &self.samples {
            let value = |measure, digits| self.values(*program, measure).map_or("-".into(), |v| v.shown(digits));
            let ratio = |measure| self.ratios(*program, measure).map_or("-".into(), |v| format!("{:.2}", v.median()));
            let failed: u64 = samples.iter().map(|sample| sample.failed).sum();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {failed} |",
                program.name(),
                value(&PER_CPU_SECOND, 0),
                ratio(&PER_CPU_SECOND),
                value(&PER_SECOND, 0),
                ratio(&PER_SECOND),
                value(&P50, 2),
                value(&P99, 2),
                ratio(&P99),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{super::case::CASES, *};

    fn sample(per_cpu_second: f64) -> Sample {
        Sample { per_cpu_second, ..Sample::default() }
    }

    #[test]
    fn a_ratio_is_to_the_best_peer_of_the_same_round() {
        let samples = vec![
            (Program::Nginx, vec![sample(100.0), sample(50.0), sample(10.0)]),
            (Program::Haproxy, vec![sample(80.0), sample(60.0), sample(20.0)]),
            (Program::Qd, vec![sample(110.0), sample(60.0), sample(18.0)]),
        ];
        let outcome = Outcome { case: &CASES[0], samples };
        assert_eq!(outcome.ratios(Program::Qd, &PER_CPU_SECOND).unwrap().shown(2), "1.00 (0.90 - 1.10)");
        assert!(outcome.ratios(Program::Qd, &P99).is_none());
    }

    #[test]
    fn the_spread_goes_from_the_least_to_the_most() {
        let values: Values = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(values.shown(1), "2.0 (1.0 - 3.0)");
        let even: Values = [4.0, 1.0, 2.0, 3.0].into_iter().collect();
        assert_eq!(even.shown(1), "2.5 (1.0 - 4.0)");
    }
}
