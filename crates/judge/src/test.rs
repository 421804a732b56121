//! The test of a canary against the running release beside it.

use crate::{
    exposure::Exposure,
    failures::Failures,
    label,
    latency::Latency,
    limit::Limits,
    outage::Outage,
    presence::Presence,
    tally::{Errors, Tally, finding},
};
use model::{ArmRole, Evidence, Judgement, Metric, Ratio, Verdict};

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

/// How much slower a canary may be before it counts as slower. A canary's latency is taken for what it would be without:
/// then "no slower than the running release" is what is tested, and all bets stay fair or better against it, because a
/// canary that is faster only loses them.
#[derive(Clone, Copy, Debug)]
struct Margin {
    /// One and the relative margin.
    factor: f64,
    slack_us: u64,
}

impl Margin {
    fn of(judgement: &Judgement) -> Margin {
        let slack_us = judgement.latency_slack.0.saturating_mul(1_000);
        Margin { factor: 1.0 + judgement.latency_margin.as_f64(), slack_us }
    }

    fn applied_to(self, unit: Unit) -> Unit {
        match unit.arm {
            ArmRole::Running => unit,
            ArmRole::Canary => {
                let less = |us: u64| (us.saturating_sub(self.slack_us) as f64 / self.factor) as u64;
                Unit { latency_us: unit.latency_us.map(less), ..unit }
            }
        }
    }
}

/// A sequential test, fed with one unit after the other in the order in which they ended. The verdict may be looked at
/// after every unit: the error probabilities hold for all looks together.
#[derive(Clone, Debug)]
pub struct Test {
    errors: Errors,
    margin: Margin,
    failures: Failures,
    latency: Option<Latency>,
    outage: Outage,
    presence: Presence,
    limits: Limits,
    exposure: Exposure,
    /// By [`label::index`].
    tallies: [Tally; 2],
    unjudged: u64,
    /// A verdict that stays.
    ended: Option<Verdict>,
}

impl Test {
    /// A test that has seen nothing. Error probabilities of zero or one are taken as one in a million or a half.
    pub fn new(judgement: &Judgement) -> Test {
        let errors = Errors::of(judgement);
        Test {
            margin: Margin::of(judgement),
            failures: Failures::new(judgement.tolerance.as_f64(), errors.miss, errors.failures_bound),
            latency: errors
                .latency_bound
                .map(|bound| Latency::new(judgement.latency_tolerance.as_f64(), errors.miss, bound)),
            limits: Limits::new(&judgement.limits, errors.limits_bound),
            exposure: Exposure::new(judgement.exposure),
            errors,
            outage: Outage::new(),
            presence: Presence::default(),
            tallies: [Tally::new(), Tally::new()],
            unjudged: 0,
            ended: None,
        }
    }

    /// Takes one unit into account.
    pub fn observe(&mut self, unit: Unit) {
        let arm = label::index(unit.arm);
        self.tallies[arm].count(unit.failed, unit.latency_us);
        // What both releases suffer from is neither the canary's harm nor against its limits.
        if !self.outage.shared() {
            self.exposure.observe(arm, unit.failed);
            if arm == 1 {
                self.limits.observe(unit.failed, unit.latency_us);
            }
        }
        let unit = self.margin.applied_to(unit);
        if unit.weight == Ratio::ZERO || unit.weight == Ratio::ONE {
            self.conclude();
            return;
        }
        self.bet(arm, unit.weight, |test| test.settle(arm, &unit));
        let too_slow = match (&self.latency, unit.latency_us) {
            (Some(latency), Some(us)) => latency.distress(us),
            (None, _) | (_, None) => false,
        };
        // What is usual is not learned from what is not.
        if arm == 1 || !self.outage.running_surges() {
            self.failures.learn(arm, unit.failed);
            if let (Some(latency), Some(us)) = (&mut self.latency, unit.latency_us) {
                latency.learn(arm, us);
            }
        }
        self.outage.observe(arm, unit.failed || too_slow);
        self.conclude();
    }

    /// Takes a request into account that its client gave up `after_us`: nobody knows how it would have ended, only that it
    /// would have taken longer. Where it is beyond a threshold already it is a slow one, elsewhere nothing is bet on it:
    /// clients' patience is alike for both arms, so that this favours none. Without it, a canary that hangs would look
    /// like one without requests, because impatient clients never see its timeouts.
    pub fn give_up(&mut self, arm: ArmRole, weight: Ratio, after_us: u64) {
        let unit = self.margin.applied_to(Unit { arm, weight, failed: false, latency_us: Some(after_us) });
        let (Some(us), Some(_)) = (unit.latency_us, &self.latency) else { return };
        if weight == Ratio::ZERO || weight == Ratio::ONE {
            return;
        }
        let arm = label::index(arm);
        self.bet(arm, weight, |test| test.settle_longer(arm, weight, us));
        if self.latency.as_ref().is_some_and(|latency| latency.distress(us)) {
            self.outage.observe(arm, true);
        }
        self.conclude();
    }

    /// Settles the bets on a unit. They were made knowing earlier units only, as was the decision whether to bet at all.
    fn bet(&mut self, arm: usize, weight: Ratio, settle: impl FnOnce(&mut Test)) {
        if !self.presence.goes_on_with(arm) {
            self.failures.mark();
            self.latency.iter_mut().for_each(Latency::mark);
        }
        let silent = self.presence.silent();
        if !silent {
            settle(self);
        }
        self.presence.observe(arm, weight.as_f64());
        if !silent && self.presence.silent() {
            self.failures.give_back();
            self.latency.iter_mut().for_each(Latency::give_back);
        }
    }

    fn settle(&mut self, arm: usize, unit: &Unit) {
        let on_worse = !self.outage.shared();
        let on_not_worse = !self.outage.running_surges();
        self.failures.plan(unit.weight);
        if on_worse {
            self.failures.settle_worse(arm, unit.failed);
        }
        if on_not_worse {
            self.failures.settle_not_worse(arm, unit.failed);
        }
        let (Some(latency), Some(us)) = (&mut self.latency, unit.latency_us) else { return };
        latency.plan(unit.weight);
        if on_worse {
            latency.settle_worse(arm, us);
        }
        if on_not_worse {
            latency.settle_not_worse(arm, us);
        }
    }

    fn settle_longer(&mut self, arm: usize, weight: Ratio, us: u64) {
        let on_worse = !self.outage.shared();
        let on_not_worse = !self.outage.running_surges();
        let Some(latency) = &mut self.latency else { return };
        latency.plan(weight);
        if on_worse {
            // Nobody saw it fail. Left out, the arm that is given up more often would seem to succeed less often.
            self.failures.plan(weight);
            self.failures.settle_worse(arm, false);
            latency.settle_worse_longer(arm, us);
        }
        if on_not_worse {
            latency.settle_not_worse_longer(arm, us);
        }
    }

    fn conclude(&mut self) {
        if self.ended.is_some() {
            return;
        }
        if self.failures.worse.reaches(self.errors.failures_bound) {
            self.ended = Some(Verdict::Worse(Metric::Failures));
        } else if let (Some(latency), Some(bound)) = (&self.latency, self.errors.latency_bound)
            && latency.worse.reaches(bound)
        {
            self.ended = Some(Verdict::Worse(Metric::Latency));
        } else if let Some(limit) = self.limits.broken() {
            self.ended = Some(Verdict::BeyondLimit(limit));
        } else if self.exposure.is_spent() && !self.outage.running_surges() {
            // Whether both are failing is not known yet when the running release has just begun to.
            self.ended = Some(Verdict::ExposureSpent);
        }
    }

    /// Counts units that happened but are not judged: warming up, seen before, or lost because a queue was full.
    pub fn skip(&mut self, units: u64) {
        self.unjudged = self.unjudged.saturating_add(units);
    }

    /// What is concluded so far. What ends exposure stays; everything else may change with the next unit.
    pub fn verdict(&self) -> Verdict {
        if let Some(verdict) = self.ended {
            verdict
        } else if self.presence.no_data() {
            Verdict::NoData
        } else if self.outage.shared() {
            Verdict::SharedOutage
        } else if self.outage.running_surges() {
            Verdict::Undecided
        } else if self.limits.kept()
            && self.failures.not_worse.shown()
            && self.latency.as_ref().is_none_or(|l| l.not_worse.shown())
        {
            Verdict::NotWorse
        } else {
            Verdict::Undecided
        }
    }

    /// The verdict with its figures.
    pub fn evidence(&self) -> Evidence {
        let worse = (self.failures.worse.log(), self.errors.failures_bound);
        let mut findings = vec![finding(Metric::Failures, worse, self.failures.not_worse.log())];
        if let (Some(latency), Some(bound)) = (&self.latency, self.errors.latency_bound) {
            findings.push(finding(Metric::Latency, (latency.worse.log(), bound), latency.not_worse.log()));
        }
        let verdict = self.verdict();
        let [running, canary] = self.tallies.each_ref().map(Tally::figures);
        Evidence {
            verdict,
            running,
            canary,
            findings,
            units_needed: self.units_needed(verdict),
            unjudged: self.unjudged,
            running_bounds: Some(self.tallies[0].bounds()),
            canary_bounds: Some(self.tallies[1].bounds()),
            limits: self.limits.findings(),
            excess_failures: self.exposure.excess(),
            exposure: self.exposure.budget(),
            cookies_not_kept: None,
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
                let failures = self.failures.not_worse.units_needed()?;
                let latency = self.latency.as_ref().map_or(Some(0), |latency| latency.not_worse.units_needed())?;
                Some(failures.max(latency))
            }
        }
    }
}
