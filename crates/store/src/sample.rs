//! Ledgers to test with.

use crate::{Ledger, Place};
use ledger::{Draft, Numbering, Store, encode};
use model::{Actor, Seq, Time};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The entries from `from` to below `end`. Two histories differ from their first entry on.
pub(crate) fn entries(from: u64, end: u64, history: &str) -> Vec<Vec<u8>> {
    let drafts = |end: u64| {
        (0..end).map(|n| {
            let what = serde_json::json!({"happened": {"n": n, "history": history}});
            Draft::new(Actor::person("ada"), format!("change/CHG-{}", n % 5), what)
        })
    };
    let all = Numbering::default().number(drafts(end).collect(), Time(7));
    all.iter().skip(from as usize).map(|entry| encode(entry).unwrap()).collect()
}

/// Appends entries of a history until there are `end`.
pub(crate) fn grow(ledger: &mut Ledger, end: u64, history: &str) {
    let all = entries(ledger.head().size, end, history);
    for batch in all.chunks(100) {
        let at = Seq(ledger.head().size);
        ledger.append(at, batch).unwrap();
    }
}

/// A signed ledger of this many entries, closed again.
pub(crate) fn signed(size: u64) -> (TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path().join("ledger"));
    let mut ledger = Ledger::open(&place).unwrap();
    grow(&mut ledger, size, "main");
    ledger.checkpoint().unwrap();
    (dir, place)
}

/// Copies the files of a directory, as they are at this moment.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Replaces the database by another, as restoring a backup does.
pub(crate) fn restore(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("ledger.sqlite{suffix}");
        let _ = fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}
