//! The control plane as a process: the loop that `qd serve` is, around the pure core and a ledger in memory.
//!
//! It decides speculatively: what is drafted is folded into a working state at once, so that the next decision sees it,
//! and is published only when it is durable. When it cannot be made durable, the working state is dropped and whoever
//! asked is told so. Actions are planned from the published state only.

use control::{Entry, Input, Observed, Planned, Refusal, Request, State};
use ledger::{MAX_BATCH, Memory, Numbering, Store};
use model::{Seq, Time};
use policy::Policy;

/// How many rounds of consequences one turn may have. Far more than any real turn needs.
const MOST_ROUNDS: usize = 200;

/// How a command was answered.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    /// It is recorded; these are its entries.
    Done(Vec<Entry>),
    /// It cannot be followed now.
    Refused(Refusal),
    /// It could not be recorded, and nothing of it has happened.
    NotRecorded(String),
}

/// The fold of the ledger up to some entry.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Fold {
    /// The state.
    pub(crate) state: State,
    /// Where the ledger and its streams end.
    pub(crate) numbering: Numbering,
}

impl Fold {
    /// Folds what the disk has beyond what is folded already.
    ///
    /// # Errors
    /// What is wrong with the ledger.
    pub(crate) fn catch_up(&mut self, disk: &Memory) -> Result<Vec<Entry>, String> {
        let mut new = Vec::new();
        let stored = disk.read_from(self.numbering.next(), usize::MAX).map_err(|e| e.to_string())?;
        for bytes in stored {
            let entry: Entry = ledger::decode(&bytes).map_err(|e| e.to_string())?;
            self.numbering.accept(&entry).map_err(|e| e.to_string())?;
            control::apply(&mut self.state, &entry);
            new.push(entry);
        }
        Ok(new)
    }

    /// As it is kept on disk to start faster.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub(crate) fn snapshot(&self) -> Result<String, String> {
        serde_json::to_string(&(&self.state, &self.numbering)).map_err(|e| e.to_string())
    }

    /// From a snapshot.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn restore(text: &str) -> Result<Fold, String> {
        let (state, numbering) = serde_json::from_str(text).map_err(|e| e.to_string())?;
        Ok(Fold { state, numbering })
    }
}

/// The process.
#[derive(Clone, Debug)]
pub(crate) struct Serve {
    /// The ledger.
    pub(crate) disk: Memory,
    /// What was last reported.
    pub(crate) observed: Observed,
    /// What is durable, and so what everybody may see.
    pub(crate) published: Fold,
    working: Fold,
    pending: Vec<Vec<u8>>,
    /// How many entries one append has at most, but for those that must not be separated.
    pub(crate) commit_size: usize,
    /// It dies as soon as the ledger has this many entries, before it acts on them.
    pub(crate) dies_at: Option<u64>,
    /// Why it takes no more commands: the ledger has stopped.
    pub(crate) stopped: Option<String>,
    /// The most rounds of consequences that any turn had.
    pub(crate) rounds: usize,
}

/// What came of a turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// One for each command, in order, with the end of the ledger that it rests on.
    pub(crate) answers: Vec<(Seq, Answer)>,
    /// What to do.
    pub(crate) actions: Vec<Planned>,
    /// It died on the way.
    pub(crate) died: bool,
    /// Nothing of what has arrived was recorded. Whoever gave a command knows; what was noticed must be kept.
    pub(crate) failed: bool,
}

/// Why nothing more is recorded in this turn.
enum Stop {
    Failed(String),
    Died,
}

impl Serve {
    /// Opens a ledger, from a snapshot if there is one.
    ///
    /// # Errors
    /// What is wrong with the ledger or the snapshot.
    pub(crate) fn open(disk: Memory, snapshot: Option<&str>) -> Result<Serve, String> {
        let mut published = snapshot.map(Fold::restore).transpose()?.unwrap_or_default();
        published.catch_up(&disk)?;
        Ok(Serve {
            disk,
            observed: Observed::default(),
            working: published.clone(),
            published,
            pending: Vec::new(),
            commit_size: MAX_BATCH,
            dies_at: None,
            stopped: None,
            rounds: 0,
        })
    }

    /// One turn of the loop: everything that has arrived, what follows from it, and what to do about that.
    pub(crate) fn turn(&mut self, policy: &Policy, arrived: &[Input], now: Time) -> Turn {
        let mut turn = Turn::default();
        let recorded = match &self.stopped {
            Some(why) => Err(Stop::Failed(why.clone())),
            None => self.record_all(policy, arrived, now, &mut turn.answers),
        };
        match recorded {
            Ok(()) => {}
            Err(Stop::Died) => turn.died = true,
            Err(Stop::Failed(why)) => {
                turn.failed = true;
                self.working = self.published.clone();
                self.pending.clear();
                // Whatever rests on what could not be made durable is not so, a refusal no less than a promise.
                let durable = self.published.numbering.next();
                turn.answers.retain(|(rests_on, _)| *rests_on <= durable);
                let commands = arrived.iter().filter(|i| is_command(i)).count();
                turn.answers.resize(commands, (durable, Answer::NotRecorded(why)));
            }
        }
        if !turn.died {
            turn.actions = control::plan(&self.published.state, &self.observed, now);
        }
        turn
    }

    /// Records that everything is about to be stopped, and does nothing more.
    ///
    /// # Errors
    /// Why that is not durable.
    #[cfg(test)]
    pub(crate) fn halt(&mut self, policy: &Policy, now: Time) -> Result<(), String> {
        let halted = self.record(policy, &Input::Halting, now).and_then(|_| self.commit());
        halted.map_err(|stop| match stop {
            Stop::Failed(why) => why,
            Stop::Died => "it died".to_owned(),
        })
    }

    fn record_all(
        &mut self,
        policy: &Policy,
        arrived: &[Input],
        now: Time,
        answers: &mut Vec<(Seq, Answer)>,
    ) -> Result<(), Stop> {
        for input in arrived {
            let recorded = self.record(policy, input, now)?;
            if is_command(input) {
                let answer = recorded.map_or_else(Answer::Refused, Answer::Done);
                answers.push((self.working.numbering.next(), answer));
            }
        }
        for round in 0..MOST_ROUNDS {
            self.rounds = self.rounds.max(round);
            match self.record(policy, &Input::Observed, now)? {
                Ok(entries) if !entries.is_empty() => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.commit()
    }

    /// Decides on one input and folds what that gives into the working state.
    fn record(&mut self, policy: &Policy, input: &Input, now: Time) -> Result<Result<Vec<Entry>, Refusal>, Stop> {
        let drafts = match control::decide(&self.working.state, &self.observed, policy, now, input) {
            Ok(drafts) => drafts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut recorded = Vec::new();
        for group in control::batches(drafts) {
            if !self.pending.is_empty() && self.pending.len() + group.len() > self.commit_size {
                self.commit()?;
            }
            for entry in self.working.numbering.number(group, now) {
                let bytes = ledger::encode(&entry).map_err(|e| Stop::Failed(e.to_string()))?;
                self.working.numbering.accept(&entry).map_err(|e| Stop::Failed(e.to_string()))?;
                control::apply(&mut self.working.state, &entry);
                self.pending.push(bytes);
                recorded.push(entry);
            }
        }
        Ok(Ok(recorded))
    }

    /// Makes durable what is pending, and publishes it.
    fn commit(&mut self) -> Result<(), Stop> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let at = Seq(self.disk.head().size);
        if let Err(error) = self.disk.append(at, &self.pending) {
            let why = error.to_string();
            if matches!(error, ledger::store::Error::Stopped { .. }) {
                self.stopped = Some(why.clone());
            }
            return Err(Stop::Failed(why));
        }
        self.pending.clear();
        self.published = self.working.clone();
        if self.dies_at.is_some_and(|size| self.disk.head().size >= size) { Err(Stop::Died) } else { Ok(()) }
    }
}

fn is_command(input: &Input) -> bool {
    matches!(input, Input::Command(_))
}

/// The input that a request is.
pub(crate) fn command(request: Request) -> Input {
    Input::Command(Box::new(request))
}
