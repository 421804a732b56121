//! Artifacts: what releases are made of, stored by content and never changed.
//!
//! ```text
//! artifacts/files/<sha256>      contents, read-only; executable ones end in `x`
//! artifacts/trees/<digest>/     artifacts, whose files are hard links to contents
//! artifacts/staging/            what is being taken in
//! ```
//!
//! What always holds: a tree that is there is complete and durable, and its name is the digest of what it contains
//! (`tree`); nothing in an archive can write or point outside of its tree; taking in the same again changes nothing.
//!
//! [`pack`] is the other side: it makes the archive from what a person has. Start reading at `intake`.

mod executable;
mod garbage;
mod intake;
pub mod pack;
mod tree;

pub use garbage::Removed;
pub use intake::Bounds;

use crate::{Error, layout};
use model::{Bytes, Digest};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Why something cannot be an artifact, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is nothing at the path.
    #[error("there is nothing at `{path}`", path = .0.display())]
    Missing(PathBuf),
    /// Nothing to run.
    #[error("`{path}` contains no files: there is nothing to run in it", path = .0.display())]
    Empty(PathBuf),
    /// The archive has no files.
    #[error("the archive contains no files: there is nothing to run in it")]
    EmptyArchive,
    /// Something that is there cannot be read.
    #[error("`{path}` cannot be read: make it readable for the user who deploys", path = path.display())]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Neither directory, archive nor program.
    #[error("`{path}` is {what}: deploy a directory, a tar or tar.gz archive, or one executable file", path = path.display())]
    NotADeployable {
        /// What was given.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A program that may not be executed.
    #[error("`{path}` is {what}, but not executable: `chmod +x {path}`", path = path.display())]
    NotExecutable {
        /// What was given.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A program for another kind of machine.
    #[error("`{path}` is {what}, and this machine is {machine}: build it for {machine}", path = path.display())]
    OtherMachine {
        /// What was given.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What this machine runs.
        machine: &'static str,
    },
    /// It was written to while it was read.
    #[error("`{path}` changed while it was copied: wait until whatever writes it is done, then deploy again", path = .0.display())]
    Changed(PathBuf),
    /// A name or link that leaves the tree, or a kind of file that has no place in one.
    #[error("`{path}` in the archive {why}", path = path.display())]
    Unsafe {
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Too much content.
    #[error("it is larger than the {0} that one artifact may have")]
    TooLarge(Bytes),
    /// Too many files.
    #[error("it has more than the {0} files that one artifact may have")]
    TooMany(u32),
    /// Not an archive, or one that ends early.
    #[error("it cannot be read as a tar archive")]
    NotAnArchive(#[source] io::Error),
}

/// The artifacts of one installation.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held while files become part of trees, or are removed because they are not.
    arranging: Mutex<()>,
}

impl Store {
    /// Opens the store in a data directory.
    ///
    /// # Errors
    /// When its directories cannot be made.
    pub fn open(data: &Path) -> Result<Store, Error> {
        let store = Store { root: data.join("artifacts"), arranging: Mutex::new(()) };
        for directory in [store.files(), store.trees(), store.staging()] {
            layout::create_passable(&directory)?;
        }
        Ok(store)
    }

    /// Removes what interrupted intakes left. Only for whoever is the only one to use the store.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clear_staging(&self) -> Result<(), Error> {
        garbage::remove_tree(&self.staging())?;
        layout::create_passable(&self.staging())
    }

    /// Where an artifact is, if it is here.
    pub fn tree(&self, digest: Digest) -> PathBuf {
        self.trees().join(digest.to_string())
    }

    /// Whether an artifact is here.
    pub fn has(&self, digest: Digest) -> bool {
        self.tree(digest).is_dir()
    }

    fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    fn arrange(&self) -> MutexGuard<'_, ()> {
        self.arranging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) use executable::{check_runs_here, explain_exec};

#[cfg(test)]
mod tests;
