//! The ledger: what happened, in order, in a form that an outsider can verify.
//!
//! This crate is the ledger without its disk: the form of an entry ([`entry`]) and of its stored bytes ([`cbor`]), the
//! Merkle tree over them ([`tree`], with proofs), its signed states ([`checkpoint`]), the files that outsiders read
//! ([`tile`]), the check of a whole ledger ([`verify`]), and the [`Store`] trait with an implementation in memory. It
//! reads no clock and does no I/O; the crate `store` keeps a ledger on disk. It does not know any fact: what happened
//! is the type parameter `F`, which `control` fills in.
//!
//! What always holds: an entry's hash is over the bytes that are stored, never over a re-serialisation; the same entry
//! has the same bytes on every machine; bytes that were once accepted are decoded by every later version.
//!
//! Start reading at [`entry`].

pub mod cbor;
pub mod checkpoint;
pub mod entry;
pub mod memory;
pub mod note;
pub mod store;
pub mod tile;
pub mod tree;
pub mod verify;

pub use entry::{AnyFact, Draft, Entry, MAX_ENTRY_BYTES, Numbering, decode, encode};
pub use memory::{Fault, Memory};
pub use store::{MAX_BATCH, Store};
pub use tree::{Frontier, TreeHead, leaf_hash};

/// Why bytes are not an entry, or why an entry cannot be bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The entry does not fit.
    #[error(
        "the entry is {0} bytes long and at most {MAX_ENTRY_BYTES} are allowed; put the large part into a blob and its digest into the entry"
    )]
    TooLong(usize),
    /// It cannot be written as, or is not, deterministic CBOR of the expected form.
    #[error(transparent)]
    Cbor(#[from] cbor::Error),
    /// The entry does not continue the ledger.
    #[error(transparent)]
    Gap(#[from] entry::Gap),
}
