//! The shim: one small process per instance that owns the child, its output and its exit status.
//!
//! It lives in a session of its own and outlives `serve`; whoever comes next connects to `shim.sock` in the instance's
//! directory, or reads `status.json` when the shim is done. It is one thread in one loop (`watch`): everything it
//! waits for is a file descriptor. It never restarts its child.
//!
//! What always holds: when the shim is killed, the kernel kills the child; when the child has ended, everything that it
//! left running is killed before the exit is reported; the child's output never fills more than its bound.
//!
//! The executable that calls [`ProcessDriver`](crate::process::ProcessDriver) must hand over to [`run`] when its first
//! argument is [`ROLE`] and to [`exec`] when it is [`EXEC_ROLE`]. When it is [`FILES_ROLE`], it must serve files.

pub(crate) mod cgroup;
pub(crate) mod invocation;
pub(crate) mod output;
mod peer;
pub(crate) mod protocol;
pub(crate) mod socket;
pub(crate) mod stage;
mod stream;
mod watch;

use crate::{Error, layout};
use std::{path::Path, process::ExitCode};

/// What our processes are called in process lists, whatever the path of the executable.
pub(crate) const PROGRAM: &str = "qd";
/// The first argument of a shim; the second is the instance's directory.
pub const ROLE: &str = "shim";
/// The first argument of the stage before a service's program; the second is for [`exec`].
pub const EXEC_ROLE: &str = "shim-exec";

/// The first word of a command that names no program: this executable itself serves the files of the release, in the
/// role [`FILES_ROLE`], with the rest of the command. A program of this name in a release is still run as `./@files`.
pub const FILES: &str = "@files";
/// The first argument of what serves files.
pub const FILES_ROLE: &str = "files";
/// This executable, whatever it is called, whoever may pass the directories above it and whatever has taken its place on
/// disk meanwhile: the shim and the stage after it are the same executable.
pub(crate) const ITSELF: &str = "/proc/self/exe";

/// Is the shim of the instance with this directory, until its child has ended. The process must have nothing else to
/// do and be single-threaded.
///
/// # Errors
/// When it could not begin; the same is said in `status.json` where possible.
pub fn run(instance_directory: &Path) -> Result<(), Error> {
    let entered = std::env::set_current_dir(instance_directory);
    entered.map_err(|e| Error::file("enter the directory", instance_directory, e))?;
    watch::run(instance_directory)
}

/// Becomes a service's program. Returns only when that failed, having told the shim why.
pub fn exec(stage: &str) -> ExitCode {
    stage::run(stage)
}

/// The last status an instance's shim wrote, if it wrote one.
pub(crate) fn last_status(instance_directory: &Path) -> Option<protocol::Status> {
    layout::read_json(&instance_directory.join(layout::STATUS)).ok()
}
