//! The clock of the machine may be set. Deadlines that are open then move with it, so that an hour's jump neither
//! expires a rollout nor keeps one for ever.

use crate::{State, fact, sleep::Rest};
use model::{Span, Time};
use serde::{Deserialize, Serialize};

/// What can happen to a clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// It was set forward (positive) or back (negative) by this many milliseconds.
    Stepped {
        /// Milliseconds.
        by_ms: i64,
    },
}

impl Fact {
    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Stepped { by_ms } => {
                let direction = if *by_ms >= 0 { "forward" } else { "back" };
                format!(
                    "the machine's clock was set {direction} by {}; open deadlines moved with it",
                    Span(by_ms.unsigned_abs())
                )
            }
        }
    }
}

/// Drafts the fact that the clock was stepped.
pub(crate) fn decide(by_ms: i64) -> Vec<fact::Draft> {
    vec![fact::draft("clock".to_owned(), fact::Fact::Clock(Fact::Stepped { by_ms }))]
}

/// Moves every open deadline.
pub(crate) fn apply(state: &mut State, fact: &Fact) {
    match fact {
        Fact::Stepped { by_ms } => {
            let shift = |time: &mut Time| *time = Time(time.0.saturating_add_signed(*by_ms));
            let changes: Vec<_> = state.open.iter().copied().collect();
            for id in changes {
                if let Some(change) = state.changes.get_mut(&id) {
                    change.started_at.iter_mut().for_each(shift);
                    change.rollout.iter_mut().flat_map(|r| r.times_mut()).for_each(shift);
                }
            }
            let resting: Vec<_> =
                state.services.iter().filter(|(_, s)| s.rest.is_some()).map(|(k, _)| k.clone()).collect();
            for key in resting {
                if let Some(service) = state.services.get_mut(&key) {
                    service.rest.iter_mut().map(Rest::time_mut).for_each(shift);
                }
            }
            let instances: Vec<_> = state.instances.keys().copied().collect();
            for id in instances {
                if let Some(instance) = state.instances.get_mut(&id) {
                    instance.times_mut().into_iter().for_each(shift);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
