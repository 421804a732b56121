//! The stage between a shim and the service's program: it takes on the limits and the user, then becomes the program.
//!
//! A process of its own instead of a hook between `fork` and `exec`, so that all of this is ordinary safe code. Its
//! standard input is the report: closed by a successful `exec`, or else a text that says what went wrong.
//! The order matters: groups before user, and the death signal after the user, because changing the user clears it.

use crate::{artifact, process::User};
use model::Limits;
use rustix::{
    process::{self, Pid, Resource, Rlimit, Signal},
    thread::{Gid, Uid},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

/// Everything that is to hold when the program begins. Visible in the process list for a moment: no secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// Whose death ends the program.
    pub(crate) parent: u32,
    /// Control groups to join.
    pub(crate) cgroups: Vec<PathBuf>,
    pub(crate) limits: Limits,
    /// Whether memory is bounded here, because no control group does it.
    pub(crate) bound_memory: bool,
    pub(crate) user: Option<User>,
    pub(crate) directory: PathBuf,
    /// The program's path, and its arguments.
    pub(crate) command: Vec<String>,
}

impl Stage {
    /// The command that runs this stage in a new process of this very executable.
    pub(crate) fn command(&self, executable: &std::path::Path) -> Command {
        let mut command = Command::new(executable);
        command.arg0(super::PROGRAM).arg(super::EXEC_ROLE).arg(serde_json::to_string(self).unwrap_or_default());
        command
    }
}

/// Runs the stage described by the argument. Returns only when that failed.
pub(crate) fn run(stage: &str) -> ExitCode {
    let report = io::stdin().as_fd().try_clone_to_owned();
    let error = match serde_json::from_str::<Stage>(stage) {
        Ok(stage) => stage.become_program(),
        Err(error) => format!("the stage before the program was not understood: {error}"),
    };
    if let Ok(report) = report {
        // When nobody reads the report any more there is nobody to tell.
        let _ = File::from(report).write_all(error.as_bytes());
    }
    ExitCode::from(127)
}

impl Stage {
    fn become_program(&self) -> String {
        let [program, arguments @ ..] = self.command.as_slice() else { return "there is no command to run".to_owned() };
        if let Err(error) = self.prepare().and_then(|()| artifact::check_runs_here(program.as_ref())) {
            return error;
        }
        let mut command = Command::new(program);
        if program == super::ITSELF {
            command.arg0(super::PROGRAM);
        }
        let error = command.args(arguments).stdin(Stdio::null()).exec();
        artifact::explain_exec(program.as_ref(), &error)
    }

    fn prepare(&self) -> Result<(), String> {
        for cgroup in &self.cgroups {
            let _ = fs::write(cgroup.join("cgroup.procs"), "0");
        }
        limit(Resource::Nofile, u64::from(self.limits.open_files));
        if let Some(memory) = self.limits.memory.filter(|_| self.bound_memory) {
            // Not the address space: runtimes reserve far more of that than they use.
            limit(Resource::Data, memory.0);
        }
        if let Some(user) = &self.user {
            user.become_it().map_err(|error| format!("cannot become the user `{}`: {error}", user.name))?;
        }
        let death = process::set_parent_process_death_signal(Some(Signal::KILL));
        death.map_err(|error| format!("cannot tie the program to its shim: {error}"))?;
        if process::getppid().map(Pid::as_raw_pid) != i32::try_from(self.parent).ok() {
            return Err("its shim ended before the program began".to_owned());
        }
        std::env::set_current_dir(&self.directory)
            .map_err(|error| format!("cannot enter the release's directory `{}`: {error}", self.directory.display()))
    }
}

impl User {
    fn become_it(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups)?;
        let gid = Gid::from_raw(self.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        let uid = Uid::from_raw(self.uid);
        Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
    }
}

/// As much of a limit as this process may have: raising it above the hard limit takes root.
fn limit(resource: Resource, wanted: u64) {
    let wanted_both = Rlimit { current: Some(wanted), maximum: Some(wanted) };
    if process::setrlimit(resource, wanted_both).is_err()
        && let Some(maximum) = process::getrlimit(resource).maximum
    {
        let current = Some(wanted.min(maximum));
        let _ = process::setrlimit(resource, Rlimit { current, maximum: Some(maximum) });
    }
}
