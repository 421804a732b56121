//! What handlers work with, and the places there are for what takes long.

use crate::{
    Access, Backend, Bounds, Loop, Problem,
    body::{Flow, Outlet},
    problem::Fault,
};
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// Uploads at a time; they fill the disk.
const MAX_UPLOADS: usize = 8;
/// Stories at a time; they read the whole ledger.
const MAX_STORIES: usize = 2;

/// What handlers work with.
pub(crate) struct Served {
    pub(crate) control: Loop,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) access: Access,
    pub(crate) bounds: Bounds,
    /// Places for streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Places for uploads, which fill the disk.
    pub(crate) uploads: Semaphore,
    /// Places for stories, which read the whole ledger.
    pub(crate) stories: Semaphore,
    /// True once the server is to stop.
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Served {
    pub(crate) fn new(
        control: Loop,
        backend: Arc<dyn Backend>,
        access: Access,
        bounds: Bounds,
        stopped: watch::Receiver<bool>,
    ) -> Arc<Served> {
        let streams = Arc::new(Semaphore::new(bounds.streams));
        let (uploads, stories) = (Semaphore::new(MAX_UPLOADS), Semaphore::new(MAX_STORIES));
        Arc::new(Served { control, backend, access, bounds, streams, uploads, stories, stopped })
    }

    /// A stream to a client: where to put in, and what comes out.
    pub(crate) fn open_stream(&self) -> Result<(Outlet, Flow), Problem> {
        let place = self.streams.clone().try_acquire_owned().map_err(|_| busy("event and log streams"))?;
        Ok(Flow::open(place, self.stopped.clone()))
    }

    /// A place to upload.
    pub(crate) fn upload_place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.uploads.try_acquire().map_err(|_| busy("uploads"))
    }

    /// A place to read the whole ledger, when there is one.
    pub(crate) async fn story_place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.stories.acquire().await.map_err(|_| busy("stories"))
    }
}

fn busy(what: &str) -> Problem {
    Problem::new(Fault::Busy, format!("there are too many {what} at the moment"), "ask again when some have ended")
}
