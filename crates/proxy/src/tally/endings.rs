//! How requests ended and how long the answered ones took, as one thread counts it: of a release, or of the routes of one name.

use super::{Counter, Outcome};
use model::{Latencies, Tally, latency};
use std::sync::atomic::AtomicU64;

/// Counts of requests by how they ended.
pub(crate) struct Endings {
    answered: Counter,
    status_5xx: Counter,
    refused: Counter,
    reset: Counter,
    timeout: Counter,
    no_instance: Counter,
    cancelled: Counter,
    cached: Counter,
    /// First tries that were tried again.
    pub(crate) retried: Counter,
    /// Requests that were sent to a second instance as well.
    pub(crate) hedged: Counter,
    /// Those that the second instance answered first.
    pub(crate) hedges_won: Counter,
    /// Connections cut because their drain deadline had passed.
    pub(crate) cut: Counter,
    latencies: [Counter; latency::BUCKETS],
}

impl Endings {
    /// Nothing has ended yet.
    pub(crate) fn new() -> Endings {
        Endings {
            answered: Counter::default(),
            status_5xx: Counter::default(),
            refused: Counter::default(),
            reset: Counter::default(),
            timeout: Counter::default(),
            no_instance: Counter::default(),
            cancelled: Counter::default(),
            cached: Counter::default(),
            retried: Counter::default(),
            hedged: Counter::default(),
            hedges_won: Counter::default(),
            cut: Counter::default(),
            latencies: [const { Counter(AtomicU64::new(0)) }; latency::BUCKETS],
        }
    }

    /// Counts the end of a request.
    pub(crate) fn count(&self, outcome: Outcome, latency_us: u64) {
        match outcome {
            Outcome::Answered => {
                self.answered.increment();
                self.latencies[latency::bucket(latency_us)].increment();
            }
            Outcome::Status5xx => self.status_5xx.increment(),
            Outcome::Refused => self.refused.increment(),
            Outcome::Reset => self.reset.increment(),
            Outcome::Timeout => self.timeout.increment(),
            Outcome::NoInstance => self.no_instance.increment(),
            Outcome::Cancelled => self.cancelled.increment(),
            Outcome::Cut => self.cut.increment(),
            Outcome::Cached => self.cached.increment(),
        }
    }

    /// Adds what was counted here to a sum.
    pub(crate) fn add_to(&self, sum: &mut Tally) {
        sum.answered += self.answered.get();
        sum.status_5xx += self.status_5xx.get();
        sum.refused += self.refused.get();
        sum.reset += self.reset.get();
        sum.timeout += self.timeout.get();
        sum.no_instance += self.no_instance.get();
        sum.cancelled += self.cancelled.get();
        sum.retried += self.retried.get();
        sum.hedged += self.hedged.get();
        sum.hedges_won += self.hedges_won.get();
        sum.cut += self.cut.get();
    }

    /// Those that a cache had the answer to: no release is judged by them.
    pub(crate) fn cached(&self) -> u64 {
        self.cached.get()
    }

    /// How long the answered ones took.
    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::from_counts(self.latencies.iter().map(Counter::get))
    }
}
