//! The ledger of this installation: opened, folded to the present state, and kept by the event loop.

use crate::event_loop::Keeper;
use control::{Entry, FOLD_VERSION, State};
use ledger::{Numbering, Store, TreeHead, cbor, store as ledger_store};
use model::{Digest, Seq, Time};
use store::{Ledger, Place, Snapshot};

/// How many entries are read at once when they are folded.
const PAGE: usize = 4096;

/// The ledger on disk, as the loop keeps it.
pub(crate) struct OnDisk(Ledger);

/// An opened ledger with what it folds to.
pub(crate) struct Opened {
    /// To append to.
    pub(crate) store: OnDisk,
    /// Where it ends.
    pub(crate) numbering: Numbering,
    /// What it folds to.
    pub(crate) state: State,
    /// When its last entry was recorded.
    pub(crate) last: Option<Time>,
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be opened to write.
    #[error("the ledger cannot be opened")]
    Open(#[source] store::Error),
    /// It cannot be read.
    #[error("the ledger cannot be read")]
    Read(#[source] ledger_store::Error),
    /// An entry is of a version this program does not know, or does not follow.
    #[error("entry {seq} of the ledger cannot be understood by this version of Quarterdeck")]
    Entry {
        /// Which entry.
        seq: Seq,
        /// Why.
        #[source]
        source: ledger::Error,
    },
}

/// Opens the ledger in a place and folds it, from the latest usable snapshot on.
///
/// # Errors
/// When it is in use, damaged, or not what was signed; nothing was changed then.
pub(crate) fn open(place: &Place) -> Result<Opened, Error> {
    let store = Ledger::open(place).map_err(Error::Open)?;
    let (mut state, mut numbering) = match store.latest_snapshot(FOLD_VERSION) {
        Some(snapshot) => match cbor::from_slice::<State>(&snapshot.blob) {
            Ok(state) => (state, snapshot.numbering),
            Err(error) => {
                tracing::warn!(%error, "a snapshot cannot be read; folding from the first entry");
                (State::default(), Numbering::default())
            }
        },
        None => (State::default(), Numbering::default()),
    };
    let end = store.head().size;
    while numbering.next().0 < end {
        let page = store.read_from(numbering.next(), PAGE).map_err(Error::Read)?;
        if page.is_empty() {
            break;
        }
        for bytes in page {
            let seq = numbering.next();
            let entry: Entry = ledger::decode(&bytes).map_err(|source| Error::Entry { seq, source })?;
            numbering.accept(&entry).map_err(|gap| Error::Entry { seq, source: gap.into() })?;
            control::apply(&mut state, &entry);
        }
    }
    let last = (end > 0).then_some(state.recorded_at);
    Ok(Opened { store: OnDisk(store), numbering, state, last })
}

impl Store for OnDisk {
    fn head(&self) -> TreeHead {
        self.0.head()
    }

    fn append(&mut self, at: Seq, batch: &[Vec<u8>]) -> Result<TreeHead, ledger_store::Error> {
        self.0.append(at, batch)
    }

    fn read_from(&self, from: Seq, limit: usize) -> Result<Vec<Vec<u8>>, ledger_store::Error> {
        self.0.read_from(from, limit)
    }
}

impl Keeper for OnDisk {
    fn sign(&mut self) -> Result<(), String> {
        if self.0.stopped().is_some() || self.0.published() == self.0.head() {
            return Ok(());
        }
        self.0.checkpoint().map(drop).map_err(|error| super::in_full(&error))
    }

    fn keep_snapshot(&mut self, state: &State, numbering: &Numbering) {
        if self.0.stopped().is_some() || numbering.next().0 != self.0.head().size {
            return;
        }
        let blob = match cbor::to_vec(state) {
            Ok(blob) => blob,
            Err(error) => return tracing::warn!(%error, "no snapshot was made; the next start takes a little longer"),
        };
        let snapshot = Snapshot {
            fold_version: FOLD_VERSION,
            state_hash: Digest::of(&blob),
            frontier: self.0.frontier().clone(),
            numbering: numbering.clone(),
            blob,
        };
        if let Err(error) = self.0.put_snapshot(&snapshot) {
            tracing::warn!(
                error = super::in_full(&error),
                "no snapshot was kept; the next start takes a little longer"
            );
        }
    }
}
