//! The process driver: instances are processes of this machine, each behind a shim.
//!
//! Every instance has one task (`keep`) that owns its life, from the first attempt until it is forgotten. What is
//! asked of it is not a queue but a few facts (`board::Wanted`), so that asking twice costs nothing and nothing grows.
//! The driver keeps no file of its own: after a restart everything is learnt from the instances' directories and from
//! the shims that answer there.
//!
//! Start reading at `keep`.

mod adopt;
mod attempt;
mod board;
mod keep;
mod launch;
mod port;
mod probe;
pub(crate) mod sweep;
mod user;
mod vigil;

pub(crate) use user::User;

use crate::{Driver, Error, artifact, in_full, layout, secrets};
use board::Board;
use launch::Yard;
use model::{Action, Digest, InstanceId, InstanceSeen};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

/// Where a driver keeps things, and what it starts shims with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory. Created when it is not there.
    pub data: PathBuf,
    /// The executable that is a shim when its first argument is [`ROLE`](crate::shim::ROLE). `/proc/self/exe` for the
    /// one that calls this: it stays valid when the file is replaced by a newer version.
    pub executable: PathBuf,
    /// The `PATH` of instances that do not set their own.
    pub search_path: String,
}

/// Runs instances as processes. Dropping it, or the end of the process that holds it, stops no instance.
pub struct ProcessDriver {
    yard: Arc<Yard>,
    board: Arc<Board>,
    kept: watch::Sender<Option<Vec<Digest>>>,
    /// Ended with the driver; the shims go on.
    tasks: Mutex<JoinSet<()>>,
    handle: Handle,
}

impl ProcessDriver {
    /// Opens the data directory, of which the caller must be the only user, and adopts every instance that is there: nothing is started or stopped. When it
    /// returns, what is observed of the adopted is true, but for shims that did not answer within some seconds.
    /// Its tasks run on the tokio runtime it is called in; its methods may be called from anywhere.
    ///
    /// # Errors
    /// When the data directory cannot be used.
    pub async fn open(settings: Settings) -> Result<ProcessDriver, Error> {
        let data = usable(&settings.data)?;
        let yard = Arc::new(Yard {
            artifacts: artifact::Store::open(&data)?,
            secrets: secrets::Store::open(&data)?,
            data,
            executable: settings.executable,
            search_path: settings.search_path,
        });
        yard.artifacts.clear_staging()?;
        let board = Arc::new(Board::default());
        let mut tasks = JoinSet::new();
        adopt::everything(&yard, &board, &mut tasks).await?;
        let (kept, to_keep) = watch::channel(None);
        tasks.spawn(collect_garbage(yard.clone(), to_keep));
        Ok(ProcessDriver { yard, board, kept, tasks: Mutex::new(tasks), handle: Handle::current() })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of forgotten instances have ended.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.handle);
    }

    /// The artifacts of this driver: the one store of its data directory, so that what is taken in and what is removed
    /// know of each other.
    pub fn artifacts(&self) -> &artifact::Store {
        &self.yard.artifacts
    }

    /// The sealed secrets of this driver.
    pub fn secrets(&self) -> &secrets::Store {
        &self.yard.secrets
    }
}

impl Driver for ProcessDriver {
    fn observe(&self) -> Vec<InstanceSeen> {
        self.board.seen()
    }

    fn perform(&self, action: Action) {
        match action {
            Action::StartInstance(spec) => {
                let id = spec.id;
                if self.board.want_start(*spec) == board::Known::New {
                    self.spawn(keep::keep(self.yard.clone(), self.board.clone(), id, None));
                }
            }
            Action::StopInstance(id) => self.board.want(id, |wanted| wanted.stop = true),
            Action::ForgetInstance(id) => self.board.want(id, |wanted| wanted.forget = true),
            Action::KeepArtifacts(digests) => {
                self.kept.send_replace(Some(digests));
            }
            Action::SetRoutes(_) => {}
        }
    }

    fn cancel(&self, id: InstanceId) {
        self.board.hurry(id);
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.board.changes()
    }
}

/// Creates what is missing and makes sure of being able to write there, before anything depends on it.
fn usable(data: &Path) -> Result<PathBuf, Error> {
    let prepare = || {
        for directory in [data.to_owned(), layout::instances(data), data.join("logs")] {
            layout::create_passable(&directory)?;
        }
        let trial = data.join(".writable");
        std::fs::write(&trial, b"").map_err(|e| Error::file("write", &trial, e))?;
        std::fs::remove_file(&trial).map_err(|e| Error::file("remove", &trial, e))?;
        data.canonicalize().map_err(|e| Error::file("find", data, e))
    };
    prepare().map_err(|error: Error| {
        let Error::File { source, .. } = error else { return error };
        Error::DataDirectory { path: data.to_owned(), uid: rustix::process::geteuid().as_raw(), source }
    })
}

/// Removes what is not kept, one round at a time; rounds asked for meanwhile become one.
async fn collect_garbage(yard: Arc<Yard>, mut to_keep: watch::Receiver<Option<Vec<Digest>>>) {
    while to_keep.changed().await.is_ok() {
        let Some(digests) = to_keep.borrow_and_update().clone() else { continue };
        let yard = yard.clone();
        let round = tokio::task::spawn_blocking(move || {
            let mut digests = digests;
            digests.extend(adopt::used_artifacts(&yard.data)?);
            yard.artifacts.keep(&digests)
        });
        match round.await {
            Ok(Ok(removed)) if removed.trees > 0 => {
                tracing::info!(trees = removed.trees, bytes = removed.bytes.0, "removed artifacts that nothing needs");
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(error = in_full(&error), "artifacts that nothing needs stay on disk"),
        }
    }
}
