//! The loop: everything that can make Quarterdeck do something comes in here as one [`Event`], and everything it does
//! goes out from here.
//!
//! One turn takes the events that are waiting, decides on each against a state that runs ahead of the ledger, appends
//! what was decided in one go, and only when that is durable folds it into the state that others see, answers those who
//! asked, and hands the planned actions to the drivers. When the ledger takes nothing, what ran ahead is thrown away:
//! nothing was done, nobody was told otherwise, and what followed from an observation follows again at the next turn.
//!
//! It runs on a thread of its own and owns the store, the state and the observation. It never waits for a driver.

use crate::serve::clock::Clock;
use api::{
    Asked, LoopEnd, Rejected, Snapshot,
    message::{Afterwards, Submitted},
};
use control::{Code, Entry, Input, Observed, Planned, Refusal, State, changes_of};
use ledger::{MAX_BATCH, Numbering, Store};
use model::{ChangeId, Evidence, InstanceSeen, ProxyReport};
use policy::Policy;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many events may wait. Whoever sends more waits, or is told that Quarterdeck is busy.
pub(crate) const QUEUE: usize = 1024;
/// How many rounds of consequences one turn follows; the rest follows at the next.
const ROUNDS: usize = 32;

/// Everything that can make the loop turn.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody asks for something.
    Command(Box<Asked>),
    /// The driver sees this.
    Instances(Vec<InstanceSeen>),
    /// The data plane counted this.
    Report(Box<ProxyReport>),
    /// A guard in the data plane has tripped.
    Tripped(ChangeId, Box<Evidence>),
    /// The link to the data plane is gone.
    ProxyLost,
    /// Some time has passed.
    Tick,
    /// End, once everything before this is durable. What runs goes on, or is stopped by whoever sends this.
    End(Afterwards),
}

/// A store that also signs what it has and keeps snapshots.
pub(crate) trait Keeper: Store + Send {
    /// Signs the present head, if it was not signed yet.
    ///
    /// # Errors
    /// A text for people: why the ledger must not go on.
    fn sign(&mut self) -> Result<(), String>;

    /// Keeps a snapshot of the state after all entries there are. Snapshots can be lost; a failure is only logged.
    fn keep_snapshot(&mut self, state: &State, numbering: &Numbering);
}

/// What leaves the loop.
pub(crate) struct Outlets {
    /// The state and the observation, after every turn.
    pub(crate) readers: LoopEnd,
    /// What to do. Called with everything in which the world differs from what is intended.
    pub(crate) perform: Box<dyn FnMut(Vec<Planned>) + Send>,
}

/// The loop, before it runs.
pub(crate) struct EventLoop<S> {
    /// Where the ledger is kept.
    pub(crate) store: S,
    /// Where it ends.
    pub(crate) numbering: Numbering,
    /// What it folds to.
    pub(crate) state: State,
    /// The rules.
    pub(crate) policy: Arc<Policy>,
    /// The clock.
    pub(crate) clock: Clock,
    /// The way out.
    pub(crate) outlets: Outlets,
}

/// How many entries may pass before the next snapshot.
const SNAPSHOT_EVERY: u64 = 10_000;

impl<S: Keeper> EventLoop<S> {
    /// Turns until an [`Event::End`], or until nobody can send any more. Returns the store, so that it is closed by its owner.
    pub(crate) fn run(mut self, mut events: mpsc::Receiver<Event>) -> S {
        let mut observed = Observed::default();
        let mut snapshot_at = self.numbering.next().0;
        // By how much the clock was stepped and the deadlines in the ledger were not: until that is durable.
        let mut owed_ms = 0_i64;
        // Why the last append failed. Only one that succeeds shows that the reason is gone.
        let mut refusing = None;
        self.publish(&observed, None);
        while let Some(first) = events.blocking_recv() {
            let tick = matches!(first, Event::Tick);
            if let Some(by_ms) = self.clock.stepped() {
                tracing::warn!(by_ms, "the machine's clock was set");
                owed_ms = by_ms.saturating_add(owed_ms);
            }
            let length = self.numbering.next().0;
            let mut turn = Turn::begin(&self.state, &self.numbering, &self.policy, &mut observed, &mut self.clock);
            if owed_ms != 0 {
                // Before anything that happens by the new time.
                turn.record(&Input::ClockStepped(owed_ms));
            }
            let mut end = turn.take(first);
            while !end && turn.groups.len() <= 1 {
                let Ok(next) = events.try_recv() else { break };
                end = turn.take(next);
            }
            if !end {
                turn.follow();
            }
            let Turn { groups, waiting, .. } = turn;
            let outcome = self.commit(&groups);
            if outcome.length > length {
                owed_ms = 0;
            }
            if !groups.is_empty() && refusing != outcome.stopped {
                refusing.clone_from(&outcome.stopped);
                match &refusing {
                    Some(why) => tracing::error!(why, "the ledger takes no entries; services and their traffic go on"),
                    None => tracing::info!("the ledger takes entries again"),
                }
            }
            self.publish(&observed, refusing.clone());
            answer(waiting, &outcome);
            if !end {
                (self.outlets.perform)(control::plan(&self.state, &observed, self.clock.now()));
            }
            if tick || end {
                self.sign();
            }
            if self.numbering.next().0 >= snapshot_at + SNAPSHOT_EVERY || end {
                self.store.keep_snapshot(&self.state, &self.numbering);
                snapshot_at = self.numbering.next().0;
            }
            if end {
                break;
            }
        }
        self.store
    }

    /// Makes entries durable, each group in one commit, and folds them in. Tells how many there are then, and what
    /// stopped the rest.
    fn commit(&mut self, groups: &[Group]) -> Outcome {
        for Group { entries, encoded } in groups {
            if let Err(error) = self.store.append(self.numbering.next(), encoded) {
                return Outcome { length: self.numbering.next().0, stopped: Some(error.to_string()) };
            }
            for entry in entries {
                accept(&mut self.numbering, entry);
                control::apply(&mut self.state, entry);
            }
        }
        Outcome { length: self.numbering.next().0, stopped: None }
    }

    fn publish(&mut self, observed: &Observed, refusing: Option<String>) {
        let length = self.numbering.next().0;
        let (state, now) = (self.state.clone(), self.clock.now());
        self.outlets.readers.publish(Snapshot { state, observed: observed.clone(), now, length, refusing });
    }

    fn sign(&mut self) {
        if let Err(why) = self.store.sign() {
            tracing::error!(why, "the ledger could not be signed");
        }
    }
}

/// How an append went.
struct Outcome {
    length: u64,
    stopped: Option<String>,
}

/// Entries that become durable together or not at all.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    encoded: Vec<Vec<u8>>,
}

/// A command whose answer rests on entries that are not durable yet: a refusal no less than a promise.
struct Waiting {
    answer: oneshot::Sender<Result<Submitted, Rejected>>,
    /// The length of the ledger that it rests on.
    rests_on: u64,
    result: Result<Submitted, Refusal>,
}

/// Counts an entry that was numbered by the same numbering a moment ago: it cannot fail, and must not be hidden if it does.
fn accept(numbering: &mut Numbering, entry: &Entry) {
    if let Err(gap) = numbering.accept(entry) {
        tracing::error!(%gap, "an entry does not follow the one before it");
    }
}

/// One turn: the state runs ahead of the ledger until its entries are durable.
struct Turn<'l> {
    policy: &'l Policy,
    observed: &'l mut Observed,
    clock: &'l mut Clock,
    state: State,
    numbering: Numbering,
    groups: Vec<Group>,
    waiting: Vec<Waiting>,
}

impl<'l> Turn<'l> {
    fn begin(
        state: &State,
        numbering: &Numbering,
        policy: &'l Policy,
        observed: &'l mut Observed,
        clock: &'l mut Clock,
    ) -> Turn<'l> {
        let (state, numbering) = (state.clone(), numbering.clone());
        Turn { policy, observed, clock, state, numbering, groups: Vec::new(), waiting: Vec::new() }
    }

    /// Takes one event. Returns whether the loop shall end.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Command(asked) => self.command(*asked),
            Event::Instances(seen) => self.observed.take_instances(seen),
            Event::Report(report) => self.observed.take_report(*report),
            Event::Tripped(change, evidence) => self.observed.take_evidence(change, *evidence),
            Event::ProxyLost => self.observed.lose_proxy(),
            // Every turn looks at the time; a tick is a turn that has no other reason.
            Event::Tick => {}
            Event::End(afterwards) => {
                if afterwards == Afterwards::Stop {
                    self.record(&Input::Halting);
                }
                return true;
            }
        }
        false
    }

    fn command(&mut self, Asked { request, answer }: Asked) {
        let decided = self.decide(&Input::Command(Box::new(request)));
        let result = decided.map(|entries| Submitted {
            changes: changes_of(&entries),
            seq: entries.iter().map(|entry| entry.seq).collect(),
        });
        self.waiting.push(Waiting { answer, rests_on: self.numbering.next().0, result });
    }

    /// Follows what was observed to its end, or for so many rounds.
    fn follow(&mut self) {
        for _ in 0..ROUNDS {
            match self.decide(&Input::Observed) {
                Ok(entries) if entries.is_empty() => return,
                Ok(_) => {}
                Err(refusal) => return self.complain(&refusal),
            }
        }
    }

    /// Decides, and folds what was decided into the state that runs ahead.
    fn decide(&mut self, input: &Input) -> Result<Vec<Entry>, Refusal> {
        let now = self.clock.now();
        let drafts = control::decide(&self.state, self.observed, self.policy, now, input)?;
        // All or nothing is encoded before anything is folded.
        let mut ahead = self.numbering.clone();
        let mut groups = Vec::new();
        for drafts in control::batches(drafts) {
            let entries = ahead.number(drafts, now);
            let encoded = entries.iter().map(ledger::encode).collect::<Result<Vec<_>, _>>().map_err(|error| {
                let hint = "make it smaller, for example its environment";
                Refusal::new(Code::Invalid, format!("it cannot be recorded: {error}"), hint)
            })?;
            entries.iter().for_each(|entry| accept(&mut ahead, entry));
            groups.push(Group { entries, encoded });
        }
        self.numbering = ahead;
        let mut recorded = Vec::new();
        for group in groups {
            for entry in &group.entries {
                control::apply(&mut self.state, entry);
            }
            recorded.extend(group.entries.iter().cloned());
            self.add(group);
        }
        Ok(recorded)
    }

    /// Lets a group be committed together with the last one, if both fit into one commit.
    fn add(&mut self, mut group: Group) {
        match self.groups.last_mut() {
            Some(last) if last.entries.len() + group.entries.len() <= MAX_BATCH => {
                last.entries.append(&mut group.entries);
                last.encoded.append(&mut group.encoded);
            }
            Some(_) | None => self.groups.push(group),
        }
    }

    /// Decides on what nobody waits for an answer to.
    fn record(&mut self, input: &Input) {
        if let Err(refusal) = self.decide(input) {
            self.complain(&refusal);
        }
    }

    fn complain(&self, refusal: &Refusal) {
        tracing::error!(%refusal, "what follows from an observation could not be recorded");
    }
}

/// Answers those whose answers rest on what is durable, and tells the others that nothing was done.
fn answer(waiting: Vec<Waiting>, outcome: &Outcome) {
    for Waiting { answer, rests_on, result } in waiting {
        let result = match &outcome.stopped {
            Some(why) if rests_on > outcome.length => Err(Rejected::Unavailable(why.clone())),
            Some(_) | None => result.map_err(Rejected::Refusal),
        };
        // Whoever asked may have gone away; then nobody is left to be told.
        drop(answer.send(result));
    }
}
