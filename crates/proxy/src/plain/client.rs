//! The client's side of a connection.

use crate::{
    buffers::Buffer,
    connection::Client,
    idle::{Lapse, Place},
    patience::Patience,
    stream::Stream,
};
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncWrite as _, AsyncWriteExt as _},
    time::timeout,
};

/// How long the end of a connection with TLS may take to be said.
const GOODBYE: Duration = Duration::from_secs(2);

/// A client's socket, and what has arrived on it and was not looked at.
pub(super) struct Side {
    pub(super) client: Rc<Client>,
    pub(super) stream: Stream,
    arrived: Option<Buffer>,
}

/// What comes on a connection that is idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum More {
    /// The beginning of a request.
    Arrived,
    /// Nothing, in the time there was, or before the client was gone.
    Nothing,
    /// Nothing so far, and nothing is wanted any more.
    Unwanted,
    /// Nothing for a while: what only the busy need may be let go of.
    Rest,
}

/// The client is gone, or takes nothing any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gone;

impl Side {
    pub(super) fn new(client: Rc<Client>, stream: Stream) -> Side {
        Side { client, stream, arrived: None }
    }

    /// Whether something has arrived that was not looked at.
    pub(super) fn has_more(&self) -> bool {
        self.arrived.is_some()
    }

    /// Takes what has arrived.
    pub(super) fn take(&mut self) -> Option<Buffer> {
        self.arrived.take()
    }

    /// Gives back what is left of it.
    pub(super) fn give_back(&mut self, rest: Buffer) {
        if !rest.is_empty() {
            self.arrived = Some(rest);
        }
    }

    /// Ready when the beginning of a request is there, or when there is nothing to wait for any more.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, place: &Place) -> Poll<More> {
        match self.poll_gone(cx) {
            Poll::Ready(Gone) => Poll::Ready(More::Nothing),
            Poll::Pending if self.has_more() => Poll::Ready(More::Arrived),
            Poll::Pending => place.poll(cx).map(|lapse| match lapse {
                Lapse::Rest => More::Rest,
                Lapse::Overdue => More::Nothing,
                Lapse::Parting => More::Unwanted,
            }),
        }
    }

    /// Waits for something, unless the client goes away. It is pinned where it is: moved here, it would take its room twice.
    pub(super) fn unless_gone<T>(
        &mut self,
        mut something: Pin<&mut impl Future<Output = T>>,
    ) -> impl Future<Output = Result<T, Gone>> {
        poll_fn(move |cx| match something.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => self.poll_gone(cx).map(Err),
        })
    }

    /// Ready when the client has closed. What it sends meanwhile is kept: as much as a buffer holds; what has arrived already
    /// is looked at first, and whether the client is still there then.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        if self.arrived.is_some() {
            return Poll::Pending;
        }
        let mut buffer = self.client.worker.buffers.take();
        match ready!(buffer.poll_fill(cx, Pin::new(&mut self.stream))) {
            Ok(0) | Err(_) => Poll::Ready(Gone),
            Ok(_) => {
                self.arrived = Some(buffer);
                Poll::Pending
            }
        }
    }

    /// Sends all pieces. One costs the system less than several.
    pub(super) async fn send(&mut self, patience: &mut Patience, pieces: &mut [IoSlice<'_>]) -> Result<(), Gone> {
        let end = pieces.iter().rposition(|piece| !piece.is_empty()).map_or(0, |last| last + 1);
        let mut pieces = pieces.get_mut(..end).unwrap_or_default();
        let stall = self.client.worker.shared.limits.write_stall;
        let mut stalled = None;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let written = poll_fn(|cx| {
                let stream = Pin::new(&mut self.stream);
                let written = match &*pieces {
                    [piece] => stream.poll_write(cx, piece),
                    several => stream.poll_write_vectored(cx, several),
                };
                if let Poll::Ready(written) = written {
                    return Poll::Ready(written);
                }
                let since: Instant = *stalled.get_or_insert_with(Instant::now);
                patience.poll(cx, since + stall).map(|()| Err(io::ErrorKind::TimedOut.into()))
            });
            match written.await {
                Ok(0) | Err(_) => return Err(Gone),
                Ok(count) => {
                    stalled = None;
                    IoSlice::advance_slices(&mut pieces, count);
                }
            }
        }
        if !self.stream.holds_back() {
            return Ok(());
        }
        let due = Instant::now() + stall;
        let flushed = poll_fn(|cx| {
            if let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) {
                return Poll::Ready(flushed);
            }
            patience.poll(cx, due).map(|()| Err(io::ErrorKind::TimedOut.into()))
        });
        flushed.await.map_err(|_| Gone)
    }
}

/// Says that nothing more comes, where closing the socket does not say it.
pub(super) async fn end(mut stream: Stream) {
    if stream.holds_back() {
        // Whatever comes of it, the connection is closed next.
        let _ = timeout(GOODBYE, stream.shutdown()).await;
    }
}
