//! Guards: the tests that the data plane evaluates itself.
//!
//! Workers push judged units into bounded queues, one per worker, and never wait: when a queue is full the unit is
//! counted as unjudged, whichever arm it belongs to. One thread drains the queues every few milliseconds and owns one
//! [`Evaluation`] for each guarded change. When it says `Worse`, the [`Switch`] is set, which every worker reads
//! before its next assignment; saving that and telling about it come after. No guard ever does anything else.

use crate::{error::Error, shared::Shared, table::Table, ticket::Bet, units::Units};
use judge::{Evaluation, Unit};
use model::{ChangeId, Evidence, Guard};
use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How often the queues are drained while there is a guard, and how often the thread looks whether there is one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(50));

/// How often the evidence shown in reports is renewed, and of how many guards at a time at most: to work it out takes many
/// times as long as to observe a unit.
const SHOW: (Duration, usize) = (Duration::from_millis(100), 32);

/// From how many requests without the cookie that tells users apart on, and from which multiple of those with it, clients
/// are said not to keep it.
const NOT_KEPT: (u64, u64) = (200, 20);

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
    /// Made when first asked for: where each request is a unit, nobody need be remembered.
    units: OnceLock<Units>,
    cookies: Cookies,
    evidence: Mutex<Evidence>,
}

/// How many requests of a service that tells users apart by a cookie came with it, and without.
#[derive(Default)]
struct Cookies {
    kept: AtomicU64,
    given: AtomicU64,
}

impl Switch {
    /// For a guard not seen before; `tripped` when it had tripped before this process started.
    pub(crate) fn new(guard: &Guard, tripped: bool) -> Arc<Switch> {
        Arc::new(Switch {
            change: guard.change,
            guard: guard.clone(),
            tripped: AtomicBool::new(tripped),
            unjudged: AtomicU64::new(0),
            units: OnceLock::new(),
            cookies: Cookies::default(),
            evidence: Mutex::default(),
        })
    }

    /// Whether this is the switch of a guard in a new table: of the same change, compared with the same, by the same rules.
    pub(crate) fn serves(&self, guard: &Guard) -> bool {
        self.guard == *guard
    }

    /// The users bet on, where users are told apart.
    pub(crate) fn units(&self) -> &Units {
        self.units.get_or_init(Units::new)
    }

    /// Counts a request that came with the cookie that tells users apart, or was given one.
    pub(crate) fn count_cookie(&self, kept: bool) {
        let count = if kept { &self.cookies.kept } else { &self.cookies.given };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were given a cookie, when hardly any came with one.
    fn cookies_not_kept(&self) -> Option<u64> {
        let [kept, given] = [&self.cookies.kept, &self.cookies.given].map(|count| count.load(Ordering::Relaxed));
        (given >= NOT_KEPT.0 && given / NOT_KEPT.1 > kept).then_some(given)
    }

    /// Whether the canary gets no requests any more.
    pub(crate) fn is_tripped(&self) -> bool {
        self.tripped.load(Ordering::Acquire)
    }

    /// It had tripped in another process.
    pub(crate) fn trip(&self) {
        self.tripped.store(true, Ordering::Release);
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
    /// How it ended.
    pub(crate) ending: Ending,
}

/// How a unit ended, as far as judging goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// By itself.
    Ended {
        /// Whether it failed.
        failed: bool,
        /// How long it took in microseconds, when that means something.
        latency_us: Option<u64>,
    },
    /// Its client gave it up.
    GivenUp {
        /// After so many microseconds.
        after_us: u64,
    },
}

/// A guard has tripped.
pub(crate) struct Trip {
    /// For which change.
    pub(crate) change: ChangeId,
    /// Why.
    pub(crate) evidence: Box<Evidence>,
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
    let mut bench =
        Bench { table: Arc::default(), tests: BTreeMap::new(), tell, shown: Instant::now(), turn: ChangeId(0) };
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
    /// Whose guards these are.
    table: Arc<Table>,
    tests: BTreeMap<ChangeId, Seat>,
    tell: mpsc::Sender<Trip>,
    shown: Instant,
    /// The evidence of which guard is shown next.
    turn: ChangeId,
}

struct Seat {
    switch: Arc<Switch>,
    evaluation: Evaluation,
    /// Whether something was observed since the evidence was last shown.
    dirty: bool,
}

impl Bench {
    /// Begins tests for new guards and forgets those of guards that have left the table.
    fn follow(&mut self, shared: &Shared) {
        let table = shared.table.load();
        if Arc::ptr_eq(&table, &self.table) {
            return;
        }
        let mut before = mem::take(&mut self.tests);
        for switch in table.switches() {
            let kept = before.remove(&switch.change).filter(|seat| Arc::ptr_eq(switch, &seat.switch));
            self.tests.entry(switch.change).or_insert_with(|| {
                kept.unwrap_or_else(|| Seat {
                    evaluation: Evaluation::of(&switch.guard),
                    switch: Arc::clone(switch),
                    dirty: true,
                })
            });
        }
        self.table = Arc::clone(&table);
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
                let _ = self.tell.try_send(Trip { change: judged.change, evidence: Box::new(seat.switch.evidence()) });
            }
        }
    }

    fn show(&mut self) {
        if self.shown.elapsed() < SHOW.0 {
            return;
        }
        self.shown = Instant::now();
        let next = self.tests.range_mut(self.turn..).map(|(change, seat)| (*change, seat));
        let mut left = SHOW.1;
        for (change, seat) in next {
            if left == 0 {
                self.turn = change;
                return;
            }
            let unjudged = seat.switch.unjudged.swap(0, Ordering::Relaxed);
            seat.evaluation.skip(unjudged);
            // A guard that had tripped before this process started has lost its figures; it has nothing new to show.
            if (seat.dirty || unjudged > 0) && !seat.switch.is_tripped() {
                seat.show();
                seat.dirty = false;
                left -= 1;
            }
        }
        self.turn = ChangeId(0);
    }
}

impl Seat {
    /// Takes a unit into account. Whether that has tripped the guard, just now.
    fn observe(&mut self, judged: Judged) -> bool {
        if self.switch.is_tripped() {
            return false;
        }
        let Bet { arm, weight } = judged.bet;
        match judged.ending {
            Ending::Ended { failed, latency_us } => {
                self.evaluation.observe(Unit { arm, weight, failed, latency_us });
            }
            Ending::GivenUp { after_us } => self.evaluation.give_up(arm, weight, after_us),
        }
        self.dirty = true;
        let trips = self.evaluation.verdict().ends_exposure();
        if trips {
            self.switch.trip();
            self.show();
        }
        trips
    }

    /// Puts the evidence where reports find it.
    fn show(&self) {
        let cookies_not_kept = self.switch.cookies_not_kept();
        self.switch.show(Evidence { cookies_not_kept, ..self.evaluation.evidence() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AbsoluteLimit, ArmFigures, ArmRole, Judgement, Ratio, Verdict};

    fn seat() -> Seat {
        seat_of(Guard { change: ChangeId(1), judgement: Judgement::default(), baseline: None })
    }

    fn seat_of(guard: Guard) -> Seat {
        let switch = Switch::new(&guard, false);
        Seat { evaluation: Evaluation::of(&guard), switch, dirty: false }
    }

    fn unit(arm: ArmRole, failed: bool) -> Judged {
        let bet = Bet { arm, weight: Ratio::from_percent(50).unwrap() };
        Judged { change: ChangeId(1), bet, ending: Ending::Ended { failed, latency_us: Some(1_000) } }
    }

    #[test]
    fn a_broken_canary_trips_its_guard_once_and_stays_tripped() {
        let mut seat = seat();
        let mut trips = 0;
        for _ in 0..200 {
            trips += u32::from(seat.observe(unit(ArmRole::Running, false)));
            trips += u32::from(seat.observe(unit(ArmRole::Canary, true)));
        }
        assert_eq!(trips, 1);
        assert!(seat.switch.is_tripped());
        assert!(matches!(seat.switch.evidence().verdict, Verdict::Worse(_)));
    }

    #[test]
    fn a_promoted_release_that_turns_bad_trips_its_guard_without_anything_beside_it() {
        let baseline = Some(ArmFigures { units: 1_000, failed: 1, ..ArmFigures::default() });
        let mut seat = seat_of(Guard { change: ChangeId(1), judgement: Judgement::default(), baseline });
        assert!((0..1_000).all(|_| !seat.observe(unit(ArmRole::Canary, false))));
        let needed = (0..200).position(|_| seat.observe(unit(ArmRole::Canary, true)));
        assert!(needed.is_some_and(|n| n < 40), "{needed:?}");
    }

    #[test]
    fn a_canary_beyond_a_limit_or_its_exposure_trips_its_guard_however_bad_the_running_release_is() {
        let limits = vec![AbsoluteLimit::Failures(Ratio::from_percent(1).unwrap())];
        for (judgement, verdict) in [
            (Judgement { limits: limits.clone(), ..Judgement::default() }, Verdict::BeyondLimit(limits[0])),
            (Judgement { exposure: Some(2), ..Judgement::default() }, Verdict::ExposureSpent),
        ] {
            let mut seat = seat_of(Guard { change: ChangeId(1), judgement, baseline: None });
            // One of four fails in both arms; then the canary has a few unlucky ones.
            for n in 0..60 {
                seat.observe(unit(ArmRole::Running, n % 4 == 0));
                seat.observe(unit(ArmRole::Canary, n % 4 == 0));
            }
            let trips = (0..6).filter(|_| seat.observe(unit(ArmRole::Canary, true))).count();
            assert!(trips <= 1);
            assert!(seat.switch.is_tripped(), "{:?}", seat.switch.evidence());
            assert_eq!(seat.switch.evidence().verdict, verdict);
        }
    }

    #[test]
    fn a_guard_that_compares_with_something_else_or_by_other_rules_is_another_guard() {
        let beside = Guard { change: ChangeId(1), judgement: Judgement::default(), baseline: None };
        let before = Guard { baseline: Some(ArmFigures::default()), ..beside.clone() };
        let stricter = Guard { judgement: Judgement { exposure: Some(1), ..Judgement::default() }, ..beside.clone() };
        let switch = Switch::new(&beside, true);
        assert!(switch.serves(&beside));
        assert!(!switch.serves(&before) && !switch.serves(&stricter));
    }

    #[test]
    fn with_very_many_guards_the_evidence_of_each_is_shown_in_its_turn() {
        let mut bench = Bench {
            table: Arc::default(),
            tests: BTreeMap::new(),
            tell: mpsc::channel(1).0,
            shown: Instant::now(),
            turn: ChangeId(0),
        };
        for change in 1..=3 * SHOW.1 as u64 {
            let mut seat = seat();
            seat.observe(unit(ArmRole::Running, false));
            bench.tests.insert(ChangeId(change), seat);
        }
        let shown =
            |bench: &Bench| bench.tests.values().filter(|seat| seat.switch.evidence().running.units == 1).count();
        for round in 0..4 {
            assert_eq!(shown(&bench), round * SHOW.1);
            bench.shown = Instant::now().checked_sub(SHOW.0).unwrap();
            bench.show();
        }
        assert_eq!(bench.turn, ChangeId(0));
    }

    #[test]
    fn clients_that_do_not_keep_their_cookie_are_told_of() {
        let seat = seat();
        let told = |kept: u32, given: u32| {
            (0..kept).for_each(|_| seat.switch.count_cookie(true));
            (0..given).for_each(|_| seat.switch.count_cookie(false));
            seat.show();
            seat.switch.evidence().cookies_not_kept
        };
        assert_eq!(told(0, 199), None, "too few to say");
        assert_eq!(told(9, 1), Some(200));
        assert_eq!(told(2, 0), None, "some do");
    }
}
