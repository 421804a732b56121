//! What the API needs of the machine below it: the ledger's disk, the artifact store, captured output.

use crate::{
    Problem,
    message::{Artifact, LogQuery, Secrets, ShutdownRequest},
};
use bytes::{Buf, Bytes};
use control::Entry;
use model::{Digest, Seq, ServiceKey};
use std::{
    fmt,
    future::Future,
    io::{self, Read},
    pin::Pin,
};
use tokio::sync::mpsc;

/// An answer that is on its way: `Box::pin(async move { … })`.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// The disk and the drivers, as the API needs them. `qd` implements it over `store` and `runtime`; tests have their own.
///
/// Who asks has already passed policy. Problems are for people: no secret may be in them.
pub trait Backend: Send + Sync + 'static {
    /// Takes an artifact, as a tar archive, and stores it by what it is. It is all or nothing: an upload whose reader
    /// fails leaves nothing behind.
    fn put_artifact(&self, content: Upload) -> Reply<'_, Artifact>;

    /// Encrypts and stores the secrets of a service, in place of those it had. The digest is that of the ciphertext,
    /// to be named by the service's next configuration.
    fn put_secrets(&self, service: ServiceKey, secrets: Secrets) -> Reply<'_, Digest>;

    /// The entries from `from` on, in order, at most `limit`; none when there are none yet. Only durable ones.
    fn entries(&self, from: Seq, limit: usize) -> Reply<'_, Vec<Entry>>;

    /// Captured output of a service's instances: its last lines and, when following, what comes after. The channel must
    /// be bounded; a closed one means that the reader has gone. Ends when there is no more to come.
    fn logs(&self, service: ServiceKey, query: LogQuery) -> Reply<'_, mpsc::Receiver<io::Result<Bytes>>>;

    /// Begins to stop. Answered before the server is gone.
    fn shutdown(&self, request: ShutdownRequest) -> Reply<'_, ()>;
}

/// A body as it arrives. Reading blocks, so read it in `spawn_blocking`. A body that is too large, too slow or cut off
/// is an error from `read`, never an early end.
pub struct Upload {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    broken: bool,
}

impl Upload {
    /// An upload of what is sent into the channel. It is whole when the channel closes without an error before.
    pub fn new(chunks: mpsc::Receiver<io::Result<Bytes>>) -> Upload {
        Upload { chunks, current: Bytes::new(), broken: false }
    }
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if self.broken {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload was cut off"));
            }
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => {
                    self.broken = true;
                    return Err(error);
                }
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("broken", &self.broken).finish_non_exhaustive()
    }
}
