//! `qd files`: the server of a service that is only files. An instance like any other, started by its shim.
//!
//! It answers GET and HEAD on loopback from one directory of its release, and nothing else: it lists no directories, runs
//! nothing and writes nothing. What always holds: what it sends lies inside of that directory, however it is asked and
//! wherever links lead; hidden files are not there; what it keeps in memory is bounded, whatever is asked for and however
//! large a file is.
//!
//! A release never changes, so that a file is known by its content from its first use on: its tag is the same in every
//! instance and every release that has the same file. Times of files mean nothing here, and none are told.
//!
//! Start reading at [`run`], then [`answer`](mod@answer). [`path`], [`range`], [`name`] and [`coding`] are pure.

mod answer;
mod body;
mod coding;
mod name;
mod path;
mod range;
mod shelf;

use answer::Site;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use shelf::{Found, Shelf};
use std::{convert::Infallible, ffi::OsString, io, net::Ipv4Addr, path::PathBuf, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    time::sleep,
};

/// Open connections; more wait to be accepted.
const CONNECTIONS: u32 = 1024;
/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// How long a connection may be idle: longer than the data plane keeps one, so that it is the one to close it.
const IDLE: Duration = Duration::from_secs(120);
/// How long the other end may take nothing of what is sent to it, in milliseconds: as long as an event stream may be silent.
const STALL_MS: u32 = 300_000;
/// How many files are read at once.
const READERS: usize = 8;
/// How many of them for the first time, as a whole; all others for one piece.
const LOOKING: usize = 4;
/// How long to wait before accepting again when the system cannot give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why no files are served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Somebody typed this.
    #[error(
        "`qd files` is started by `qd serve` and not by hand: write files = \".\" for a service in quarterdeck.toml"
    )]
    NotByHand,
    /// There is nothing to serve.
    #[error("the release has no directory `{}` that can be served", path.display())]
    Directory {
        /// What is to be one.
        path: PathBuf,
        /// Why it cannot be.
        #[source]
        source: io::Error,
    },
    /// What is to answer for all that is missing is missing.
    #[error("`{}` has no file `{}` that could answer where there is none", directory.display(), page.display())]
    SinglePage {
        /// Where it is to be.
        directory: PathBuf,
        /// What it is called.
        page: PathBuf,
    },
    /// The system does not give what a server needs.
    #[error("files cannot be served on 127.0.0.1:{port}")]
    System {
        /// Where.
        port: u16,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Serves the directory that is the first argument, relative to where this process is, at the port that the environment
/// names. The second argument, if there is one, is the file that answers where there is none. Ends after SIGTERM, when all
/// that was being sent is sent; for how long that may take is the shim's to say.
///
/// # Errors
/// When that is impossible.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Error> {
    let (directory, single_page) = match arguments {
        [directory] => (directory, None),
        [directory, page] => (directory, Some(PathBuf::from(page))),
        _ => return Err(Error::NotByHand),
    };
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).ok_or(Error::NotByHand)?;
    let directory = PathBuf::from(directory);
    let shelf = Shelf::open(&directory).map_err(|source| Error::Directory { path: directory.clone(), source })?;
    if let Some(page) = single_page.as_ref().filter(|page| !matches!(shelf.find(page), Ok(Found::File(_)))) {
        return Err(Error::SinglePage { directory, page: page.clone() });
    }
    let site = Arc::new(Site { shelf: Arc::new(shelf), single_page, looking: Semaphore::new(LOOKING) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(READERS).build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(site, port)));
    served.map_err(|source| Error::System { port, source })
}

/// Answers until it is told to end.
async fn serve(site: Arc<Site>, port: u16) -> io::Result<()> {
    let mut told = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let (stopping, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let accepting = async {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                drop(place);
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let conversation = converse(stream, site.clone(), stopped.clone());
            tokio::spawn(async move {
                conversation.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = told.recv() => {}
    }
    drop(listener);
    let _ = stopping.send(true);
    // All connections have ended when all of their places are free.
    let _ = places.acquire_many(CONNECTIONS).await;
    Ok(())
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, site: Arc<Site>, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STALL_MS);
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How a connection ends is its client's affair: there is nobody here to tell.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
