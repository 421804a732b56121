//! Buffers that one thread's connections share: one is taken when there is something to read and given back when all of it
//! has gone on, so that a connection which waits has none, and those in use stay in the processor's cache.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, ReadBuf};

/// How many bytes a buffer holds: more than any head may have, and as much of a body as is read at a time. Hyper's hold as much.
pub(crate) const SIZE: usize = 64 << 10;

/// How much room there is before what is read: for a head that takes the place of a shorter one.
const HEADROOM: usize = 512;

/// How many are kept while nobody needs them.
const MOST_SPARE: usize = 64;

/// The buffers of one thread that are not in use.
#[derive(Default)]
pub(crate) struct Buffers(RefCell<Vec<Box<[u8]>>>);

/// One in use. It goes back when it is dropped.
pub(crate) struct Buffer {
    home: Rc<Buffers>,
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Buffers {
    /// An empty one.
    pub(crate) fn take(self: &Rc<Buffers>) -> Buffer {
        let spare = self.0.borrow_mut().pop();
        let bytes = spare.unwrap_or_else(|| vec![0; HEADROOM + SIZE].into_boxed_slice());
        Buffer { home: Rc::clone(self), bytes, from: HEADROOM, to: HEADROOM }
    }
}

impl Buffer {
    /// What it holds.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Whether nothing more fits behind what it holds.
    pub(crate) fn is_full(&self) -> bool {
        self.to == self.bytes.len()
    }

    /// Lets go of its first bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.from = (self.from + count).min(self.to);
        if self.is_empty() {
            (self.from, self.to) = (HEADROOM, HEADROOM);
        }
    }

    /// Puts these bytes before what it holds, so that both are sent as one. `false`: there is no room, and nothing is done.
    pub(crate) fn put_before(&mut self, bytes: &[u8]) -> bool {
        let from = self.from.checked_sub(bytes.len());
        let Some((from, room)) = from.and_then(|from| Some((from, self.bytes.get_mut(from..self.from)?))) else {
            return false;
        };
        room.copy_from_slice(bytes);
        self.from = from;
        true
    }

    /// Reads once. 0: the other side has closed, or nothing fits.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: Pin<&mut impl AsyncRead>,
    ) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.bytes.get_mut(self.to..).unwrap_or_default());
        ready!(stream.poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.to += read;
        Poll::Ready(Ok(read))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.home.0.borrow_mut();
        if spare.len() < MOST_SPARE {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn fill(buffer: &mut Buffer, mut bytes: &[u8]) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match buffer.poll_fill(&mut cx, Pin::new(&mut bytes)) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    #[test]
    fn what_is_read_is_held_until_it_is_consumed() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.take();
        assert_eq!((fill(&mut buffer, b"one"), fill(&mut buffer, b"two")), (3, 3));
        buffer.consume(2);
        assert_eq!(buffer.filled(), b"etwo");
        buffer.consume(4);
        assert!(buffer.is_empty() && !buffer.is_full());
        assert_eq!(fill(&mut buffer, &vec![1; 2 * SIZE]), SIZE);
        assert!(buffer.is_full());
        assert_eq!(fill(&mut buffer, b"no more"), 0);
    }

    #[test]
    fn what_is_put_before_takes_the_room_of_what_was_consumed() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.take();
        fill(&mut buffer, b"head and body");
        buffer.consume(9);
        assert!(!buffer.put_before(&[b'-'; HEADROOM + 10]));
        assert_eq!(buffer.filled(), b"body");
        assert!(buffer.put_before(&[b'-'; HEADROOM + 9]));
        assert_eq!(buffer.filled(), [&[b'-'; HEADROOM + 9][..], b"body"].concat());
        assert!(!buffer.put_before(b"-"));
        buffer.consume(2 * SIZE);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_buffer_is_used_again_with_nothing_of_what_it_held() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.take();
        fill(&mut buffer, b"secret");
        let place = buffer.bytes.as_ptr();
        drop(buffer);
        let again = buffers.take();
        assert_eq!(again.bytes.as_ptr(), place);
        assert!(again.filled().is_empty());
        let many: Vec<_> = (0..2 * MOST_SPARE).map(|_| buffers.take()).collect();
        drop(many);
        assert_eq!(buffers.0.borrow().len(), MOST_SPARE);
    }
}
