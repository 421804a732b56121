//! The data plane: it listens, assigns, forwards, counts, and trips the guards it was given.
//!
//! It obeys a [`model::RouteTable`] that somebody else planned. It decides nothing, with one exception: a guard whose
//! evidence says that the canary is worse takes the canary's weight to zero at once and reports after. It never raises
//! anybody's exposure, never starts or stops an instance, and goes on with its last table when whoever sends tables dies.
//!
//! Threads: one worker per core, each a single-threaded runtime with its own listeners, its own copy of the table
//! ([`lane`]) and its own upstream connections, so that a request meets no lock and no other core's cache lines (unless its
//! service bounds or caches them); one
//! guard thread that turns judged units into evidence; one that keeps certificates, where TLS is spoken; a [`clerk`] for settings and
//! the access log; one that writes what caches store on disk, where one does; and the calling thread, which holds the control socket.
//!
//! What always holds:
//! - the table in force is replaced as a whole and never by an older one;
//! - every request that was assigned ends in exactly one count ([`ticket`]);
//! - a body that broke on the way is never made to look whole;
//! - every wait, queue and buffer is bounded ([`config::Limits`]).
//!
//! Start reading at [`forward`], the life of one request.

mod access_log;
mod admit;
mod assign;
mod body;
mod buffers;
mod bulkhead;
mod cache;
mod clerk;
mod client_io;
mod compress;
pub mod config;
mod connection;
mod control_link;
mod dates;
mod edits;
mod error;
mod forward;
#[cfg(test)]
mod fuzz;
mod gathering;
mod guard;
mod handover;
mod headers;
mod hedge;
mod idle;
mod lane;
mod lifeline;
mod limiter;
mod listen;
mod origin;
mod patience;
mod plain;
mod pool;
mod proxy_header;
mod quiet;
mod refusal;
mod report;
mod saved_table;
mod settings;
mod shadow;
mod shared;
mod stream;
mod streams;
mod table;
mod tally;
mod tcp;
mod ticket;
mod tls;
mod tunnel;
mod units;
mod upstream;
mod websocket;
mod worker;

pub use config::{Acme, CertificateFiles, Clients, Config, Hsts, Limits, Terms, Tls, Wanted};
pub use error::Error;
pub use settings::{AccessLog, LogFormat, Settings};
pub use tls::certificate::{Inspected, inspect};

use control_link::Home;
use handover::{Arrived, Offered, Sockets};
use shared::{Shared, Stop};
use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc, thread, time::Instant};
use tcp::Gates;
use tls::{Keeper, Keeping};

/// Runs the data plane until it is told to stop, by `ToProxy::Shutdown` or SIGTERM, and everything in flight has ended
/// or its deadline has passed.
///
/// # Errors
/// When it cannot begin: the data directory is not writable or has a proxy already, or an address cannot be listened on.
pub fn run(config: Config) -> Result<(), Error> {
    let (place, inherited) = Place::find(&config)?;
    let threads = config.threads();
    let listeners = listen::bind(&config.addresses(), threads, inherited.listeners)?;
    let connections = listen::raise_file_limit() / threads;
    let doubles = Offered::of(listeners.per_thread.iter().flatten());
    let doubles = doubles.map_err(|source| Error::Resources { what: "open files", source })?;

    let saved = Home::load_table(&config.data_dir);
    let (shared, queues) = Shared::new(&config, listeners.addresses, connections, saved.as_ref());
    let gates = Gates::new(&shared, threads, inherited.of_services);
    let keeping = match (&config.tls, &shared.tls) {
        (Some(tls), Some(plane)) => {
            Some(Keeper::new(tls, &config.data_dir, Arc::clone(plane), Arc::clone(&shared))?.start()?)
        }
        (_, _) => None,
    };
    let (clerk, lines) = match &config.settings {
        Some(settings) => {
            clerk::start(settings, Arc::clone(&shared)).map(|(thread, lines)| (Some(thread), Some(lines)))?
        }
        None => (None, None),
    };
    let guard = guard::start(Arc::clone(&shared), queues.consumers)?;
    let mut workers = Vec::with_capacity(threads);
    for (index, (sockets, judged)) in listeners.per_thread.into_iter().zip(queues.producers).enumerate() {
        let seed = config.seed.map(|seed| seed.wrapping_add(index as u64));
        workers.push(worker::start(Arc::clone(&shared), index, sockets, judged, lines.clone(), seed)?);
    }
    drop(lines);
    let ended = place.take(&config.data_dir, &shared).and_then(|home| {
        // What was saved while the proxy before was still there.
        let saved = Home::load_table(&config.data_dir).or(saved);
        saved.iter().for_each(|saved| shared.take_saved(saved));
        control_link::hold(home, saved, Arc::clone(&shared), guard.trips, doubles, gates)
    });
    if ended.is_err() {
        shared.stop.send_replace(Some(Stop::at(Instant::now())));
    }

    shared.end();
    for worker in workers {
        join(worker, "a worker").unwrap_or(Ok(())).map_err(|source| Error::Resources { what: "a worker", source })?;
    }
    join(guard.thread, "the guard thread");
    clerk.map(|clerk| join(clerk, "the thread that writes the access log"));
    if let Some(Keeping { thread, end }) = keeping {
        drop(end);
        join(thread, "the thread that keeps certificates");
    }
    ended
}

/// The place in the data directory: ours, or still that of the proxy that hands over.
enum Place {
    Ours(Home),
    Theirs(Arrived),
}

impl Place {
    /// Claims the directory, or else asks whoever has it for the listeners.
    fn find(config: &Config) -> Result<(Place, Sockets), Error> {
        match Home::claim(&config.data_dir) {
            Err(Error::AlreadyRunning { .. }) if config.take_over => {
                let inherited = handover::ask(&config.data_dir).map_err(|source| Error::Handover { source })?;
                let (sockets, arrived) = inherited.split();
                let (listeners, of_services) = (sockets.listeners.len(), sockets.of_services.len());
                tracing::info!(listeners, of_services, "taking over from the proxy that runs");
                Ok((Place::Theirs(arrived), sockets))
            }
            claimed => claimed.map(|home| (Place::Ours(home), Sockets::default())),
        }
    }

    /// Makes it ours, now that connections are accepted here.
    fn take(self, data_dir: &Path, shared: &Shared) -> Result<Home, Error> {
        match self {
            Place::Ours(home) => Ok(home),
            Place::Theirs(arrived) => {
                arrived.ready()?;
                tracing::info!(at = ?shared.listening, "connections come in here now");
                Home::claim(data_dir)
            }
        }
    }
}

/// Which build of this program runs: the same for processes of one executable file, another after it was replaced.
pub fn build() -> String {
    // By this name it stays what it is when the file it was started from is replaced.
    let file = fs::metadata("/proc/self/exe");
    file.map_or_else(
        |_| String::new(),
        |f| format!("{:x}-{:x}-{:x}-{:x}.{}", f.dev(), f.ino(), f.size(), f.mtime(), f.mtime_nsec()),
    )
}

/// What a thread ended with. One that panicked has said why itself; the others have still to end in order.
fn join<T>(thread: thread::JoinHandle<T>, which: &str) -> Option<T> {
    let ended = thread.join();
    if ended.is_err() {
        tracing::error!("{which} of the proxy panicked before it ended");
    }
    ended.ok()
}
