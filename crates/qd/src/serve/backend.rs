//! What the API needs of the disk: artifacts, secrets, captured output, and the ledger to read.

use api::{
    Backend, Problem, Reply, Upload,
    message::{Artifact, LogQuery, Secrets, ShutdownRequest},
    problem::Fault,
};
use bytes::Bytes;
use control::Entry;
use model::{Digest, Seq, ServiceKey};
use runtime::{artifact, logs, process::ProcessDriver, secrets};
use std::{
    fmt::Write as _,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::Reader;
use tokio::{sync::mpsc, task::spawn_blocking, time::sleep};

/// How many log chunks may wait for a slow reader.
const CHUNKS: usize = 16;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How many lines of a log are shown when nobody says.
const LINES: u32 = 100;

/// The disk of this installation.
pub(crate) struct Disk {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Who has the artifacts and the secrets.
    pub(crate) driver: Arc<ProcessDriver>,
    /// The ledger, beside its writer.
    pub(crate) ledger: Arc<Mutex<Reader>>,
    /// Where the wish to stop goes.
    pub(crate) stop: mpsc::Sender<ShutdownRequest>,
    /// What an artifact may be.
    pub(crate) bounds: artifact::Bounds,
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::internal("a task of the server was cut off")))
}

/// Counts what passes.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

impl Backend for Disk {
    fn put_artifact(&self, content: Upload) -> Reply<'_, Artifact> {
        let (driver, bounds) = (self.driver.clone(), self.bounds);
        Box::pin(blocking(move || {
            let mut content = Counted { inner: content, bytes: 0 };
            let taken = driver.artifacts().take_tar(&mut content, bounds);
            let digest = taken.map_err(|error| {
                if let runtime::Error::Artifact(unfit) = error {
                    return Problem::invalid(unfit.to_string(), "nothing was stored");
                }
                let hint = "nothing was stored; `qd doctor` shows what is wrong";
                Problem::new(Fault::Unavailable, runtime::in_full(&error), hint)
            })?;
            // What follows the end of the archive belongs to the upload all the same.
            let rest = io::copy(&mut content, &mut io::sink());
            rest.map_err(|error| {
                Problem::new(Fault::Unavailable, error.to_string(), "the artifact is stored; send it again")
            })?;
            Ok(Artifact { digest, size: model::Bytes(content.bytes) })
        }))
    }

    fn put_secrets(&self, service: ServiceKey, values: Secrets) -> Reply<'_, Digest> {
        let driver = self.driver.clone();
        Box::pin(blocking(move || {
            let unusable = |error: runtime::Error| {
                Problem::invalid(format!("the secrets of {service}: {error}"), "nothing was stored")
            };
            let set = secrets::Secrets::new(values.0).map_err(unusable)?;
            driver.secrets().put(&set).map_err(|error| Problem::unavailable(runtime::in_full(&error)))
        }))
    }

    fn entries(&self, from: Seq, limit: usize) -> Reply<'_, Vec<Entry>> {
        let ledger = self.ledger.clone();
        Box::pin(blocking(move || {
            let reader = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let page = reader.read_from(from, limit).map_err(|error| Problem::unavailable(super::in_full(&error)))?;
            let entries = page.iter().map(|bytes| ledger::decode(bytes)).collect::<Result<Vec<Entry>, _>>();
            entries.map_err(|error| Problem::internal(super::in_full(&error)))
        }))
    }

    fn logs(&self, service: ServiceKey, query: LogQuery) -> Reply<'_, mpsc::Receiver<io::Result<Bytes>>> {
        let (chunks, receiver) = mpsc::channel(CHUNKS);
        let mut reader = logs::Reader::new(&self.data, &service, query.instance);
        let lines = query.lines.unwrap_or(LINES) as usize;
        tokio::spawn(async move {
            let mut first = true;
            loop {
                let read = spawn_blocking(move || {
                    let found = if first { reader.last(lines) } else { reader.next_lines() };
                    (reader, found)
                });
                let Ok((again, found)) = read.await else { return };
                (reader, first) = (again, false);
                if !found.is_empty() && chunks.send(Ok(render(&found))).await.is_err() {
                    return;
                }
                if !query.follow {
                    return;
                }
                tokio::select! {
                    () = chunks.closed() => return,
                    () = sleep(LOOK) => {}
                }
            }
        });
        Box::pin(async move { Ok(receiver) })
    }

    fn shutdown(&self, request: ShutdownRequest) -> Reply<'_, ()> {
        Box::pin(async move {
            // A wish that is already waiting is as good as this one.
            match self.stop.try_send(request) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    Err(Problem::unavailable("Quarterdeck is stopping already"))
                }
            }
        })
    }
}

/// Lines as people read them: `12:04:31.250 INS-3  text`.
fn render(lines: &[logs::Line]) -> Bytes {
    let mut text = String::new();
    for line in lines {
        let ms = line.time.0 % 86_400_000;
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        let mark = match line.stream {
            logs::Stream::Out => ' ',
            logs::Stream::Err => '!',
            logs::Stream::Note => '*',
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{h:02}:{m:02}:{s:02}.{:03} {}{mark} {}", ms % 1_000, line.instance, line.text);
    }
    text.into()
}
