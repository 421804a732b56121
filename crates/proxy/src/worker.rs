//! One worker thread: its listeners, its connections, its copy of the table. Everything a request meets lives here and
//! is used by this thread only, so that plain cells do where others need locks.

use crate::{
    assign::Random,
    buffers::Buffers,
    clerk::Lines,
    compress, connection,
    dates::Dates,
    error::Error,
    guard::{Judged, Switch},
    idle::{Idle, LOOK},
    lane::Lanes,
    listen::{Begins, Listener},
    quiet::Quiet,
    shadow,
    shared::{Parting, Shared, Stop},
    tally::ThreadCounts,
    tcp::Entrances,
    tls::Room,
};
use std::{
    cell::{Cell, RefCell},
    io, ptr,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions, LocalRuntime},
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, sleep_until},
};

/// How often idle connections to instances are looked through.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// How long before its end a proxy that has handed over closes what is still idle.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// How long accepting pauses after an error such as too many open files: this, doubled up to the second.
pub(crate) const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// One worker thread.
pub(crate) struct Worker {
    /// What all threads share.
    pub(crate) shared: Arc<Shared>,
    /// Where assignments and choices come from.
    pub(crate) random: Random,
    /// What belongs to no release.
    pub(crate) counts: Arc<ThreadCounts>,
    /// Tells of trouble with instances.
    pub(crate) trouble: Quiet,
    /// What is read is read into these.
    pub(crate) buffers: Rc<Buffers>,
    /// What day it is.
    pub(crate) dates: Dates,
    /// Where lines of the access log are handed in.
    pub(crate) lines: Option<Lines>,
    /// For responses that are compressed.
    pub(crate) compressing: compress::Room,
    /// For copies that shadows get.
    pub(crate) copies: shadow::Room,
    /// For TLS handshakes.
    pub(crate) handshakes: Room,
    /// Tells that there are too many of them, and why some fail.
    pub(crate) handshakes_full: Quiet,
    pub(crate) handshakes_failed: Quiet,
    /// Its connections that wait for a request.
    pub(crate) idle: Rc<Idle>,
    lanes: RefCell<Rc<Lanes>>,
    judged: RefCell<rtrb::Producer<Judged>>,
    held: Cell<u32>,
    stop: Cell<Option<Stop>>,
    stopping: Notify,
    closed: Notify,
}

/// Starts a worker on these listeners.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub(crate) fn start(
    shared: Arc<Shared>,
    index: usize,
    listeners: Vec<Listener>,
    judged: rtrb::Producer<Judged>,
    lines: Option<Lines>,
    seed: Option<u64>,
) -> Result<JoinHandle<io::Result<()>>, Error> {
    let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let counts = shared.registry.threads.get(index).cloned().unwrap_or_default();
        // The runtime comes after the worker and goes before it: tasks that are dropped with it still count.
        let worker = Worker::new(Arc::clone(&shared), counts, judged, lines, seed);
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let ended = runtime.and_then(|runtime| worker.run(&runtime, index, listeners));
        if ended.is_err() {
            // A listener whose worker is gone would let clients wait for nothing.
            shared.stop.send_replace(Some(Stop::at(Instant::now())));
        }
        ended
    });
    thread.map_err(|source| Error::Resources { what: "a worker thread", source })
}

impl Worker {
    fn new(
        shared: Arc<Shared>,
        counts: Arc<ThreadCounts>,
        judged: rtrb::Producer<Judged>,
        lines: Option<Lines>,
        seed: Option<u64>,
    ) -> Rc<Worker> {
        Rc::new(Worker {
            shared,
            random: Random::new(seed),
            counts,
            trouble: Quiet::default(),
            buffers: Rc::default(),
            dates: Dates::default(),
            compressing: compress::Room::default(),
            copies: shadow::Room::default(),
            lines,
            handshakes: Room::default(),
            handshakes_full: Quiet::default(),
            handshakes_failed: Quiet::default(),
            idle: Rc::default(),
            lanes: RefCell::default(),
            judged: RefCell::new(judged),
            held: Cell::new(0),
            stop: Cell::new(None),
            stopping: Notify::new(),
            closed: Notify::new(),
        })
    }

    /// What the table in force means to this thread.
    pub(crate) fn lanes(&self) -> Rc<Lanes> {
        let table = self.shared.table.load();
        let current = Rc::clone(&self.lanes.borrow());
        if ptr::eq(Arc::as_ptr(&table), Arc::as_ptr(&current.table)) {
            return current;
        }
        let next = Rc::new(current.follow(Arc::clone(&table), &self.shared, &self.random));
        *self.lanes.borrow_mut() = Rc::clone(&next);
        next
    }

    /// Offers a unit to the guard thread; counts it as unjudged when the queue is full.
    pub(crate) fn judge(&self, switch: &Switch, judged: Judged) {
        if self.judged.borrow_mut().push(judged).is_err() {
            switch.skip();
        }
    }

    /// Lets one more request wait for an instance. `None`: too many wait already.
    pub(crate) fn hold(self: &Rc<Worker>) -> Option<Held> {
        if self.held.get() >= self.shared.limits.held {
            return None;
        }
        self.held.set(self.held.get() + 1);
        Some(Held(Rc::clone(self)))
    }

    /// Ends when the proxy is being stopped, or hands over.
    pub(crate) async fn stopping(&self) {
        let notified = self.stopping.notified();
        if self.stop.get().is_none() {
            notified.await;
        }
    }

    /// Ends when a connection is to be closed between two requests: when the proxy is being stopped, or shortly before the
    /// end of a handover.
    pub(crate) async fn parting(&self) {
        self.stopping().await;
        if let Some(Stop { by, parting: Parting::WithTheNextResponse }) = self.stop.get() {
            sleep_until(by.checked_sub(LAST_MOMENT).unwrap_or(by).into()).await;
        }
    }

    /// Looks through the connections that wait for a request.
    fn look(&self) {
        let now = Instant::now();
        let is_parting = |stop: Stop| match stop.parting {
            Parting::AtOnce => true,
            Parting::WithTheNextResponse => stop.by <= now + LAST_MOMENT,
        };
        self.idle.look(now, self.stop.get().is_some_and(is_parting));
    }

    /// Whether connections are to end with their next response.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stop.get().is_some()
    }

    /// Counts one more client connection, until what it gives is dropped.
    pub(crate) fn open(self: &Rc<Worker>) -> Open {
        self.counts.connections.increment();
        Open(Rc::clone(self))
    }

    fn run(self: Rc<Worker>, runtime: &LocalRuntime, index: usize, listeners: Vec<Listener>) -> io::Result<()> {
        runtime.block_on(async {
            let mut accepting = Vec::with_capacity(listeners.len());
            for listener in listeners {
                let socket = TcpListener::from_std(listener.socket)?;
                accepting.push(tokio::task::spawn_local(Rc::clone(&self).accept(socket, listener.begins)));
            }
            tokio::task::spawn_local(Rc::clone(&self).keep_looking());
            let mut entrances = Entrances::new(&self, index);
            let mut changed = self.shared.changed.subscribe();
            let mut gates = self.shared.gates.subscribe();
            let mut stop = self.shared.stop.subscribe();
            let mut tick = interval(HOUSEKEEPING);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.borrow_and_update().is_none() {
                // Done here and not only by the next request, so that what left the table begins to drain at once.
                let lanes = self.lanes();
                entrances.follow(&lanes, &gates.borrow_and_update());
                tokio::select! {
                    _ = changed.changed() => {}
                    _ = gates.changed() => {}
                    _ = stop.changed() => {}
                    _ = tick.tick() => lanes.close_idle(Instant::now()),
                }
            }
            accepting.iter().for_each(tokio::task::JoinHandle::abort);
            entrances.abandon();
            loop {
                let Stop { by, parting } = stop.borrow_and_update().unwrap_or_else(|| Stop::at(Instant::now()));
                self.stop.set(Some(Stop { by, parting }));
                self.stopping.notify_waiters();
                self.look();
                self.lanes().leave(by);
                let closed = self.closed.notified();
                if self.counts.connections.get() == 0 || Instant::now() >= by {
                    return Ok(());
                }
                tokio::select! {
                    () = closed => {}
                    _ = stop.changed() => {}
                    () = sleep_until(by.into()) => {}
                }
            }
        })
    }

    async fn keep_looking(self: Rc<Worker>) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look();
        }
    }

    async fn accept(self: Rc<Worker>, listener: TcpListener, begins: Begins) {
        let full = Quiet::default();
        let failing = Quiet::default();
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            self.room(&full).await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = ACCEPT_PAUSE.0;
                    connection::begin(Rc::clone(&self), stream, peer, begins);
                }
                Err(error) => pause = not_accepted(&error, &failing, pause).await,
            }
        }
    }

    /// Waits until another connection may be accepted. `full` tells when it may not.
    pub(crate) async fn room(&self, full: &Quiet) {
        while !self.has_room() {
            if full.pass().is_some() {
                tracing::warn!(
                    limit = self.shared.connections,
                    "as many connections are open as one worker may have; new ones wait (a higher limit on open files \
                     allows more)"
                );
            }
            self.closed.notified().await;
        }
    }

    /// Whether another connection may be accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.counts.connections.get() < self.shared.connections as u64
    }
}

/// Pauses for so long, because of an error. Gives how long to pause after the next one.
pub(crate) async fn not_accepted(error: &io::Error, failing: &Quiet, pause: Duration) -> Duration {
    if let Some(withheld) = failing.pass() {
        tracing::warn!(%error, withheld, "connections cannot be accepted; trying again shortly");
    }
    sleep(pause).await;
    (pause * 2).min(ACCEPT_PAUSE.1)
}

/// A request that waits for an instance.
pub(crate) struct Held(Rc<Worker>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get().saturating_sub(1));
    }
}

/// An open client connection.
pub(crate) struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counts.connections.decrement();
        self.0.closed.notify_waiters();
    }
}
