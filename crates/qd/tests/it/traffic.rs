//! Customers: keep-alive clients that send a steady stream of requests and count what became of each.

use crate::{http::Connection, wait::until};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How many customers there are at a time.
pub(crate) const CLIENTS: u32 = 4;
/// How long a customer who was served rests.
const REST: Duration = Duration::from_millis(8);
/// A cart that every good release sells.
const CART: &str = r#"{"lines": [{"good": "rope", "quantity": 2}]}"#;

/// What became of requests.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    /// Answers by release: those with a status below 500, and the others.
    pub(crate) by_version: BTreeMap<String, (u64, u64)>,
    /// What went wrong otherwise, and when since the start.
    pub(crate) broken: Vec<(Duration, String)>,
}

impl Tally {
    /// Requests that this release answered, well or not.
    pub(crate) fn answered_by(&self, version: &str) -> u64 {
        self.by_version.get(version).map_or(0, |(good, bad)| good + bad)
    }

    /// Nobody but these releases failed anybody.
    pub(crate) fn assert_harmed_only_by(&self, bad: &[&str]) {
        let others =
            self.by_version.iter().filter(|(version, (_, failed))| *failed > 0 && !bad.contains(&version.as_str()));
        assert_eq!(others.count(), 0, "failed: {self:?}");
        assert!(self.broken.is_empty(), "broken: {self:?}");
        assert!(self.sent > 0, "nobody came");
    }
}

/// Customers who come until they are told to stop.
pub(crate) struct Traffic {
    ends: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Customers begin to come.
    pub(crate) fn start(address: SocketAddr) -> Traffic {
        let (ends, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Tally::default())));
        let client = |number| {
            let (ends, tally) = (ends.clone(), tally.clone());
            thread::spawn(move || shop_until(&ends, address, number, &tally))
        };
        let clients = (0..CLIENTS).map(client).collect();
        let traffic = Traffic { ends, tally, clients };
        traffic.goes_on();
        traffic
    }

    /// What became of the requests so far.
    pub(crate) fn so_far(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a good number of further requests have ended, in whichever way.
    pub(crate) fn goes_on(&self) {
        let before = self.so_far().sent;
        until("requests to go on", || self.so_far().sent >= before + 40);
    }

    /// The customers go; what became of all requests.
    pub(crate) fn stop(self) -> Tally {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        Arc::into_inner(self.tally).unwrap().into_inner().unwrap()
    }
}

fn shop_until(ends: &AtomicBool, address: SocketAddr, number: u32, tally: &Mutex<Tally>) {
    let (begun, mut connection) = (Instant::now(), None);
    for turn in number.. {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let buys = turn % 2 == 0;
        let outcome = visit(&mut connection, address, buys);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.sent += 1;
        match outcome {
            Ok((version, status)) => {
                let counts = tally.by_version.entry(version).or_default();
                if status < 500 { counts.0 += 1 } else { counts.1 += 1 }
            }
            Err(error) => {
                connection = None;
                tally.broken.push((begun.elapsed(), error.to_string()));
            }
        }
        drop(tally);
        thread::park_timeout(REST);
    }
}

fn visit(connection: &mut Option<Connection>, address: SocketAddr, buys: bool) -> io::Result<(String, u16)> {
    // Closed between two requests: nobody was harmed.
    if connection.as_ref().is_some_and(Connection::is_over) {
        *connection = None;
    }
    if connection.is_none() {
        *connection = Some(Connection::open(address)?);
    }
    let open = connection.as_mut().unwrap();
    let answer = if buys { open.send("POST", "/api/checkout", &[], CART) } else { open.send("GET", "/", &[], "") }?;
    if answer.header("connection") == Some("close") {
        *connection = None;
    }
    Ok((answer.version().to_owned(), answer.status))
}
