//! The body of a response on its way to the client: read and written by turns, so that it comes at the pace of the slower side.

use super::{
    chunks::Chunks,
    client::{Gone, Side},
    exchange::Next,
    instance::Begun,
    response::{Framing, Head},
};
use crate::{
    buffers::Buffer,
    lifeline::{Leaving, Overdue},
    patience::{Departure, Patience},
    tally::Outcome,
    ticket::Ticket,
    upstream::Link,
    worker::Worker,
};
use std::{
    future::poll_fn,
    io::IoSlice,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

/// What ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A response on its way.
pub(super) struct Relay {
    worker: Rc<Worker>,
    /// Until all of it has come.
    link: Option<Link>,
    arrived: Option<Buffer>,
    head: Head,
    passed_on: Vec<u8>,
    ticket: Ticket,
    idle: Duration,
    departure: Departure,
}

/// How far a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    Bytes(u64),
    Chunks(Chunks),
    UntilClose,
}

/// What is to be done with what has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece {
    /// So many bytes of it belong to the body.
    length: usize,
    /// Nothing follows.
    is_last: bool,
}

/// What came instead of a further part of a body.
enum Broken {
    /// The end of the connection, as the instance has said.
    Ended,
    /// The connection broke.
    Reset,
    ClientGone,
    Overdue(Overdue),
}

impl Relay {
    pub(super) fn new(worker: &Rc<Worker>, begun: Begun, mut ticket: Ticket) -> Relay {
        let Begun { link, arrived, head, passed_on } = begun;
        ticket.status(head.status);
        if head.status >= 500 {
            ticket.settle(Outcome::Status5xx);
        }
        let leaving = if head.events && head.framing != Framing::Empty {
            // It has no end to wait for, and how long it goes on says nothing about how fast it is.
            ticket.settle(Outcome::Answered);
            Leaving::Spread(worker.random.next())
        } else {
            Leaving::Last
        };
        let idle = ticket.lane().service.traffic.idle_timeout.duration();
        Relay {
            worker: Rc::clone(worker),
            link: Some(link),
            arrived: Some(arrived),
            head,
            passed_on,
            ticket,
            idle,
            departure: Departure::new(leaving),
        }
    }

    /// Sends the client all that comes.
    pub(super) async fn run(mut self, side: &mut Side, patience: &mut Patience, closes: bool) -> Next {
        let mut rest = match self.head.framing {
            Framing::Empty => Rest::Bytes(0),
            Framing::Length(length) => Rest::Bytes(length),
            Framing::Chunked => Rest::Chunks(Chunks::new()),
            Framing::UntilClose => Rest::UntilClose,
        };
        loop {
            let arrived = self.arrived.take();
            let bytes = arrived.as_ref().map_or(&[][..], Buffer::filled);
            let Some(Piece { length, is_last }) = rest.take(bytes) else {
                self.ticket.settle(Outcome::Reset);
                return Next::Cut;
            };
            self.ticket.sent(length);
            if is_last {
                self.finish(bytes.len() == length);
            }
            let piece = bytes.get(..length).unwrap_or_default();
            let (before, after) = match rest {
                Rest::UntilClose if !piece.is_empty() => (format!("{length:x}\r\n"), &b"\r\n"[..]),
                Rest::UntilClose | Rest::Bytes(_) | Rest::Chunks(_) => (String::new(), &b""[..]),
            };
            let pieces = [&self.passed_on, before.as_bytes(), piece, after];
            if side.send(patience, &mut pieces.map(IoSlice::new)).await.is_err() {
                return Next::Cut;
            }
            if is_last {
                return if closes { Next::Close } else { Next::Request };
            }
            drop(arrived);
            // The next pieces have no head before them.
            self.passed_on = Vec::new();
            match self.more(side, patience).await {
                Ok(more) => self.arrived = Some(more),
                Err(broken) => match self.break_off(&broken, rest) {
                    None => return Next::Cut,
                    Some(end) => {
                        let sent = side.send(patience, &mut [IoSlice::new(end)]).await;
                        return if sent.is_err() || closes { Next::Close } else { Next::Request };
                    }
                },
            }
        }
    }

    /// Waits for more of the body.
    async fn more(&mut self, side: &mut Side, patience: &mut Patience) -> Result<Buffer, Broken> {
        let (Some(link), Some(upstream)) = (&mut self.link, self.ticket.upstream()) else { return Err(Broken::Reset) };
        let silent_at = Instant::now() + self.idle;
        poll_fn(|cx| {
            let mut buffer = self.worker.buffers.take();
            match buffer.poll_fill(cx, Pin::new(&mut link.0)) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(Ok(buffer)),
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(Broken::Ended)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Reset)),
                Poll::Pending => drop(buffer),
            }
            if let Poll::Ready(Gone) = side.poll_gone(cx) {
                return Poll::Ready(Err(Broken::ClientGone));
            }
            let overdue = ready!(patience.poll_overdue(cx, silent_at, upstream, &mut self.departure));
            Poll::Ready(Err(Broken::Overdue(overdue)))
        })
        .await
    }

    /// All of it has come. `clean`: and nothing else has.
    fn finish(&mut self, clean: bool) {
        self.ticket.settle(Outcome::Answered);
        let kept = self.link.take().filter(|_| clean && self.head.keeps);
        if let (Some(link), Some(upstream)) = (kept, self.ticket.upstream()) {
            upstream.keep_link(link, Instant::now());
        }
    }

    /// No more of the body comes. What ends it properly for the client; `None`: it is not whole and must not look so.
    fn break_off(&mut self, broken: &Broken, rest: Rest) -> Option<&'static [u8]> {
        match broken {
            Broken::Ended if rest == Rest::UntilClose => {
                self.ticket.settle(Outcome::Answered);
                Some(LAST_CHUNK)
            }
            Broken::Ended | Broken::Reset => {
                self.ticket.settle(Outcome::Reset);
                None
            }
            // As is said when a ticket is dropped that was not settled.
            Broken::ClientGone => None,
            Broken::Overdue(Overdue::Silent) => {
                self.ticket.settle(Outcome::Timeout);
                None
            }
            Broken::Overdue(Overdue::Drained) => {
                self.ticket.cut();
                // Events are whole, each for itself, and clients connect again.
                (self.head.events && rest.is_between()).then_some(LAST_CHUNK)
            }
        }
    }
}

impl Rest {
    /// What is to be done with what has arrived. `None`: it is no body of this kind.
    fn take(&mut self, arrived: &[u8]) -> Option<Piece> {
        match self {
            Rest::Bytes(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(arrived.len());
                *left -= length as u64;
                Some(Piece { length, is_last: *left == 0 })
            }
            Rest::Chunks(chunks) => {
                let length = chunks.take(arrived).ok()?;
                Some(Piece { length, is_last: chunks.is_over() })
            }
            Rest::UntilClose => Some(Piece { length: arrived.len(), is_last: false }),
        }
    }

    /// Whether a chunked body could be ended here.
    fn is_between(self) -> bool {
        match self {
            Rest::Bytes(_) => false,
            Rest::Chunks(chunks) => chunks.is_between(),
            Rest::UntilClose => true,
        }
    }
}
