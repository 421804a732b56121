//! What a guard evaluates: a comparison where the running release serves beside the canary, a watch where nothing does.

use crate::{Test, Unit, Watch};
use model::{ArmRole, Evidence, Guard, Ratio, Verdict};

/// The evaluation of one guard, fed with one unit after the other.
#[derive(Clone, Debug)]
pub enum Evaluation {
    /// Compared with the running release beside it.
    Beside(Box<Test>),
    /// Compared with what was usual before.
    Before(Box<Watch>),
}

impl Evaluation {
    /// The evaluation that a guard asks for; it has seen nothing yet.
    pub fn of(guard: &Guard) -> Evaluation {
        match &guard.baseline {
            None => Evaluation::Beside(Box::new(Test::new(&guard.judgement))),
            Some(baseline) => Evaluation::Before(Box::new(Watch::new(baseline, &guard.judgement))),
        }
    }

    /// Takes one unit into account. A watch looks at the canary's only.
    pub fn observe(&mut self, unit: Unit) {
        match (self, unit.arm) {
            (Evaluation::Beside(test), _) => test.observe(unit),
            (Evaluation::Before(watch), ArmRole::Canary) => watch.observe(unit.failed, unit.latency_us),
            (Evaluation::Before(_), ArmRole::Running) => {}
        }
    }

    /// Takes a request into account that its client gave up after so many microseconds. A watch learns nothing from it.
    pub fn give_up(&mut self, arm: ArmRole, weight: Ratio, after_us: u64) {
        match self {
            Evaluation::Beside(test) => test.give_up(arm, weight, after_us),
            Evaluation::Before(_) => {}
        }
    }

    /// Counts units that happened but are not judged.
    pub fn skip(&mut self, units: u64) {
        match self {
            Evaluation::Beside(test) => test.skip(units),
            Evaluation::Before(watch) => watch.skip(units),
        }
    }

    /// What is concluded so far.
    pub fn verdict(&self) -> Verdict {
        match self {
            Evaluation::Beside(test) => test.verdict(),
            Evaluation::Before(watch) => watch.verdict(),
        }
    }

    /// The verdict with its figures.
    pub fn evidence(&self) -> Evidence {
        match self {
            Evaluation::Beside(test) => test.evidence(),
            Evaluation::Before(watch) => watch.evidence(),
        }
    }
}
