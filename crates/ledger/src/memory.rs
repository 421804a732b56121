//! A store in memory, for the simulator: it loses nothing, and fails exactly as it is told to.

use crate::{Frontier, MAX_BATCH, MAX_ENTRY_BYTES, Store, TreeHead, leaf_hash, store::Error};
use model::Seq;

/// What goes wrong at the next append.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// There is no room, until [`Memory::heal`].
    DiskFull,
    /// The sync fails and the store stops. The entries had not reached the disk.
    SyncFailsAndLoses,
    /// The sync fails and the store stops. The entries had reached the disk all the same.
    SyncFailsAndKeeps,
}

/// A store in memory. A clone is a copy of the disk.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    entries: Vec<Vec<u8>>,
    frontier: Frontier,
    fault: Option<Fault>,
    stopped: bool,
}

impl Memory {
    /// An empty ledger.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Makes the next append fail.
    pub fn inject(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Takes an injected fault away. A store that has stopped remains stopped.
    pub fn heal(&mut self) {
        self.fault = None;
    }

    /// What a restarted process finds: the same disk, opened anew.
    #[must_use]
    pub fn reopen(self) -> Memory {
        Memory { fault: None, stopped: false, ..self }
    }

    fn keep(&mut self, batch: &[Vec<u8>]) {
        for bytes in batch {
            self.frontier.push(leaf_hash(bytes));
            self.entries.push(bytes.clone());
        }
    }
}

impl Store for Memory {
    fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    fn append(&mut self, at: Seq, batch: &[Vec<u8>]) -> Result<TreeHead, Error> {
        let stop = || Error::Stopped { why: "injected sync failure".into() };
        if self.stopped {
            return Err(stop());
        }
        if batch.len() > MAX_BATCH {
            return Err(Error::TooMany(batch.len()));
        }
        if let Some(long) = batch.iter().find(|bytes| bytes.len() > MAX_ENTRY_BYTES) {
            return Err(Error::TooLong(long.len()));
        }
        let actual = Seq(self.frontier.size());
        if at != actual {
            return Err(Error::Moved { expected: at, actual });
        }
        match self.fault {
            Some(Fault::DiskFull) => Err(Error::DiskFull),
            Some(fault @ (Fault::SyncFailsAndLoses | Fault::SyncFailsAndKeeps)) => {
                self.stopped = true;
                if fault == Fault::SyncFailsAndKeeps {
                    self.keep(batch);
                }
                Err(stop())
            }
            None => {
                self.keep(batch);
                Ok(self.head())
            }
        }
    }

    fn read_from(&self, from: Seq, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        let from = usize::try_from(from.0).unwrap_or(usize::MAX);
        Ok(self.entries.iter().skip(from).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests;
