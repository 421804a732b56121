//! The body of a response on its way from an instance: what comes, and what its end means. Shared by those who pass it on:
//! [`super::relay`] and [`super::body`].

use super::{
    chunks::Chunks,
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
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

/// A response whose head has gone on.
pub(super) struct Source {
    worker: Rc<Worker>,
    /// Until all of it has come.
    link: Option<Link>,
    pub(super) head: Head,
    pub(super) ticket: Ticket,
    departure: Departure,
}

/// How far a body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    Bytes(u64),
    Chunks(Chunks),
    UntilClose,
}

/// What is to be done with what has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// So many bytes of it belong to the body.
    pub(super) length: usize,
    /// Nothing follows.
    pub(super) is_last: bool,
}

/// What came instead of a further part of a body.
pub(super) enum Broken {
    /// The end of the connection, as the instance has said.
    Ended,
    /// The connection broke.
    Reset,
    Overdue(Overdue),
}

/// What a client is told when no more of a body comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// That it is whole.
    Whole,
    /// Nothing: it is not whole and must not look so.
    Torn,
}

impl Source {
    /// Of a response that has begun. Gives what has arrived of its body, too, and what its head was made.
    pub(super) fn new<T>(worker: &Rc<Worker>, begun: Begun<T>, mut ticket: Ticket) -> (Source, Buffer, T) {
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
        let idle = ticket.bounds().idle_timeout.value.duration();
        let (worker, departure) = (Rc::clone(worker), Departure::new(leaving, idle));
        let source = Source { worker, link: Some(link), head, ticket, departure };
        (source, arrived, passed_on)
    }

    /// Ready when more of the body has come, or will not come.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, patience: &mut Patience) -> Poll<Result<Buffer, Broken>> {
        let (Some(link), Some(upstream)) = (&mut self.link, self.ticket.upstream()) else {
            return Poll::Ready(Err(Broken::Reset));
        };
        let mut buffer = self.worker.buffers.take();
        let more = match buffer.poll_fill(cx, Pin::new(&mut link.0)) {
            Poll::Ready(Ok(1..)) => Ok(buffer),
            Poll::Ready(Ok(_)) => Err(Broken::Ended),
            Poll::Ready(Err(_)) => Err(Broken::Reset),
            Poll::Pending => {
                drop(buffer);
                Err(Broken::Overdue(ready!(patience.poll_overdue(cx, upstream, &mut self.departure))))
            }
        };
        self.departure.progress();
        Poll::Ready(more)
    }

    /// All of it has come. `clean`: and nothing else has.
    pub(super) fn finish(&mut self, clean: bool) {
        let now = Instant::now();
        self.ticket.settle_at(Outcome::Answered, now);
        let kept = self.link.take().filter(|_| clean && self.head.keeps);
        if let (Some(link), Some(upstream)) = (kept, self.ticket.upstream()) {
            upstream.keep_link(link, now);
        }
    }

    /// No more of it comes, and so much was to come.
    pub(super) fn break_off(&mut self, broken: &Broken, rest: Rest) -> End {
        match broken {
            Broken::Ended if rest == Rest::UntilClose => {
                self.ticket.settle(Outcome::Answered);
                End::Whole
            }
            Broken::Ended | Broken::Reset => {
                self.ticket.settle(Outcome::Reset);
                End::Torn
            }
            Broken::Overdue(Overdue::Silent) => {
                self.ticket.settle(Outcome::Timeout);
                End::Torn
            }
            Broken::Overdue(Overdue::Drained) => {
                self.ticket.cut();
                // Events are whole, each for itself, and clients connect again.
                if self.head.events && rest.is_between() { End::Whole } else { End::Torn }
            }
        }
    }
}

impl Rest {
    /// Of a response that has no further head.
    pub(super) fn new(framing: Framing) -> Rest {
        match framing {
            Framing::Empty => Rest::Bytes(0),
            Framing::Length(length) => Rest::Bytes(length),
            Framing::Chunked => Rest::Chunks(Chunks::new()),
            Framing::UntilClose => Rest::UntilClose,
        }
    }

    /// What is to be done with what has arrived. `None`: it is no body of this kind.
    pub(super) fn take(&mut self, arrived: &[u8]) -> Option<Piece> {
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

    /// Takes what has arrived, and adds the data in it to `data`. `None`: it is no body of this kind.
    pub(super) fn decode(&mut self, arrived: &[u8], data: &mut Vec<u8>) -> Option<Piece> {
        if let Rest::Chunks(chunks) = self {
            let length = chunks.decode(arrived, data).ok()?;
            return Some(Piece { length, is_last: chunks.is_over() });
        }
        let piece = self.take(arrived)?;
        data.extend_from_slice(arrived.get(..piece.length).unwrap_or_default());
        Some(piece)
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
