//! The hands: planned actions go to whoever performs them. Nothing is decided here and nothing waits; an action that
//! does not show its effect is planned again, so none is kept.

use control::Planned;
use model::{Action, Digest, RouteTable};
use runtime::Driver;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often the same list of artifacts to keep is handed over again, so that what could not be removed is tried again.
const KEEP_AGAIN: Duration = Duration::from_secs(600);

/// Hands over actions.
pub(crate) struct Hands<D> {
    driver: Arc<D>,
    tables: watch::Sender<RouteTable>,
    kept: Option<(Vec<Digest>, Instant)>,
}

impl<D: Driver> Hands<D> {
    /// Hands for a driver of instances, and for a data plane that gets the tables.
    pub(crate) fn new(driver: Arc<D>, tables: watch::Sender<RouteTable>) -> Hands<D> {
        Hands { driver, tables, kept: None }
    }

    /// Hands over everything that is planned.
    pub(crate) fn perform(&mut self, planned: Vec<Planned>) {
        for Planned { action, because } in planned {
            match action {
                Action::SetRoutes(table) => {
                    let newer = |known: &mut RouteTable| {
                        let newer = table.generation > known.generation;
                        if newer {
                            tracing::debug!(generation = table.generation, because, "set routes");
                            *known = table.clone();
                        }
                        newer
                    };
                    self.tables.send_if_modified(newer);
                }
                Action::KeepArtifacts(digests) => {
                    let known = |(kept, at): &(Vec<Digest>, Instant)| *kept == digests && at.elapsed() < KEEP_AGAIN;
                    if !self.kept.as_ref().is_some_and(known) {
                        self.kept = Some((digests.clone(), Instant::now()));
                        self.driver.perform(Action::KeepArtifacts(digests));
                    }
                }
                action @ (Action::StartInstance(_) | Action::StopInstance(_) | Action::ForgetInstance(_)) => {
                    self.driver.perform(action);
                }
            }
        }
    }
}
