//! The body of a stored response: at rest, in memory or on disk, and on its way to a client.

use super::disk::{Extent, Reading};
use bytes::Bytes;
use std::{
    io, mem,
    ops::Range,
    sync::Arc,
    task::{Context, Poll},
};

/// A body at rest.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// In memory.
    Memory(Bytes),
    /// On disk.
    Disk(Arc<Extent>),
}

impl Stored {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Stored::Memory(bytes) => bytes.len() as u64,
            Stored::Disk(extent) => extent.len(),
        }
    }

    /// How much memory it takes, about.
    pub(super) fn memory(&self) -> usize {
        match self {
            Stored::Memory(bytes) => bytes.len(),
            Stored::Disk(extent) => extent.memory(),
        }
    }

    /// Whether it is on disk.
    pub(super) fn is_on_disk(&self) -> bool {
        match self {
            Stored::Memory(_) => false,
            Stored::Disk(_) => true,
        }
    }

    /// Whether it could not be written, or not be read again.
    pub(super) fn is_damaged(&self) -> bool {
        match self {
            Stored::Memory(_) => false,
            Stored::Disk(extent) => extent.is_damaged(),
        }
    }

    /// Sends these bytes of it, which it has.
    pub(crate) fn send(&self, bytes: Range<u64>) -> Sending {
        match self {
            Stored::Memory(all) => {
                let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(all.len());
                Sending::Memory(all.slice(at(bytes.start)..at(bytes.end)))
            }
            Stored::Disk(extent) => Sending::Disk(Box::new(Reading::new(Arc::clone(extent), bytes))),
        }
    }
}

/// What is left of a body that is being sent.
pub(crate) enum Sending {
    /// From memory.
    Memory(Bytes),
    /// From disk.
    Disk(Box<Reading>),
}

impl Sending {
    /// How many bytes are left.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Sending::Memory(rest) => rest.len() as u64,
            Sending::Disk(reading) => reading.left(),
        }
    }

    /// Makes sure that its beginning is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        match self {
            Sending::Memory(_) => Ok(()),
            Sending::Disk(reading) => reading.begin().await,
        }
    }

    /// The next piece: of at most so many bytes from memory, or a block from disk.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Sending::Memory(rest) if rest.is_empty() => Poll::Ready(None),
            Sending::Memory(rest) if rest.len() <= most => Poll::Ready(Some(Ok(mem::take(rest)))),
            Sending::Memory(rest) => Poll::Ready(Some(Ok(rest.split_to(most)))),
            Sending::Disk(reading) => reading.poll_block(cx),
        }
    }
}
