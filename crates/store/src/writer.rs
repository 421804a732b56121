//! The one writer of a ledger: appends, and signs what it has appended.

use crate::database::Database;
use crate::head::{self, Head};
use crate::place::sync_dir;
use crate::snapshot::{self, Snapshot};
use crate::{Error, Place, Reader, Wrong, key};
use ledger::note::{Signer, Verifier};
use ledger::store::{self, MAX_BATCH, Store};
use ledger::tree::proof;
use ledger::{Frontier, MAX_ENTRY_BYTES, TreeHead, checkpoint, leaf_hash};
use model::Seq;
use std::fs::File;

/// How many entries are checked against their hashes whenever a ledger is opened to be written: the newest ones, so that
/// opening takes about a second at most. [`crate::verify_live`] checks all, beside the writer.
pub const CHECKED_AT_OPEN: u64 = 1_000_000;

/// A ledger on disk, opened to write. Only one can be open at a time.
#[derive(Debug)]
pub struct Ledger {
    place: Place,
    database: Database,
    signer: Signer,
    frontier: Frontier,
    head: Head,
    stopped: Option<String>,
    /// Held as long as the ledger is open.
    _lock: File,
}

impl Ledger {
    /// Opens a ledger to write it; makes a new one where there is none.
    ///
    /// # Errors
    /// When another process writes it; when it is not what was signed ([`Error::Behind`], [`Error::Forked`],
    /// [`Error::HeadMissing`], [`Error::Elsewhere`]); when one of its newest entries is not what was recorded
    /// ([`Error::Damaged`], which names it); when a file cannot be used. Nothing was changed then, and [`Reader::open`]
    /// may still succeed.
    pub fn open(place: &Place) -> Result<Ledger, Error> {
        let lock = place.lock()?;
        let database = Database::open(&place.database())?;
        let size = database.size()?;
        let signer = match key::load(place)? {
            Some(signer) => signer,
            None if size == 0 && !place.head.exists() => key::create(place)?,
            None => return Err(Error::KeyMissing(place.key())),
        };
        let head = head::read(place, &signer.verifier())?;
        let head = match head {
            Some(head) => head,
            None if size == 0 => begin(place, &signer)?,
            None => return Err(Error::HeadMissing { path: place.head.clone(), entries: size }),
        };
        let frontier = check_fit(place, &database, size, &head)?;
        Ok(Ledger { place: place.clone(), database, signer, frontier, head, stopped: None, _lock: lock })
    }

    /// Whether [`Ledger::open`] would take the ledger that is there: checks the same, beside its writer too, and changes
    /// nothing. Gives how many entries it has.
    ///
    /// # Errors
    /// As [`Ledger::open`], but never [`Error::Held`]; [`Error::Absent`] when there is none.
    pub fn check(place: &Place) -> Result<u64, Error> {
        let database = Database::open_to_read(&place.database())?;
        let signer = key::read(place)?;
        // Read before the database: what is signed is never ahead of it.
        let head = signer.as_ref().map(|signer| head::read(place, &signer.verifier())).transpose()?.flatten();
        database.as_of_now(|| {
            let size = database.size()?;
            match (signer, head) {
                (None, _) => Err(Error::KeyMissing(place.key())),
                (Some(_), Some(head)) => check_fit(place, &database, size, &head).map(|_| size),
                (Some(_), None) if size == 0 => Ok(0),
                (Some(_), None) => Err(Error::HeadMissing { path: place.head.clone(), entries: size }),
            }
        })
    }

    /// Takes a ledger whose head file or key does not fit it, such as a restored older copy, as what it is now: it is
    /// verified as a whole, gets a new key and with it a new name, and can be opened again. States signed with the old
    /// key remain valid for the old history; the old keys are kept beside the new ones.
    ///
    /// # Errors
    /// When it is damaged, or in use.
    pub fn adopt(place: &Place) -> Result<(), Error> {
        let database = Database::open_to_read(&place.database())?;
        let _lock = place.lock()?;
        let verified = crate::reader::verify_database(place, &database, None, |_| ())?;
        key::retire(place)?;
        let signer = key::create(place)?;
        sign(place, &signer, verified.head)?;
        Ok(())
    }

    /// Signs the present state and publishes it in the head file; gives the checkpoint, a signed note. When nothing was
    /// appended since, the last one is given again.
    ///
    /// # Errors
    /// When the head file is no longer the one that was written here and not the beginning of this ledger either, or
    /// cannot be written. Nothing new is signed then.
    pub fn checkpoint(&mut self) -> Result<&str, Error> {
        let on_disk = head::read(&self.place, &self.signer.verifier())?;
        match on_disk {
            Some(on_disk) if on_disk == self.head => {}
            Some(on_disk) => {
                // A write that failed half-way may have reached the disk all the same: then it is ours.
                check_signed(&self.place, &self.database, self.frontier.size(), &on_disk.tree)?;
                self.head = on_disk;
            }
            None => {
                return Err(Error::HeadMissing { path: self.place.head.clone(), entries: self.frontier.size() });
            }
        }
        if self.head.tree != self.frontier.head() {
            self.head = sign(&self.place, &self.signer, self.frontier.head())?;
        }
        Ok(&self.head.checkpoint)
    }

    /// The last signed state.
    pub fn published(&self) -> TreeHead {
        self.head.tree
    }

    /// The key that verifies what is signed here. It may be given to anybody.
    pub fn verifier(&self) -> Verifier {
        self.signer.verifier()
    }

    /// Why no more is appended, if that is so.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// A reader of this ledger, for another thread.
    ///
    /// # Errors
    /// When the database cannot be opened once more.
    pub fn reader(&self) -> Result<Reader, Error> {
        Reader::open(&self.place)
    }

    /// Keeps a snapshot of the state that the first `snapshot.frontier.size()` entries fold to. It is disposable: the
    /// newest two are kept.
    ///
    /// # Errors
    /// When it cannot be written. Nothing depends on it.
    pub fn put_snapshot(&self, snapshot: &Snapshot) -> Result<(), Error> {
        snapshot::put(&self.place, snapshot)
    }

    /// The newest snapshot of this version of the fold that belongs to this ledger. Those that are damaged or do not fit
    /// are passed over.
    pub fn latest_snapshot(&self, fold_version: u32) -> Option<Snapshot> {
        snapshot::latest(&self.place, &self.database, self.frontier.size(), fold_version)
    }

    /// The right edge of the tree, as snapshots need it.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &rusqlite::Connection {
        self.database.connection()
    }
}

impl Store for Ledger {
    fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    fn append(&mut self, at: Seq, batch: &[Vec<u8>]) -> Result<TreeHead, store::Error> {
        if let Some(why) = &self.stopped {
            return Err(store::Error::Stopped { why: why.clone() });
        }
        if batch.len() > MAX_BATCH {
            return Err(store::Error::TooMany(batch.len()));
        }
        if let Some(long) = batch.iter().find(|bytes| bytes.len() > MAX_ENTRY_BYTES) {
            return Err(store::Error::TooLong(long.len()));
        }
        let actual = Seq(self.frontier.size());
        if at != actual {
            return Err(store::Error::Moved { expected: at, actual });
        }
        match self.database.append(&self.frontier, batch) {
            Ok(frontier) => {
                self.frontier = frontier;
                Ok(self.frontier.head())
            }
            Err(error) if is_full(&error) && self.database.is_idle() => Err(store::Error::DiskFull),
            Err(error) => {
                let why = error.to_string();
                tracing::error!(%why, "the ledger has stopped");
                self.stopped = Some(why.clone());
                Err(store::Error::Stopped { why })
            }
        }
    }

    fn read_from(&self, from: Seq, limit: usize) -> Result<Vec<Vec<u8>>, store::Error> {
        crate::reader::read(&self.place, &self.database, self.frontier.size(), from, limit)
            .map_err(|error| store::Error::Unreadable(Box::new(error)))
    }
}

/// No room for a write, which SQLite undoes; not a sync that failed for want of room, of which nobody knows the outcome.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

fn sign(place: &Place, signer: &Signer, tree: TreeHead) -> Result<Head, Error> {
    head::write(place, tree, checkpoint::sign(&tree, signer))
}

/// Signs the state of no entries: from the first entry on, a missing head file means that it was lost.
fn begin(place: &Place, signer: &Signer) -> Result<Head, Error> {
    if let Some(parent) = place.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_dir(parent)?;
    }
    sign(place, signer, Frontier::default().head())
}

/// Checks that the ledger may go on from what was signed; gives the right edge of its tree.
fn check_fit(place: &Place, database: &Database, size: u64, head: &Head) -> Result<Frontier, Error> {
    if head.is_elsewhere() {
        return Err(Error::Elsewhere { dir: place.dir.clone() });
    }
    // An older copy is named as such before it is looked at, a damaged one before it is compared.
    check_not_behind(place, size, &head.tree)?;
    let frontier = check_newest(place, database, size, CHECKED_AT_OPEN)?;
    check_signed(place, database, size, &head.tree)?;
    Ok(frontier)
}

fn check_not_behind(place: &Place, size: u64, signed: &TreeHead) -> Result<(), Error> {
    if signed.size > size {
        return Err(Error::Behind { dir: place.dir.clone(), has: size, signed: signed.size });
    }
    Ok(())
}

/// Checks that the ledger begins with what was signed.
fn check_signed(place: &Place, database: &Database, size: u64, signed: &TreeHead) -> Result<(), Error> {
    check_not_behind(place, size, signed)?;
    let root = proof::range_root(0, signed.size, &mut |node| database.node(node))?;
    if root == signed.root { Ok(()) } else { Err(Error::Forked { dir: place.dir.clone(), signed: signed.size }) }
}

/// Checks that so many of the newest entries are what was recorded; gives the right edge of the tree, which they lead to.
fn check_newest(place: &Place, database: &Database, size: u64, newest: u64) -> Result<Frontier, Error> {
    let damaged = |wrong| Error::Damaged { dir: place.dir.clone(), wrong };
    let first = size.saturating_sub(newest);
    let mut frontier = Frontier::from_nodes(first, |node| database.node(node))?;
    database.for_each(first, size, |seq, recorded, bytes| {
        let expected = Seq(frontier.size());
        if seq != expected {
            return Err(damaged(Wrong::Missing { seq: expected }));
        }
        let found = leaf_hash(bytes);
        if found != recorded {
            return Err(damaged(Wrong::Altered { seq, recorded, found }));
        }
        frontier.push(found);
        Ok(())
    })?;
    if frontier.size() != size {
        return Err(damaged(Wrong::Missing { seq: Seq(frontier.size()) }));
    }
    // What is appended next is hashed together with the recorded subtrees, so they must fit too.
    if Frontier::from_nodes(size, |node| database.node(node))? != frontier {
        return Err(damaged(Wrong::Subtree { first: Seq(first), last: Seq(size.saturating_sub(1)) }));
    }
    Ok(frontier)
}

#[cfg(test)]
mod tests;
