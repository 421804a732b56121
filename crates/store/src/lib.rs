//! The ledger on disk.
//!
//! One directory holds one ledger: a SQLite database with the entries, the key that signs its states, the head file with
//! the last signed state, and snapshots. [`Ledger`] is its one writer, [`Reader`] any number of readers beside it, also in
//! other processes. What an entry is, how trees are hashed and what is checked is in the crate `ledger`; nothing here
//! knows a fact.
//!
//! What always holds: what was acknowledged is on disk; what is signed was acknowledged before, so the database is never
//! behind the head file; a database that is behind it, or different, is never written to and nothing is signed for it;
//! after a write that failed in an unknown way nothing more is written.
//!
//! Start reading at [`Ledger`].

mod database;
mod export;
mod head;
mod key;
mod place;
mod reader;
#[cfg(test)]
mod sample;
mod snapshot;
pub mod writer;

pub use export::verify_export;
pub use ledger::verify::{Verified, Wrong};
pub use place::Place;
pub use reader::{Reader, verify_live};
pub use snapshot::Snapshot;
pub use writer::Ledger;

use ledger::note;
use model::Seq;
use std::{io, path::PathBuf};

/// Why a ledger is not opened, not signed, or not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("could not {doing} the database {}", path.display())]
    Database {
        /// What was tried.
        doing: &'static str,
        /// Which database.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// One entry cannot be read from the database, which is damaged.
    #[error("entry {seq} cannot be read from {}: the database is damaged there", path.display())]
    Unreadable {
        /// Which entry.
        seq: Seq,
        /// In which database.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// The database is of a later version, or of something else.
    #[error("{} is not a ledger that this version of Quarterdeck knows (its version is {version})", path.display())]
    UnknownVersion {
        /// Which database.
        path: PathBuf,
        /// The version it says it is.
        version: i64,
    },
    /// There is no ledger.
    #[error("there is no ledger in {}", .0.display())]
    Absent(PathBuf),
    /// Another process writes this ledger.
    #[error(
        "the ledger in {} is in use by {}: only one may write it. Stop that one first, or use another directory",
        dir.display(),
        pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held {
        /// The ledger's directory.
        dir: PathBuf,
        /// The process that holds it, if it has said so.
        pid: Option<u32>,
    },
    /// The ledger is not sound.
    #[error(
        "{} does not hold a sound ledger. It can be read, but nothing may be written to it until it is restored from a copy taken before the damage",
        dir.display()
    )]
    Damaged {
        /// The ledger's or the export's directory.
        dir: PathBuf,
        /// What is wrong first.
        #[source]
        wrong: Wrong,
    },
    /// A file of an export has another size or another content than it must have.
    #[error("{} {what}", path.display())]
    BadFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The database has fewer entries than were signed.
    #[error(
        "the ledger in {} has {has} entries, but a state of {signed} was signed here: this is an older copy, such as a restored backup, or its end was lost. Going on would write a second history under the same key. Put the newer database back; or, if it is gone for good, adopt this one, which gives it a key of its own",
        dir.display()
    )]
    Behind {
        /// The ledger's directory.
        dir: PathBuf,
        /// How many entries the database has.
        has: u64,
        /// How many were signed.
        signed: u64,
    },
    /// The database has another history than the one that was signed.
    #[error(
        "the first {signed} entries of the ledger in {} are not those whose state was signed here: a copy of it went on by itself somewhere, or it was altered. Verify it to see which entry; put the right database back, or adopt this one, which gives it a key of its own",
        dir.display()
    )]
    Forked {
        /// The ledger's directory.
        dir: PathBuf,
        /// How many entries were signed.
        signed: u64,
    },
    /// The head file says it belongs to another machine.
    #[error(
        "the ledger in {} was last written on another machine: this one is a clone or a copy of it. If the other will never write it again, adopt this one; if it may, leave this one alone",
        dir.display()
    )]
    Elsewhere {
        /// The ledger's directory.
        dir: PathBuf,
    },
    /// The head file is gone although there are entries.
    #[error(
        "{} is missing, though the ledger has {entries} entries: it was restored without it, or it was deleted. Without it nobody can tell whether this is the newest copy. Put it back; or, if this is the newest copy, adopt it",
        path.display()
    )]
    HeadMissing {
        /// Where the head file should be.
        path: PathBuf,
        /// How many entries the ledger has.
        entries: u64,
    },
    /// A signed state is not one, or not of this ledger.
    #[error("{} is not a signed state of this ledger. Put the right file back; or, if this is the newest copy of the ledger, adopt it", path.display())]
    BadHead {
        /// The head file, or the checkpoint of an export.
        path: PathBuf,
        /// Why not.
        #[source]
        source: note::Error,
    },
    /// The signing key is gone although there are entries.
    #[error("the signing key {} is missing. Put it back from where it is kept; or adopt the ledger, which gives it a new one", .0.display())]
    KeyMissing(PathBuf),
    /// A key file does not hold a key.
    #[error("{} does not hold the key it should", path.display())]
    BadKey {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: note::Error,
    },
    /// Others can read the signing key.
    #[error(
        "the signing key {} can be read by others (mode {mode:03o}); run `chmod 600` on it, and adopt the ledger if others may have read it",
        path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system has no randomness to make a key of.
    #[error("could not make a signing key: the system gives no random numbers ({0})")]
    NoRandomness(getrandom::Error),
    /// A proof about entries that are not there.
    #[error("there is no proof about {asked} entries: the ledger has {size}")]
    Beyond {
        /// How many entries it needs.
        asked: u64,
        /// How many there are.
        size: u64,
    },
    /// An export must not be mixed with something else.
    #[error("{} is not empty; export into a new directory", .0.display())]
    NotEmpty(PathBuf),
    /// There is nothing to export.
    #[error("no state of this ledger was ever signed, so there is nothing that others could verify; sign one first")]
    Unsigned,
    /// An export, or a live ledger, is signed with another key than the one that is trusted.
    #[error("it is signed by {found}, not by {trusted}, the key you trust")]
    OtherKey {
        /// The key that was found.
        found: String,
        /// The key that is trusted.
        trusted: String,
    },
}
