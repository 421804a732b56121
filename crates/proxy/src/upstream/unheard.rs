//! A connection to an instance that is read to its end, also when nothing more can be written on it.
//!
//! An instance may answer before it has been sent all of a request, and hang up: a 413, a 401. Then writing fails, mostly before the answer
//! was looked at, and whoever gives up for that loses it. So what is not taken any more is thrown away, and what is read says how it ended.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose instance may hang up first.
pub(super) struct Unheard<S> {
    stream: S,
    is_over: bool,
}

impl<S> Unheard<S> {
    /// On which nothing was written.
    pub(super) fn new(stream: S) -> Unheard<S> {
        Unheard { stream, is_over: false }
    }

    /// What has become of writing; `all`: as if all had been taken.
    fn written<T>(&mut self, written: io::Result<T>, all: T) -> io::Result<T> {
        written.or_else(|error| {
            let is_over = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
            self.is_over |= is_over;
            if is_over { Ok(all) } else { Err(error) }
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unheard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unheard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_over {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.written(written, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.is_over {
            return Poll::Ready(Ok(all));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(self.written(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_over {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.written(flushed, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
