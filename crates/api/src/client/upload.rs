//! A body that a thread writes while it is being sent.

use super::connection::Body;
use crate::body::Flow;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::io::{self, Write};
use tokio::sync::mpsc;

/// How much is sent at a time, in bytes.
const CHUNK: usize = 64 << 10;
/// How many chunks may wait to be sent.
const WAITING: usize = 8;

/// The body, and the end of the writing. A receiver that hangs up ends the writing early, which is not its failure.
pub(super) fn body<W>(write: W) -> (Body, impl Future<Output = io::Result<()>>)
where
    W: FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
{
    let (parts, body) = Flow::new(WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = Writer { parts, buffer: BytesMut::with_capacity(CHUNK), hung_up: false };
        match write(&mut writer).and_then(|()| writer.flush()) {
            Err(_) if writer.hung_up => Ok(()),
            Err(error) => {
                // The connection is cut, so that the server does not take half of it for the whole.
                let cut = io::Error::other("what was to be sent could not be read");
                let _ = writer.parts.blocking_send(Err(cut));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    });
    (body.boxed_unsync(), async move { writing.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) })
}

struct Writer {
    parts: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
    hung_up: bool,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.parts.blocking_send(Ok(chunk)).map_err(|_| {
            self.hung_up = true;
            io::Error::from(io::ErrorKind::BrokenPipe)
        })
    }
}
