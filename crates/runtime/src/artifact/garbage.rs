//! Removing artifacts that nothing needs any more, and contents that no artifact has.

use super::Store;
use crate::Error;
use model::{Bytes, Digest};
use std::{
    collections::BTreeSet,
    fs::{self, DirEntry},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

/// An artifact that was taken in so recently may not be named in the ledger yet.
const YOUNG: Duration = Duration::from_secs(15 * 60);

/// What a round removed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Removed {
    /// Artifacts.
    pub trees: u32,
    /// Contents that were in no other artifact.
    pub files: u32,
    /// Their size.
    pub bytes: Bytes,
}

impl Store {
    /// Removes every artifact that is not in `needed` and was not taken in during the last quarter of an hour. What
    /// instances use must be among `needed`. Blocks.
    ///
    /// # Errors
    /// When something cannot be removed; what is needed is untouched all the same.
    pub fn keep(&self, needed: &[Digest]) -> Result<Removed, Error> {
        self.keep_younger(needed, YOUNG)
    }

    pub(super) fn keep_younger(&self, needed: &[Digest], young: Duration) -> Result<Removed, Error> {
        let needed: BTreeSet<&Digest> = needed.iter().collect();
        let mut removed = Removed::default();
        for entry in read(&self.trees())? {
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            if digest.is_some_and(|digest| needed.contains(&digest)) || is_younger(&entry, young) {
                continue;
            }
            let _arranging = self.arrange();
            // Again under the lock: it may have been given once more just now.
            if is_younger(&entry, young) {
                continue;
            }
            // Out of sight at once, so that nobody sees half of it.
            let doomed = self.staging().join(entry.file_name());
            make_writable(&entry.path());
            fs::rename(entry.path(), &doomed).map_err(|e| Error::file("remove", &entry.path(), e))?;
            remove_tree(&doomed)?;
            removed.trees += 1;
        }
        let _arranging = self.arrange();
        for entry in read(&self.files())? {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.nlink() == 1 {
                fs::remove_file(entry.path()).map_err(|e| Error::file("remove", &entry.path(), e))?;
                removed.files += 1;
                removed.bytes.0 += meta.len();
            }
        }
        Ok(removed)
    }
}

fn read(directory: &Path) -> Result<impl Iterator<Item = DirEntry>, Error> {
    let entries = fs::read_dir(directory).map_err(|e| Error::file("read the directory", directory, e))?;
    Ok(entries.flatten())
}

fn is_younger(entry: &DirEntry, young: Duration) -> bool {
    let age = entry.metadata().and_then(|meta| meta.modified()).map(|modified| modified.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age < young)
}

fn make_writable(directory: &Path) {
    // When that fails, so does what needed it, and says so.
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
}

/// Removes a read-only tree. Nothing to do when it is not there.
pub(super) fn remove_tree(path: &Path) -> Result<(), Error> {
    fn remove(directory: &Path) -> io::Result<()> {
        make_writable(directory);
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove(&entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir(directory)
    }
    match remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, error)),
        Err(_) | Ok(()) => Ok(()),
    }
}
