//! Why a task did not succeed.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why a task did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot run `{command}`")]
    Start { command: String, source: io::Error },
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    #[error("cannot understand what `{command}` says")]
    Answer { command: String, source: serde_json::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{0} complaints, listed above")]
    Untidy(usize),
    #[error("not what the code says: {}. Run `cargo xtask gen` and commit the result", .0.join(", "))]
    Stale(Vec<&'static str>),
    #[error("not every check passed, see the summary above")]
    Checks,
    #[error("{failed} of {run} tests failed")]
    Tests { run: u64, failed: u64 },
    #[error("{} has no results", path.display())]
    NoResults { path: PathBuf },
    #[error("programs are missing that this runs against: {missing}. Install them: sudo apt-get install {packages}")]
    Peers { missing: String, packages: String },
    #[error("{0}")]
    Load(String),
    #[error("it did not go as it should: {0}")]
    Site(String),
    #[error("cannot start the load generator")]
    Runtime(#[source] io::Error),
    #[error("{failed} of {sent} requests failed")]
    FailedRequests { failed: u64, sent: u64 },
}
