//! A client's socket, with the client's pace watched: how long a request head may take, how long the connection may be
//! idle, how long the client may take nothing of what is ready for it.
//!
//! A timer is set once and left to run; when it fires it is compared with what has happened since and set again. So a
//! request on a busy connection touches no timer at all.

use crate::stream::Stream;
use bytes::{Buf as _, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::{Sleep, sleep_until};

/// What a client is expected to do next. Shared between its socket and its requests, which are on one thread; atomic
/// because a socket that is upgraded must be able to move.
pub(crate) struct Pace {
    opened: Instant,
    /// Requests that have not been answered to the end.
    busy: AtomicU32,
    /// When the connection became idle, in milliseconds since it was opened.
    idle_ms: AtomicU64,
    /// When the head that is arriving began, likewise, plus one; 0 when none is.
    head_ms: AtomicU64,
    framed: AtomicBool,
    too_slow: AtomicBool,
}

impl Pace {
    /// Of a connection opened now.
    pub(crate) fn new() -> Arc<Pace> {
        Arc::new(Pace {
            opened: Instant::now(),
            busy: AtomicU32::new(0),
            idle_ms: AtomicU64::new(0),
            head_ms: AtomicU64::new(0),
            framed: AtomicBool::new(false),
            too_slow: AtomicBool::new(false),
        })
    }

    /// The connection speaks HTTP/2: bytes that arrive while it is idle need not be the beginning of a request.
    pub(crate) fn set_framed(&self) {
        self.framed.store(true, Relaxed);
    }

    /// Whether the client was given up because its request head took too long.
    pub(crate) fn was_too_slow(&self) -> bool {
        self.too_slow.load(Relaxed)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn arrived(&self) {
        if self.busy.load(Relaxed) == 0 && self.head_ms.load(Relaxed) == 0 && !self.framed.load(Relaxed) {
            self.head_ms.store(self.now_ms() + 1, Relaxed);
        }
    }

    /// By when the next bytes must arrive, and what it means when they do not.
    fn due(&self, times: &Times) -> (Instant, Lapse) {
        let at = |ms| self.opened + Duration::from_millis(ms);
        match (self.busy.load(Relaxed), self.head_ms.load(Relaxed)) {
            (0, 0) => (at(self.idle_ms.load(Relaxed)) + times.keep_alive, Lapse::Idle),
            (0, head) => (at(head - 1) + times.head, Lapse::SlowHead),
            (_, _) => (Instant::now() + times.keep_alive, Lapse::None),
        }
    }
}

/// A request that has not been answered to the end.
pub(crate) struct Busy(Arc<Pace>);

impl Busy {
    /// A request head has arrived.
    pub(crate) fn new(pace: &Arc<Pace>) -> Busy {
        pace.busy.fetch_add(1, Relaxed);
        pace.head_ms.store(0, Relaxed);
        Busy(Arc::clone(pace))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_ms.store(self.0.now_ms(), Relaxed);
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lapse {
    None,
    Idle,
    SlowHead,
}

/// How patient to be.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// For a request head that has begun.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) keep_alive: Duration,
    /// For a client to take something.
    pub(crate) write_stall: Duration,
}

/// A client's socket.
pub(crate) struct ClientIo {
    /// What was read to tell the protocol, still to be read by whoever speaks it.
    prefix: Bytes,
    io: TokioIo<Stream>,
    pace: Arc<Pace>,
    times: Times,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    stalled: Option<Instant>,
}

impl ClientIo {
    /// A socket from which `prefix` was read already.
    pub(crate) fn new(stream: Stream, prefix: Bytes, pace: Arc<Pace>, times: Times) -> ClientIo {
        if !prefix.is_empty() {
            pace.arrived();
        }
        let io = TokioIo::new(stream);
        ClientIo { prefix, io, pace, times, read_timer: None, write_timer: None, stalled: None }
    }

    /// The socket alone.
    pub(crate) fn into_inner(self) -> Stream {
        self.io.into_inner()
    }

    fn poll_lapse(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let (due, lapse) = self.pace.due(&self.times);
            let timer = self.read_timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
            if timer.deadline() > due.into() {
                timer.as_mut().reset(due.into());
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                match lapse {
                    Lapse::None => {}
                    Lapse::Idle => return Poll::Ready(io::ErrorKind::TimedOut.into()),
                    Lapse::SlowHead => {
                        self.pace.too_slow.store(true, Relaxed);
                        return Poll::Ready(io::ErrorKind::TimedOut.into());
                    }
                }
            }
            timer.as_mut().reset(due.into());
        }
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        let due = since + self.times.write_stall;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            timer.as_mut().reset(due.into());
        }
    }

    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(done) => {
                self.stalled = None;
                Poll::Ready(done)
            }
            Poll::Pending => self.poll_stall(cx).map(Err),
        }
    }
}

impl Read for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.prefix.is_empty() {
            let n = this.prefix.len().min(buf.remaining());
            buf.put_slice(&this.prefix[..n]);
            this.prefix.advance(n);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(read) => {
                this.pace.arrived();
                Poll::Ready(read)
            }
            Poll::Pending => this.poll_lapse(cx).map(Err),
        }
    }
}

impl Write for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.watched(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Ready(flushed) => {
                if this.io.inner().holds_back() {
                    this.stalled = None;
                }
                Poll::Ready(flushed)
            }
            Poll::Pending => this.poll_stall(cx).map(Err),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
