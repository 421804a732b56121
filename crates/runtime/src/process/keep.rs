//! The life of one instance, as one task: launch, watch, stop, report, and again for the next attempt.

use super::{
    board::Board,
    launch::{self, Running, Yard},
    sweep,
    vigil::{self, Health},
};
use crate::{
    in_full, layout, logs,
    shim::{
        self,
        protocol::{Assignment, State, Status, ToShim},
    },
};
use model::{Exit, InstanceId, InstanceSpec, Phase, Span, wire};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{Notify, SemaphorePermit},
    task::spawn_blocking,
};

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

struct Keeper {
    yard: Arc<Yard>,
    board: Arc<Board>,
    id: InstanceId,
    wake: Arc<Notify>,
}

/// How an attempt ended, as far as it matters for another try on another port.
struct Ended {
    phase: Phase,
    was_ready: bool,
    was_stopped: bool,
}

impl Keeper {
    fn wants(&self, what: impl FnOnce(&mut super::board::Wanted) -> bool) -> bool {
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
            let Some(port) = self.board.ports().take() else {
                return report(Phase::Failed("no port from 20000 to 31999 is free on this machine".to_owned()), None);
            };
            let address = launch::address(port);
            report(Phase::Starting("is being launched".to_owned()), Some(address));
            let ended = match self.launch(&spec, port).await {
                Ok((assignment, link)) => self.live(Arc::new(assignment), link, None, address, turn.take()).await,
                Err(text) => Ended { phase: Phase::Failed(text), was_ready: false, was_stopped: false },
            };
            self.board.ports().release(port);
            let failed = matches!(ended.phase, Phase::Exited(Exit::Status(1..)));
            let may_retry = failed && remaining > 0 && !ended.was_ready && !ended.was_stopped;
            if !(may_retry && self.yard.lost_its_port(port)) {
                return report(ended.phase, Some(address));
            }
            tracing::info!(instance = %self.id, port, "somebody else took the port: trying another");
        }
    }

    async fn launch(&self, spec: &InstanceSpec, port: u16) -> Result<(Assignment, Link), String> {
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
        let (attempt, address) = (status.attempt, launch::address(status.port));
        let ended = self.live(Arc::new(assignment), link, Some(status), address, None).await;
        self.board.ports().release(address.port());
        self.board.report(self.id, attempt, ended.phase, Some(address));
    }

    /// From a connected shim to the end of its child.
    async fn live(
        &self,
        assignment: Arc<Assignment>,
        mut link: Link,
        mut first: Option<Status>,
        address: SocketAddr,
        mut turn: Option<SemaphorePermit<'_>>,
    ) -> Ended {
        let run = &assignment.spec.run;
        let attempt = assignment.spec.attempt;
        let mut vigil: Option<vigil::Vigil> = None;
        let mut health = Health::default();
        let mut stopping: Option<Span> = None;
        let over = |phase, health: &Health, stopping: Option<Span>| Ended {
            phase,
            was_ready: health.was_ready,
            was_stopped: stopping.is_some(),
        };
        loop {
            if let Some(span) = self.stop_deadline(run.stop_deadline)
                && stopping.is_none_or(|before| span < before)
            {
                stopping = Some(span);
                vigil = None;
                self.board.report(self.id, attempt, Phase::Stopping, Some(address));
                // When the shim is gone, the next read says so.
                let _ = link.tell(&ToShim::Stop(span)).await;
            }
            let status = match first.take() {
                Some(status) => Some(status),
                None => tokio::select! {
                    status = link.hear() => match status {
                        Some(status) => Some(status),
                        None => return over(self.after_silence(&assignment).await, &health, stopping),
                    },
                    change = vigil::next(&mut vigil) => {
                        let was_ready = health.was_ready;
                        health.take(change);
                        if health.was_ready && !was_ready {
                            let _ = link.tell(&ToShim::Ready).await;
                        }
                        self.board.report(self.id, attempt, health.phase(), Some(address));
                        None
                    }
                    () = self.wake.notified() => None,
                },
            };
            let Some(status) = status else { continue };
            match &status.state {
                State::Starting => {}
                State::Running if stopping.is_none() && vigil.is_none() => {
                    turn = None;
                    health.was_ready |= status.ready.is_some();
                    health.ready = if health.was_ready { Ok(()) } else { Err("has just begun".to_owned()) };
                    self.board.report(self.id, attempt, health.phase(), Some(address));
                    vigil = Some(vigil::Vigil::begin(self.running(&assignment, address, status), &self.board, &health));
                }
                State::Running => {}
                State::Stopping => {
                    (vigil, turn) = (None, None);
                    self.board.report(self.id, attempt, Phase::Stopping, Some(address));
                }
                State::Exited(exit) => return over(Phase::Exited(exit.clone()), &health, stopping),
                State::Failed(text) => return over(Phase::Failed(text.clone()), &health, stopping),
            }
            // Held for as long as the launch takes.
            let _ = &turn;
        }
    }

    fn running(&self, assignment: &Arc<Assignment>, address: SocketAddr, status: Status) -> Running {
        Running {
            yard: self.yard.clone(),
            assignment: assignment.clone(),
            directory: layout::instance(&self.yard.data, self.id),
            address,
            status,
        }
    }

    /// How long the instance may take to stop, when it is to.
    fn stop_deadline(&self, regular: Span) -> Option<Span> {
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

    /// The shim hung up: it has said its last, or it is gone and its child with it.
    async fn after_silence(&self, assignment: &Assignment) -> Phase {
        let directory = layout::instance(&self.yard.data, self.id);
        let status = shim::last_status(&directory).filter(|status| status.attempt == assignment.spec.attempt);
        match status.map(|status| status.state) {
            Some(State::Exited(exit)) => Phase::Exited(exit),
            Some(State::Failed(text)) => Phase::Failed(text),
            Some(State::Starting | State::Running | State::Stopping) | None => {
                let _ = spawn_blocking(move || sweep::what_is_left(&directory)).await;
                Phase::Exited(Exit::Lost)
            }
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

/// The connection to a shim.
pub(super) struct Link {
    stream: UnixStream,
    decoder: wire::Decoder,
}

impl Link {
    pub(super) fn new(stream: std::os::unix::net::UnixStream) -> std::io::Result<Link> {
        stream.set_nonblocking(true)?;
        Ok(Link { stream: UnixStream::from_std(stream)?, decoder: wire::Decoder::default() })
    }

    /// The next status; `None` when the shim is gone or makes no sense. Nothing is lost when this is dropped half way.
    pub(super) async fn hear(&mut self) -> Option<Status> {
        loop {
            match self.decoder.next_message() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => {}
                Err(_) => return None,
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.push(&buffer[..n]),
            }
        }
    }

    async fn tell(&mut self, order: &ToShim) -> std::io::Result<()> {
        self.stream.write_all(&wire::encode(order).map_err(std::io::Error::other)?).await
    }
}
