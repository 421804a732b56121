//! The test of a canary against the running release beside it.

use crate::{failures::Failures, histogram::Histogram, label, latency::Latency, outage::Outage};
use model::{ArmFigures, ArmRole, Evidence, Finding, Judgement, Metric, Ratio, Verdict};

/// How much of the false alarms allowed failures may use when latency is judged too; latency has the rest.
const FAILURES_SHARE: f64 = 0.75;
/// How far above its bound evidence against a canary is counted, in nats.
const CEILING: f64 = 50.0;

/// One judged unit: a request, or a user's when assignment is sticky. A unit must be observed once only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    /// Where it was sent.
    pub arm: ArmRole,
    /// The probability of the canary that was in force when it was assigned. At zero or one there was no choice, so the
    /// unit counts in the figures but is no evidence.
    pub weight: Ratio,
    /// Whether it failed.
    pub failed: bool,
    /// How long it took, in microseconds; `None` when it failed without a latency that means something.
    pub latency_us: Option<u64>,
}

/// A sequential test, fed with one unit after the other in the order in which they ended. The verdict may be looked at
/// after every unit: the error probabilities hold for all looks together.
#[derive(Clone, Debug)]
pub struct Test {
    failures: Failures,
    latency: Option<Latency>,
    outage: Outage,
    figures: [Figures; 2],
    unjudged: u64,
    worse: Option<Metric>,
    failures_bound: f64,
    latency_bound: f64,
}

/// What was counted of one arm.
#[derive(Clone, Debug)]
struct Figures {
    units: u64,
    informative: u64,
    failed: u64,
    latencies: Histogram,
}

impl Test {
    /// A test that has seen nothing. Error probabilities of zero or one, with which nothing could be decided or
    /// everything would be, are taken as the nearest sensible ones (one in a million, or a half).
    pub fn new(judgement: &Judgement) -> Test {
        let judges_latency = judgement.latency_tolerance != Ratio::ZERO;
        let false_alarm = sensible(judgement.false_alarm);
        let miss = sensible(judgement.miss);
        let failures_share = if judges_latency { FAILURES_SHARE } else { 1.0 };
        let failures_bound = -(false_alarm * failures_share).ln();
        let latency_bound = -(false_alarm * (1.0 - FAILURES_SHARE)).ln();
        let figures = Figures { units: 0, informative: 0, failed: 0, latencies: Histogram::new() };
        Test {
            failures: Failures::new(judgement.tolerance.as_f64(), miss, failures_bound + CEILING),
            latency: judges_latency
                .then(|| Latency::new(judgement.latency_tolerance.as_f64(), miss, latency_bound + CEILING)),
            outage: Outage::new(),
            figures: [figures.clone(), figures],
            unjudged: 0,
            worse: None,
            failures_bound,
            latency_bound,
        }
    }

    /// Takes one unit into account.
    pub fn observe(&mut self, unit: Unit) {
        let arm = label::index(unit.arm);
        self.figures[arm].count(unit.failed, unit.latency_us);
        if unit.weight == Ratio::ZERO || unit.weight == Ratio::ONE {
            return;
        }
        self.figures[arm].informative += 1;

        // Everything up to the bets knows earlier units only; what is learned from this one is for later ones.
        let judges_worse = !self.outage.shared();
        let judges_not_worse = !self.outage.running_surges();
        let learns = arm == 1 || !self.outage.running_surges();

        self.failures.plan(unit.weight);
        if judges_worse {
            self.failures.settle_worse(arm, unit.failed);
        }
        if judges_not_worse {
            self.failures.settle_not_worse(arm, unit.failed);
        }
        if learns {
            self.failures.learn(arm, unit.failed);
        }

        let mut distress = unit.failed;
        if let (Some(latency), Some(us)) = (&mut self.latency, unit.latency_us) {
            latency.plan(unit.weight);
            distress |= latency.distress(us);
            if judges_worse {
                latency.settle_worse(arm, us);
            }
            if judges_not_worse {
                latency.settle_not_worse(arm, us);
            }
            if learns {
                latency.learn(arm, us);
            }
        }
        self.outage.observe(arm, distress);
        self.conclude();
    }

    /// Counts units that happened but are not judged: warming up, seen before, or lost because a queue was full.
    pub fn skip(&mut self, units: u64) {
        self.unjudged = self.unjudged.saturating_add(units);
    }

    fn conclude(&mut self) {
        if self.worse.is_some() {
            return;
        }
        if self.failures.worse.reaches(self.failures_bound) {
            self.worse = Some(Metric::Failures);
        } else if self.latency.as_ref().is_some_and(|latency| latency.worse_reaches(self.latency_bound)) {
            self.worse = Some(Metric::Latency);
        }
    }

    /// What is concluded so far. `Worse` stays; everything else may change with the next unit.
    pub fn verdict(&self) -> Verdict {
        if let Some(metric) = self.worse {
            Verdict::Worse(metric)
        } else if self.figures.iter().any(|figures| figures.informative == 0) {
            Verdict::NoData
        } else if self.outage.shared() {
            Verdict::SharedOutage
        } else if self.outage.running_surges() {
            Verdict::Undecided
        } else if self.failures.not_worse.shown()
            && self.latency.as_ref().is_none_or(|latency| latency.not_worse.shown())
        {
            Verdict::NotWorse
        } else {
            Verdict::Undecided
        }
    }

    /// The verdict with its figures.
    pub fn evidence(&self) -> Evidence {
        let verdict = self.verdict();
        let mut findings = vec![finding(
            Metric::Failures,
            (self.failures.worse.log(), self.failures_bound),
            self.failures.not_worse.log(),
        )];
        if let Some(latency) = &self.latency {
            findings.push(finding(Metric::Latency, (latency.worse_log(), self.latency_bound), latency.not_worse.log()));
        }
        let [running, canary] = self.figures.each_ref().map(Figures::of_arm);
        Evidence {
            verdict,
            running,
            canary,
            findings,
            units_needed: self.units_needed(verdict),
            unjudged: self.unjudged,
        }
    }

    fn units_needed(&self, verdict: Verdict) -> Option<u64> {
        match verdict {
            Verdict::NotWorse => Some(0),
            Verdict::NoData | Verdict::Worse(_) | Verdict::SharedOutage => None,
            Verdict::Undecided => {
                let failures = self.failures.not_worse.units_needed()?;
                let latency = match &self.latency {
                    Some(latency) => latency.not_worse.units_needed()?,
                    None => 0,
                };
                Some(failures.max(latency))
            }
        }
    }
}

impl Figures {
    fn count(&mut self, failed: bool, latency_us: Option<u64>) {
        self.units += 1;
        self.failed += u64::from(failed);
        if let Some(us) = latency_us {
            self.latencies.record(us);
        }
    }

    fn of_arm(&self) -> ArmFigures {
        ArmFigures { units: self.units, failed: self.failed, latencies: self.latencies.latencies() }
    }
}

/// An error probability with which a test can work.
pub(crate) fn sensible(error: Ratio) -> f64 {
    error.as_f64().clamp(1e-6, 0.5)
}

fn finding(metric: Metric, worse: (f64, f64), not_worse: (f64, f64)) -> Finding {
    Finding { metric, worse: worse.0, worse_bound: worse.1, not_worse: not_worse.0, not_worse_bound: not_worse.1 }
}
