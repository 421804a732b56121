//! Snapshots: what the first entries fold to, so that a start need not replay them. They are disposable: one that is
//! damaged, of another version of the fold, or of another history is passed over, and the fold starts earlier.

use crate::database::Database;
use crate::place::{io, replace};
use crate::{Error, Place};
use ledger::{Frontier, Numbering, cbor};
use model::Digest;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// How many are kept: the newest, and one more in case it turns out not to be usable.
const KEPT: usize = 2;

/// A folded state and what it was folded from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The version of the fold. Another version may fold the same entries to another state.
    pub fold_version: u32,
    /// The digest of the state, by which a replay can be compared.
    pub state_hash: Digest,
    /// The right edge of the tree over the entries that were folded; it says how many they are.
    pub frontier: Frontier,
    /// The positions that the next entries get.
    pub numbering: Numbering,
    /// The state, in whatever form the fold writes it.
    pub blob: Vec<u8>,
}

/// What precedes the state in a snapshot's file. The file is: the digest of all that follows, the length of this in four
/// bytes, this, the state.
#[derive(Serialize, Deserialize)]
struct Header {
    fold_version: u32,
    state_hash: Digest,
    frontier: Frontier,
    numbering: Numbering,
}

pub(crate) fn put(place: &Place, snapshot: &Snapshot) -> Result<(), Error> {
    let dir = place.snapshots();
    fs::create_dir_all(&dir).map_err(io("create", &dir))?;
    let path = dir.join(format!("{:020}", snapshot.frontier.size()));
    let header = Header {
        fold_version: snapshot.fold_version,
        state_hash: snapshot.state_hash,
        frontier: snapshot.frontier.clone(),
        numbering: snapshot.numbering.clone(),
    };
    let unwritable = |error: &dyn std::fmt::Display| io("write", &path)(std::io::Error::other(error.to_string()));
    let header = cbor::to_vec(&header).map_err(|error| unwritable(&error))?;
    let length = u32::try_from(header.len()).map_err(|error| unwritable(&error))?;
    let content = [&length.to_be_bytes()[..], &header, &snapshot.blob].concat();
    replace(&path, &[&Digest::of(&content).0[..], &content].concat(), 0o600)?;
    for old in files(place).into_iter().skip(KEPT) {
        fs::remove_file(&old).map_err(io("remove", &old))?;
    }
    Ok(())
}

pub(crate) fn latest(place: &Place, database: &Database, size: u64, fold_version: u32) -> Option<Snapshot> {
    files(place).into_iter().find_map(|path| {
        let snapshot = read(&path).filter(|snapshot| {
            let covered = snapshot.frontier.size();
            let fits =
                || Frontier::from_nodes(covered, |node| database.node(node)).ok() == Some(snapshot.frontier.clone());
            snapshot.fold_version == fold_version && snapshot.numbering.next().0 == covered && covered <= size && fits()
        });
        if snapshot.is_none() {
            tracing::info!(path = %path.display(), "passing over a snapshot that does not fit");
        }
        snapshot
    })
}

fn read(path: &PathBuf) -> Option<Snapshot> {
    let file = fs::read(path).ok()?;
    let (digest, content) = file.split_first_chunk::<32>()?;
    if Digest::of(content) != Digest(*digest) {
        return None;
    }
    let (length, rest) = content.split_first_chunk::<4>()?;
    let (header, blob) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let Header { fold_version, state_hash, frontier, numbering } = cbor::from_slice(header).ok()?;
    Some(Snapshot { fold_version, state_hash, frontier, numbering, blob: blob.to_vec() })
}

/// The snapshots, newest first.
fn files(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.snapshots()).into_iter().flatten().flatten();
    let numbered = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.len() == 20 && name.parse::<u64>().is_ok())
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(numbered).collect();
    files.sort_unstable();
    files.reverse();
    files
}

#[cfg(test)]
mod tests;
