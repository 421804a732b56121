//! What the ledger asks of the place where it is kept. Two keep this promise: [`crate::Memory`] for the simulator and
//! `store::Ledger` on disk.

use crate::{MAX_ENTRY_BYTES, TreeHead};
use model::Seq;

/// How many entries one append may have: what one group commit holds.
pub const MAX_BATCH: usize = 256;

/// An ordered, append-only list of stored entries with one writer.
pub trait Store {
    /// Where the ledger ends: its size and the root of its tree. Everything below it is durable.
    fn head(&self) -> TreeHead;

    /// Appends at most [`MAX_BATCH`] stored entries, the first of which has position `at`.
    ///
    /// When it returns `Ok`, all of them are durable and the head is the one returned. When it returns an error, none is
    /// part of the ledger that this store goes on with; after [`Error::Stopped`] it is unknown whether they are on disk,
    /// and the store must be opened again, which tells.
    ///
    /// # Errors
    /// [`Error::Moved`], [`Error::TooMany`], [`Error::TooLong`] and [`Error::DiskFull`] change nothing and the next append may succeed.
    /// After [`Error::Stopped`] every append is refused.
    fn append(&mut self, at: Seq, batch: &[Vec<u8>]) -> Result<TreeHead, Error>;

    /// The stored bytes of at most `limit` entries from `from` on, in order, without gaps; fewer only at the end.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    fn read_from(&self, from: Seq, limit: usize) -> Result<Vec<Vec<u8>>, Error>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger does not end where the caller thinks.
    #[error("the ledger ends at {actual}, not at {expected}: something else was appended in between")]
    Moved {
        /// Where the caller wanted to append.
        expected: Seq,
        /// Where the ledger ends.
        actual: Seq,
    },
    /// A batch is too long.
    #[error("{0} entries are too many for one append; at most {MAX_BATCH} are allowed")]
    TooMany(usize),
    /// An entry is too long.
    #[error("an entry of {0} bytes is longer than the {MAX_ENTRY_BYTES} allowed")]
    TooLong(usize),
    /// No room. Nothing was written and nothing is lost.
    #[error(
        "the disk is full, so the ledger takes no entry; nothing recorded is lost. Make room, then repeat what you wanted"
    )]
    DiskFull,
    /// An append failed in a way that leaves unknown what is on disk. It is not retried: after a failed fsync the kernel
    /// may report success for data that it has dropped.
    #[error(
        "the ledger has stopped because it could not be made durable ({why}); restart Quarterdeck once the disk is sound again"
    )]
    Stopped {
        /// What failed.
        why: String,
    },
    /// What is stored could not be read.
    #[error("the ledger could not be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
