//! HTTP/2 connections to one instance, in one thread. Each carries many requests at once; another one is opened when all are
//! full.

use crate::{
    body::RequestBody,
    pool::{FRESH, IDLE_TIME, Replay},
    tls::ToInstance,
};
use hyper::{
    client::conn::http2::{Builder, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, MutexGuard},
};

/// How many requests one connection carries at once. What most servers allow, or more.
const MOST_STREAMS: u32 = 100;

/// The most connections that are kept to one instance.
const MOST_CONNECTIONS: usize = 64;

/// How often an instance is asked whether it is still there, and for how long it may be silent then.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Flow-control windows: what one response, and all on a connection, may have sent that was not forwarded yet.
const WINDOW: (u32, u32) = (256 << 10, 4 << 20);

/// The longest head of a response, and trailers.
const HEAD: u32 = 64 << 10;

/// All connections to one instance.
#[derive(Default)]
pub(crate) struct Framed {
    trunks: RefCell<Vec<Rc<Trunk>>>,
    /// Whoever has it opens another one; others wait, because there will be room for them, too.
    turn: Mutex<()>,
}

/// One connection.
struct Trunk {
    sender: SendRequest<RequestBody>,
    streams: Cell<u32>,
    used: Cell<Instant>,
}

/// A place for one request on a connection.
pub(crate) struct Place(Rc<Trunk>);

impl Framed {
    /// A place on an open connection that has one left.
    pub(crate) fn take(&self, now: Instant, replay: Replay) -> Option<Place> {
        let mut trunks = self.trunks.borrow_mut();
        trunks.retain(|trunk| !trunk.sender.is_closed());
        // An idle one may be closed by now without our knowing.
        let sure = |trunk: &Trunk| {
            replay == Replay::Safe || trunk.streams.get() > 0 || now.duration_since(trunk.used.get()) <= FRESH
        };
        let found = trunks.iter().find(|trunk| trunk.streams.get() < MOST_STREAMS && sure(trunk));
        found.map(Place::on)
    }

    /// The turn to open another one, and whether it had to be waited for.
    pub(crate) async fn turn(&self) -> (MutexGuard<'_, ()>, bool) {
        match self.turn.try_lock() {
            Ok(turn) => (turn, false),
            Err(_) => (self.turn.lock().await, true),
        }
    }

    /// Begins HTTP/2 on a new connection, without asking for it: the instance is known to speak it.
    ///
    /// # Errors
    /// When the connection breaks at once.
    pub(crate) async fn begin(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        tls: Option<Rc<ToInstance>>,
    ) -> io::Result<Place> {
        let mut builder = Builder::new(Here);
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .initial_stream_window_size(WINDOW.0)
            .initial_connection_window_size(WINDOW.1)
            .max_header_list_size(HEAD);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            // How it ended is told to whoever waits for a response.
            if let (Err(error), Some(tls)) = (connection.await, tls) {
                tls.ended(&error);
            }
        });
        let trunk = Rc::new(Trunk { sender, streams: Cell::new(0), used: Cell::new(Instant::now()) });
        let mut trunks = self.trunks.borrow_mut();
        if trunks.len() < MOST_CONNECTIONS {
            trunks.push(Rc::clone(&trunk));
        }
        Ok(Place::on(&trunk))
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn close_old(&self, now: Instant) {
        let kept = |trunk: &Rc<Trunk>| {
            let idle = trunk.streams.get() == 0 && now.duration_since(trunk.used.get()) >= IDLE_TIME;
            !idle && !trunk.sender.is_closed()
        };
        self.trunks.borrow_mut().retain(kept);
    }

    /// Closes all, each when its last request has ended.
    pub(crate) fn clear(&self) {
        self.trunks.borrow_mut().clear();
    }
}

impl Place {
    fn on(trunk: &Rc<Trunk>) -> Place {
        trunk.streams.set(trunk.streams.get() + 1);
        trunk.used.set(Instant::now());
        Place(Rc::clone(trunk))
    }

    /// What requests are sent with.
    pub(crate) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.used.set(Instant::now());
    }
}

/// Runs what a connection needs in this thread.
#[derive(Clone, Copy)]
struct Here;

impl<F> Executor<F> for Here
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
