//! What the threads share: the table in force, the counts, and the word to stop.
//!
//! Tables are taken by one thread only, the one that holds the control socket; all others read.

use crate::{
    config::{Config, Limits},
    guard::{Judged, Switch},
    listen::Begins,
    report::wall_clock,
    saved_table::Saved,
    settings::Settings,
    table::Table,
    tally::Registry,
    tcp::Opened,
    tls::Plane,
};
use arc_swap::ArcSwap;
use model::{ChangeId, Guard, RouteTable, Time};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tokio::sync::watch;

/// How many judged units may wait for the guard thread, from each worker: more than a core can serve between two looks.
const QUEUE: usize = 4096;

/// What all threads share.
pub(crate) struct Shared {
    /// The table in force.
    pub(crate) table: ArcSwap<Table>,
    /// Wakes whoever waits for another table; the value is its generation.
    pub(crate) changed: watch::Sender<u64>,
    /// Once set: accept no more connections, and be done by then.
    pub(crate) stop: watch::Sender<Option<Stop>>,
    /// All counts.
    pub(crate) registry: Registry,
    /// Bounds on clients and instances.
    pub(crate) limits: Limits,
    /// Where clients connect, and how connections begin there.
    pub(crate) listening: Vec<(SocketAddr, Begins)>,
    /// Where connections come in that are carried as they are. Empty once others accept them, or nobody does.
    pub(crate) gates: watch::Sender<Opened>,
    /// What TLS is spoken with, if it is.
    pub(crate) tls: Option<Arc<Plane>>,
    /// What can be changed while it runs.
    pub(crate) settings: ArcSwap<Settings>,
    /// How many connections each thread may have open.
    pub(crate) connections: usize,
    /// When this process began to count.
    pub(crate) started: Time,
    ended: AtomicBool,
}

/// The two ends of the queues between the workers and the guard thread.
pub(crate) struct Queues {
    /// One for each worker.
    pub(crate) producers: Vec<rtrb::Producer<Judged>>,
    /// All for the guard thread.
    pub(crate) consumers: Vec<rtrb::Consumer<Judged>>,
}

/// When to be done, and how to part from clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stop {
    /// By then everything ends.
    pub(crate) by: Instant,
    /// How connections are told.
    pub(crate) parting: Parting,
}

/// How connections that are open are told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parting {
    /// Idle ones are closed at once: nobody will answer here any more.
    AtOnce,
    /// With their next response. Somebody else answers new ones, and a client that is about to send on an idle connection
    /// must not find it closed.
    WithTheNextResponse,
}

impl Stop {
    /// At once, or as soon as things end.
    pub(crate) fn at(by: Instant) -> Stop {
        Stop { by, parting: Parting::AtOnce }
    }
}

/// What became of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// It is in force for the next request in every thread.
    InForce,
    /// It is older than the one in force, which stays.
    Older,
}

impl Shared {
    /// Begins with the table that was in force last, if there is one.
    pub(crate) fn new(
        config: &Config,
        listening: Vec<(SocketAddr, Begins)>,
        connections: usize,
        saved: Option<&Saved>,
    ) -> (Arc<Shared>, Queues) {
        let threads = config.threads();
        let first = Table::first(&config.data_dir);
        let table = saved.map(|saved| {
            let tripped = |guard: &Guard| Switch::new(guard, saved.tripped.contains(&guard.change));
            Table::new(&saved.table, &first, tripped)
        });
        let (producers, consumers) = (0..threads).map(|_| rtrb::RingBuffer::new(QUEUE)).unzip();
        let shared = Shared {
            table: ArcSwap::from_pointee(table.unwrap_or(first)),
            changed: watch::Sender::new(0),
            stop: watch::Sender::new(None),
            registry: Registry::new(threads),
            limits: config.limits.clone(),
            listening,
            gates: watch::Sender::default(),
            tls: config.tls.as_ref().map(|_| Arc::default()),
            settings: ArcSwap::default(),
            connections,
            started: wall_clock(),
            ended: AtomicBool::new(false),
        };
        (Arc::new(shared), Queues { producers, consumers })
    }

    /// Puts a table in force, unless it is older than the one that is. A guard keeps its evidence, and stays tripped, as
    /// long as every table has it.
    pub(crate) fn take(&self, table: &RouteTable) -> Taken {
        let before = self.table.load();
        if table.generation < before.generation {
            return Taken::Older;
        }
        let next = Table::new(table, &before, |guard| match before.switch(guard.change) {
            Some(switch) if switch.serves(guard) => Arc::clone(switch),
            Some(_) | None => Switch::new(guard, false),
        });
        self.table.store(Arc::new(next));
        self.changed.send_replace(table.generation);
        Taken::InForce
    }

    /// Takes what another proxy has saved until the end: its table, and which guards had tripped.
    pub(crate) fn take_saved(&self, saved: &Saved) {
        self.take(&saved.table);
        let table = self.table.load();
        saved.tripped.iter().filter_map(|change| table.switch(*change)).for_each(|switch| switch.trip());
    }

    /// The changes whose guards have tripped.
    pub(crate) fn tripped(&self) -> Vec<ChangeId> {
        self.table.load().switches().filter(|switch| switch.is_tripped()).map(|switch| switch.change).collect()
    }

    /// Ends the guard thread. The workers end by [`stop`](Shared::stop).
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the guard thread is to end.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
