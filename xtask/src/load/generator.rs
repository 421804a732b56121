//! The generator: clients that take the next request when it is due, until they are told to stop.

use super::{
    client::Client,
    mix::Mix,
    tally::{Failure, Figures, Outcome, Tally},
};
use crate::error::Error;
use hyper::header::HeaderName;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How many tallies are counted into, so that clients on several threads do not wait for each other.
const TALLIES: usize = 8;
/// How late a timer may wake us without that being counted as latency: it is our slowness, not the service's.
const TIMER_SLACK: Duration = Duration::from_millis(2);
/// How long a client in closed loop waits after it could not connect, so that it does not spin.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// What to send where, and how fast.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// The Host header.
    pub(crate) host: String,
    pub(crate) mix: Mix,
    /// How many clients, each with one connection; at least 1.
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    /// How long a request may take.
    pub(crate) timeout: Duration,
    /// Count also per value of this response header.
    pub(crate) by: Option<HeaderName>,
    /// Begins the row of requests.
    pub(crate) seed: u64,
}

/// When the next request is due.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// At this rate, whatever the service does.
    Open {
        /// Requests per second, above zero.
        per_second: f64,
    },
    /// When the last request of the connection has ended.
    Closed,
}

impl Pace {
    /// How long after the start this request is due; `None`: at once.
    pub(crate) fn due(self, number: u64) -> Option<Duration> {
        match self {
            Pace::Open { per_second } => Some(Duration::from_secs_f64(number as f64 / per_second)),
            Pace::Closed => None,
        }
    }
}

struct Shared {
    plan: Arc<Plan>,
    start: Instant,
    next: AtomicU64,
    tallies: Vec<Mutex<Tally>>,
}

/// A running generator. Dropping it ends it at once, and with it the requests under way.
pub(crate) struct Running {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    stop: watch::Sender<bool>,
    empty: Tally,
    total: Tally,
    sampled: Instant,
}

impl Running {
    /// Starts it in the current tokio runtime.
    pub(crate) fn start(plan: Plan) -> Result<Running, Error> {
        let empty = Tally::new().map_err(|error| Error::Load(error.to_string()))?;
        let start = Instant::now();
        let tallies = (0..TALLIES).map(|_| Mutex::new(empty.clone())).collect();
        let shared = Arc::new(Shared { plan: Arc::new(plan), start, next: AtomicU64::new(0), tallies });
        let (stop, stopping) = watch::channel(false);
        let mut clients = JoinSet::new();
        for place in 0..shared.plan.connections {
            clients.spawn(shared.clone().client(place % TALLIES, stopping.clone()));
        }
        Ok(Running { shared, clients, stop, total: empty.clone(), empty, sampled: start })
    }

    /// What was counted since the last call.
    pub(crate) fn sample(&mut self) -> Figures {
        let now = Instant::now();
        let mut fresh = self.empty.clone();
        self.shared.take_into(&mut fresh);
        let figures = fresh.figures(now - self.sampled, now - self.shared.start, 0);
        self.total.add(&fresh);
        self.sampled = now;
        figures
    }

    /// Sends nothing more, waits for what is under way (at most the time a request may take), and sums up.
    pub(crate) async fn stop(mut self) -> Figures {
        let took = self.shared.start.elapsed();
        let due = match self.shared.plan.pace {
            Pace::Open { per_second } => (took.as_secs_f64() * per_second) as u64,
            Pace::Closed => 0,
        };
        // A client that waits for its request to be due has taken it. What is due and not taken found every client busy.
        let unsent = due.saturating_sub(self.shared.next.load(Ordering::Relaxed));
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        self.shared.take_into(&mut self.total);
        self.total.figures(took, took, unsent)
    }
}

impl Shared {
    /// One client's life: wait until the next request is due, send it, count it.
    async fn client(self: Arc<Self>, place: usize, mut stopping: watch::Receiver<bool>) {
        let mut client = Client::new(self.plan.clone());
        while !*stopping.borrow() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = tokio::select! {
                due = self.wait(number) => due,
                _ = stopping.changed() => return,
            };
            let shot = self.plan.mix.pick(self.plan.seed, number);
            let (finished, why) = client.send(shot, due).await;
            let outcome = finished.outcome;
            self.tallies[place].lock().unwrap_or_else(PoisonError::into_inner).count(finished, || Failure {
                at_ms: self.start.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
                request: format!("{} {}", shot.method, shot.path),
                why,
            });
            if matches!((self.plan.pace, outcome), (Pace::Closed, Outcome::Refused | Outcome::Unreachable)) {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    /// Waits until the request with this number is due, and gives the time from which its latency counts: when it was due,
    /// if no client was free then; otherwise now, because a timer wakes up to a millisecond late.
    async fn wait(&self, number: u64) -> Instant {
        let Some(due) = self.plan.pace.due(number).map(|after| self.start + after) else { return Instant::now() };
        if Instant::now() >= due {
            return due;
        }
        sleep_until(due).await;
        let now = Instant::now();
        if now - due <= TIMER_SLACK { now } else { due }
    }

    /// Adds to `sum` what was counted since the last call.
    fn take_into(&self, sum: &mut Tally) {
        for tally in &self.tallies {
            sum.add(&tally.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_open_loop_latency_counts_from_when_the_request_was_due() {
        let plan = Plan {
            address: ([127, 0, 0, 1], 9).into(),
            host: "x".into(),
            mix: Mix::shop().unwrap(),
            connections: 1,
            pace: Pace::Open { per_second: 10.0 },
            timeout: Duration::from_secs(1),
            by: None,
            seed: 1,
        };
        let start = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        let shared = Shared { plan: Arc::new(plan), start, next: AtomicU64::new(0), tallies: Vec::new() };
        assert_eq!(shared.wait(20).await, start + Duration::from_secs(2));
    }
}
