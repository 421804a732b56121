//! What can go wrong here, in words for people.

use crate::artifact::Unfit;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why something was not done. A text never repeats that of its source: see [`in_full`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {doing} `{path}`", path = path.display())]
    File {
        /// What was attempted, as an imperative: `write`, `create the directory`.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no room left on the disk.
    #[error(
        "the disk that holds `{path}` is full: free some space there; nothing that was stored before is lost",
        path = path.display()
    )]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The data directory cannot be written.
    #[error(
        "the data directory `{path}` cannot be written by this user (uid {uid}): give it to that user \
         (`chown {uid} {path}`), or choose another directory",
        path = path.display()
    )]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// Who tried.
        uid: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was given cannot be a release.
    #[error(transparent)]
    Artifact(#[from] Unfit),
    /// A name that cannot be that of an environment variable.
    #[error("`{0}` cannot name a secret: use letters, digits and `_`, not beginning with a digit")]
    SecretName(String),
    /// A secret's value contains a NUL byte.
    #[error("the value of the secret `{0}` contains a NUL byte, which no environment variable can hold")]
    SecretValue(String),
    /// Stored secrets that cannot be opened.
    #[error("the secrets {digest} cannot be opened: {why}")]
    Secrets {
        /// Which.
        digest: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random(#[source] io::Error),
    /// A system call that should not fail did.
    #[error("cannot {doing}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of ours, or a message between our processes, is not what it should be.
    #[error("`{path}` is not what Quarterdeck wrote there", path = path.display())]
    Malformed {
        /// Where it was read.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// A failure on a file, told apart from a full disk.
    pub(crate) fn file(doing: &'static str, path: &Path, source: io::Error) -> Error {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Error::DiskFull { path: path.to_owned() };
        }
        Error::File { doing, path: path.to_owned(), source }
    }

    /// A failed system call.
    pub(crate) fn system(doing: &'static str, source: impl Into<io::Error>) -> Error {
        Error::System { doing, source: source.into() }
    }
}

/// An error and all its sources in one line: `cannot write `x`: permission denied`.
pub fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
