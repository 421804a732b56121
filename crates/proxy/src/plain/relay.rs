//! The body of a response on its way to a client of plain requests: read and written by turns, so that it comes at the pace
//! of the slower side.

use super::{
    client::{Gone, Side},
    exchange::Next,
    instance::Begun,
    source::{Broken, End, Piece, Rest, Source},
};
use crate::{buffers::Buffer, patience::Patience, tally::Outcome, ticket::Ticket, worker::Worker};
use std::{
    future::poll_fn,
    io::{IoSlice, Write as _},
    rc::Rc,
    task::Poll,
};

/// What ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A response on its way.
pub(super) struct Relay {
    source: Source,
    /// What has arrived and has not gone on.
    arrived: Buffer,
    /// What goes before it.
    before: Vec<u8>,
}

impl Relay {
    pub(super) fn new(worker: &Rc<Worker>, begun: Begun<Vec<u8>>, ticket: Ticket) -> Relay {
        let (source, arrived, before) = Source::new(worker, begun, ticket);
        Relay { source, arrived, before }
    }

    /// Sends the client all that comes. No async function: one keeps a second place for each of its arguments.
    pub(super) fn run(self, side: &mut Side, patience: &mut Patience, closes: bool) -> impl Future<Output = Next> {
        let Relay { mut source, mut arrived, mut before } = self;
        let mut rest = Rest::new(source.head.framing);
        async move {
            loop {
                let bytes = arrived.filled();
                let Some(Piece { length, is_last }) = rest.take(bytes) else {
                    source.ticket.settle(Outcome::Reset);
                    return Next::Cut;
                };
                source.ticket.sent(length);
                if is_last {
                    source.finish(bytes.len() == length);
                }
                let mut after = &b""[..];
                if rest == Rest::UntilClose && length > 0 {
                    // A vector takes all that is written.
                    let _ = write!(before, "{length:x}\r\n");
                    after = b"\r\n";
                }
                let mut end = length;
                if arrived.put_before(&before) {
                    end += before.len();
                    before.clear();
                }
                let piece = arrived.filled().get(..end).unwrap_or_default();
                if side.send(patience, &mut [&before, piece, after].map(IoSlice::new)).await.is_err() {
                    return Next::Cut;
                }
                if is_last {
                    return if closes { Next::Close } else { Next::Request };
                }
                drop(arrived);
                // The next pieces have no head before them.
                before = Vec::new();
                arrived = match more(&mut source, side, patience).await {
                    Ok(Ok(more)) => more,
                    // As is said when a ticket is dropped that was not settled.
                    Err(Gone) => return Next::Cut,
                    Ok(Err(broken)) => match (source.break_off(&broken, rest), rest) {
                        (End::Torn, _) => return Next::Cut,
                        (End::Whole, Rest::Bytes(_)) => return Next::Cut,
                        (End::Whole, Rest::Chunks(_) | Rest::UntilClose) => {
                            let sent = side.send(patience, &mut [IoSlice::new(LAST_CHUNK)]).await;
                            return if sent.is_err() || closes { Next::Close } else { Next::Request };
                        }
                    },
                };
            }
        }
    }
}

/// Waits for more of a body, unless the client goes away.
async fn more(source: &mut Source, side: &mut Side, patience: &mut Patience) -> Result<Result<Buffer, Broken>, Gone> {
    poll_fn(|cx| match source.poll_more(cx, patience) {
        Poll::Ready(more) => Poll::Ready(Ok(more)),
        Poll::Pending => side.poll_gone(cx).map(Err),
    })
    .await
}
