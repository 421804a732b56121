//! One running copy of a release: what a driver is asked to run, and what it sees.

use crate::{Address, Digest, InstanceId, ReleaseId, RunSpec, ServiceKey, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a driver needs to run one instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceSpec {
    /// Which instance.
    pub id: InstanceId,
    /// Which run of it, from 1: a restart is the next attempt of the same instance.
    pub attempt: u32,
    /// Of which service.
    pub service: ServiceKey,
    /// Of which release.
    pub release: ReleaseId,
    /// The release's artifact.
    pub artifact: Digest,
    /// How to run it.
    pub run: RunSpec,
}

/// What a driver last saw of one instance it has. An instance that a driver does not report does not exist there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceSeen {
    /// Which instance.
    pub id: InstanceId,
    /// Which run of it.
    pub attempt: u32,
    /// How it is.
    pub phase: Phase,
    /// Where it listens, once a port or a socket was given to it.
    pub address: Option<Address>,
    /// When it entered this phase.
    pub since: Time,
}

impl InstanceSeen {
    /// Whether there is a process.
    pub const fn runs(&self) -> bool {
        match self.phase {
            Phase::Exited(_) | Phase::Failed(_) => false,
            Phase::Starting(_) | Phase::Ready | Phase::Unready(_) | Phase::Dead(_) | Phase::Stopping => true,
        }
    }
}

/// How an instance is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Running, and its readiness check has not succeeded yet. The text is why, as far as it is known: what the last
    /// check said, that it listens on another port, and so on.
    Starting(String),
    /// Running and its readiness check succeeds.
    Ready,
    /// Running, was ready, and its readiness check fails now; the text is what the check said.
    Unready(String),
    /// Running and its liveness check fails; the text is what the check said. It should be restarted.
    Dead(String),
    /// Told to stop, still running.
    Stopping,
    /// Not running any more.
    Exited(Exit),
    /// Could not be started at all; the text says why and what to do.
    Failed(String),
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
    /// The kernel killed it for exceeding its memory limit.
    OutOfMemory,
    /// Its shim is gone, and it with it; nothing more is known.
    Lost,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(code) => write!(f, "exited with status {code}"),
            Exit::Signal(signal) => {
                let name = match signal {
                    1 => "SIGHUP",
                    2 => "SIGINT",
                    3 => "SIGQUIT",
                    4 => "SIGILL",
                    6 => "SIGABRT",
                    7 => "SIGBUS",
                    8 => "SIGFPE",
                    9 => "SIGKILL",
                    11 => "SIGSEGV",
                    13 => "SIGPIPE",
                    15 => "SIGTERM",
                    _ => return write!(f, "was ended by signal {signal}"),
                };
                write!(f, "was ended by {name}")
            }
            Exit::OutOfMemory => f.write_str("was killed for exceeding its memory limit"),
            Exit::Lost => f.write_str("was lost together with its shim"),
        }
    }
}
