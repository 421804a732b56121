//! Counts without locks: each thread adds to its own, the reporter reads and sums them all.
//!
//! A counter has one writer, so adding is a plain load and store; a reader may be a moment behind, never wrong for good.

use model::{InstanceId, Latencies, ReleaseId, ServiceKey, Tally, latency};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// A count that only its own thread changes and any thread may read.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn increment(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// One less.
    pub(crate) fn decrement(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// The count.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// With a status below 500, to its last byte.
    Answered,
    /// With a status from 500 by the instance.
    Status5xx,
    /// No connection to an instance could be had.
    Refused,
    /// The connection broke before the response was whole.
    Reset,
    /// No response in time.
    Timeout,
    /// No instance was there.
    NoInstance,
    /// The client went away, or sent what cannot be forwarded: neither success nor failure.
    Cancelled,
    /// Cut by us when its instance's drain deadline had passed.
    Cut,
    /// From the cache: it reached no instance and says nothing about one.
    Cached,
}

impl Outcome {
    /// As it is written in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Status5xx => "status_5xx",
            Outcome::Refused => "refused",
            Outcome::Reset => "reset",
            Outcome::Timeout => "timeout",
            Outcome::NoInstance => "no_instance",
            Outcome::Cancelled => "cancelled",
            Outcome::Cut => "cut",
            Outcome::Cached => "cached",
        }
    }

    /// The status of a request that ended so before an instance had given one; 499 is what nginx calls a client that went away.
    pub(crate) fn status(self) -> u16 {
        match self {
            Outcome::Answered | Outcome::Cached => 200,
            Outcome::Status5xx => 500,
            Outcome::Refused | Outcome::Reset => 502,
            Outcome::NoInstance | Outcome::Cut => 503,
            Outcome::Timeout => 504,
            Outcome::Cancelled => 499,
        }
    }
}

/// What one thread counted for one release.
pub(crate) struct ReleaseCounts {
    /// Of which service.
    pub(crate) service: ServiceKey,
    /// Which release.
    pub(crate) release: ReleaseId,
    answered: Counter,
    status_5xx: Counter,
    refused: Counter,
    reset: Counter,
    timeout: Counter,
    no_instance: Counter,
    cancelled: Counter,
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

impl ReleaseCounts {
    fn new(service: ServiceKey, release: ReleaseId) -> ReleaseCounts {
        ReleaseCounts {
            service,
            release,
            answered: Counter::default(),
            status_5xx: Counter::default(),
            refused: Counter::default(),
            reset: Counter::default(),
            timeout: Counter::default(),
            no_instance: Counter::default(),
            cancelled: Counter::default(),
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
            // Counted by thread.
            Outcome::Cached => {}
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

    /// How long the answered ones took.
    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::from_counts(self.latencies.iter().map(Counter::get))
    }
}

/// What one thread counted for one instance.
pub(crate) struct InstanceCounts {
    /// Which instance.
    pub(crate) instance: InstanceId,
    /// Requests and upgraded connections in flight.
    pub(crate) in_flight: Counter,
}

/// What one thread counted that belongs to no release.
#[derive(Default)]
pub(crate) struct ThreadCounts {
    /// Requests that matched no route.
    pub(crate) unrouted: Counter,
    /// Requests refused before routing.
    pub(crate) refused: Counter,
    /// Requests of clients that had sent as many as they may.
    pub(crate) limited: Counter,
    /// Requests of services that had as much to do as they could.
    pub(crate) shed: Counter,
    /// Requests that were answered from a cache.
    pub(crate) cached: Counter,
    /// Lines of the access log that were dropped.
    pub(crate) unwritten: Counter,
    /// Open client connections.
    pub(crate) connections: Counter,
}

/// All counts of all threads. The lists are locked when a table is taken and when a report is made, never for a request.
pub(crate) struct Registry {
    /// By thread.
    pub(crate) threads: Box<[Arc<ThreadCounts>]>,
    releases: Mutex<Vec<Arc<ReleaseCounts>>>,
    instances: Mutex<Vec<Arc<InstanceCounts>>>,
}

impl Registry {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Registry {
        Registry {
            threads: (0..threads).map(|_| Arc::default()).collect(),
            releases: Mutex::default(),
            instances: Mutex::default(),
        }
    }

    /// New counts for a release, for the calling thread to add to.
    pub(crate) fn release(&self, service: &ServiceKey, release: ReleaseId) -> Arc<ReleaseCounts> {
        let counts = Arc::new(ReleaseCounts::new(service.clone(), release));
        self.releases.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counts));
        counts
    }

    /// New counts for an instance, for the calling thread to add to.
    pub(crate) fn instance(&self, instance: InstanceId) -> Arc<InstanceCounts> {
        let counts = Arc::new(InstanceCounts { instance, in_flight: Counter::default() });
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counts));
        counts
    }

    /// Looks at the counts of all releases; forgets those for which `keep` is false. `Use` says whether a thread still
    /// adds to them.
    pub(crate) fn sweep_releases(&self, mut keep: impl FnMut(&ReleaseCounts, Use) -> bool) {
        let mut releases = self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        releases.retain(|counts| keep(counts, Use::of(counts)));
    }

    /// Looks at the counts of all instances that some thread still adds to; forgets the others.
    pub(crate) fn sweep_instances(&self, mut look: impl FnMut(&InstanceCounts)) {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        instances.retain(|counts| Use::of(counts) == Use::Held);
        instances.iter().for_each(|counts| look(counts));
    }
}

/// Whether a thread, or a request in flight, still holds counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// Some thread does.
    Held,
    /// Only the registry does: they will not change any more.
    Over,
}

impl Use {
    fn of<T>(counts: &Arc<T>) -> Use {
        if Arc::strong_count(counts) > 1 { Use::Held } else { Use::Over }
    }
}
