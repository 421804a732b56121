//! Checks of one instance: one attempt each, bounded in time and in what it reads.

use super::launch::Running;
use crate::{
    procfs::{self, Listening},
    shim::{
        invocation::{self, Environment},
        stage::Stage,
    },
};
use model::{Address, Check, Probe};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::BTreeSet, fs, io, net::SocketAddr, os::unix::fs::MetadataExt as _, path::Path, process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

/// How long until a socket is asked again whose queue of new connections is full; for as long as the check may take.
const QUEUE_FULL: Duration = Duration::from_millis(10);

/// One attempt.
///
/// # Errors
/// What went wrong, in words for people.
pub(super) async fn attempt(probe: &Probe, running: &Running) -> Result<(), String> {
    let check = async {
        match &probe.check {
            Check::Started => Ok(()),
            Check::Tcp => match &running.address {
                Address::Tcp(address) => connect(*address).await.map(drop),
                Address::Unix(socket) => connect_to_socket(socket).await.map(drop),
            },
            Check::Http(path) => match &running.address {
                Address::Tcp(address) => get(connect(*address).await?, &address.to_string(), path).await,
                Address::Unix(socket) => get(connect_to_socket(socket).await?, "localhost", path).await,
            },
            Check::Command(command) => run(command, running).await,
        }
    };
    match timeout(probe.timeout.duration(), check).await {
        Ok(result) => result,
        Err(_) => Err(format!("{} gave no answer within {}", describe(&probe.check), probe.timeout)),
    }
}

fn describe(check: &Check) -> String {
    match check {
        Check::Started => "starting".to_owned(),
        Check::Tcp => "connecting".to_owned(),
        Check::Http(path) => format!("GET {path}"),
        Check::Command(command) => format!("`{}`", command.join(" ")),
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return format!("nothing listens on PORT={}", address.port());
        }
        format!("cannot connect to {address}: {error}")
    })
}

async fn connect_to_socket(path: &str) -> Result<UnixStream, String> {
    let failed = |error: io::Error| format!("cannot connect to SOCKET={path}: {error}");
    let stream = loop {
        match UnixStream::connect(path).await {
            Ok(stream) => break stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_FULL).await,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind()) => {
                return Err(format!("nothing listens on SOCKET={path}"));
            }
            Err(error) => return Err(failed(error)),
        }
    };
    // The data plane makes sure of it likewise: a link in its place could lead to anybody's socket.
    let owner = Path::new(path).parent().map_or(Ok(0), |run| fs::metadata(run).map(|found| found.uid()));
    let (owner, listens) = (owner.map_err(failed)?, stream.peer_cred().map_err(failed)?.uid());
    match listens == owner {
        true => Ok(stream),
        false => Err(format!("uid {listens} listens on SOCKET={path}, and not the instance, which is uid {owner}")),
    }
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> Result<(), String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: quarterdeck-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: io::Error| format!("GET {path} failed: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    // The status line is all that counts; it is at most this long.
    let mut head = [0; 256];
    let mut length = 0;
    while length < head.len() && !head[..length].contains(&b'\n') {
        match stream.read(&mut head[length..]).await.map_err(failed)? {
            0 => break,
            n => length += n,
        }
    }
    match status_code(&head[..length]) {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("GET {path} answered {code}")),
        None if length == 0 => Err(format!("GET {path} was hung up on without an answer")),
        None => Err(format!("GET {path} was not answered in HTTP/1")),
    }
}

fn status_code(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(rest).ok()?.parse().ok()
}

async fn run(words: &[String], running: &Running) -> Result<(), String> {
    let assignment = &running.assignment;
    let secrets = running.secrets()?;
    let environment = Environment::new(assignment, &running.directory, &running.address, secrets.values());
    let command = invocation::resolve(words, &assignment.release, &running.address, &environment)?;
    let stage = Stage {
        parent: std::process::id(),
        cgroups: running.status.cgroups.clone(),
        limits: assignment.spec.run.limits.clone(),
        bound_memory: false,
        user: assignment.user.clone(),
        directory: assignment.release.clone(),
        command,
    };
    let mut command = tokio::process::Command::from(stage.command(&running.yard.executable));
    command
        .env_clear()
        .envs(environment.variables())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = command.spawn().map_err(|error| format!("the check could not be run: {error}"))?;
    let mut group = Group::of(&child);
    drop(environment);
    // What it says first is what people get to see when it fails.
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(512).read_to_end(&mut said).await;
    }
    let status = child.wait().await.map_err(|error| format!("the check could not be waited for: {error}"))?;
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said: String = said.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let how = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    Err(format!("`{}` failed with {how}", words.join(" ")))
}

/// The process group of a check that runs, killed with the check when that takes too long.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Group {
        Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// What the instance's processes listen on instead of what they should. `None` when it cannot be known.
pub(super) fn explain_silence(running: &Running) -> Option<String> {
    let shim = running.status.shim;
    let pids: Vec<u32> = procfs::processes().filter(|p| p.session == shim && p.pid != shim).map(|p| p.pid).collect();
    let listening = procfs::listening_ports(&pids);
    let port = match &running.address {
        Address::Tcp(address) => address.port(),
        Address::Unix(path) => return no_socket(path, &listening),
    };
    let own = |reached: bool| listening.iter().filter(move |l| l.on_loopback == reached);
    if own(true).any(|l| l.port == port) {
        return None;
    }
    if own(false).any(|l| l.port == port) {
        return Some(format!("listens on PORT={port}, but not on 127.0.0.1, where requests come from"));
    }
    let others: Vec<String> = listening.iter().map(|l| l.port.to_string()).collect();
    Some(match others.as_slice() {
        [] => format!("listens on no port, and should on PORT={port}"),
        _ => format!("listens on {}, not on PORT={port}", others.join(" and ")),
    })
}

/// What an instance does that should listen on a socket.
fn no_socket(path: &str, listening: &BTreeSet<Listening>) -> Option<String> {
    if Path::new(path).exists() {
        return None;
    }
    let ports: Vec<String> = listening.iter().map(|l| l.port.to_string()).collect();
    Some(match ports.as_slice() {
        [] => format!("has made no socket, and should listen on SOCKET={path}"),
        _ => format!("listens on port {}, not on SOCKET={path}", ports.join(" and ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_read_and_nonsense_is_not() {
        assert_eq!(status_code(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status_code(b"HTTP/1.0 503\r\n"), Some(503));
        for bad in [&b"HTTP/2 200\r\n"[..], b"", b"SSH-2.0-x", b"HTTP/1.1 2", b"HTTP/1.1 abc"] {
            assert_eq!(status_code(bad), None);
        }
    }
}
