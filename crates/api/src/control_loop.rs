//! How the server and the event loop meet: commands go in through a bounded queue, snapshots come out.
//!
//! [`Loop`] is the server's end, cheap to clone; [`LoopEnd`] is the loop's. Readers never make the loop wait: they take
//! the last published [`Snapshot`]. After each turn the loop calls [`LoopEnd::publish`], once its entries are durable.

use crate::message::Submitted;
use arc_swap::ArcSwap;
use control::{Observed, Refusal, Request, State};
use model::Time;
use policy::Policy;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// How many commands may wait for the loop.
const QUEUE: usize = 64;
/// How long a command waits for its place in the queue.
const QUEUE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a command may take, once the loop has it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// What readers see: the world after the last turn.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is intended and certain.
    pub state: State,
    /// What was last reported.
    pub observed: Observed,
    /// When this was so.
    pub now: Time,
    /// How many entries the ledger durably has. Every entry below is in `state`.
    pub length: u64,
    /// Why commands are refused for now (the disk is full, the ledger has stopped), when they are.
    pub refusing: Option<String>,
}

/// Why a command was not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// It cannot be done now; nothing was recorded.
    Refusal(Refusal),
    /// Nobody can take commands now, because of this; nothing was recorded.
    Unavailable(String),
    /// There was no answer. It may have been recorded, or may still be.
    Unanswered(String),
}

/// A command on its way to the loop, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The command.
    pub request: Request,
    /// Where to answer, once the entries are durable. Whoever asked may have gone.
    pub answer: oneshot::Sender<Result<Submitted, Rejected>>,
}

/// The event loop, as the server sees it.
#[derive(Clone, Debug)]
pub struct Loop {
    asked: mpsc::Sender<Asked>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    length: watch::Receiver<u64>,
    policy: Arc<Policy>,
}

/// The server, as the event loop sees it.
#[derive(Debug)]
pub struct LoopEnd {
    /// Commands to take turns for. Ends when no server is left.
    pub asked: mpsc::Receiver<Asked>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    length: watch::Sender<u64>,
}

impl Loop {
    /// Both ends, with what readers see until the first turn.
    pub fn new(policy: Arc<Policy>, first: Snapshot) -> (Loop, LoopEnd) {
        let (asked, asked_end) = mpsc::channel(QUEUE);
        let (length, length_changes) = watch::channel(first.length);
        let snapshot = Arc::new(ArcSwap::from_pointee(first));
        let end = LoopEnd { asked: asked_end, snapshot: snapshot.clone(), length };
        (Loop { asked, snapshot, length: length_changes, policy }, end)
    }

    /// Hands a command to the loop and waits until it is durable or rejected, for at most 17 seconds.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub async fn submit(&self, request: Request) -> Result<Submitted, Rejected> {
        let (answer, answered) = oneshot::channel();
        match self.asked.send_timeout(Asked { request, answer }, QUEUE_PATIENCE).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                return Err(Rejected::Unavailable(format!("{QUEUE} commands are waiting already")));
            }
            Err(mpsc::error::SendTimeoutError::Closed(_)) => {
                return Err(Rejected::Unavailable("Quarterdeck is stopping".into()));
            }
        }
        match timeout(ANSWER_PATIENCE, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Rejected::Unanswered("Quarterdeck stopped before it had answered".into())),
            Err(_) => Err(Rejected::Unanswered(format!(
                "the command was not recorded within {} seconds; the disk may be very slow",
                ANSWER_PATIENCE.as_secs()
            ))),
        }
    }

    /// The world after the last turn.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The rules in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The number of durable entries, and a wake-up whenever it grows.
    pub fn length_changes(&self) -> watch::Receiver<u64> {
        self.length.clone()
    }
}

impl LoopEnd {
    /// Shows readers the world after a turn whose entries are durable.
    pub fn publish(&self, snapshot: Snapshot) {
        let length = snapshot.length;
        self.snapshot.store(Arc::new(snapshot));
        self.length.send_if_modified(|known| std::mem::replace(known, length) != length);
    }
}
