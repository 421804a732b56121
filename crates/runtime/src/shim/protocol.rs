//! What `serve` and a shim tell each other, and what a shim leaves on disk.
//!
//! Frames are those of [`model::wire`]. The driver's end of the first connection is the shim's standard input, so that
//! nobody waits for a socket to appear; every later connection is made to `shim.sock`. A shim sends its [`Status`] on
//! every connection at once and on every change.

use crate::process::User;
use model::{Exit, InstanceSpec, Span, Time};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};
use zeroize::Zeroize as _;

/// What a shim is to run: `spec.json`. Contains no secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) spec: InstanceSpec,
    /// The directory of the unpacked artifact.
    pub(crate) release: PathBuf,
    /// The directory for captured output.
    pub(crate) logs: PathBuf,
    /// Who to become, or `None` to stay.
    pub(crate) user: Option<User>,
    /// The `PATH` to search, unless the service sets its own.
    pub(crate) search_path: String,
}

/// The first message on a shim's standard input. Never on disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct Handover {
    /// Where it listens, unless that is a socket.
    pub(crate) port: Option<u16>,
    pub(crate) secrets: BTreeMap<String, String>,
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.secrets.values_mut().for_each(|value| value.zeroize());
    }
}

/// To a shim.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToShim {
    /// SIGTERM to the group now, SIGKILL to whatever is left after this long. A shorter deadline replaces a longer one.
    Stop(Span),
    /// The instance has become ready. Remembered for whoever adopts it.
    Ready,
}

/// From a shim, and the content of `status.json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) attempt: u32,
    pub(crate) shim: u32,
    /// The main process, once there is one. It leads its process group; its session is the shim's.
    pub(crate) pid: Option<u32>,
    /// Where it listens, unless that is a socket.
    pub(crate) port: Option<u16>,
    pub(crate) state: State,
    /// When it entered this state.
    pub(crate) since: Time,
    /// When it was first ready, as far as the shim was told.
    pub(crate) ready: Option<Time>,
    /// Control groups made for it.
    pub(crate) cgroups: Vec<PathBuf>,
}

/// How the child is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Not running the service's program yet.
    Starting,
    /// Running it.
    Running,
    /// Told to stop, still running.
    Stopping,
    /// Ended, and everything it left behind too.
    Exited(Exit),
    /// Could not be started, or not be kept: why, and what to do.
    Failed(String),
}

impl State {
    /// Whether nothing will change any more.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            State::Exited(_) | State::Failed(_) => true,
            State::Starting | State::Running | State::Stopping => false,
        }
    }
}
