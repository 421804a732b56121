//! The head file: the last signed state of the ledger, in a small file of its own that backups leave out. It is what
//! tells a restored older copy, or a clone, from the ledger itself.
//!
//! It is written only after the entries it covers are durable, and as a whole. So whatever moment a crash comes at, the
//! database has at least the entries that the head file says.
//!
//! Its first line names the machine; the rest is the checkpoint as it is published.

use crate::place::{read_if_present, replace};
use crate::{Error, Place};
use ledger::{TreeHead, checkpoint, note::Verifier};
use model::Digest;
use std::fs;

/// The last signed state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// Which machine wrote it.
    machine: String,
    /// The signed note.
    pub(crate) checkpoint: String,
    /// What it says.
    pub(crate) tree: TreeHead,
}

/// What identifies this machine, or its container: a digest, because the machine id itself is not to be shown around.
/// Empty where the machine has none.
fn this_machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    match id.trim() {
        "" | "uninitialized" => String::new(),
        id => Digest::of(format!("quarterdeck ledger {id}").as_bytes()).short(),
    }
}

impl Head {
    /// Was it written on another machine? Unknown machines are not other ones.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let here = this_machine();
        !self.machine.is_empty() && !here.is_empty() && self.machine != here
    }
}

/// The head file, if there is one.
pub(crate) fn read(place: &Place, key: &Verifier) -> Result<Option<Head>, Error> {
    let Some(bytes) = read_if_present(&place.head)? else { return Ok(None) };
    let bad = |source| Error::BadHead { path: place.head.clone(), source };
    let malformed = |what| bad(ledger::note::Error::Malformed(what));
    let text = String::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
    let (machine, rest) = text
        .split_once('\n')
        .and_then(|(line, rest)| Some((line.strip_prefix("machine ")?, rest)))
        .ok_or_else(|| malformed("its first line does not name a machine"))?;
    let tree = checkpoint::open(rest, key).map_err(bad)?;
    Ok(Some(Head { machine: machine.to_owned(), checkpoint: rest.to_owned(), tree }))
}

/// Writes the head file. When this returns, it is durable.
pub(crate) fn write(place: &Place, tree: TreeHead, checkpoint: String) -> Result<Head, Error> {
    let machine = this_machine();
    replace(&place.head, format!("machine {machine}\n{checkpoint}").as_bytes(), 0o644)?;
    Ok(Head { machine, checkpoint, tree })
}
