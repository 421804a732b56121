//! The body of a response to a plain request of a client that hyper speaks with: hyper asks for more when the client has room.
//!
//! Trailers are left out: whoever wants them says so, and then a request is not plain.

use super::{
    instance::Begun,
    source::{Broken as Missing, End, Rest, Source},
};
use crate::{
    body::Broken, buffers::Buffer, lifeline::Overdue, patience::Patience, tally::Outcome, ticket::Ticket,
    worker::Worker,
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::{
    rc::Rc,
    task::{Context, Poll, ready},
};

/// A body on its way.
pub(crate) struct Body {
    source: Source,
    arrived: Option<Buffer>,
    rest: Rest,
    is_over: bool,
    patience: Patience,
}

impl Body {
    /// Of a response that has begun. Gives what its head was made, too; `None`: it has no body.
    pub(super) fn new<T>(worker: &Rc<Worker>, begun: Begun<T>, ticket: Ticket) -> (T, Option<Body>) {
        let (mut source, arrived, made) = Source::new(worker, begun, ticket);
        let rest = Rest::new(source.head.framing);
        if rest == Rest::Bytes(0) {
            source.finish(arrived.is_empty());
            return (made, None);
        }
        let body = Body { source, arrived: Some(arrived), rest, is_over: false, patience: Patience::new() };
        (made, Some(body))
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        while !self.is_over {
            let arrived = match self.arrived.take().filter(|arrived| !arrived.is_empty()) {
                Some(arrived) => arrived,
                None => match ready!(self.source.poll_more(cx, &mut self.patience)) {
                    Ok(more) => more,
                    Err(missing) => return Poll::Ready(self.break_off(&missing)),
                },
            };
            let mut data = Vec::new();
            let Some(piece) = self.rest.decode(arrived.filled(), &mut data) else {
                self.is_over = true;
                self.source.ticket.settle(Outcome::Reset);
                return Poll::Ready(Some(Err(Broken::Malformed)));
            };
            self.source.ticket.sent(data.len());
            if piece.is_last {
                self.is_over = true;
                self.source.finish(arrived.filled().len() == piece.length);
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data.into()))));
            }
        }
        Poll::Ready(None)
    }

    /// Whether nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How much more comes, as far as it is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.rest {
            Rest::Bytes(left) => SizeHint::with_exact(left),
            Rest::Chunks(_) | Rest::UntilClose => SizeHint::default(),
        }
    }

    fn break_off(&mut self, missing: &Missing) -> Option<Result<Frame<Bytes>, Broken>> {
        self.is_over = true;
        match self.source.break_off(missing, self.rest) {
            End::Whole => None,
            End::Torn => Some(Err(missing.into())),
        }
    }
}

impl From<&Missing> for Broken {
    fn from(missing: &Missing) -> Broken {
        match missing {
            Missing::Ended | Missing::Reset => Broken::Ended,
            Missing::Overdue(Overdue::Silent) => Broken::Silent,
            Missing::Overdue(Overdue::Drained) => Broken::Drained,
        }
    }
}
