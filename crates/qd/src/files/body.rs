//! What is sent of a file: read piece by piece as it is taken, by threads that may wait for the disk.

use super::shelf::PIECE;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    fs::File,
    io, mem,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::task::{JoinHandle, spawn_blocking};

/// A body. At most one piece of a file is in it.
#[derive(Default)]
pub(super) struct Content {
    /// What goes out next.
    piece: Bytes,
    rest: Option<Rest>,
}

/// What is not read yet: at least one byte.
struct Rest {
    file: Arc<File>,
    range: Range<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Content {
    /// These bytes, of which there are few.
    pub(super) fn of(bytes: impl Into<Bytes>) -> Content {
        Content { piece: bytes.into(), rest: None }
    }

    /// A part of a file. Blocks: its first piece is read, so that what cannot be read is known before anything is sent.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(path: &Path, range: Range<u64>) -> io::Result<Content> {
        let file = File::open(path)?;
        let piece = read(&file, &range)?;
        let range = range.start + piece.len() as u64..range.end;
        let rest = (!range.is_empty()).then(|| Rest { file: Arc::new(file), range, reading: None });
        Ok(Content { piece, rest })
    }

    fn left(&self) -> u64 {
        self.piece.len() as u64 + self.rest.as_ref().map_or(0, |rest| rest.range.end - rest.range.start)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.piece.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.piece)))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let reading = rest.reading.get_or_insert_with(|| {
            let (file, range) = (rest.file.clone(), rest.range.clone());
            spawn_blocking(move || read(&file, &range))
        });
        let read = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        rest.reading = None;
        rest.range.start += read.as_ref().map_or(0, Bytes::len) as u64;
        if rest.range.is_empty() || read.is_err() {
            self.rest = None;
        }
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

/// The next bytes. A file that has become shorter is an error: what was promised cannot be sent.
fn read(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).unwrap_or(PIECE).min(PIECE);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}
