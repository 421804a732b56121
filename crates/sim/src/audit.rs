//! An outsider that reads the ledger, entry by entry as each becomes durable, and folds it on its own.

use crate::{invariants::Violation, serve::Fold};
use control::{Entry, Fact, State, change::Phase};
use ledger::{Memory, Store};
use model::ChangeId;

/// What the outsider knows so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    /// Its own fold of everything that is durable.
    pub(crate) fold: Fold,
    /// Every entry, in order.
    pub(crate) entries: Vec<Entry>,
}

/// What became durable since the outsider last looked.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The state before.
    pub(crate) before: State,
    /// The state now.
    pub(crate) after: State,
    /// The new entries.
    pub(crate) entries: Vec<Entry>,
    /// Every way a change has gone from one phase to another, one entry at a time.
    pub(crate) moves: Vec<(ChangeId, Phase, Phase)>,
}

impl Audit {
    /// Reads what is new.
    ///
    /// # Errors
    /// When a stored entry is not what it must be.
    pub(crate) fn follow(&mut self, disk: &Memory) -> Result<Step, Violation> {
        let violated = |id, why: String| Violation { id, why };
        let before = self.fold.state.clone();
        let mut moves = Vec::new();
        let from = self.fold.numbering.next();
        let stored = disk.read_from(from, usize::MAX).map_err(|e| violated("replay", e.to_string()))?;
        for bytes in &stored {
            let entry: Entry = ledger::decode(bytes).map_err(|e| violated("entry-bytes", e.to_string()))?;
            let again = ledger::encode(&entry).map_err(|e| violated("entry-bytes", e.to_string()))?;
            if again != *bytes {
                return Err(violated("entry-bytes", format!("{} has other bytes when it is written again", entry.seq)));
            }
            self.fold.numbering.accept(&entry).map_err(|e| violated("replay", e.to_string()))?;
            let change = match &entry.what {
                Fact::Change(fact) => Some(fact.change()),
                Fact::Rollout(fact) => Some(fact.change()),
                Fact::Service(_)
                | Fact::Release(_)
                | Fact::Instance(_)
                | Fact::Cache(_)
                | Fact::Sleep(_)
                | Fact::Clock(_) => None,
            };
            let phase = |state: &State| change.and_then(|id| Some((id, state.changes.get(&id)?.phase)));
            let was = phase(&self.fold.state);
            control::apply(&mut self.fold.state, &entry);
            if let (Some((id, was)), Some((_, is))) = (was, phase(&self.fold.state))
                && was != is
            {
                moves.push((id, was, is));
            }
            self.entries.push(entry);
        }
        let entries = self.entries[self.entries.len() - stored.len()..].to_vec();
        Ok(Step { before, after: self.fold.state.clone(), entries, moves })
    }
}
