//! Guards: the tests that the data plane evaluates itself.
//!
//! Workers push judged units into bounded queues, one per worker, and never wait: when a queue is full the unit is
//! counted as unjudged, whichever arm it belongs to. One thread drains the queues every few milliseconds and owns one
//! [`Evaluation`] for each guarded change. When it says `Worse`, the [`Switch`] is set, which every worker reads
//! before its next assignment; saving that and telling about it come after. No guard ever does anything else.

use crate::{error::Error, shared::Shared, ticket::Bet};
use judge::{Evaluation, Unit};
use model::{ChangeId, Evidence, Guard, Verdict};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How often the queues are drained while there is a guard, and how often the thread looks whether there is one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(50));

/// How often the evidence shown in reports is renewed.
const SHOW: Duration = Duration::from_millis(100);

/// How many different users are judged per change. Further ones are not, so that memory is bounded (about 4 MiB).
const MAX_USERS: usize = 200_000;

/// How many trips may wait to be told.
const TRIPS: usize = 256;

/// One guard as all threads see it. The same one serves every table that guards the same change.
pub(crate) struct Switch {
    /// For which change.
    pub(crate) change: ChangeId,
    /// What evidence it takes, and what the canary is compared with.
    pub(crate) guard: Guard,
    tripped: AtomicBool,
    unjudged: AtomicU64,
    evidence: Mutex<Evidence>,
}

impl Switch {
    /// For a guard not seen before; `tripped` when it had tripped before this process started.
    pub(crate) fn new(guard: &Guard, tripped: bool) -> Arc<Switch> {
        Arc::new(Switch {
            change: guard.change,
            guard: guard.clone(),
            tripped: AtomicBool::new(tripped),
            unjudged: AtomicU64::new(0),
            evidence: Mutex::default(),
        })
    }

    /// Whether this is the switch of a guard in a new table: the same change, compared with the same.
    pub(crate) fn serves(&self, guard: &Guard) -> bool {
        self.change == guard.change && self.guard.baseline == guard.baseline
    }

    /// Whether the canary gets no requests any more.
    pub(crate) fn is_tripped(&self) -> bool {
        self.tripped.load(Ordering::Acquire)
    }

    /// Counts a unit that cannot be judged.
    pub(crate) fn skip(&self) {
        self.unjudged.fetch_add(1, Ordering::Relaxed);
    }

    /// The evidence, not older than a report is.
    pub(crate) fn evidence(&self) -> Evidence {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, evidence: Evidence) {
        *self.evidence.lock().unwrap_or_else(PoisonError::into_inner) = evidence;
    }
}

/// A unit that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Judged {
    /// For which change it counts.
    pub(crate) change: ChangeId,
    /// How it was assigned.
    pub(crate) bet: Bet,
    /// Whether it failed.
    pub(crate) failed: bool,
    /// How long it took in microseconds, when that means something.
    pub(crate) latency_us: Option<u64>,
}

/// A guard has tripped.
pub(crate) struct Trip {
    /// For which change.
    pub(crate) change: ChangeId,
    /// Why.
    pub(crate) evidence: Evidence,
}

/// The guard thread.
pub(crate) struct Running {
    /// Ends after [`Shared::end`].
    pub(crate) thread: JoinHandle<()>,
    /// What it has to tell.
    pub(crate) trips: mpsc::Receiver<Trip>,
}

/// Starts the guard thread.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(shared: Arc<Shared>, queues: Vec<rtrb::Consumer<Judged>>) -> Result<Running, Error> {
    let (tell, trips) = mpsc::channel(TRIPS);
    let mut bench = Bench { tests: BTreeMap::new(), tell, shown: Instant::now() };
    let thread = thread::Builder::new().name("guard".into()).spawn(move || {
        let mut queues = queues;
        while !shared.has_ended() {
            bench.follow(&shared);
            queues.iter_mut().for_each(|queue| bench.drain(queue, &shared));
            bench.show();
            thread::park_timeout(if bench.tests.is_empty() { PAUSE.1 } else { PAUSE.0 });
        }
    });
    let thread = thread.map_err(|source| Error::Resources { what: "the guard thread", source })?;
    Ok(Running { thread, trips })
}

/// The tests in progress.
struct Bench {
    tests: BTreeMap<ChangeId, Seat>,
    tell: mpsc::Sender<Trip>,
    shown: Instant,
}

struct Seat {
    switch: Arc<Switch>,
    evaluation: Evaluation,
    /// Users judged already. Their first verdict counts, once: requests of one user tend to fail together.
    users: HashSet<u64>,
    /// Whether something was observed since the evidence was last shown.
    dirty: bool,
}

impl Bench {
    /// Begins tests for new guards and forgets those of guards that have left the table.
    fn follow(&mut self, shared: &Shared) {
        let table = shared.table.load();
        self.tests.retain(|change, seat| table.switch(*change).is_some_and(|switch| Arc::ptr_eq(switch, &seat.switch)));
        for switch in table.switches() {
            self.tests.entry(switch.change).or_insert_with(|| Seat {
                evaluation: Evaluation::of(&switch.guard),
                switch: Arc::clone(switch),
                users: HashSet::new(),
                dirty: true,
            });
        }
    }

    /// Observes what has waited in a queue, and no more than that, so that a flood in one does not starve the others.
    fn drain(&mut self, queue: &mut rtrb::Consumer<Judged>, shared: &Shared) {
        for _ in 0..queue.slots() {
            let Ok(judged) = queue.pop() else { return };
            if !self.tests.contains_key(&judged.change) {
                // The table came a moment ago, or has gone.
                self.follow(shared);
            }
            let Some(seat) = self.tests.get_mut(&judged.change) else { continue };
            if seat.observe(judged) {
                // A full channel loses nothing: every report names the guards that have tripped, with their evidence.
                let _ = self.tell.try_send(Trip { change: judged.change, evidence: seat.switch.evidence() });
            }
        }
    }

    fn show(&mut self) {
        if self.shown.elapsed() < SHOW {
            return;
        }
        self.shown = Instant::now();
        for seat in self.tests.values_mut() {
            let unjudged = seat.switch.unjudged.swap(0, Ordering::Relaxed);
            seat.evaluation.skip(unjudged);
            // A guard that had tripped before this process started has lost its figures; it has nothing new to show.
            if (seat.dirty || unjudged > 0) && !seat.switch.is_tripped() {
                seat.switch.show(seat.evaluation.evidence());
                seat.dirty = false;
            }
        }
    }
}

impl Seat {
    /// Takes a unit into account. Whether that has tripped the guard, just now.
    fn observe(&mut self, judged: Judged) -> bool {
        if self.switch.is_tripped() {
            return false;
        }
        if let Some(user) = judged.bet.unit
            && (self.users.len() >= MAX_USERS || !self.users.insert(user))
        {
            self.evaluation.skip(1);
            return false;
        }
        let Bet { arm, weight, unit: _ } = judged.bet;
        self.evaluation.observe(Unit { arm, weight, failed: judged.failed, latency_us: judged.latency_us });
        self.dirty = true;
        match self.evaluation.verdict() {
            Verdict::Worse(_) => {
                self.switch.tripped.store(true, Ordering::Release);
                self.switch.show(self.evaluation.evidence());
                true
            }
            Verdict::NoData | Verdict::Undecided | Verdict::NotWorse | Verdict::SharedOutage => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ArmFigures, ArmRole, Judgement, Ratio};

    fn seat() -> Seat {
        seat_of(Guard { change: ChangeId(1), judgement: Judgement::default(), baseline: None })
    }

    fn seat_of(guard: Guard) -> Seat {
        let switch = Switch::new(&guard, false);
        Seat { evaluation: Evaluation::of(&guard), switch, users: HashSet::new(), dirty: false }
    }

    fn unit(arm: ArmRole, failed: bool, user: Option<u64>) -> Judged {
        let bet = Bet { arm, weight: Ratio::from_percent(50).unwrap(), unit: user };
        Judged { change: ChangeId(1), bet, failed, latency_us: Some(1_000) }
    }

    #[test]
    fn a_broken_canary_trips_its_guard_once_and_stays_tripped() {
        let mut seat = seat();
        let mut trips = 0;
        for _ in 0..200 {
            trips += u32::from(seat.observe(unit(ArmRole::Running, false, None)));
            trips += u32::from(seat.observe(unit(ArmRole::Canary, true, None)));
        }
        assert_eq!(trips, 1);
        assert!(seat.switch.is_tripped());
        assert!(matches!(seat.switch.evidence().verdict, Verdict::Worse(_)));
    }

    #[test]
    fn a_promoted_release_that_turns_bad_trips_its_guard_without_anything_beside_it() {
        let baseline = Some(ArmFigures { units: 1_000, failed: 1, ..ArmFigures::default() });
        let mut seat = seat_of(Guard { change: ChangeId(1), judgement: Judgement::default(), baseline });
        assert!((0..1_000).all(|_| !seat.observe(unit(ArmRole::Canary, false, None))));
        let needed = (0..200).position(|_| seat.observe(unit(ArmRole::Canary, true, None)));
        assert!(needed.is_some_and(|n| n < 40), "{needed:?}");
    }

    #[test]
    fn a_guard_that_compares_with_something_else_is_another_guard() {
        let beside = Guard { change: ChangeId(1), judgement: Judgement::default(), baseline: None };
        let before = Guard { baseline: Some(ArmFigures::default()), ..beside.clone() };
        let switch = Switch::new(&beside, true);
        assert!(switch.serves(&beside));
        assert!(!switch.serves(&before));
    }

    #[test]
    fn one_user_who_fails_a_thousand_times_counts_once() {
        let mut seat = seat();
        for user in 0..50 {
            seat.observe(unit(ArmRole::Running, false, Some(user)));
        }
        for _ in 0..1_000 {
            assert!(!seat.observe(unit(ArmRole::Canary, true, Some(1_000))));
        }
        let evidence = seat.evaluation.evidence();
        assert_eq!((evidence.canary.units, evidence.unjudged), (1, 999));
    }
}
