//! A program that is measured, or that others are measured against: started on a core of its own, asked what it has used,
//! and ended with everything it started. It does not outlive this program.

use super::request;
use crate::error::Error;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The unit of the times in /proc, on every Linux that Rust runs on: 1/100 s.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;
/// Ten times the share of a core that others get who want it as well.
const PRIORITY: &str = "-10";
/// How long a program may take to end in order.
const END: Duration = Duration::from_secs(3);
/// How often is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// Which cores who gets. The proxy has one of its own; the loader and the origin share what is left.
#[derive(Clone, Copy)]
pub(super) struct Cores {
    pub(super) proxy: usize,
    pub(super) origin: usize,
    pub(super) loader: usize,
    pub(super) all: usize,
}

impl Cores {
    /// Of this machine.
    pub(super) fn here() -> Cores {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Cores { proxy: 0, origin: 1.min(all - 1), loader: 2.min(all - 1), all }
    }

    /// Moves this process, and thereby what it starts, to the loader's core, lets it open as many files as it may, and, as
    /// root, puts it before what others do on this machine. Gives how many files that is.
    pub(super) fn take_the_loaders(self) -> Result<usize, Error> {
        let own = std::process::id().to_string();
        quietly(
            Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid"]).arg(self.loader.to_string()).arg(&own),
        )?;
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let hard = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().nth(1));
        let hard = hard.unwrap_or("1024");
        quietly(Command::new("prlimit").args(["--pid", &own, &format!("--nofile={hard}:{hard}")]))?;
        prefer(std::process::id())?;
        Ok(hard.parse().unwrap_or(usize::MAX))
    }
}

/// As root, puts a process before what others do on this machine. Where each session gets an equal share, whatever the
/// priorities within it, that goes for the whole session.
fn prefer(pid: u32) -> Result<(), Error> {
    if !request::is_root() {
        return Ok(());
    }
    let path = Path::new("/proc").join(pid.to_string()).join("autogroup");
    if path.exists() {
        return fs::write(&path, PRIORITY).map_err(|source| Error::Write { path, source });
    }
    quietly(Command::new("renice").args(["-n", PRIORITY, "-p", &pid.to_string()]))
}

fn quietly(command: &mut Command) -> Result<(), Error> {
    let shown = crate::workspace::shown(command);
    let status = command.stdout(Stdio::null()).status();
    let status = status.map_err(|source| Error::Start { command: shown.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: shown, status }) }
}

/// A running program.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program in `dir`, on one core. What it says goes to a file there.
    pub(super) fn start(dir: &Path, core: usize, words: &[&str], env: &[(&str, &str)]) -> Result<Process, Error> {
        let name = words.first().copied().unwrap_or_default();
        let path = dir.join("said.log");
        let log = fs::File::create(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        let both = log.try_clone().map_err(|source| Error::Write { path, source })?;
        // `exec` all the way: the process that is started is the program.
        let mut command = Command::new("setpriv");
        // A session for each, so that all of them are treated alike where shares of a core go by session.
        command.args(["--pdeathsig", "TERM", "setsid", "taskset", "--cpu-list"]).arg(core.to_string()).args(words);
        command.envs(env.iter().copied()).current_dir(dir).stdin(Stdio::null()).stdout(log).stderr(both);
        let child = command.spawn().map_err(|source| Error::Start { command: name.into(), source })?;
        Ok(Process { child })
    }

    /// Puts it before what others do on this machine, as root. It must be running.
    pub(super) fn prefer(&self) -> Result<(), Error> {
        prefer(self.child.id())
    }

    /// User and system time of it and everything it started, in seconds.
    pub(super) fn cpu_s(&self) -> f64 {
        cpu_s(self.child.id(), &[UTIME, STIME])
    }

    /// Resident memory of it and everything it started.
    pub(super) fn resident_kib(&self) -> u64 {
        let resident = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        tree(self.child.id()).into_iter().filter_map(resident).sum()
    }

    /// Whether it has ended already.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // In order first: killed outright, a master would leave its workers behind.
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let begun = Instant::now();
        while !self.has_ended() {
            if begun.elapsed() > END {
                let _ = self.child.kill().and_then(|()| self.child.wait());
                return;
            }
            std::thread::park_timeout(LOOK);
        }
    }
}

/// User and system time of this process and everything it started, also of what has ended since, in seconds.
pub(super) fn cpu_s_with_ended() -> f64 {
    cpu_s(std::process::id(), &[UTIME, STIME, CUTIME, CSTIME])
}

fn cpu_s(root: u32, fields: &[usize]) -> f64 {
    let ticks = |pid: u32| {
        let all = stat(pid)?;
        Some(fields.iter().filter_map(|n| all.get(*n)?.parse::<f64>().ok()).sum::<f64>())
    };
    tree(root).into_iter().filter_map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// A process and everything it started that still runs.
fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(PARENT)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).into_iter().flatten());
        next += 1;
    }
    found
}

/// Places of fields in what [`stat`] gives.
const PARENT: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;
/// Of children that have ended.
const CUTIME: usize = 13;
const CSTIME: usize = 14;

/// What /proc/PID/stat says after the name, which may hold anything: the state, the parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_and_its_children_use_is_counted() {
        let dir = std::env::temp_dir().join(format!("quarterdeck-process-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let busy = "sh -c 'while :; do :; done' & wait";
        let process = Process::start(&dir, 0, &["sh", "-c", busy], &[]).unwrap();
        let begun = Instant::now();
        while process.cpu_s() < 0.05 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it uses nothing");
            std::thread::park_timeout(LOOK);
        }
        assert!(tree(process.child.id()).len() >= 2);
        assert!(process.resident_kib() > 100);
        let pids = tree(process.child.id());
        // The shell that waits does not pass the signal on.
        for pid in pids.iter().rev() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        drop(process);
        fs::remove_dir_all(&dir).unwrap();
    }
}
