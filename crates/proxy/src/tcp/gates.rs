//! The addresses of services, and the sockets that listen there: one for each address in each worker, opened and closed
//! here as tables say, by the thread that takes the tables.
//!
//! An address that cannot be listened on stops nothing else: it is said, and tried again now and then.

use crate::{
    listen::{self, Sharing},
    shared::Shared,
};
use model::ClosedAddress;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

/// How many addresses are listened on at most. Each costs a socket for each worker.
const MOST: usize = 256;

/// How long after an address could not be listened on it is tried again: this, doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// All of them.
pub(crate) struct Gates {
    shared: Arc<Shared>,
    threads: usize,
    open: BTreeMap<SocketAddr, Vec<Door>>,
    closed: BTreeMap<SocketAddr, Closed>,
    /// The number of the next door.
    next: u64,
}

/// One socket, from which one worker accepts.
#[derive(Clone)]
pub(crate) struct Door {
    /// Tells it from every other, also from one at the same address before.
    pub(super) number: u64,
    /// Whose it is.
    pub(super) thread: usize,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// It is closed when nobody holds it any more.
    pub(super) socket: Arc<TcpListener>,
}

/// What all threads see of them.
#[derive(Clone, Default)]
pub(crate) struct Opened {
    /// The sockets of all workers.
    pub(super) doors: Vec<Door>,
    /// The addresses that cannot be listened on.
    pub(crate) closed: Vec<ClosedAddress>,
}

struct Closed {
    why: String,
    pause: Duration,
    again: Instant,
}

impl Opened {
    /// Where is listened.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let addresses: BTreeSet<_> = self.doors.iter().map(|door| door.address).collect();
        addresses.into_iter().collect()
    }
}

impl Gates {
    /// As the table in force has them, with sockets that were handed over from another proxy. Each of these is somebody's,
    /// because connections wait in each.
    pub(crate) fn new(shared: &Arc<Shared>, threads: usize, inherited: Vec<(SocketAddr, TcpListener)>) -> Gates {
        let shared = Arc::clone(shared);
        let mut gates = Gates { shared, threads, open: BTreeMap::new(), closed: BTreeMap::new(), next: 0 };
        for (address, socket) in inherited {
            let place = gates.open.get(&address).map_or(0, Vec::len);
            gates.add(address, place % threads, socket);
        }
        let served: Vec<_> = gates.open.iter().map(|(address, doors)| (*address, doors.len())).collect();
        for (address, served) in served {
            for thread in served..threads {
                match listen::open(address, Sharing::WithOurOwn) {
                    Ok(socket) => gates.add(address, thread, socket),
                    Err(error) => {
                        tracing::warn!(%address, %error, "not every worker accepts connections there; others do");
                    }
                }
            }
        }
        gates.follow(Instant::now());
        gates
    }

    /// Opens and closes what the table in force says.
    pub(crate) fn follow(&mut self, now: Instant) {
        let wanted: BTreeSet<SocketAddr> = self.shared.table.load().tcp().collect();
        self.open.retain(|address, _| wanted.contains(address));
        self.closed.retain(|address, _| wanted.contains(address));
        for address in wanted {
            if !self.open.contains_key(&address) {
                self.try_open(address, now);
            }
        }
        self.publish();
    }

    /// Tries those again that could not be listened on, when it is time.
    pub(crate) fn try_again(&mut self, now: Instant) {
        let due: Vec<_> = self.closed.iter().filter(|(_, closed)| closed.again <= now).map(|(at, _)| *at).collect();
        if due.is_empty() {
            return;
        }
        due.into_iter().for_each(|address| self.try_open(address, now));
        self.publish();
    }

    /// The sockets, to be handed over.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (SocketAddr, Arc<TcpListener>)> {
        self.open.values().flatten().map(|door| (door.address, Arc::clone(&door.socket)))
    }

    /// Lets go of all: somebody else has them, or nobody is to connect any more.
    pub(crate) fn abandon(&mut self) {
        self.open.clear();
        self.closed.clear();
        self.publish();
    }

    fn try_open(&mut self, address: SocketAddr, now: Instant) {
        match self.sockets_at(address) {
            Ok(sockets) => {
                tracing::info!(%address, "connections are carried from here");
                self.closed.remove(&address);
                sockets.into_iter().enumerate().for_each(|(thread, socket)| self.add(address, thread, socket));
            }
            Err(why) => {
                let before = self.closed.remove(&address);
                if before.as_ref().is_none_or(|before| before.why != why) {
                    tracing::error!(%address, %why, "connections to a service cannot come in; trying again now and then");
                }
                let pause = before.map_or(AGAIN.0, |before| (before.pause * 2).min(AGAIN.1));
                self.closed.insert(address, Closed { why, pause, again: now + pause });
            }
        }
    }

    /// A socket for each worker.
    fn sockets_at(&self, address: SocketAddr) -> Result<Vec<TcpListener>, String> {
        if self.shared.listening.iter().any(|(own, _)| *own == address) {
            return Err(format!("requests come in at {address} already: give the service another port"));
        }
        if address.port() == 0 {
            return Err(format!("{address} has no port: give the service one"));
        }
        if self.open.len() >= MOST {
            return Err(format!("{MOST} addresses are listened on already, and no more are"));
        }
        let open = || {
            // As at the start: one that does not share its port notices other programs.
            drop(listen::open(address, Sharing::Never)?);
            (0..self.threads).map(|_| listen::open(address, Sharing::WithOurOwn)).collect::<io::Result<_>>()
        };
        open().map_err(|error| listen::refusal(address, error).to_string())
    }

    fn add(&mut self, address: SocketAddr, thread: usize, socket: TcpListener) {
        let door = Door { number: self.next, thread, address, socket: Arc::new(socket) };
        self.next += 1;
        self.open.entry(address).or_default().push(door);
    }

    fn publish(&self) {
        let closed =
            self.closed.iter().map(|(address, closed)| ClosedAddress { address: *address, why: closed.why.clone() });
        let doors = self.open.values().flatten().cloned().collect();
        self.shared.gates.send_replace(Opened { doors, closed: closed.collect() });
    }
}

impl Drop for Gates {
    /// While one is open the system lets clients connect, and nobody would answer them.
    fn drop(&mut self) {
        self.abandon();
    }
}
