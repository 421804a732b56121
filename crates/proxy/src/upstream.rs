//! One instance as one thread sees it: its idle connections, how busy it is, whether it refuses, whether it drains.
//!
//! A request goes out at once, on an idle connection or on a new one; it never waits for a busy connection. So an
//! instance has as many connections of HTTP/1.1 as it has requests in flight, plus idle ones; of HTTP/2, few.

mod framed;
mod socket;
mod unheard;

pub(crate) use socket::Socket;

use crate::{
    assign::{Point, Random},
    body::RequestBody,
    buffers,
    config::Limits,
    pool::{Keepable, Pool, Replay, Standing},
    tally::InstanceCounts,
    tls::ToInstance,
};
use framed::{Framed, Place};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{Builder, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use model::{Endpoint, InstanceTls, Protocol, Ratio};
use std::{
    cell::Cell,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use unheard::Unheard;

/// A connection to an instance that hyper speaks on.
pub(crate) enum Connection {
    /// HTTP/1.1: carries one request after the other.
    Whole(SendRequest<RequestBody>),
    /// HTTP/2: a place on one, for this request.
    Shared(Place),
}

/// How long an instance that refused a connection is skipped: this, doubled by every further refusal up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// How often an instance is chosen at least in its slow start, compared with others.
const COLD: f64 = 0.05;

/// From how many requests in a row on, whose connection broke or that were not answered in time, an instance is left out.
const BROKEN: u32 = 5;

/// For how long it is then: this, doubled by every further such request up to the second.
const LEFT_OUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// One instance.
pub(crate) struct Upstream {
    /// Which instance, and where it listens.
    pub(crate) endpoint: Endpoint,
    /// When this thread first saw it in a table.
    pub(crate) since: Instant,
    counts: Arc<InstanceCounts>,
    /// What it is spoken to with, unless in clear.
    tls: Option<Rc<ToInstance>>,
    /// Idle ones that hyper speaks HTTP/1.1 on.
    connections: Pool<SendRequest<RequestBody>>,
    /// Those of HTTP/2.
    framed: Framed,
    /// Idle ones that plain requests are sent on.
    pub(crate) links: Pool<Link>,
    refusals: Cell<u32>,
    broken: Cell<u32>,
    left_out_until: Cell<Option<Instant>>,
    skip_until: Cell<Option<Instant>>,
    leave_by: Cell<Option<Instant>>,
    left: Arc<Notify>,
}

/// A connection that plain requests are sent on: the socket itself.
pub(crate) struct Link(pub(crate) Socket);

impl Keepable for SendRequest<RequestBody> {
    fn standing(&self) -> Standing {
        match (self.is_closed(), self.is_ready()) {
            (true, _) => Standing::Over,
            (false, true) => Standing::Ready,
            (false, false) => Standing::Busy,
        }
    }
}

impl Keepable for Link {
    fn standing(&self) -> Standing {
        // Asks the system only when it has told of something.
        match self.0.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Standing::Ready,
            Ok(_) | Err(_) => Standing::Over,
        }
    }
}

impl Upstream {
    /// One that was not in the table before.
    pub(crate) fn new(
        endpoint: Endpoint,
        tls: Option<&InstanceTls>,
        counts: Arc<InstanceCounts>,
        now: Instant,
    ) -> Upstream {
        Upstream {
            endpoint,
            since: now,
            counts,
            tls: tls.cloned().map(|terms| Rc::new(ToInstance::new(terms))),
            connections: Pool::default(),
            framed: Framed::default(),
            links: Pool::default(),
            refusals: Cell::new(0),
            broken: Cell::new(0),
            left_out_until: Cell::new(None),
            skip_until: Cell::new(None),
            leave_by: Cell::new(None),
            left: Arc::default(),
        }
    }

    /// How many requests of this thread it is busy with.
    pub(crate) fn load(&self) -> u64 {
        self.counts.in_flight.get()
    }

    /// Whether it is too new to be chosen this time: in a slow start it is chosen the more often the older it is.
    pub(crate) fn is_cold(&self, random: &Random, now: Instant, slow_start: Duration) -> bool {
        let age = now.saturating_duration_since(self.since);
        age < slow_start && {
            let ready = (age.as_secs_f64() / slow_start.as_secs_f64()).max(COLD);
            !Point::from_uniform(random.next()).is_below(Ratio::from_f64(ready).unwrap_or(Ratio::ONE))
        }
    }

    /// A request or a tunnel begins.
    pub(crate) fn enter(&self) {
        self.counts.in_flight.increment();
    }

    /// It has ended.
    pub(crate) fn exit(&self) {
        self.counts.in_flight.decrement();
    }

    /// A request has ended that was not its client's to end. `broken`: its connection broke, or no answer came in time.
    pub(crate) fn ended(&self, broken: bool) {
        if !broken {
            self.broken.set(0);
            return;
        }
        let count = self.broken.get().saturating_add(1);
        self.broken.set(count);
        if let Some(further) = count.checked_sub(BROKEN) {
            let pause = LEFT_OUT.0.saturating_mul(1 << further.min(8)).min(LEFT_OUT.1);
            self.left_out_until.set(Some(Instant::now() + pause));
        }
    }

    /// Whether it has lately broken one request after the other.
    pub(crate) fn is_left_out(&self, now: Instant) -> bool {
        self.left_out_until.get().is_some_and(|until| until > now)
    }

    /// Whether it has not refused a connection lately.
    pub(crate) fn is_usable(&self, now: Instant) -> bool {
        self.skip_until.get().is_none_or(|until| until <= now)
    }

    /// An open connection for a request.
    pub(crate) fn take(&self, protocol: Protocol, now: Instant, replay: Replay) -> Option<Connection> {
        match protocol {
            Protocol::Http1 => self.connections.take(now, replay).map(Connection::Whole),
            Protocol::Http2 => self.framed.take(now, replay).map(Connection::Shared),
        }
    }

    /// Keeps a connection whose response is over for the next request.
    pub(crate) fn keep(&self, connection: Connection, now: Instant) {
        match connection {
            Connection::Whole(sender) if self.leave_by.get().is_none() => self.connections.keep(sender, now),
            // The place is free again.
            Connection::Whole(_) | Connection::Shared(_) => {}
        }
    }

    /// Keeps a link whose response is over for the next request.
    pub(crate) fn keep_link(&self, link: Link, now: Instant) {
        if self.leave_by.get().is_none() {
            self.links.keep(link, now);
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn close_idle(&self, now: Instant) {
        self.connections.close_old(now);
        self.framed.close_old(now);
        self.links.close_old(now);
    }

    /// Opens a new connection that hyper speaks on; of HTTP/2, one for all who want one now.
    ///
    /// # Errors
    /// As [`reach`](Upstream::reach).
    pub(crate) async fn connect(&self, protocol: Protocol, limits: &Limits) -> io::Result<Connection> {
        match protocol {
            Protocol::Http1 => match &self.tls {
                None => handshake(self.reach(limits).await?, None).await,
                Some(tls) => handshake(self.meet(tls, protocol, limits).await?, Some(Rc::clone(tls))).await,
            }
            .map(Connection::Whole),
            Protocol::Http2 => {
                let (_turn, waited) = self.framed.turn().await;
                let now = Instant::now();
                if let Some(place) = self.framed.take(now, Replay::Never).filter(|_| waited) {
                    return Ok(Connection::Shared(place));
                }
                if waited && !self.is_usable(now) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                match &self.tls {
                    None => self.framed.begin(self.reach(limits).await?, None).await,
                    Some(tls) => {
                        let stream = self.meet(tls, protocol, limits).await?;
                        self.framed.begin(stream, Some(Rc::clone(tls))).await
                    }
                }
                .map(Connection::Shared)
            }
        }
    }

    /// Opens a new connection in clear, as for what never has TLS.
    ///
    /// # Errors
    /// When the instance refuses, or does not accept in time. Nothing was sent then.
    pub(crate) async fn reach(&self, limits: &Limits) -> io::Result<Socket> {
        if self.tls.is_some() {
            return Err(io::Error::other("it is to be reached with TLS only"));
        }
        self.open(Socket::connect(&self.endpoint.address), limits).await
    }

    /// Opens a new connection with TLS.
    ///
    /// # Errors
    /// Likewise, and when one side does not take the other for who it must be.
    async fn meet(&self, tls: &ToInstance, protocol: Protocol, limits: &Limits) -> io::Result<TlsStream<Socket>> {
        let met = async {
            let stream = Socket::connect(&self.endpoint.address).await?;
            tls.meet(stream, protocol, limits.look).await
        };
        self.open(met, limits).await
    }

    /// Waits for a new connection. Remembers for a while when it is refused.
    async fn open<S>(&self, opening: impl Future<Output = io::Result<S>>, limits: &Limits) -> io::Result<S> {
        let connected = match timeout(limits.connect, opening).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match connected {
            Ok(stream) => {
                self.refusals.set(0);
                self.skip_until.set(None);
                Ok(stream)
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
        self.connections.clear();
        self.framed.clear();
        self.links.clear();
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

impl Connection {
    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    /// When no response begins; with the request, when nothing of it was sent.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Connection::Whole(sender) => sender.try_send_request(request).await,
            Connection::Shared(place) => place.sender().try_send_request(request).await,
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<Rc<ToInstance>>,
) -> io::Result<SendRequest<RequestBody>> {
    let io = TokioIo::new(Unheard::new(stream));
    // A client that does not read makes what it is sent pile up to this, and no further.
    let mut builder = Builder::new();
    builder.max_buf_size(buffers::SIZE);
    let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        // How it ended is told to whoever waits for the response.
        if let (Err(error), Some(tls)) = (connection.with_upgrades().await, tls) {
            tls.ended(&error);
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests;
