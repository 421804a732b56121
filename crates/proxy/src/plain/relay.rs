//! The body of a response on its way to a client of plain requests: read and written by turns, so that it comes at the pace
//! of the slower side.

use super::{
    client::{Gone, Side},
    exchange::Next,
    instance::Begun,
    source::{Broken, End, Piece, Rest, Source},
};
use crate::{buffers::Buffer, patience::Patience, tally::Outcome, ticket::Ticket, worker::Worker};
use std::{future::poll_fn, io::IoSlice, rc::Rc, task::Poll};

/// What ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A response on its way.
pub(super) struct Relay {
    source: Source,
    arrived: Option<Buffer>,
    passed_on: Vec<u8>,
}

impl Relay {
    pub(super) fn new(worker: &Rc<Worker>, begun: Begun<Vec<u8>>, ticket: Ticket) -> Relay {
        let (source, arrived, passed_on) = Source::new(worker, begun, ticket);
        Relay { source, arrived: Some(arrived), passed_on }
    }

    /// Sends the client all that comes.
    pub(super) async fn run(mut self, side: &mut Side, patience: &mut Patience, closes: bool) -> Next {
        let mut rest = Rest::new(self.source.head.framing);
        loop {
            let arrived = self.arrived.take();
            let bytes = arrived.as_ref().map_or(&[][..], Buffer::filled);
            let Some(Piece { length, is_last }) = rest.take(bytes) else {
                self.source.ticket.settle(Outcome::Reset);
                return Next::Cut;
            };
            self.source.ticket.sent(length);
            if is_last {
                self.source.finish(bytes.len() == length);
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
                Ok(Ok(more)) => self.arrived = Some(more),
                // As is said when a ticket is dropped that was not settled.
                Err(Gone) => return Next::Cut,
                Ok(Err(broken)) => match (self.source.break_off(&broken, rest), rest) {
                    (End::Torn, _) => return Next::Cut,
                    (End::Whole, Rest::Bytes(_)) => return Next::Cut,
                    (End::Whole, Rest::Chunks(_) | Rest::UntilClose) => {
                        let sent = side.send(patience, &mut [IoSlice::new(LAST_CHUNK)]).await;
                        return if sent.is_err() || closes { Next::Close } else { Next::Request };
                    }
                },
            }
        }
    }

    /// Waits for more of the body, unless the client goes away.
    async fn more(&mut self, side: &mut Side, patience: &mut Patience) -> Result<Result<Buffer, Broken>, Gone> {
        poll_fn(|cx| match self.source.poll_more(cx, patience) {
            Poll::Ready(more) => Poll::Ready(Ok(more)),
            Poll::Pending => side.poll_gone(cx).map(Err),
        })
        .await
    }
}
