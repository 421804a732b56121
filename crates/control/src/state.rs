//! Everything that is intended and known for certain: the fold of the ledger.
//!
//! Persistent maps make a snapshot for readers free: clone the state, hand it out, go on.

use crate::{change, instance, release, service};
use imbl::{OrdMap, OrdSet};
use model::{ChangeId, InstanceId, ReleaseId, ServiceKey, ServiceRoutes, Time};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many finished changes stay in the state; older ones live in the ledger only.
pub const KEPT_CHANGES: usize = 500;

/// The state. Changed by [`crate::apply`] and nothing else.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// The next ids.
    pub next: Next,
    /// Services by name.
    pub services: OrdMap<ServiceKey, service::Service>,
    /// Releases that run, may be returned to, or are among the last few of their service.
    pub releases: OrdMap<ReleaseId, release::Release>,
    /// Changes: all open ones and the last [`KEPT_CHANGES`] finished.
    pub changes: OrdMap<ChangeId, change::Change>,
    /// Those of them that are open.
    pub(crate) open: OrdSet<ChangeId>,
    /// Instances that are intended, or were and are not gone yet.
    pub instances: OrdMap<InstanceId, instance::Instance>,
    /// The same by service, in the order of their ids, so that one entry costs the work of one service.
    pub(crate) placed: OrdMap<ServiceKey, Vec<InstanceId>>,
    /// What the data plane should obey.
    pub routes: Routes,
    /// When the last entry was recorded. A clock that says less at the start was set back while nobody looked: give
    /// [`Input::ClockStepped`](crate::Input::ClockStepped) the difference first.
    pub recorded_at: Time,
}

/// Counters that give ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Next {
    /// Of the next change.
    pub change: ChangeId,
    /// Of the next release.
    pub release: ReleaseId,
    /// Of the next instance.
    pub instance: InstanceId,
}

impl Next {
    /// Gives out the next change id.
    pub(crate) fn take_change(&mut self) -> ChangeId {
        let id = self.change;
        self.change.0 += 1;
        id
    }

    /// Gives out the next release id.
    pub(crate) fn take_release(&mut self) -> ReleaseId {
        let id = self.release;
        self.release.0 += 1;
        id
    }

    /// Gives out the next instance id.
    pub(crate) fn take_instance(&mut self) -> InstanceId {
        let id = self.instance;
        self.instance.0 += 1;
        id
    }
}

impl Default for Next {
    fn default() -> Self {
        Next { change: ChangeId(1), release: ReleaseId(1), instance: InstanceId(1) }
    }
}

/// The intended route table, kept per service so that one entry costs the work of one service.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Routes {
    /// One above the sequence number of the entry that last altered the table.
    pub generation: u64,
    /// The routes of every service that has some.
    pub services: OrdMap<ServiceKey, Arc<ServiceRoutes>>,
}

impl State {
    /// The change of a service that is under way or held back, if there is one.
    pub fn active_change(&self, service: &ServiceKey) -> Option<&change::Change> {
        self.changes.get(&self.services.get(service)?.active?)
    }

    /// Every change that is open, oldest first.
    pub fn open_changes(&self) -> impl Iterator<Item = &change::Change> {
        self.open.iter().filter_map(|id| self.changes.get(id))
    }

    /// All instances of a service, also those that drain.
    pub fn instances_at(&self, service: &ServiceKey) -> impl Iterator<Item = &instance::Instance> {
        self.placed.get(service).into_iter().flatten().filter_map(|id| self.instances.get(id))
    }

    /// All instances of a release, also those that drain.
    pub(crate) fn copies(&self, release: ReleaseId) -> impl Iterator<Item = &instance::Instance> {
        let service = self.releases.get(&release).map(|r| &r.service);
        service.into_iter().flat_map(|key| self.instances_at(key)).filter(move |i| i.release == release)
    }

    /// The instances of a release that are meant to stay.
    pub fn instances_of(&self, release: ReleaseId) -> impl Iterator<Item = &instance::Instance> {
        self.copies(release).filter(|i| i.retired.is_none())
    }

    /// How many instances of a release are ready and meant to stay.
    pub fn ready(&self, release: ReleaseId) -> u32 {
        self.instances_of(release).filter(|i| i.is_ready()).count() as u32
    }
}
