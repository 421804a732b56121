//! What is seen of every instance and what is wanted of it: all that the driver's methods and the instances' tasks share.

use super::port::Ports;
use crate::layout;
use model::{Address, InstanceId, InstanceSeen, InstanceSpec, Phase};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, Semaphore, watch};

/// How many instances are launched at the same time; the others wait for their turn.
const LAUNCHES: usize = 16;
/// How many network probes and how many probes that run a command are under way at the same time.
const NETWORK_PROBES: usize = 512;
const COMMAND_PROBES: usize = 8;

/// Asked of an instance's task and not taken up yet.
#[derive(Default, Debug)]
pub(super) struct Wanted {
    /// Run this attempt.
    pub(super) start: Option<InstanceSpec>,
    /// Stop gracefully.
    pub(super) stop: bool,
    /// Do not wait any longer, neither for a turn to start nor for a deadline to stop.
    pub(super) now: bool,
    /// Forget it once it has ended.
    pub(super) forget: bool,
}

struct Entry {
    seen: InstanceSeen,
    /// The latest attempt that was asked for.
    attempt: u32,
    wanted: Wanted,
    wake: Arc<Notify>,
}

/// Whether an instance has a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    New,
    Already,
}

pub(super) struct Board {
    entries: Mutex<BTreeMap<InstanceId, Entry>>,
    ports: Mutex<Ports>,
    changes: watch::Sender<u64>,
    pub(super) launches: Semaphore,
    pub(super) network_probes: Semaphore,
    pub(super) command_probes: Semaphore,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            entries: Mutex::default(),
            ports: Mutex::default(),
            changes: watch::channel(0).0,
            launches: Semaphore::new(LAUNCHES),
            network_probes: Semaphore::new(NETWORK_PROBES),
            command_probes: Semaphore::new(COMMAND_PROBES),
        }
    }
}

impl Board {
    // A panic elsewhere leaves these maps whole: no update of theirs spans more than one assignment.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn seen(&self) -> Vec<InstanceSeen> {
        self.entries().values().map(|entry| entry.seen.clone()).collect()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Puts an instance on the board. `New` when it needs a task.
    pub(super) fn add(&self, seen: InstanceSeen) -> Known {
        let mut entries = self.entries();
        if entries.contains_key(&seen.id) {
            return Known::Already;
        }
        let (id, attempt) = (seen.id, seen.attempt);
        entries.insert(id, Entry { seen, attempt, wanted: Wanted::default(), wake: Arc::default() });
        drop(entries);
        self.announce();
        Known::New
    }

    /// Wants an attempt, unless it or a later one was wanted before.
    pub(super) fn want_start(&self, spec: InstanceSpec) -> Known {
        let known = self.add(InstanceSeen {
            id: spec.id,
            attempt: spec.attempt,
            phase: Phase::Starting("waits for its turn".to_owned()),
            address: None,
            since: layout::now(),
        });
        if let Some(entry) = self.entries().get_mut(&spec.id)
            && (known == Known::New || spec.attempt > entry.attempt)
        {
            entry.attempt = spec.attempt;
            // What was wanted of an earlier attempt is not wanted of this one.
            entry.wanted = Wanted { start: Some(spec), ..Wanted::default() };
            entry.wake.notify_one();
        }
        known
    }

    /// Wants something of an instance. Nothing when it is not on the board.
    pub(super) fn want(&self, id: InstanceId, what: impl FnOnce(&mut Wanted)) {
        if let Some(entry) = self.entries().get_mut(&id) {
            what(&mut entry.wanted);
            entry.wake.notify_one();
        }
    }

    /// Wants whatever an instance is waiting for to be over now. One that runs and is to run waits for nothing.
    pub(super) fn hurry(&self, id: InstanceId) {
        if let Some(entry) = self.entries().get_mut(&id)
            && (entry.wanted.stop || entry.wanted.start.is_some() || matches!(entry.seen.phase, Phase::Starting(_)))
        {
            entry.wanted.now = true;
            entry.wake.notify_one();
        }
    }

    /// Looks at what is wanted, and takes what it takes.
    pub(super) fn wanted<T>(&self, id: InstanceId, look: impl FnOnce(&mut Wanted) -> T) -> Option<T> {
        self.entries().get_mut(&id).map(|entry| look(&mut entry.wanted))
    }

    /// Wakes when something was wanted.
    pub(super) fn wake(&self, id: InstanceId) -> Arc<Notify> {
        self.entries().get(&id).map(|entry| entry.wake.clone()).unwrap_or_default()
    }

    /// Reports how an attempt is.
    pub(super) fn report(&self, id: InstanceId, attempt: u32, phase: Phase, address: Option<Address>) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&id) else { return };
        let seen = &mut entry.seen;
        if (seen.attempt, &seen.phase, &seen.address) == (attempt, &phase, &address) {
            return;
        }
        // A new text is not a new phase.
        let same_phase =
            seen.attempt == attempt && std::mem::discriminant(&seen.phase) == std::mem::discriminant(&phase);
        let since = if same_phase { seen.since } else { layout::now() };
        entry.seen = InstanceSeen { id, attempt, phase, address, since };
        drop(entries);
        self.announce();
    }

    pub(super) fn remove(&self, id: InstanceId) {
        self.entries().remove(&id);
        self.announce();
    }

    pub(super) fn ids(&self) -> Vec<InstanceId> {
        self.entries().keys().copied().collect()
    }

    fn announce(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
