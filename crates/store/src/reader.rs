//! Reading a ledger beside its writer, from other threads and processes, also one that may not be written any more.
//! A reader changes nothing and needs no lock.

use crate::database::Database;
use crate::{Error, Place, Verified, Wrong, head, key};
use ledger::note::Verifier;
use ledger::{TreeHead, tile, tree::proof, verify};
use model::{Digest, Seq};

/// After how many entries long work says how far it is.
pub(crate) const PROGRESS: u64 = 4096;

/// A ledger on disk, opened to read.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    database: Database,
}

impl Reader {
    /// Opens a ledger to read it. What is in it is not checked; [`verify_live`] does.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn open(place: &Place) -> Result<Reader, Error> {
        Ok(Reader { place: place.clone(), database: Database::open_to_read(&place.database())? })
    }

    /// How many entries there are now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn size(&self) -> Result<u64, Error> {
        self.database.size()
    }

    /// The stored bytes of at most `limit` entries from `from` on, in order, without gaps.
    ///
    /// # Errors
    /// When one cannot be read or is missing.
    pub fn read_from(&self, from: Seq, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
        self.database.as_of_now(|| read(&self.place, &self.database, self.database.size()?, from, limit))
    }

    /// The last signed state with its checkpoint, a signed note; `None` when none was ever signed.
    ///
    /// # Errors
    /// When the head file is not one of this ledger.
    pub fn published(&self) -> Result<Option<(TreeHead, String)>, Error> {
        let head = head::read(&self.place, &self.verifier()?)?;
        Ok(head.map(|head| (head.tree, head.checkpoint)))
    }

    /// The key that verifies what is signed here.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn verifier(&self) -> Result<Verifier, Error> {
        key::load_verifier(&self.place)
    }

    /// The proof that the entry is among the first `size` ones.
    ///
    /// # Errors
    /// [`Error::Beyond`] when the ledger does not have that many.
    pub fn prove_inclusion(&self, seq: Seq, size: u64) -> Result<Vec<Digest>, Error> {
        self.check_size(size.max(seq.0.saturating_add(1)))?;
        proof::inclusion(seq.0, size, |node| self.database.node(node))
    }

    /// The proof that the first `old` entries are the beginning of the first `new` ones.
    ///
    /// # Errors
    /// [`Error::Beyond`] when the ledger does not have that many.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, Error> {
        self.check_size(new.max(old))?;
        proof::consistency(old, new, |node| self.database.node(node))
    }

    fn check_size(&self, asked: u64) -> Result<(), Error> {
        let size = self.size()?;
        if asked > size { Err(Error::Beyond { asked, size }) } else { Ok(()) }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }
}

/// Reads entries below `size`; one that is missing is an error, not an end.
pub(crate) fn read(
    place: &Place,
    database: &Database,
    size: u64,
    from: Seq,
    limit: usize,
) -> Result<Vec<Vec<u8>>, Error> {
    let end = size.min(from.0.saturating_add(limit as u64));
    let mut entries = Vec::new();
    let missing = |read: usize| Error::Damaged {
        dir: place.dir.clone(),
        wrong: Wrong::Missing { seq: Seq(from.0 + read as u64) },
    };
    database.for_each(from.0, end, |seq, _, bytes| {
        if seq.0 != from.0 + entries.len() as u64 {
            return Err(missing(entries.len()));
        }
        entries.push(bytes.to_vec());
        Ok(())
    })?;
    if (entries.len() as u64) < end.saturating_sub(from.0) {
        return Err(missing(entries.len()));
    }
    Ok(entries)
}

/// Checks every entry of a ledger, and all of them against the last signed state, also while it is written. The
/// signature must be by `trusted` if a key is given; otherwise the key beside the database is taken, which shows that
/// the ledger is as it was signed, but not by whom. `progress` is told from time to time how many were checked.
///
/// # Errors
/// [`Error::Damaged`] with the first thing that is wrong; [`Error::OtherKey`]; or why it cannot be read.
pub fn verify_live(place: &Place, trusted: Option<&Verifier>, progress: impl FnMut(u64)) -> Result<Verified, Error> {
    let reader = Reader::open(place)?;
    key::check_trusted(&reader.verifier()?, trusted)?;
    // Read before the database: what is signed is never ahead of it.
    let signed = reader.published()?.map(|(tree, _)| tree);
    verify_database(place, &reader.database, signed, progress)
}

pub(crate) fn verify_database(
    place: &Place,
    database: &Database,
    signed: Option<TreeHead>,
    mut progress: impl FnMut(u64),
) -> Result<Verified, Error> {
    let damaged = |wrong| Error::Damaged { dir: place.dir.clone(), wrong };
    database.as_of_now(|| {
        let mut verifier = verify::Verifier::new(signed);
        database.for_each(0, database.size()?, |seq, leaf, bytes| {
            if seq != verifier.next() {
                return Err(damaged(Wrong::Missing { seq: verifier.next() }));
            }
            let recorded = |node| match tile::level_with(node) {
                Some(1..) => database.node(node).map(Some),
                Some(0) | None => Ok(None),
            };
            verifier.check_with(bytes, &leaf, recorded)?.map_err(damaged)?;
            if verifier.next().0.is_multiple_of(PROGRESS) {
                progress(verifier.next().0);
            }
            Ok(())
        })?;
        verifier.finish().map_err(damaged)
    })
}

#[cfg(test)]
mod tests;
