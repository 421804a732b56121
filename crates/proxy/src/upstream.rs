//! One instance as one thread sees it: its idle connections, how busy it is, whether it refuses, whether it drains.
//!
//! A request goes out at once, on an idle connection or on a new one; it never waits for a busy connection. So an
//! instance has as many connections as it has requests in flight, plus idle ones up to [`MAX_IDLE`].

use crate::{body::RequestBody, config::Limits, tally::InstanceCounts};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use model::Endpoint;
use std::{
    cell::{Cell, RefCell},
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};

/// A connection to an instance, able to carry one request after the other.
pub(crate) type Connection = SendRequest<RequestBody>;

/// The most idle connections kept to one instance, in each thread.
const MAX_IDLE: usize = 512;

/// How long an idle connection is kept. Below the 60 to 75 s after which most servers close it themselves.
const IDLE_TIME: Duration = Duration::from_secs(50);

/// How long a connection may have been idle to carry a request that could not be sent again: servers close idle
/// connections after seconds, and the closing may be on its way.
const FRESH: Duration = Duration::from_secs(1);

/// How long an instance that refused a connection is skipped: this, doubled by every further refusal up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Whether a request can be sent again when its connection turns out to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replay {
    /// Yes: it is idempotent and has no body.
    Safe,
    /// No.
    Never,
}

/// One instance.
pub(crate) struct Upstream {
    /// Which instance, and where it listens.
    pub(crate) endpoint: Endpoint,
    /// When this thread first saw it in a table.
    pub(crate) since: Instant,
    counts: Arc<InstanceCounts>,
    idle: RefCell<Vec<Idle>>,
    refusals: Cell<u32>,
    skip_until: Cell<Option<Instant>>,
    leave_by: Cell<Option<Instant>>,
    left: Arc<Notify>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Upstream {
    /// One that was not in the table before.
    pub(crate) fn new(endpoint: Endpoint, counts: Arc<InstanceCounts>, now: Instant) -> Upstream {
        Upstream {
            endpoint,
            since: now,
            counts,
            idle: RefCell::default(),
            refusals: Cell::new(0),
            skip_until: Cell::new(None),
            leave_by: Cell::new(None),
            left: Arc::default(),
        }
    }

    /// How many requests of this thread it is busy with.
    pub(crate) fn load(&self) -> u64 {
        self.counts.in_flight.get()
    }

    /// A request or a tunnel begins.
    pub(crate) fn enter(&self) {
        self.counts.in_flight.increment();
    }

    /// It has ended.
    pub(crate) fn exit(&self) {
        self.counts.in_flight.decrement();
    }

    /// Whether it has not refused a connection lately.
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        self.skip_until.get().is_none_or(|until| until <= now)
    }

    /// An idle connection, the one used last: the others may then grow old and be closed.
    pub(crate) fn idle_connection(&self, now: Instant, replay: Replay) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let found = &idle[at];
            if found.connection.is_closed() {
                idle.swap_remove(at);
            } else if replay == Replay::Never && now.duration_since(found.since) > FRESH {
                return None;
            } else if found.connection.is_ready() {
                return Some(idle.remove(at).connection);
            }
        }
        None
    }

    /// Keeps a connection whose response is over for the next request.
    pub(crate) fn keep(&self, connection: Connection, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if !connection.is_closed() && self.leave_by.get().is_none() && idle.len() < MAX_IDLE {
            idle.push(Idle { connection, since: now });
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn close_idle(&self, now: Instant) {
        let kept = |idle: &Idle| !idle.connection.is_closed() && now.duration_since(idle.since) < IDLE_TIME;
        self.idle.borrow_mut().retain(kept);
    }

    /// Opens a new connection. Remembers for a while when that is refused.
    ///
    /// # Errors
    /// When the instance refuses, or does not accept in time. Nothing was sent then.
    pub(crate) async fn connect(&self, limits: &Limits) -> io::Result<Connection> {
        let connected = match timeout(limits.connect, TcpStream::connect(self.endpoint.address)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match connected {
            Ok(stream) => {
                self.refusals.set(0);
                self.skip_until.set(None);
                handshake(stream).await
            }
            Err(error) => {
                let refusals = self.refusals.get();
                let pause = BACK_OFF.0.saturating_mul(1 << refusals.min(8)).min(BACK_OFF.1);
                self.refusals.set(refusals.saturating_add(1));
                self.skip_until.set(Some(Instant::now() + pause));
                Err(error)
            }
        }
    }

    /// It has left the table: no more requests, and what still runs may run until the deadline.
    pub(crate) fn leave(&self, deadline: Instant) {
        self.leave_by.set(Some(deadline));
        self.idle.borrow_mut().clear();
        self.left.notify_waiters();
    }

    /// By when it must have been left, once it has left the table.
    pub(crate) fn leave_by(&self) -> Option<Instant> {
        self.leave_by.get()
    }

    /// Ends when [`leave`](Upstream::leave) is called after this was.
    pub(crate) fn leaving(&self) -> OwnedNotified {
        Arc::clone(&self.left).notified_owned()
    }
}

async fn handshake(stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let (sender, connection) = Builder::new().handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        // How it ended is told to whoever waits for the response.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

#[cfg(test)]
mod tests;
