//! The thread that writes what is stored on disk, for all services: in the order in which it was handed in. Nobody waits for it. When it is
//! behind by [`QUEUE`] jobs, nothing more is stored on disk until it has caught up.

use super::{Volume, offset};
use crate::quiet::Quiet;
use bytes::Bytes;
use std::{
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// How many jobs may wait: blocks, most of them.
const QUEUE: usize = 512;

/// Where caches store on disk, and who writes there.
pub(crate) struct Writer {
    dir: PathBuf,
    /// None as long as nobody has stored anything.
    queue: Mutex<Option<SyncSender<Job>>>,
    trouble: Mutex<Quiet>,
}

enum Job {
    /// Writes this there, or says that it could not.
    Write { volume: Arc<Volume>, at: u32, piece: Bytes, damaged: Arc<AtomicBool> },
    /// Does this.
    Then(Box<dyn FnOnce() + Send>),
}

impl Writer {
    /// For files in this directory.
    pub(crate) fn new(dir: &Path) -> Writer {
        Writer { dir: dir.to_owned(), queue: Mutex::default(), trouble: Mutex::default() }
    }

    /// Where its files are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes sure that its thread is there. It ends when nobody can hand in anything any more.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn begin(self: &Arc<Writer>) -> io::Result<()> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_none() {
            let (sender, jobs) = sync_channel(QUEUE);
            thread::Builder::new().name("cache-writer".into()).spawn(move || run(&jobs))?;
            *queue = Some(sender);
        }
        Ok(())
    }

    /// Hands in a block. Whether there was room for it.
    pub(super) fn write(&self, volume: &Arc<Volume>, at: u32, piece: Bytes, damaged: &Arc<AtomicBool>) -> bool {
        self.hand_in(Job::Write { volume: Arc::clone(volume), at, piece, damaged: Arc::clone(damaged) })
    }

    /// Hands in what is to be done after what was handed in before. Whether there was room for it.
    pub(super) fn then(&self, act: Box<dyn FnOnce() + Send>) -> bool {
        self.hand_in(Job::Then(act))
    }

    /// Tells the operator that the disk fails: what could not be done, and what happens instead.
    pub(in crate::cache) fn tell(&self, error: &io::Error, what: &'static str) {
        if let Some(withheld) = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).pass() {
            let dir = self.dir.display();
            tracing::warn!(%dir, %error, withheld, "{what}");
        }
    }

    fn hand_in(&self, job: Job) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.try_send(job).is_ok())
    }
}

fn run(jobs: &Receiver<Job>) {
    for job in jobs {
        match job {
            Job::Write { volume, at, piece, damaged } => {
                if let Err(error) = volume.file.write_all_at(&piece, offset(at)) {
                    damaged.store(true, Relaxed);
                    volume.writer.tell(&error, "a response could not be written to disk, and is not stored there");
                }
            }
            Job::Then(act) => act(),
        }
    }
}
