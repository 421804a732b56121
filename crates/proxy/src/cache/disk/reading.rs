//! A body that is read from disk while it is sent, a block ahead of its client at most. What the system has in memory is read at once; for
//! the rest a thread waits that may, while the requests of others go on.

use super::{BLOCK, Extent, offset};
use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};
use std::{
    future::poll_fn,
    io::{self, IoSliceMut},
    ops::Range,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};
use tokio::task::{JoinHandle, spawn_blocking};

/// What is left of a body that is read from disk.
pub(crate) struct Reading {
    extent: Arc<Extent>,
    /// What is to be read of it still, in bytes.
    rest: Range<u64>,
    /// What comes before that, when it was read ahead of its turn.
    ahead: Option<Bytes>,
    /// A thread that reads it.
    waiting: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reading {
    /// Reads these bytes of a body.
    pub(in crate::cache) fn new(extent: Arc<Extent>, bytes: Range<u64>) -> Reading {
        Reading { extent, rest: bytes, ahead: None, waiting: None }
    }

    /// How many bytes are left.
    pub(in crate::cache) fn left(&self) -> u64 {
        self.rest.end.saturating_sub(self.rest.start) + self.ahead.as_ref().map_or(0, Bytes::len) as u64
    }

    /// Makes sure that the first block is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(in crate::cache) async fn begin(&mut self) -> io::Result<()> {
        self.ahead = poll_fn(|cx| self.poll_block(cx)).await.transpose()?;
        Ok(())
    }

    /// What is wanted of the next block. One that cannot be read is the last one, and the body is given to nobody any more.
    pub(in crate::cache) fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(Ok(ahead)));
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let (next, before) = (self.rest.start / BLOCK as u64, self.rest.start % BLOCK as u64);
        let next = usize::try_from(next).unwrap_or(usize::MAX);
        let read = match &self.waiting {
            None => self.extent.read_now(next),
            Some(_) => None,
        };
        let read = match read {
            Some(read) => read,
            None => {
                let extent = &self.extent;
                let waiting = self.waiting.get_or_insert_with(|| {
                    let extent = Arc::clone(extent);
                    spawn_blocking(move || extent.read(next))
                });
                let read = ready!(Pin::new(waiting).poll(cx));
                self.waiting = None;
                read.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        };
        let wanted = read.inspect_err(|error| {
            self.rest = 0..0;
            self.extent.damaged.store(true, Relaxed);
            let what = "a stored response could not be read from disk, and is forgotten; an instance is asked again";
            self.extent.volume.writer.tell(error, what);
        });
        Poll::Ready(Some(wanted.map(|mut block| {
            let mut wanted = block.split_off(usize::try_from(before).unwrap_or(BLOCK).min(block.len()));
            wanted.truncate(usize::try_from(self.left()).unwrap_or(BLOCK));
            self.rest.start += wanted.len() as u64;
            wanted
        })))
    }
}

impl Extent {
    /// Reads a block if nobody has to wait for the disk. `None`: somebody has.
    fn read_now(&self, index: usize) -> Option<io::Result<Bytes>> {
        let (block, size) = self.block(index)?;
        let mut bytes = vec![0; size];
        let mut into = [IoSliceMut::new(&mut bytes)];
        let read = preadv2(&self.volume.file, &mut into, offset(block.at), ReadWriteFlags::NOWAIT);
        (read == Ok(size)).then(|| block.checked(bytes))
    }
}
