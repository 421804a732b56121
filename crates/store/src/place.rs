//! Where a ledger is, and files that are written whole or not at all.

use crate::Error;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where a ledger is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The directory of its database, keys and snapshots.
    pub dir: PathBuf,
    /// The head file: the last signed state. It tells a restored older copy of the database from the ledger itself, so
    /// it must survive when one is restored, and backups leave it out.
    pub head: PathBuf,
}

impl Place {
    /// A ledger in this directory, with the head file beside the database.
    pub fn new(dir: impl Into<PathBuf>) -> Place {
        let dir = dir.into();
        Place { head: dir.join("ledger.head"), dir }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("ledger.sqlite")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("ledger.key")
    }

    pub(crate) fn verifier(&self) -> PathBuf {
        self.dir.join("ledger.vkey")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    /// Creates the directory, for its owner only, and takes the right to write it. The right ends with the file that is
    /// returned, also when the process is killed.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        created.map_err(io("create", &self.dir))?;
        let path = self.dir.join("ledger.lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who holds it is a courtesy; that it is held is certain.
                let _ = (&file).take(32).read_to_string(&mut text);
                return Err(Error::Held { dir: self.dir.clone(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(io("write", &path))?;
        Ok(file)
    }
}

/// Makes an error of a failure to do something with a file.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

/// The content of a file, `None` when it does not exist.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// Replaces a file as a whole: after a crash at any moment it has the old content or the new. When this returns, the new
/// content is durable.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        // A leftover of a crash may have another mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        // It may be what filled the disk.
        let _ = fs::remove_file(&temporary);
        return Err(io("write", &temporary)(error));
    }
    fs::rename(&temporary, path).map_err(io("replace", path))?;
    match path.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
}
