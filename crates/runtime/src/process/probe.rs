//! Checks of one instance: one attempt each, bounded in time and in what it reads.

use super::launch::Running;
use crate::{
    procfs,
    shim::{
        invocation::{self, Environment},
        stage::Stage,
    },
};
use model::{Check, Probe};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{io, net::SocketAddr, process::Stdio};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// One attempt.
///
/// # Errors
/// What went wrong, in words for people.
pub(super) async fn attempt(probe: &Probe, running: &Running) -> Result<(), String> {
    let check = async {
        match &probe.check {
            Check::Started => Ok(()),
            Check::Tcp => connect(running.address).await.map(drop),
            Check::Http(path) => get(running.address, path).await,
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

async fn get(address: SocketAddr, path: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: quarterdeck-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
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
    let environment = Environment::new(assignment, &running.directory, running.address.port(), secrets.values());
    let command = invocation::resolve(words, &assignment.release, running.address.port(), &environment)?;
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
    let port = running.address.port();
    let listening = procfs::listening_ports(&pids);
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
