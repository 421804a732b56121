//! Ports for instances: free when chosen, not used again soon, and away from those the kernel gives to clients.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
};

/// Below the range from which Linux takes the ports of outgoing connections.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;
/// How many ports are remembered after their use.
const REMEMBERED: usize = 2_000;

/// The ports of all instances of one driver.
#[derive(Default, Debug)]
pub(super) struct Ports {
    in_use: BTreeSet<u16>,
    recent: VecDeque<u16>,
}

impl Ports {
    /// A port that nobody listens on. `None` when there is none in the range.
    pub(super) fn take(&mut self) -> Option<u16> {
        let span = u32::from(LAST - FIRST) + 1;
        let start = getrandom::u32().unwrap_or(0) % span;
        let candidates = || (0..span).map(|i| FIRST + ((start + i) % span) as u16);
        let unused = |port: &u16| !self.in_use.contains(port) && is_free(*port);
        let fresh = candidates().filter(|port| !self.recent.contains(port)).find(unused);
        let port = fresh.or_else(|| candidates().find(unused))?;
        self.in_use.insert(port);
        Some(port)
    }

    /// Takes note of the port of an instance that runs already.
    pub(super) fn adopt(&mut self, port: u16) {
        self.in_use.insert(port);
    }

    /// The instance that had it has ended.
    pub(super) fn release(&mut self, port: u16) {
        if self.in_use.remove(&port) {
            self.recent.push_back(port);
            if self.recent.len() > REMEMBERED {
                self.recent.pop_front();
            }
        }
    }
}

/// Whether nobody listens on the port, on any address.
pub(super) fn is_free(port: u16) -> bool {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => false,
        // No IPv6 here.
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_rest_after_use() {
        let mut ports = Ports::default();
        let taken: BTreeSet<u16> = (0..200).map(|_| ports.take().unwrap()).collect();
        assert_eq!(taken.len(), 200);
        taken.iter().for_each(|port| ports.release(*port));
        let again: BTreeSet<u16> = (0..200).map(|_| ports.take().unwrap()).collect();
        assert!(taken.is_disjoint(&again));
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_not_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}
