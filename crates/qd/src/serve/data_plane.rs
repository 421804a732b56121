//! The data plane's keeper: finds a running `qd proxy` or starts one, passes it tables, and passes on what it reports.
//!
//! The data plane outlives this process on purpose. It is adopted when it is of our build and listens where it should;
//! otherwise another one is started that takes over its listeners, without a connection lost. Where that fails, one of
//! another build goes on, and one that cannot be talked to or listens elsewhere is asked to end in order first.

use super::told;
use crate::event_loop::Event;
use model::{
    RouteTable, Span,
    wire::{self, Decoder, FromProxy, Hello, ToProxy},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use std::{
    io,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// The name of the control socket in the data directory.
pub(crate) const SOCKET: &str = "proxy.sock";
/// Where a data plane writes what goes wrong.
const LOG: &str = "proxy.log";
/// A log longer than this is put aside, once, when the next data plane is started.
const LOG_BOUND: u64 = 8 << 20;
/// How long a started data plane may take to open its socket.
const START: Duration = Duration::from_secs(10);
/// How long one may take to take over from another.
const HANDOVER: Duration = Duration::from_secs(30);
/// How long a Hello may take.
const HELLO: Duration = Duration::from_secs(5);
/// How long the process of a data plane may take to end once it has hung up.
const END: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// The waits between attempts.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

/// What the keeper needs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// This program.
    pub(crate) executable: PathBuf,
    /// Where the data plane shall listen.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where it shall listen for connections with TLS.
    pub(crate) listen_tls: Vec<SocketAddr>,
    /// How many threads it shall have; 0: one per core.
    pub(crate) threads: usize,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("it hung up")]
    HungUp,
    #[error("it did not say hello within {HELLO:?}")]
    Silent,
    #[error("it speaks version {0} and this program version {ours}; it is replaced", ours = wire::VERSION)]
    Version(u32),
    #[error("it listens on {0:?}; it is replaced")]
    Elsewhere(Vec<SocketAddr>),
    #[error("it is of another build than this program; it is replaced")]
    Build,
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
    #[error("what it says cannot be read: {0}")]
    Wire(#[from] wire::Error),
}

/// Keeps a data plane running and linked until the receiver of events is gone. `tables` is the table it shall obey.
pub(crate) async fn keep(settings: Settings, mut tables: watch::Receiver<RouteTable>, events: mpsc::Sender<Event>) {
    let mut child: Option<Child> = None;
    let mut failures = 0;
    // Which builds could not be replaced by handover, and are put up with.
    let mut lasting = Vec::new();
    loop {
        if let Some(running) = &mut child
            && let Ok(Some(status)) = running.try_wait()
        {
            tracing::warn!(%status, log = %settings.data.join(LOG).display(), "the data plane ended; starting it again");
            child = None;
        }
        match UnixStream::connect(settings.data.join(SOCKET)).await {
            Ok(stream) => {
                let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
                let broken = match link(stream, &settings, &lasting, &mut tables, &events).await {
                    Ok(()) => return,
                    Err(broken) => broken,
                };
                tracing::warn!(%broken, "the link to the data plane is gone");
                match broken {
                    Broken::Version(_) | Broken::Elsewhere(_) | Broken::Build => {
                        match (succeed(&settings, pid).await, &broken) {
                            (Some(started), _) => child = Some(started),
                            (None, Broken::Build) => lasting.extend(pid),
                            (None, _) => shut_down(&settings.data, Span::seconds(10)).await,
                        }
                    }
                    Broken::HungUp | Broken::Silent | Broken::Io(_) | Broken::Wire(_) => {}
                }
                failures = 0;
                if events.send(Event::ProxyLost).await.is_err() {
                    return;
                }
            }
            Err(_) if child.is_none() => match start(&settings, false) {
                Ok(started) => {
                    child = Some(started);
                    wait_for_socket(&settings.data, child.as_mut()).await;
                }
                Err(error) => tracing::error!(%error, "the data plane could not be started"),
            },
            Err(_) => {}
        }
        failures += 1;
        sleep(PAUSES[failures.min(PAUSES.len()) - 1]).await;
    }
}

/// Starts a data plane that takes over the listeners of the one that runs, and waits until it has its socket. `None`: it did
/// not come so far, and the other one goes on.
async fn succeed(settings: &Settings, before: Option<i32>) -> Option<Child> {
    let mut child = match start(settings, true) {
        Ok(child) => child,
        Err(error) => {
            tracing::error!(%error, "another data plane could not be started");
            return None;
        }
    };
    let other = async {
        loop {
            if !matches!(child.try_wait(), Ok(None)) {
                return false;
            }
            let answers = UnixStream::connect(settings.data.join(SOCKET)).await.ok();
            if answers.is_some_and(|stream| stream.peer_cred().ok().and_then(|peer| peer.pid()) != before) {
                return true;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(HANDOVER, other).await.unwrap_or(false) {
        tracing::info!("another data plane has taken over; no connection was lost");
        return Some(child);
    }
    tracing::warn!(log = %settings.data.join(LOG).display(), "another data plane could not take over");
    // It has ended, or must: two are one too many.
    let _ = child.kill().and_then(|()| child.wait());
    None
}

fn start(settings: &Settings, take_over: bool) -> io::Result<Child> {
    let path = settings.data.join(LOG);
    if path.metadata().is_ok_and(|m| m.len() > LOG_BOUND) {
        std::fs::rename(&path, path.with_extension("log.1"))?;
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
    let mut command = Command::new(&settings.executable);
    // What `ps` shows; the path of the executable says less.
    command
        .arg0("qd")
        .arg(crate::roles::PROXY)
        .arg("--data")
        .arg(&settings.data)
        .arg("--settings")
        .arg(settings.data.join(told::SETTINGS))
        .arg("--threads")
        .arg(settings.threads.to_string());
    if take_over {
        command.arg("--take-over").arg("true");
    }
    for address in &settings.listen {
        command.arg("--listen").arg(address.to_string());
    }
    if !settings.listen_tls.is_empty() {
        command.arg("--tls-terms").arg(settings.data.join(told::TERMS));
    }
    for address in &settings.listen_tls {
        command.arg("--tls-listen").arg(address.to_string());
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// Waits until the socket answers, the process has ended, or it takes too long.
async fn wait_for_socket(data: &Path, child: Option<&mut Child>) {
    let Some(child) = child else { return };
    let opened = async {
        while UnixStream::connect(data.join(SOCKET)).await.is_err() {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    drop(timeout(START, opened).await);
}

/// Talks with a data plane until the link breaks (an error) or nobody listens to events any more.
/// `lasting`: processes that may be of another build.
async fn link(
    mut stream: UnixStream,
    settings: &Settings,
    lasting: &[i32],
    tables: &mut watch::Receiver<RouteTable>,
    events: &mpsc::Sender<Event>,
) -> Result<(), Broken> {
    let hello =
        Hello { version: wire::VERSION, pid: std::process::id(), started: super::clock::wall(), build: proxy::build() };
    stream.write_all(&wire::encode(&ToProxy::Hello(hello))?).await?;
    let mut decoder = Decoder::default();
    let first = timeout(HELLO, receive(&mut stream, &mut decoder)).await.map_err(|_| Broken::Silent)??;
    if let FromProxy::Hello(theirs) = &first {
        if theirs.version != wire::VERSION {
            return Err(Broken::Version(theirs.version));
        }
        if theirs.build != proxy::build() && !lasting.iter().any(|pid| u32::try_from(*pid) == Ok(theirs.pid)) {
            return Err(Broken::Build);
        }
    }
    // The table that is wanted now is sent whatever it is: the data plane refuses it if it has a newer one.
    tables.mark_changed();
    let mut adopted = false;
    loop {
        tokio::select! {
            message = receive(&mut stream, &mut decoder) => {
                let event = match message? {
                    FromProxy::Hello(_) => continue,
                    FromProxy::Report(report) => {
                        let fits = listens_as_wanted(&settings.listen, &report.listening)
                            && listens_as_wanted(&settings.listen_tls, &report.listening_tls);
                        if !adopted && !fits {
                            return Err(Broken::Elsewhere([report.listening, report.listening_tls].concat()));
                        }
                        adopted = true;
                        Event::Report(Box::new(report))
                    }
                    FromProxy::Tripped { change, evidence } => Event::Tripped(change, Box::new(evidence)),
                };
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
            changed = tables.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let table = tables.borrow_and_update().clone();
                if table.generation > 0 {
                    stream.write_all(&wire::encode(&ToProxy::SetRoutes(table))?).await?;
                }
            }
        }
    }
}

/// Waits until the process at the other end has ended: a little after it has hung up, and with it the last hold on its
/// addresses.
async fn gone(stream: &mut UnixStream) {
    let pid = stream.peer_cred().ok().and_then(|peer| Pid::from_raw(peer.pid()?));
    let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    if let Some(process) = process {
        let ends = move || poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&END));
        drop(spawn_blocking(ends).await);
    }
}

/// Whether the addresses are those that are wanted; a wanted port 0 is any port.
fn listens_as_wanted(wanted: &[SocketAddr], actual: &[SocketAddr]) -> bool {
    let fits = |w: &SocketAddr, a: &SocketAddr| w.ip() == a.ip() && (w.port() == 0 || w.port() == a.port());
    wanted.len() == actual.len() && wanted.iter().all(|w| actual.iter().any(|a| fits(w, a)))
}

async fn receive(stream: &mut UnixStream, decoder: &mut Decoder) -> Result<FromProxy, Broken> {
    let mut chunk = [0; 16 << 10];
    loop {
        if let Some(message) = decoder.next_message()? {
            return Ok(message);
        }
        let n = stream.read(&mut chunk).await?;
        if n == 0 {
            return Err(Broken::HungUp);
        }
        decoder.push(&chunk[..n]);
    }
}

/// Asks a running data plane to let what is in flight end, for at most `drain`, and waits until it has gone.
pub(crate) async fn shut_down(data: &Path, drain: Span) {
    let Ok(mut stream) = UnixStream::connect(data.join(SOCKET)).await else { return };
    let hello =
        Hello { version: wire::VERSION, pid: std::process::id(), started: super::clock::wall(), build: proxy::build() };
    for message in [ToProxy::Hello(hello), ToProxy::Shutdown(drain)] {
        let Ok(frame) = wire::encode(&message) else { return };
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
    drop(timeout(drain.duration() + Duration::from_secs(2), gone(&mut stream)).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_plane_is_adopted_only_where_it_should_listen() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        assert!(listens_as_wanted(&[at("127.0.0.1:0")], &[at("127.0.0.1:8080")]));
        assert!(listens_as_wanted(&[at("127.0.0.1:8080")], &[at("127.0.0.1:8080")]));
        assert!(!listens_as_wanted(&[at("127.0.0.1:8081")], &[at("127.0.0.1:8080")]));
        assert!(!listens_as_wanted(&[at("0.0.0.0:8080")], &[at("127.0.0.1:8080")]));
        assert!(!listens_as_wanted(&[], &[at("127.0.0.1:8080")]));
    }
}
