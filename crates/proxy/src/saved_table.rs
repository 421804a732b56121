//! The last table on disk, so that a restarted proxy serves before anybody has told it what to serve.
//!
//! The file is replaced as a whole, by rename, after its bytes are durable: a crash leaves the old one or the new one.

use model::{ChangeId, RouteTable};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// The version of the file. A file of another version is not read: control sends the table anew anyway.
const VERSION: u32 = 1;

/// What is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    /// The table that was in force.
    pub(crate) table: RouteTable,
    /// Changes whose guards had tripped.
    pub(crate) tripped: Vec<ChangeId>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is damaged, or not a table")]
    Damaged(#[source] serde_json::Error),
    #[error("it has version {0}, and this program reads version {VERSION}")]
    OtherVersion(u32),
}

impl Saved {
    /// What is to be kept of a table.
    pub(crate) fn new(table: RouteTable, tripped: Vec<ChangeId>) -> Saved {
        Saved { version: VERSION, table, tripped }
    }

    /// Reads a file. `None`: there is none.
    pub(crate) fn load(path: &Path) -> Result<Option<Saved>, Unusable> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Unusable::Unreadable(error)),
        };
        let Version { version } = serde_json::from_slice(&bytes).map_err(Unusable::Damaged)?;
        if version != VERSION {
            return Err(Unusable::OtherVersion(version));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(Unusable::Damaged)
    }

    /// Replaces a file.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        assert!(Saved::load(&path).unwrap().is_none());
        for generation in [7, 8] {
            let table = RouteTable { generation, services: Vec::new() };
            let saved = Saved::new(table, vec![ChangeId(3)]);
            saved.store(&path).unwrap();
            assert_eq!(Saved::load(&path).unwrap(), Some(saved));
        }
    }

    #[test]
    fn a_damaged_or_older_file_is_told_apart_and_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        fs::write(&path, b"{\"version\":1,\"table\":").unwrap();
        assert!(matches!(Saved::load(&path), Err(Unusable::Damaged(_))));
        fs::write(&path, b"{\"version\":0,\"routes\":[]}").unwrap();
        assert!(matches!(Saved::load(&path), Err(Unusable::OtherVersion(0))));
    }
}
