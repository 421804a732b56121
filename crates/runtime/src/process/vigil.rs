//! Probing one running instance for as long as it runs: eagerly until it is ready, then at its own pace.

use super::{board::Board, launch::Running, probe};
use model::{Check, Phase, Probe};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

/// Waits between probes before the first success: they grow from the first to the second.
const EAGER_FIRST: Duration = Duration::from_millis(20);
const EAGER_LAST: Duration = Duration::from_millis(250);
/// After how long without success, and how often from then on, it is found out what the instance does instead.
const EXPLAIN_AFTER: Duration = Duration::from_secs(3);

/// What probes found.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Ready(Result<(), String>),
    Live(Result<(), String>),
}

/// What is known of an instance from its probes.
pub(super) struct Health {
    pub(super) was_ready: bool,
    pub(super) ready: Result<(), String>,
    live: Result<(), String>,
}

impl Default for Health {
    fn default() -> Health {
        Health { was_ready: false, ready: Err("has just begun".to_owned()), live: Ok(()) }
    }
}

impl Health {
    pub(super) fn take(&mut self, change: Change) {
        match change {
            Change::Ready(ready) => {
                self.was_ready |= ready.is_ok();
                self.ready = ready;
            }
            Change::Live(live) => self.live = live,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.live, &self.ready) {
            (Err(text), _) => Phase::Dead(text.clone()),
            (Ok(()), Ok(())) => Phase::Ready,
            (Ok(()), Err(text)) if self.was_ready => Phase::Unready(text.clone()),
            (Ok(()), Err(text)) => Phase::Starting(text.clone()),
        }
    }
}

/// Probes until dropped.
pub(super) struct Vigil {
    changes: mpsc::Receiver<Change>,
    _tasks: JoinSet<()>,
}

/// The next finding. Waits for ever when nothing is probed.
pub(super) async fn next(vigil: &mut Option<Vigil>) -> Change {
    if let Some(vigil) = vigil
        && let Some(change) = vigil.changes.recv().await
    {
        return change;
    }
    std::future::pending().await
}

impl Vigil {
    pub(super) fn begin(running: Running, board: &Arc<Board>, health: &Health) -> Vigil {
        let (found, changes) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        let prober = Prober { running, board: board.clone(), found };
        tasks.spawn(prober.watch(health.was_ready));
        Vigil { changes, _tasks: tasks }
    }
}

struct Prober {
    running: Running,
    board: Arc<Board>,
    found: mpsc::Sender<Change>,
}

impl Prober {
    async fn watch(self, was_ready: bool) {
        if !was_ready {
            self.until_ready().await;
        }
        let run = &self.running.assignment.spec.run;
        let live = async {
            match &run.live {
                Some(probe) => self.repeat(probe, Change::Live).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(self.repeat(&run.ready, Change::Ready), live);
    }

    async fn until_ready(&self) {
        let probe = &self.running.assignment.spec.run.ready;
        let began = Instant::now();
        let mut explained: Option<(Instant, Option<String>)> = None;
        let mut pause = EAGER_FIRST;
        while let Err(error) = self.attempt(probe).await {
            let stale = explained.as_ref().is_none_or(|(at, _)| at.elapsed() >= EXPLAIN_AFTER);
            if began.elapsed() >= EXPLAIN_AFTER && stale {
                explained = Some((Instant::now(), self.explain(probe).await));
            }
            let explanation = explained.as_ref().and_then(|(_, text)| text.clone());
            self.tell(Change::Ready(Err(explanation.unwrap_or(error)))).await;
            sleep(pause).await;
            pause = (pause + pause / 2).min(EAGER_LAST);
        }
        self.tell(Change::Ready(Ok(()))).await;
    }

    /// Probes at the probe's interval for ever, and tells of the first failure that counts and the first success after.
    async fn repeat(&self, probe: &Probe, change: fn(Result<(), String>) -> Change) {
        let mut failures: u32 = 0;
        loop {
            sleep(probe.interval.duration().max(EAGER_FIRST)).await;
            match self.attempt(probe).await {
                Ok(()) => {
                    if failures >= probe.failures {
                        self.tell(change(Ok(()))).await;
                    }
                    failures = 0;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures >= probe.failures {
                        self.tell(change(Err(error))).await;
                    }
                }
            }
        }
    }

    async fn attempt(&self, probe: &Probe) -> Result<(), String> {
        let turns = match probe.check {
            Check::Started | Check::Tcp | Check::Http(_) => &self.board.network_probes,
            Check::Command(_) => &self.board.command_probes,
        };
        let _turn = turns.acquire().await;
        probe::attempt(probe, &self.running).await
    }

    /// Why nobody answers on the port, when the instance's open sockets tell.
    async fn explain(&self, probe: &Probe) -> Option<String> {
        match probe.check {
            Check::Tcp | Check::Http(_) => {
                let running = self.running.clone();
                spawn_blocking(move || probe::explain_silence(&running)).await.ok().flatten()
            }
            Check::Started | Check::Command(_) => None,
        }
    }

    async fn tell(&self, change: Change) {
        // Nobody listens any more when the instance is about to stop.
        let _ = self.found.send(change).await;
    }
}
