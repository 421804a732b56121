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
use api::{Asked, LoopEnd, Rejected, Snapshot, message::Submitted};
use control::{Code, Entry, Input, Observed, Planned, Refusal, State, changes_of};
use ledger::{MAX_BATCH, Numbering, Store};
use model::{ChangeId, Evidence, InstanceSeen, ProxyReport, Seq};
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
    /// End, once everything before this is durable.
    End,
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
    /// Turns until [`Event::End`], or until nobody can send any more. Returns the store, so that it is closed by its owner.
    pub(crate) fn run(mut self, mut events: mpsc::Receiver<Event>) -> S {
        let mut observed = Observed::default();
        let mut snapshot_at = self.numbering.next().0;
        // Why the last append failed. Only one that succeeds shows that the reason is gone.
        let mut refusing = None;
        self.publish(&observed, None);
        while let Some(first) = events.blocking_recv() {
            let tick = matches!(first, Event::Tick);
            let mut turn = Turn::begin(&self.state, &self.numbering, &self.policy, &mut observed, &mut self.clock);
            let mut end = turn.take(first);
            while !end && turn.entries.len() < MAX_BATCH {
                let Ok(next) = events.try_recv() else { break };
                end = turn.take(next);
            }
            turn.follow();
            let Turn { entries, encoded, waiting, .. } = turn;
            let outcome = self.commit(&entries, &encoded);
            if !entries.is_empty() && refusing != outcome.stopped {
                refusing.clone_from(&outcome.stopped);
                match &refusing {
                    Some(why) => tracing::error!(why, "the ledger takes no entries; services and their traffic go on"),
                    None => tracing::info!("the ledger takes entries again"),
                }
            }
            self.publish(&observed, refusing.clone());
            answer(waiting, &outcome);
            (self.outlets.perform)(control::plan(&self.state, &observed, self.clock.now()));
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

    /// Makes entries durable and folds them in. Returns how many were made durable, and what stopped the rest.
    fn commit(&mut self, entries: &[Entry], encoded: &[Vec<u8>]) -> Outcome {
        for (entries, bytes) in entries.chunks(MAX_BATCH).zip(encoded.chunks(MAX_BATCH)) {
            if let Err(error) = self.store.append(self.numbering.next(), bytes) {
                return Outcome { length: self.numbering.next().0, stopped: Some(error.to_string()) };
            }
            for entry in entries {
                if let Err(gap) = self.numbering.accept(entry) {
                    // Numbered by the same numbering a moment ago: cannot happen, and must not be hidden if it does.
                    tracing::error!(%gap, "an entry does not follow the one before it");
                }
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

/// A command whose entries are not durable yet.
struct Waiting {
    answer: oneshot::Sender<Result<Submitted, Rejected>>,
    changes: Vec<ChangeId>,
    seqs: Vec<Seq>,
}

/// One turn: the state runs ahead of the ledger until its entries are durable.
struct Turn<'l> {
    policy: &'l Policy,
    observed: &'l mut Observed,
    clock: &'l mut Clock,
    state: State,
    numbering: Numbering,
    entries: Vec<Entry>,
    encoded: Vec<Vec<u8>>,
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
        Turn {
            policy,
            observed,
            clock,
            state,
            numbering,
            entries: Vec::new(),
            encoded: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Takes one event. Returns whether the loop shall end.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Command(asked) => self.command(*asked),
            Event::Instances(seen) => self.observed.take_instances(seen),
            Event::Report(report) => self.observed.take_report(*report),
            Event::Tripped(change, evidence) => self.observed.take_evidence(change, *evidence),
            Event::ProxyLost => self.observed.lose_proxy(),
            Event::Tick => {
                if let Some(by_ms) = self.clock.stepped() {
                    tracing::warn!(by_ms, "the machine's clock was set");
                    self.decide(&Input::ClockStepped(by_ms)).unwrap_or_else(|refusal| self.complain(&refusal));
                }
            }
            Event::End => return true,
        }
        false
    }

    fn command(&mut self, Asked { request, answer }: Asked) {
        let first = self.entries.len();
        match self.decide(&Input::Command(Box::new(request))) {
            Ok(()) => {
                let mine = &self.entries[first..];
                let (changes, seqs) = (changes_of(mine), mine.iter().map(|e| e.seq).collect());
                self.waiting.push(Waiting { answer, changes, seqs });
            }
            // Whoever asked may have gone away; then nobody is left to be told.
            Err(refusal) => drop(answer.send(Err(Rejected::Refusal(refusal)))),
        }
    }

    /// Follows what was observed to its end, or for so many rounds.
    fn follow(&mut self) {
        for _ in 0..ROUNDS {
            let before = self.entries.len();
            if let Err(refusal) = self.decide(&Input::Observed) {
                self.complain(&refusal);
                return;
            }
            if self.entries.len() == before {
                return;
            }
        }
    }

    /// Decides, and folds what was decided into the state that runs ahead.
    fn decide(&mut self, input: &Input) -> Result<(), Refusal> {
        let now = self.clock.now();
        let drafts = control::decide(&self.state, self.observed, self.policy, now, input)?;
        let entries = self.numbering.number(drafts, now);
        let encoded = entries.iter().map(ledger::encode).collect::<Result<Vec<_>, _>>();
        let encoded = encoded.map_err(|error| {
            Refusal::new(
                Code::Invalid,
                format!("it cannot be recorded: {error}"),
                "make it smaller, for example its environment",
            )
        })?;
        for entry in &entries {
            if let Err(gap) = self.numbering.accept(entry) {
                tracing::error!(%gap, "an entry does not follow the one before it");
            }
            control::apply(&mut self.state, entry);
        }
        self.entries.extend(entries);
        self.encoded.extend(encoded);
        Ok(())
    }

    fn complain(&self, refusal: &Refusal) {
        tracing::error!(%refusal, "what follows from an observation could not be recorded");
    }
}

/// Answers those whose entries are durable, and refuses the others.
fn answer(waiting: Vec<Waiting>, outcome: &Outcome) {
    for Waiting { answer, changes, seqs } in waiting {
        let durable = seqs.last().is_none_or(|last| last.0 < outcome.length);
        let result = match (&outcome.stopped, durable) {
            (Some(why), false) => Err(Rejected::Unavailable(why.clone())),
            (Some(_) | None, _) => Ok(Submitted { changes, seq: seqs }),
        };
        drop(answer.send(result));
    }
}
