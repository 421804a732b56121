//! Watching a release that has nothing beside it to be compared with, against what was usual before: in the hold-back
//! after a promotion, and for blue-green and rolling rollouts.
//!
//! Without a control, a change of the world looks like a change of the release. So the watch says worse only when the
//! release is worse than the baseline could be (an upper bound, because the baseline was measured on finitely many
//! units) *and* by more than the tolerance; half of each error is for the bound, half for the bets. It cannot tell a
//! shared outage, and never says so.

use crate::{
    above::against,
    limit::Limits,
    slower::{self, QUANTILES, Slower},
    tally::{Errors, Tally, ceiling, finding},
    theory,
    wealth::Wealth,
};
use model::{ArmFigures, Evidence, Judgement, Metric, Verdict, latency};
use std::f64::consts::LN_2;

/// The odds of failing that are bet on, relative to the highest rate that is not worse.
const ODDS: [f64; 6] = [1.5, 2.5, 5.0, 15.0, 60.0, 1_000.0];

/// A change detector, fed with one unit after the other. The verdict may be looked at after every unit: the errors
/// allowed hold for all looks together, however long the watch is.
#[derive(Clone, Debug)]
pub struct Watch {
    errors: Errors,
    baseline: ArmFigures,
    failures: Wealth<{ ODDS.len() }>,
    failure_factors: [[f64; ODDS.len()]; 2],
    not_failing: Within,
    latency: Option<Slowness>,
    limits: Limits,
    tally: Tally,
    unjudged: u64,
    /// A verdict that stays.
    ended: Option<Verdict>,
}

/// The bets on latency.
#[derive(Clone, Debug)]
struct Slowness {
    worse: Slower,
    factors: [[[f64; slower::BETS]; 2]; QUANTILES.len()],
    not_slower: Within,
}

impl Watch {
    /// A watch against a baseline: what the release itself did as a canary, or its predecessor did before.
    pub fn new(baseline: &ArmFigures, judgement: &Judgement) -> Watch {
        let errors = Errors::of(judgement);
        let tolerance = judgement.tolerance.as_f64();
        let highest = theory::upper_bound(baseline.failed, baseline.units, errors.failures_bound + LN_2) + tolerance;
        let lowest = theory::lower_bound(baseline.failed, baseline.units, LN_2 - errors.miss.ln());
        Watch {
            failures: Wealth::new([1.0; ODDS.len()], ceiling(errors.failures_bound + LN_2)),
            failure_factors: against(highest, ODDS),
            not_failing: Within::new(estimate(baseline.failed, baseline.units), lowest + tolerance, errors.miss),
            latency: errors.latency_bound.map(|bound| {
                Slowness::new(&baseline.latencies, judgement.latency_tolerance.as_f64(), bound, errors.miss)
            }),
            limits: Limits::new(&judgement.limits, errors.limits_bound),
            errors,
            baseline: baseline.clone(),
            tally: Tally::new(),
            unjudged: 0,
            ended: None,
        }
    }

    /// Takes one unit into account; its latency in microseconds, `None` when it failed without one that means something.
    pub fn observe(&mut self, failed: bool, latency_us: Option<u64>) {
        self.tally.count(failed, latency_us);
        self.limits.observe(failed, latency_us);
        self.failures.gain(&self.failure_factors[usize::from(failed)]);
        self.not_failing.settle(failed);
        if let (Some(latency), Some(us)) = (&mut self.latency, latency_us) {
            let factors = &latency.factors;
            latency.worse.settle(us, |i, above| &factors[i][above]);
            latency.not_slower.settle(latency.worse.is_above(0, us, 0));
        }
        self.conclude();
    }

    fn conclude(&mut self) {
        if self.ended.is_some() {
            return;
        }
        if self.failures.reaches(self.errors.failures_bound + LN_2) {
            self.ended = Some(Verdict::Worse(Metric::Failures));
        } else if let (Some(latency), Some(bound)) = (&self.latency, self.errors.latency_bound)
            && latency.worse.reaches(bound + LN_2)
        {
            self.ended = Some(Verdict::Worse(Metric::Latency));
        } else {
            self.ended = self.limits.broken().map(Verdict::BeyondLimit);
        }
    }

    /// Counts units that happened but are not judged.
    pub fn skip(&mut self, units: u64) {
        self.unjudged = self.unjudged.saturating_add(units);
    }

    /// What is concluded so far. What ends exposure stays; everything else may change with the next unit.
    pub fn verdict(&self) -> Verdict {
        if let Some(verdict) = self.ended {
            verdict
        } else if self.baseline.units == 0 || self.tally.units == 0 {
            Verdict::NoData
        } else if self.limits.kept()
            && self.not_failing.shown()
            && self.latency.as_ref().is_none_or(|l| l.not_slower.shown())
        {
            Verdict::NotWorse
        } else {
            Verdict::Undecided
        }
    }

    /// The verdict with its figures: the baseline's in the place of the running release, those of the release watched in
    /// the place of the canary.
    pub fn evidence(&self) -> Evidence {
        let worse = (self.failures.log(), self.errors.failures_bound + LN_2);
        let mut findings = vec![finding(Metric::Failures, worse, self.not_failing.log())];
        if let (Some(latency), Some(bound)) = (&self.latency, self.errors.latency_bound) {
            findings.push(finding(Metric::Latency, (latency.worse.log(), bound + LN_2), latency.not_slower.log()));
        }
        let verdict = self.verdict();
        Evidence {
            verdict,
            running: self.baseline.clone(),
            canary: self.tally.figures(),
            findings,
            units_needed: self.units_needed(verdict),
            unjudged: self.unjudged,
            canary_bounds: Some(self.tally.bounds()),
            limits: self.limits.findings(),
            ..Evidence::default()
        }
    }

    fn units_needed(&self, verdict: Verdict) -> Option<u64> {
        match verdict {
            Verdict::NotWorse => Some(0),
            Verdict::NoData
            | Verdict::Worse(_)
            | Verdict::SharedOutage
            | Verdict::BeyondLimit(_)
            | Verdict::ExposureSpent => None,
            Verdict::Undecided => {
                let failures = self.not_failing.units_needed()?;
                let latency = self.latency.as_ref().map_or(Some(0), |latency| latency.not_slower.units_needed())?;
                Some(failures.max(latency))
            }
        }
    }
}

impl Slowness {
    fn new(baseline: &model::Latencies, tolerance: f64, bound: f64, miss: f64) -> Slowness {
        let units = baseline.count();
        let mut slowness = Slowness {
            worse: Slower::new(ceiling(bound + LN_2)),
            factors: [[[0.0; slower::BETS]; 2]; QUANTILES.len()],
            not_slower: Within::new(1.0, 1.0, miss),
        };
        // One bound for each threshold, all of which must hold.
        let nats = bound + LN_2 + (QUANTILES.len() as f64).ln();
        for (i, q) in QUANTILES.into_iter().enumerate() {
            let Some(us) = baseline.quantile_us(q) else { break };
            slowness.worse.set_threshold(i, latency::bucket(us));
            // The n-th smallest of the baseline is exceeded no more often than a rate of this many hits is.
            let above = units - ((units as f64 * q).ceil() as u64).clamp(1, units);
            let allowed = tolerance * (1.0 - q) / (1.0 - QUANTILES[0]);
            let highest = theory::upper_bound(above, units, nats) + allowed;
            slowness.factors[i] = against(highest, slower::ODDS);
            if i == 0 {
                let lowest = theory::lower_bound(above, units, LN_2 - miss.ln());
                slowness.not_slower = Within::new(estimate(above, units), lowest + tolerance, miss);
            }
        }
        slowness
    }
}

/// A rate to bet with, never quite zero: one hit where there had been none must not cost everything.
fn estimate(hits: u64, units: u64) -> f64 {
    (hits as f64 + 0.5) / (units as f64 + 1.0)
}

/// The bet that a rate is lower than a limit, because it is what it was.
#[derive(Clone, Debug)]
struct Within {
    bound: f64,
    wealth: Wealth<1>,
    factors: [[f64; 1]; 2],
    growth: f64,
}

impl Within {
    /// A rate believed to be `usual` is to be shown lower than `limit`. No bet when it is not.
    fn new(usual: f64, limit: f64, miss: f64) -> Within {
        // Half of the error is for the baseline's lower bound, which `limit` was made from.
        let bound = LN_2 - miss.ln();
        let mut within = Within { bound, wealth: Wealth::new([1.0], bound + 2.0), factors: [[0.0]; 2], growth: 0.0 };
        let limit = limit.min(1.0 - 1e-6);
        if usual < limit {
            within.factors = [[((1.0 - usual) / (1.0 - limit)).ln()], [(usual / limit).ln()]];
            within.growth = theory::kl(usual, limit);
        }
        within
    }

    fn settle(&mut self, hit: bool) {
        self.wealth.gain(&self.factors[usize::from(hit)]);
    }

    fn log(&self) -> (f64, f64) {
        (self.wealth.log(), self.bound)
    }

    fn shown(&self) -> bool {
        self.wealth.reaches(self.bound)
    }

    fn units_needed(&self) -> Option<u64> {
        let missing = (self.bound - self.wealth.log()).max(0.0);
        (self.growth > 0.0).then(|| (missing / self.growth).ceil() as u64)
    }
}
