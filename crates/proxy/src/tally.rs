//! Counts without locks: each thread adds to its own, the reporter reads and sums them all.
//!
//! A counter has one writer, so adding is a plain load and store; a reader may be a moment behind, never wrong for good.

mod endings;

pub(crate) use endings::Endings;

use crate::refusal::Refusal;
use model::{InstanceId, ReleaseId, RouteName, RouteTraffic, ServiceKey};
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
    pub(crate) endings: Endings,
    /// Requests that wait for an instance of it.
    pub(crate) waiting: Counter,
}

/// What one thread counted for the routes of one name.
pub(crate) struct RouteCounts {
    /// Of which service.
    pub(crate) service: ServiceKey,
    /// Which routes.
    pub(crate) route: RouteName,
    /// Of the requests that were assigned to a release.
    pub(crate) endings: Endings,
    limited: Counter,
    shed: Counter,
    too_large: Counter,
    ours: Counter,
}

impl RouteCounts {
    /// Counts a request that was assigned to no release.
    pub(crate) fn turn_away(&self, refusal: &Refusal) {
        match refusal {
            Refusal::TooMany(..) => self.limited.increment(),
            Refusal::Busy(..) => self.shed.increment(),
            Refusal::TooLarge(..) => self.too_large.increment(),
            Refusal::Moved(..)
            | Refusal::Maintenance(_)
            | Refusal::Stranger(_)
            | Refusal::NoRelease(_)
            | Refusal::BadHost
            | Refusal::BadTarget
            | Refusal::BadPath
            | Refusal::Connect
            | Refusal::Coding
            | Refusal::TooSlow
            | Refusal::BadBody
            | Refusal::NoRoute { .. }
            | Refusal::NoTable
            | Refusal::NoInstance(_)
            | Refusal::Unreachable(_)
            | Refusal::Reset(_)
            | Refusal::Drained(_)
            | Refusal::Timeout(..)
            | Refusal::NotStored => self.ours.increment(),
        }
    }

    /// Adds what was counted here to a sum.
    pub(crate) fn add_to(&self, sum: &mut RouteTraffic) {
        self.endings.add_to(&mut sum.tally);
        sum.latencies.merge(&self.endings.latencies());
        sum.cached += self.endings.cached();
        sum.limited += self.limited.get();
        sum.shed += self.shed.get();
        sum.too_large += self.too_large.get();
        sum.ours += self.ours.get();
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
    /// Of all releases.
    pub(crate) releases: List<ReleaseCounts>,
    /// Of all routes with a name.
    pub(crate) routes: List<RouteCounts>,
    instances: List<InstanceCounts>,
}

impl Registry {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Registry {
        Registry {
            threads: (0..threads).map(|_| Arc::default()).collect(),
            releases: List::default(),
            routes: List::default(),
            instances: List::default(),
        }
    }

    /// New counts for a release, for the calling thread to add to.
    pub(crate) fn release(&self, service: &ServiceKey, release: ReleaseId) -> Arc<ReleaseCounts> {
        self.releases.add(ReleaseCounts {
            service: service.clone(),
            release,
            endings: Endings::new(),
            waiting: Counter::default(),
        })
    }

    /// New counts for the routes of a name, for the calling thread to add to.
    pub(crate) fn route(&self, service: &ServiceKey, route: &RouteName) -> Arc<RouteCounts> {
        self.routes.add(RouteCounts {
            service: service.clone(),
            route: route.clone(),
            endings: Endings::new(),
            limited: Counter::default(),
            shed: Counter::default(),
            too_large: Counter::default(),
            ours: Counter::default(),
        })
    }

    /// New counts for an instance, for the calling thread to add to.
    pub(crate) fn instance(&self, instance: InstanceId) -> Arc<InstanceCounts> {
        self.instances.add(InstanceCounts { instance, in_flight: Counter::default() })
    }

    /// Looks at the counts of all instances that some thread still adds to; forgets the others.
    pub(crate) fn sweep_instances(&self, mut look: impl FnMut(&InstanceCounts)) {
        self.instances.sweep(|counts, used| {
            if used == Use::Held {
                look(counts);
            }
            used == Use::Held
        });
    }
}

/// Counts of one kind, each held by the thread that adds to it.
pub(crate) struct List<T>(Mutex<Vec<Arc<T>>>);

impl<T> List<T> {
    fn add(&self, counts: T) -> Arc<T> {
        let counts = Arc::new(counts);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counts));
        counts
    }

    /// Looks at all; forgets those for which `keep` is false. `Use` says whether a thread still adds to them.
    pub(crate) fn sweep(&self, mut keep: impl FnMut(&T, Use) -> bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|counts| keep(counts, Use::of(counts)));
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Mutex::default())
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
