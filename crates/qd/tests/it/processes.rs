//! Processes by where they belong: everything that an installation runs names its directory, in its command line, its
//! environment or its working directory.

use crate::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, path::Path};

/// A process of an installation.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Program and arguments.
    pub(crate) words: Vec<String>,
}

impl Process {
    /// Whether it is `qd` in this role, such as `proxy`.
    pub(crate) fn is(&self, role: &str) -> bool {
        let program = self.words.first().is_some_and(|w| w == "qd" || w.ends_with("/qd"));
        program && self.words.get(1).is_some_and(|w| w == role)
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        signal(self.pid, Signal::KILL);
    }

    /// Its resident memory, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

/// Sends a signal; a process that has ended already does not mind.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Everything that runs because of a directory, except this test.
pub(crate) fn of(directory: &Path) -> Vec<Process> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own).filter_map(|pid| look(pid, directory)).collect()
}

fn look(pid: u32, directory: &Path) -> Option<Process> {
    let name = directory.as_os_str().as_encoded_bytes();
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = read("cmdline");
    let contains = |bytes: &[u8]| bytes.windows(name.len()).any(|part| part == name);
    let is_there = || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
    if line.is_empty() || !(contains(&line) || contains(&read("environ")) || is_there()) {
        return None;
    }
    let words = line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    Some(Process { pid, words })
}

/// Kills everything that runs because of a directory, and what that starts meanwhile.
pub(crate) fn kill_all(directory: &Path) {
    until("everything to be gone", || {
        let all = of(directory);
        all.iter().for_each(Process::kill);
        all.is_empty()
    });
}
