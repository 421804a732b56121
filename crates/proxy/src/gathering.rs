//! What is written to an HTTP/2 client, gathered for a turn of the loop: responses that come together from instances go out together,
//! with one system call and in one packet, instead of each by itself.
//!
//! What is flushed is held until whatever was ready has had its turn and the system was asked once more what is ready; then it goes. Nobody waits
//! for a timer: when there is nothing else to do, it goes at once. What is larger than [`MOST`] is not held.

use hyper::rt::{Read, ReadBufCursor, Write};
use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker, ready},
};
use tokio::task::yield_now;

/// How many bytes are held at most: a dozen small responses.
const MOST: usize = 16 << 10;

/// How many pieces are written at once at most.
const PIECES: usize = 16;

/// A client's socket whose writes are gathered.
pub(crate) struct Gathering<T> {
    io: T,
    held: Vec<u8>,
    /// Since when it is to go.
    turn: Option<Arc<Turn>>,
}

/// A turn of the loop.
struct Turn {
    is_over: AtomicBool,
    task: Waker,
}

impl Turn {
    /// The one that is under way. Its end wakes the task.
    fn begin(task: &Waker) -> Arc<Turn> {
        let turn = Arc::new(Turn { is_over: AtomicBool::new(false), task: task.clone() });
        let waker = Waker::from(Arc::clone(&turn));
        // It has left word with the loop when it is polled first, and is of no use after that.
        let _ = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        turn
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Turn>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Turn>) {
        self.is_over.store(true, Relaxed);
        self.task.wake_by_ref();
    }
}

impl<T: Write + Unpin> Gathering<T> {
    pub(crate) fn new(io: T) -> Gathering<T> {
        Gathering { io, held: Vec::new(), turn: None }
    }

    /// Writes what is held.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))?;
            self.let_go(written)?;
        }
        self.turn = None;
        Poll::Ready(Ok(()))
    }

    fn let_go(&mut self, written: usize) -> io::Result<()> {
        match written {
            0 => Err(io::ErrorKind::WriteZero.into()),
            // An idle connection holds no memory.
            all if all >= self.held.len() => {
                self.held = Vec::new();
                Ok(())
            }
            some => {
                self.held.drain(..some);
                Ok(())
            }
        }
    }

    /// Writes what is held and these pieces behind it. Gives how much of the pieces was written, which is something.
    fn poll_write_behind(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let mut all = [IoSlice::new(&[]); PIECES];
            let count = pieces.len().min(PIECES - 1);
            all[0] = IoSlice::new(&self.held);
            for (slot, piece) in all[1..].iter_mut().zip(pieces) {
                *slot = IoSlice::new(piece);
            }
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &all[..=count]))?;
            let held = self.held.len();
            self.let_go(written)?;
            if written > held {
                return Poll::Ready(Ok(written - held));
            }
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }
}

impl<T: Read + Unpin> Read for Gathering<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for Gathering<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let size: usize = bufs.iter().map(|piece| piece.len()).sum();
        if size == 0 || this.held.len() + size > MOST {
            return this.poll_write_behind(cx, bufs);
        }
        if this.held.is_empty() {
            this.held.reserve_exact(MOST);
        }
        bufs.iter().for_each(|piece| this.held.extend_from_slice(piece));
        Poll::Ready(Ok(size))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() {
            let turn = this.turn.get_or_insert_with(|| Turn::begin(cx.waker()));
            if !turn.is_over.load(Relaxed) {
                // Whoever flushes is woken at the end of the turn, and flushes again.
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_release(cx))?;
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_release(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::VecDeque, future::poll_fn};

    /// What was written at once, and how much of each the socket takes: all when nothing is said, none for `Some(0)`.
    #[derive(Default)]
    struct Socket {
        written: Vec<Vec<u8>>,
        takes: VecDeque<usize>,
        is_shut: bool,
    }

    impl Write for Socket {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let all: Vec<u8> = bufs.iter().flat_map(|piece| piece.to_vec()).collect();
            let takes = this.takes.pop_front().unwrap_or(usize::MAX).min(all.len());
            if takes == 0 && !all.is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.written.push(all[..takes].to_vec());
            Poll::Ready(Ok(takes))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    async fn write(to: &mut Gathering<Socket>, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut *to).poll_write(cx, rest)).await.unwrap();
            assert_ne!(written, 0);
            rest = &rest[written..];
        }
    }

    async fn flush(to: &mut Gathering<Socket>) {
        poll_fn(|cx| Pin::new(&mut *to).poll_flush(cx)).await.unwrap();
    }

    /// Flushes as a connection does: whenever it is woken, until nothing is held.
    async fn gone(to: &mut Gathering<Socket>) {
        poll_fn(|cx| {
            let flushed = Pin::new(&mut *to).poll_flush(cx);
            if to.held.is_empty() { flushed.map(Result::unwrap) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_flushed_in_one_turn_goes_at_once_when_it_is_over() {
        let mut to = Gathering::new(Socket::default());
        for piece in ["one ", "two ", "three"] {
            write(&mut to, piece.as_bytes()).await;
            flush(&mut to).await;
        }
        assert!(to.io.written.is_empty());
        gone(&mut to).await;
        assert_eq!(to.io.written, [b"one two three"]);
        assert_eq!(to.held.capacity(), 0, "an idle connection holds nothing");
        write(&mut to, b"four").await;
        gone(&mut to).await;
        assert_eq!(to.io.written.len(), 2);
    }

    #[tokio::test]
    async fn what_is_large_goes_at_once_behind_what_is_held() {
        let mut to = Gathering::new(Socket::default());
        write(&mut to, b"head").await;
        let body = vec![b'x'; MOST];
        write(&mut to, &body).await;
        assert_eq!(to.io.written, [[&b"head"[..], &body].concat()]);
        write(&mut to, &body).await;
        assert_eq!(to.held.len(), MOST, "as much is held, and no more");
        write(&mut to, b"y").await;
        assert_eq!(to.io.written[1], [&body[..], b"y"].concat());
    }

    #[tokio::test]
    async fn nothing_is_lost_or_twice_there_when_the_client_takes_it_bit_by_bit() {
        for first in [1, 3, 4, 5, 100] {
            let mut to = Gathering::new(Socket { takes: [first, 0, 2, 0, 1, 0, 7].into(), ..Socket::default() });
            write(&mut to, b"head").await;
            let body: Vec<u8> = (0..MOST + 5).map(|at| at as u8).collect();
            write(&mut to, &body).await;
            write(&mut to, b"end").await;
            gone(&mut to).await;
            assert!(to.io.written.concat() == [&b"head"[..], &body, b"end"].concat(), "{first}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_gives_what_it_holds_first() {
        let mut to = Gathering::new(Socket { takes: [2, 0].into(), ..Socket::default() });
        write(&mut to, b"goaway").await;
        poll_fn(|cx| Pin::new(&mut to).poll_shutdown(cx)).await.unwrap();
        assert_eq!((to.io.written.concat(), to.io.is_shut), (b"goaway".to_vec(), true));
    }
}
