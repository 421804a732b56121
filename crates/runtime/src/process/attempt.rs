//! One attempt of an instance, from a connected shim to the end of its child.

use super::{
    keep::Keeper,
    launch::Running,
    sweep,
    vigil::{self, Health, Vigil},
};
use crate::{
    layout,
    shim::{
        self,
        protocol::{Assignment, State, Status, ToShim},
    },
};
use model::{Address, Exit, Phase, Span, wire};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::SemaphorePermit,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

/// How long one launch may keep others waiting for their turn.
const LONGEST_TURN: Duration = Duration::from_secs(10);
/// How much longer than its deadline a stop may take before the shim itself is taken for stuck, and killed.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// How an attempt ended, as far as it matters for another try on another port.
pub(super) struct Ended {
    pub(super) phase: Phase,
    pub(super) was_ready: bool,
    pub(super) was_stopped: bool,
}

/// An attempt whose shim answers.
pub(super) struct Attempt<'a> {
    keeper: &'a Keeper,
    assignment: Arc<Assignment>,
    link: Link,
    address: Address,
    /// Held while it is launched, and until when at most.
    turn: Option<(SemaphorePermit<'a>, Instant)>,
    health: Health,
    vigil: Option<Vigil>,
    /// The deadline it was told, and when the shim is overdue.
    stopping: Option<(Span, Instant)>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        keeper: &'a Keeper,
        assignment: Assignment,
        link: Link,
        address: Address,
        turn: Option<SemaphorePermit<'a>>,
    ) -> Attempt<'a> {
        let turn = turn.map(|turn| (turn, Instant::now() + LONGEST_TURN));
        let health = Health::default();
        Attempt { keeper, assignment: Arc::new(assignment), link, address, turn, health, vigil: None, stopping: None }
    }

    /// Until it has ended. `status` is what its shim said already.
    pub(super) async fn live(mut self, status: Option<Status>) -> Ended {
        let phase = self.until_over(status).await;
        Ended { phase, was_ready: self.health.was_ready, was_stopped: self.stopping.is_some() }
    }

    async fn until_over(&mut self, first: Option<Status>) -> Phase {
        if let Some(over) = first.and_then(|status| self.take(status)) {
            return over;
        }
        loop {
            self.obey().await;
            let overdue = self.stopping.as_ref().map(|(_, overdue)| *overdue);
            let turn_ends = self.turn.as_ref().map(|(_, end)| *end);
            tokio::select! {
                status = self.link.hear() => match status {
                    Some(status) => {
                        if let Some(over) = self.take(status) {
                            return over;
                        }
                    }
                    None => return self.after_silence().await,
                },
                change = vigil::next(&mut self.vigil) => {
                    let was_ready = self.health.was_ready;
                    self.health.take(change);
                    if self.health.was_ready && !was_ready {
                        // Here and below: when the shim is gone, hearing it says so.
                        let _ = self.link.tell(&ToShim::Ready).await;
                    }
                    self.report(self.health.phase());
                }
                () = self.keeper.wake.notified() => {}
                () = reach(turn_ends) => self.turn = None,
                // What is killed falls silent.
                () = reach(overdue) => return self.after_silence().await,
            }
        }
    }

    /// Tells the shim to stop when that is wanted, and again when it is wanted sooner.
    async fn obey(&mut self) {
        let Some(span) = self.keeper.stop_deadline(self.assignment.spec.run.stop_deadline) else { return };
        if self.stopping.is_some_and(|(before, _)| before <= span) {
            return;
        }
        self.stopping = Some((span, Instant::now() + span.duration() + STOP_GRACE));
        self.vigil = None;
        self.report(Phase::Stopping);
        let _ = self.link.tell(&ToShim::Stop(span)).await;
    }

    /// Takes in what the shim says; a phase when that was its last word.
    fn take(&mut self, status: Status) -> Option<Phase> {
        if status.state != State::Starting {
            self.turn = None;
        }
        match &status.state {
            State::Starting => None,
            State::Running => {
                if self.stopping.is_none() && self.vigil.is_none() {
                    self.begin_vigil(status);
                }
                None
            }
            State::Stopping => {
                self.vigil = None;
                self.report(Phase::Stopping);
                None
            }
            State::Exited(exit) => Some(Phase::Exited(exit.clone())),
            State::Failed(text) => Some(Phase::Failed(text.clone())),
        }
    }

    fn begin_vigil(&mut self, status: Status) {
        if status.ready.is_some() {
            self.health.take(vigil::Change::Ready(Ok(())));
        }
        self.report(self.health.phase());
        let running = Running {
            yard: self.keeper.yard.clone(),
            assignment: self.assignment.clone(),
            directory: layout::instance(&self.keeper.yard.data, self.keeper.id),
            address: self.address.clone(),
            status,
        };
        self.vigil = Some(Vigil::begin(running, &self.keeper.board, &self.health));
    }

    fn report(&self, phase: Phase) {
        self.keeper.board.report(self.keeper.id, self.assignment.spec.attempt, phase, Some(self.address.clone()));
    }

    /// The shim hung up: it has said its last, or it is gone and its child with it.
    async fn after_silence(&self) -> Phase {
        let directory = layout::instance(&self.keeper.yard.data, self.keeper.id);
        let status = shim::last_status(&directory).filter(|status| status.attempt == self.assignment.spec.attempt);
        match status.map(|status| status.state) {
            Some(State::Exited(exit)) => Phase::Exited(exit),
            Some(State::Failed(text)) => Phase::Failed(text),
            Some(State::Starting | State::Running | State::Stopping) | None => {
                let _ = spawn_blocking(move || sweep::what_is_left(&directory)).await;
                Phase::Exited(Exit::Lost)
            }
        }
    }
}

/// Waits for a moment, or for ever when there is none.
async fn reach(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
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
