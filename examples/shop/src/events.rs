//! Bodies that are not simply all there: the endless event stream, and the one that breaks off.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Interval, Sleep, interval, sleep},
};

/// Server-sent events: one tick per second with the version, until the shop closes.
pub(crate) struct Ticks {
    version: String,
    count: u64,
    interval: Interval,
    closing: watch::Receiver<bool>,
}

impl Ticks {
    /// Begins with a tick at once. Ends within a second of `closing` becoming true.
    pub(crate) fn new(version: &str, closing: watch::Receiver<bool>) -> Ticks {
        Ticks { version: version.to_owned(), count: 0, interval: interval(Duration::from_secs(1)), closing }
    }
}

impl Body for Ticks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        ready!(self.interval.poll_tick(cx));
        if *self.closing.borrow() {
            return Poll::Ready(None);
        }
        self.count += 1;
        let event = format!("id: {}\nevent: tick\ndata: {{\"version\":{:?}}}\n\n", self.count, self.version);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

/// Announces the length of the whole text, sends the first half of it, and fails.
pub(crate) struct BreaksOff {
    whole: u64,
    half: Option<Bytes>,
    /// Time for the first half to leave: what is unsent when a body fails is never sent.
    leaves: Pin<Box<Sleep>>,
}

impl BreaksOff {
    /// A body that will break off within `text`.
    pub(crate) fn new(text: &Bytes) -> BreaksOff {
        let leaves = Box::pin(sleep(Duration::from_millis(20)));
        BreaksOff { whole: text.len() as u64, half: Some(text.slice(..text.len() / 2)), leaves }
    }
}

impl Body for BreaksOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        ready!(self.leaves.as_mut().poll(cx));
        Poll::Ready(Some(Err(io::Error::other("this response was to be cut off"))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole)
    }
}
