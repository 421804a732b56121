//! What `/proc` says about processes. Everything is best effort: a process may be gone at any line.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One line of `/proc/<pid>/stat`, as far as it is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The first 15 bytes of its program's name.
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
}

impl Process {
    pub(crate) fn read(pid: u32) -> Option<Process> {
        Process::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: u32, stat: &str) -> Option<Process> {
        // The name is in parentheses and may itself contain parentheses and spaces.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut number = || fields.next()?.parse().ok();
        Some(Process { pid, name, state, parent: number()?, group: number()?, session: number()? })
    }

    /// Whether it still runs: not a zombie and not about to vanish.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Every process that can be seen.
pub(crate) fn processes() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
}

/// Whether a process was given this environment variable at its start. False when that may not be known.
pub(crate) fn was_given(pid: u32, name: &str, value: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment
        .split(|b| *b == 0)
        .any(|v| v.strip_prefix(name.as_bytes()).and_then(|v| v.strip_prefix(b"=")) == Some(value.as_bytes()))
}

/// The working directory of a process.
pub(crate) fn works_in(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// The TCP sockets that these processes listen on, as `(is it every address or loopback, port)`.
pub(crate) fn listening_ports(pids: &[u32]) -> BTreeSet<Listening> {
    let inodes: BTreeSet<u64> = pids.iter().flat_map(|pid| socket_inodes(*pid)).collect();
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|line| Listening::parse(line, &inodes)).collect::<Vec<_>>())
        .collect()
}

/// One listening socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Listening {
    pub(crate) port: u16,
    /// Whether a connection to 127.0.0.1 reaches it.
    pub(crate) on_loopback: bool,
}

impl Listening {
    fn parse(line: &str, inodes: &BTreeSet<u64>) -> Option<Listening> {
        const LISTEN: &str = "0A";
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        let inode: u64 = fields.get(9)?.parse().ok()?;
        if *fields.get(3)? != LISTEN || !inodes.contains(&inode) {
            return None;
        }
        let everywhere = address.bytes().all(|b| b == b'0');
        let on_loopback = everywhere || address == "0100007F";
        Some(Listening { port: u16::from_str_radix(port, 16).ok()?, on_loopback })
    }
}

fn socket_inodes(pid: u32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_contain_anything() {
        let process = Process::parse(7, "7 (a) (b) c) S 1 2 3 0 -1").unwrap();
        assert_eq!((process.name.as_str(), process.state, process.parent), ("a) (b) c", 'S', 1));
        assert_eq!((process.group, process.session), (2, 3));
        assert_eq!(Process::parse(7, "nonsense"), None);
    }

    #[test]
    fn own_listeners_are_found_and_those_of_others_are_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mine = listening_ports(&[std::process::id()]);
        assert!(mine.contains(&Listening { port, on_loopback: true }), "{mine:?}");
        assert!(!listening_ports(&[]).iter().any(|l| l.port == port));
    }
}
