//! Why a request did not succeed, in words for people.

use crate::{Problem, VERSION};
use std::{io, time::Duration};

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("Quarterdeck is not running: nothing listens at {address}")]
    NotRunning {
        /// Where it was sought.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Connecting failed in another way.
    #[error("cannot connect to Quarterdeck at {address}")]
    Connect {
        /// Where it was sought.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It said no.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// Something else answers there.
    #[error("what answers at {address} is not Quarterdeck")]
    NotQuarterdeck {
        /// Where.
        address: String,
    },
    /// Its version is another and the two do not understand each other.
    #[error(
        "this is version {VERSION} and Quarterdeck at {address} is version {theirs}: they do not understand each other"
    )]
    Version {
        /// Where.
        address: String,
        /// The server's version.
        theirs: String,
    },
    /// It did not answer in time.
    #[error("Quarterdeck at {address} did not answer within {} seconds", .waited.as_secs())]
    Timeout {
        /// Where.
        address: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection ended before the answer did.
    #[error("the connection to Quarterdeck at {address} was lost before its answer was complete")]
    Lost {
        /// Where.
        address: String,
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is too large to be read.
    #[error("the answer of Quarterdeck at {address} is longer than {limit} bytes")]
    TooLong {
        /// Where.
        address: String,
        /// The most that is read.
        limit: usize,
    },
    /// The answer cannot be understood, though the version is the same.
    #[error("the answer of Quarterdeck at {address} cannot be understood")]
    Answer {
        /// Where.
        address: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// What was to be sent could not be read.
    #[error("what was to be sent could not be read")]
    Source(#[source] io::Error),
}

impl Error {
    /// What to do next; empty when nothing helps.
    pub fn hint(&self) -> &str {
        match self {
            Error::NotRunning { .. } => "start it with `qd serve`",
            Error::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "you may not use this socket: run as the user who runs `qd serve`, or use a token"
            }
            Error::Connect { .. } => "`qd doctor` shows what is wrong",
            Error::Problem(problem) => &problem.hint,
            Error::NotQuarterdeck { .. } => "check the address",
            Error::Version { .. } => "use the `qd` of the installation, or restart `qd serve` after the update",
            Error::Timeout { .. } | Error::Lost { .. } => {
                "look at `qd status` before you ask again: it may have been done"
            }
            Error::TooLong { .. } => "ask for less",
            Error::Answer { .. } => "this is a defect of Quarterdeck; please report it",
            Error::Source(_) => "",
        }
    }
}
