//! A driver that runs nothing: processes are phases that change with time, as their version says.
//!
//! It keeps the promises of the real one: asking twice does no harm, an older attempt never replaces a later one, what it
//! was not told to forget it still reports.

use crate::version::Versions;
use model::{Action, Address, Digest, Exit, InstanceId, InstanceSeen, InstanceSpec, Phase, Time};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// What it was started as.
    pub(crate) spec: InstanceSpec,
    /// How it is.
    pub(crate) phase: Phase,
    /// Where it listens.
    pub(crate) address: Address,
    started: Time,
    since: Time,
    stopped_at: Option<Time>,
    next: Option<InstanceSpec>,
    /// Whatever becomes of its version, it stays as it is.
    immune: bool,
}

impl Process {
    fn new(spec: InstanceSpec, now: Time) -> Process {
        let port = 10_000 + ((spec.id.0 * 16 + u64::from(spec.attempt)) % 50_000) as u16;
        Process {
            spec,
            phase: Phase::Starting(String::new()),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(),
            started: now,
            since: now,
            stopped_at: None,
            next: None,
            immune: false,
        }
    }

    /// Whether there is a process at all.
    pub(crate) fn runs(&self) -> bool {
        !matches!(self.phase, Phase::Exited(_) | Phase::Failed(_))
    }

    fn enter(&mut self, phase: Phase, now: Time) {
        if self.phase != phase {
            self.phase = phase;
            self.since = now;
        }
    }

    fn advance(&mut self, versions: &Versions, now: Time) {
        let version = versions.of(self.spec.artifact, &self.spec.run);
        let age = now.since(self.started);
        if !self.runs() || (self.immune && self.stopped_at.is_none()) {
            return;
        }
        if let Some(stopped_at) = self.stopped_at {
            if now.since(stopped_at) >= version.stops_in {
                self.enter(Phase::Exited(Exit::Signal(15)), now);
            }
        } else if let Some(why) = version.not_startable {
            self.enter(Phase::Failed(why.to_owned()), now);
        } else if version.dies_after.is_some_and(|after| age >= after) {
            self.enter(Phase::Exited(Exit::Status(1)), now);
        } else if version.ready_after.is_none_or(|after| age < after) {
            self.enter(Phase::Starting("connection refused".to_owned()), now);
        } else if version.hangs_after.is_some_and(|after| age >= after) {
            self.enter(Phase::Dead("no answer within 1 s".to_owned()), now);
        } else if version.unready {
            self.enter(Phase::Unready("HTTP status 503".to_owned()), now);
        } else {
            self.enter(Phase::Ready, now);
        }
    }
}

/// The driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Driver {
    /// What it has.
    pub(crate) processes: BTreeMap<InstanceId, Process>,
    /// What it was last told to keep.
    pub(crate) kept: Vec<Digest>,
}

impl Driver {
    /// Begins an effect.
    pub(crate) fn perform(&mut self, action: Action, now: Time) {
        match action {
            Action::StartInstance(spec) => match self.processes.get_mut(&spec.id) {
                None => drop(self.processes.insert(spec.id, Process::new(*spec, now))),
                Some(known) if known.spec.attempt >= spec.attempt => {}
                Some(known) if known.runs() => {
                    known.stopped_at.get_or_insert(now);
                    known.next = Some(*spec);
                }
                Some(known) => *known = Process::new(*spec, now),
            },
            Action::StopInstance(id) => {
                if let Some(process) = self.processes.get_mut(&id).filter(|p| p.runs()) {
                    process.stopped_at.get_or_insert(now);
                    process.enter(Phase::Stopping, now);
                }
            }
            Action::ForgetInstance(id) => {
                if self.processes.get(&id).is_some_and(|p| !p.runs()) {
                    self.processes.remove(&id);
                }
            }
            Action::KeepArtifacts(kept) => self.kept = kept,
            Action::SetRoutes(_) => {}
        }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, versions: &Versions, now: Time) {
        for process in self.processes.values_mut() {
            process.advance(versions, now);
            if !process.runs()
                && let Some(next) = process.next.take()
            {
                *process = Process::new(next, now);
            }
        }
    }

    /// Everything it has, as it is.
    pub(crate) fn observe(&self) -> Vec<InstanceSeen> {
        let seen = |p: &Process| InstanceSeen {
            id: p.spec.id,
            attempt: p.spec.attempt,
            phase: p.phase.clone(),
            address: Some(p.address.clone()),
            since: p.since,
        };
        self.processes.values().map(seen).collect()
    }

    /// Loses an instance with all that is known of it, as a reboot does.
    pub(crate) fn lose(&mut self, id: InstanceId) {
        self.processes.remove(&id);
    }

    /// Keeps an instance as it is, whatever becomes of its version.
    #[cfg(test)]
    pub(crate) fn keep_well(&mut self, id: InstanceId) {
        self.processes.get_mut(&id).into_iter().for_each(|process| process.immune = true);
    }

    /// Ends a process from outside.
    pub(crate) fn kill(&mut self, id: InstanceId, now: Time) {
        if let Some(process) = self.processes.get_mut(&id).filter(|p| p.runs()) {
            process.enter(Phase::Exited(Exit::Signal(9)), now);
        }
    }
}
