//! Shares of the requests and how long they are held, from either kind of document, as `steps`, `step_time` and
//! `deadline`.
//!
//! What always holds: no step is held for a shorter time than it was asked to be.

use super::{
    finding::Findings,
    measure::written,
    service::{Service, Set},
    spot::Spot,
};
use crate::render::many;
use model::{Ratio, Span};

/// Flagger looks no more often than this.
const SHORTEST_INTERVAL: Span = Span::seconds(10);
/// The deadline where none is set.
const DEADLINE: Span = Span::minutes(60);
/// The most steps that are taken over.
const MAX_STEPS: usize = 100;

/// The steps so far.
#[derive(Default)]
pub(super) struct Steps<'d> {
    steps: Vec<Step<'d>>,
}

struct Step<'d> {
    share: Ratio,
    at: Spot<'d>,
    holds: Vec<Hold<'d>>,
}

struct Hold<'d> {
    span: Span,
    at: Spot<'d>,
    /// What is different about it was said already.
    is_told: bool,
}

impl<'d> Steps<'d> {
    /// A share of the requests, as a part of `whole`.
    pub(super) fn share(&mut self, spot: &Spot<'d>, whole: f64, findings: &mut Findings) {
        let number = spot.number().filter(|n| (0.0..=whole).contains(n));
        let Some(share) = number.and_then(|n| Ratio::from_f64(n / whole)) else {
            findings.left(spot, format!("this is no share: it goes from 0 to {whole}"), "write the number itself");
            return;
        };
        self.add(share, spot, findings);
    }

    pub(super) fn add(&mut self, share: Ratio, spot: &Spot<'d>, findings: &mut Findings) {
        let before = self.steps.last().map_or(Ratio::ZERO, |step| step.share);
        if share == Ratio::ONE {
            findings.approximated(spot, "100 % is no step: it is the promotion, which follows from the verdict", "");
        } else if share == Ratio::ZERO {
            findings.approximated(spot, "0 % is no step: a canary is judged on the requests it gets", "");
        } else if share == before {
            findings.not_needed(spot, "the share is the same as before, and goes on");
        } else if share < before {
            findings.approximated(spot, format!("steps only grow: this one, {share} after {before}, is left away"), "");
        } else if self.steps.len() >= MAX_STEPS {
            findings.left(spot, format!("at most {MAX_STEPS} steps are taken over"), "choose fewer");
        } else {
            self.steps.push(Step { share, at: spot.clone(), holds: Vec::new() });
        }
    }

    /// The last share is held for this long.
    pub(super) fn hold(&mut self, span: Span, spot: &Spot<'d>, findings: &mut Findings) {
        match self.steps.last_mut() {
            Some(step) => step.holds.push(Hold { span, at: spot.clone(), is_told: false }),
            None => findings.approximated(spot, "there is no share yet that could be held", ""),
        }
    }

    /// Every share is held for this long, which is told here.
    pub(super) fn hold_each(&mut self, span: Span, spot: &Spot<'d>, findings: &mut Findings) {
        if span < SHORTEST_INTERVAL {
            let what = format!(
                "Flagger looks no more often than every {}, and each step is held for that time",
                written(SHORTEST_INTERVAL)
            );
            findings.approximated(spot, what, "");
        } else {
            findings.taken(spot, format!("`step_time = \"{}\"`", written(span)));
        }
        for step in &mut self.steps {
            step.holds.push(Hold { span: span.max(SHORTEST_INTERVAL), at: spot.clone(), is_told: true });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Sets what follows from all of them, which stand here.
    pub(super) fn finish(self, spot: &Spot<'d>, service: &mut Service, findings: &mut Findings) {
        // The first of those that are held longest.
        let Some(longest) = self.steps.iter().rev().max_by_key(|step| step.held()) else { return };
        let time = longest.held();
        self.steps.iter().for_each(|step| step.tell(time, spot, findings));
        let shares: Vec<String> = self.steps.iter().map(|step| step.share.to_string()).collect();
        let what = format!(
            "{}: there all of them are gone through, here a release is promoted as soon as it is proven not worse, and \
             the steps after that are not needed",
            listed(&shares)
        );
        findings.approximated(spot, what, "");
        service.set("steps", Set::Texts(shares), spot, findings);
        match longest.holds.first() {
            Some(Hold { at, .. }) => service.set("step_time", Set::Text(written(time)), at, findings),
            None => findings.approximated(spot, "nothing says how long: each is held for the default `step_time`", ""),
        }
        let all = Span(time.0.saturating_mul(self.steps.len() as u64));
        if all >= DEADLINE {
            let deadline = written(Span(all.0.saturating_mul(2)));
            let what = format!(
                "the steps take {} together, and a release is decided on within {} by default: `deadline = \"{deadline}\"` \
                 is twice as long as the steps",
                written(all),
                written(DEADLINE)
            );
            findings.approximated(spot, what, "");
            service.set("deadline", Set::Text(deadline), spot, findings);
        }
    }
}

impl Step<'_> {
    fn held(&self) -> Span {
        self.holds.iter().fold(Span::ZERO, |sum, hold| sum + hold.span)
    }

    /// Tells what became of this step, when every one is held for `time` and all of them stand at `list`.
    fn tell(&self, time: Span, list: &Spot<'_>, findings: &mut Findings) {
        let share = self.share;
        // Many steps that follow from one value are told once, there.
        if self.at.path != list.path {
            if self.holds.is_empty() && time > Span::ZERO {
                let what = format!("a step of {share}, held for {} like the one that is held longest", written(time));
                findings.approximated(&self.at, what, "");
            } else {
                findings.taken(&self.at, format!("a step of {share}"));
            }
        }
        for hold in self.holds.iter().filter(|hold| !hold.is_told) {
            if self.held() == time {
                findings.taken(&hold.at, format!("`step_time = \"{}\"`", written(time)));
            } else {
                let what = format!(
                    "there is one `step_time` for all steps: {share} is held for {}, the longest, instead of {}",
                    written(time),
                    written(self.held())
                );
                findings.approximated(&hold.at, what, "");
            }
        }
    }
}

/// Shares in words: all of them where they are few.
fn listed(shares: &[String]) -> String {
    const FEW: usize = 10;
    let all = if shares.len() <= FEW {
        shares.join(", ")
    } else {
        [shares.first(), shares.last()].into_iter().flatten().cloned().collect::<Vec<_>>().join(" to ")
    };
    format!("{}, {all}", many(shares.len() as u64, "step"))
}
