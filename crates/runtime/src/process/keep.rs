//! The life of one instance, as one task: attempt after attempt, until it is forgotten. One attempt is [`Attempt`].

use super::{
    attempt::{Attempt, Ended, Link},
    board::{Board, Wanted},
    launch::Yard,
    sweep,
};
use crate::{
    in_full, layout, logs,
    shim::protocol::{Assignment, Status},
};
use model::{Exit, InstanceId, InstanceSpec, Listen, Phase, Span};
use std::{path::PathBuf, sync::Arc};
use tokio::{sync::Notify, task::spawn_blocking};

/// How often an attempt is made again on another port when somebody else took the first.
const PORT_TRIES: u32 = 3;

/// A shim that was found alive: the connection to it and what it said first.
pub(super) struct Adopted {
    pub(super) assignment: Assignment,
    pub(super) link: Link,
    pub(super) status: Status,
}

/// Keeps an instance until it is forgotten.
pub(super) async fn keep(yard: Arc<Yard>, board: Arc<Board>, id: InstanceId, adopted: Option<Adopted>) {
    let wake = board.wake(id);
    let keeper = Keeper { yard, board, id, wake };
    if let Some(adopted) = adopted {
        keeper.resume(adopted).await;
    }
    loop {
        let start = keeper.board.wanted(id, |wanted| {
            (wanted.stop, wanted.now) = (wanted.stop && wanted.start.is_some(), wanted.now && wanted.start.is_some());
            wanted.start.take()
        });
        match start {
            None => return,
            Some(Some(spec)) => keeper.start(spec).await,
            Some(None) if keeper.wants(|wanted| wanted.forget) => return keeper.forget().await,
            Some(None) => keeper.wake.notified().await,
        }
    }
}

pub(super) struct Keeper {
    pub(super) yard: Arc<Yard>,
    pub(super) board: Arc<Board>,
    pub(super) id: InstanceId,
    pub(super) wake: Arc<Notify>,
}

impl Keeper {
    fn wants(&self, what: impl FnOnce(&mut Wanted) -> bool) -> bool {
        self.board.wanted(self.id, what).unwrap_or(false)
    }

    async fn start(&self, spec: InstanceSpec) {
        let report = |phase, address| self.board.report(self.id, spec.attempt, phase, address);
        report(Phase::Starting("waits for its turn".to_owned()), None);
        let mut turn = tokio::select! {
            turn = self.board.launches.acquire() => turn.ok(),
            () = self.stop_wanted() => None,
        };
        if turn.is_none() || self.wants(|wanted| wanted.stop || wanted.now) {
            // It never ran, which is as good as having obeyed at once.
            return report(Phase::Exited(Exit::Signal(15)), None);
        }
        for remaining in (0..PORT_TRIES).rev() {
            let port = match spec.run.listen {
                Listen::Port => self.board.ports().take(),
                Listen::Socket => None,
            };
            if port.is_none() && spec.run.listen == Listen::Port {
                return report(Phase::Failed("no port from 20000 to 31999 is free on this machine".to_owned()), None);
            }
            let address = layout::address(&self.directory(), spec.attempt, port);
            report(Phase::Starting("is being launched".to_owned()), Some(address.clone()));
            let ended = match self.launch(&spec, port).await {
                Ok((assignment, link)) => {
                    Attempt::new(self, assignment, link, address.clone(), turn.take()).live(None).await
                }
                Err(text) => Ended { phase: Phase::Failed(text), was_ready: false, was_stopped: false },
            };
            self.release(port);
            let failed = matches!(ended.phase, Phase::Exited(Exit::Status(1..)));
            let may_retry = failed && remaining > 0 && !ended.was_ready && !ended.was_stopped;
            let Some(port) = port.filter(|port| may_retry && self.yard.lost_its_port(*port)) else {
                return report(ended.phase, Some(address));
            };
            tracing::info!(instance = %self.id, port, "somebody else took the port: trying another");
        }
    }

    async fn launch(&self, spec: &InstanceSpec, port: Option<u16>) -> Result<(Assignment, Link), String> {
        let (yard, spec) = (self.yard.clone(), spec.clone());
        let launch = move || {
            let assignment = yard.prepare(&spec)?;
            Ok::<_, String>((assignment, yard.launch(&spec, port)?))
        };
        let (assignment, line) =
            spawn_blocking(launch).await.map_err(|error| format!("launching it broke off: {error}"))??;
        let link = Link::new(line).map_err(|error| format!("its shim cannot be reached: {error}"))?;
        Ok((assignment, link))
    }

    async fn resume(&self, adopted: Adopted) {
        let Adopted { assignment, link, status } = adopted;
        let (attempt, port) = (status.attempt, status.port);
        let address = layout::address(&self.directory(), attempt, port);
        let ended = Attempt::new(self, assignment, link, address.clone(), None).live(Some(status)).await;
        self.release(port);
        self.board.report(self.id, attempt, ended.phase, Some(address));
    }

    fn directory(&self) -> PathBuf {
        layout::instance(&self.yard.data, self.id)
    }

    fn release(&self, port: Option<u16>) {
        port.into_iter().for_each(|port| self.board.ports().release(port));
    }

    /// How long the instance may take to stop, when it is to.
    pub(super) fn stop_deadline(&self, regular: Span) -> Option<Span> {
        self.board.wanted(self.id, |wanted| {
            let stop = wanted.stop || wanted.start.is_some();
            // There is nothing to hurry as long as it is to run.
            wanted.now &= stop;
            stop.then_some(if wanted.now { Span::ZERO } else { regular })
        })?
    }

    async fn stop_wanted(&self) {
        while !self.wants(|wanted| wanted.stop || wanted.now) {
            self.wake.notified().await;
        }
    }

    async fn forget(&self) {
        let (data, id, living) = (self.yard.data.clone(), self.id, self.board.ids());
        let forget = move || {
            let directory = layout::instance(&data, id);
            let service = layout::read_json::<Assignment>(&directory.join(layout::SPEC)).map(|a| a.spec.service);
            if let Err(error) = sweep::remove_directory(&directory) {
                tracing::warn!(instance = %id, error = in_full(&error), "what is left of an instance stays on disk");
            }
            if let Ok(service) = service {
                logs::prune(&data, &service, &living);
            }
        };
        let _ = spawn_blocking(forget).await;
        self.board.remove(self.id);
    }
}
