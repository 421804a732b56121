//! Ending what is left of an instance whose shim is gone, and removing its directory.
//!
//! The kernel has killed the main process together with the shim; others may live on. They are known by the mark in their
//! environment, by their control group, or by session and working directory together (programs that write their own
//! title, such as nginx, overwrite their environment); never by a bare process id.

use crate::{
    Error, procfs,
    shim::{self, cgroup, invocation},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Kills whatever an instance left running, its shim included, and waits until it is gone.
pub(crate) fn what_is_left(directory: &Path) {
    let status = shim::last_status(directory);
    let deadline = Instant::now() + PATIENCE;
    let cgroups = status.as_ref().map(|status| status.cgroups.clone()).unwrap_or_default();
    loop {
        let left = remnants(directory, status.as_ref().map(|status| status.shim), &cgroups);
        if left.is_empty() || Instant::now() >= deadline {
            break;
        }
        for pid in left.into_iter().filter_map(|pid| Pid::from_raw(pid as i32)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    cgroups.iter().for_each(|cgroup| cgroup::remove(cgroup));
}

fn remnants(directory: &Path, shim: Option<u32>, cgroups: &[std::path::PathBuf]) -> Vec<u32> {
    let mark = directory.to_string_lossy();
    let data = directory.parent().and_then(Path::parent).unwrap_or(directory);
    let in_session = |p: &procfs::Process| {
        // The number of a session that is gone may be another's by now: the place where it works tells.
        Some(p.session) == shim && procfs::works_in(p.pid).is_some_and(|place| place.starts_with(data))
    };
    let mut left: Vec<u32> = procfs::processes()
        .filter(|p| p.is_alive())
        .filter(|p| in_session(p) || procfs::was_given(p.pid, invocation::MARK, &mark) || is_shim(p.pid, directory))
        .map(|p| p.pid)
        .collect();
    left.extend(cgroups.iter().flat_map(|cgroup| cgroup::members(cgroup)));
    left.retain(|pid| *pid != std::process::id());
    left
}

fn is_shim(pid: u32, directory: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|b| *b == 0).skip(1);
    words.next() == Some(shim::ROLE.as_bytes()) && words.next() == Some(directory.as_os_str().as_encoded_bytes())
}

/// Removes an instance's directory, also when the instance took permissions away from its own files.
pub(super) fn remove_directory(directory: &Path) -> Result<(), Error> {
    if fs::remove_dir_all(directory).is_ok() || !directory.exists() {
        return Ok(());
    }
    open_up(directory);
    fs::remove_dir_all(directory).map_err(|e| Error::file("remove", directory, e))
}

fn open_up(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
