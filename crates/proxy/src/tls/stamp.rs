//! When a file was last changed, told cheaply and without reading it.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// The largest file that is read: a long chain has some 20 KiB.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// What differs between a file and what takes its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl Stamp {
    /// Of a file, or of what a link points to. `None`: it cannot be told, so that reading it will say why.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let found = fs::metadata(path).ok()?;
        Some(Stamp { changed: (found.mtime(), found.mtime_nsec()), size: found.size(), inode: found.ino() })
    }
}

/// A whole file, unless it is too large to be what it should be.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > MAX_FILE {
        return Err(io::Error::other(format!("it has {length} bytes, and at most {MAX_FILE} are read")));
    }
    fs::read(path)
}
