//! What a service wants for itself alone: no two may have the same.

use crate::{RouteMatch, ServiceSpec};
use std::{collections::BTreeMap, fmt, net::SocketAddr};

/// One thing that at most one service can have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Claim {
    /// Requests, whatever becomes of them.
    Route(RouteMatch),
    /// The connections to an address.
    Tcp(SocketAddr),
}

impl Claim {
    /// What a route claims.
    pub fn of(route: &RouteMatch) -> Claim {
        Claim::Route(route.claim())
    }

    /// Claims that were made and exclude this one, each with whose it is.
    pub fn against<'m, V>(&'m self, made: &'m BTreeMap<Claim, V>) -> impl Iterator<Item = (&'m Claim, &'m V)> {
        let (same, addresses) = match self {
            Claim::Route(_) => (made.get_key_value(self), None),
            // Others than the same can exclude it, too. They are few, and come last.
            Claim::Tcp(_) => (None, Some(made.range(Claim::Tcp(SocketAddr::from(([0; 4], 0)))..))),
        };
        same.into_iter().chain(addresses.into_iter().flatten().filter(|(other, _)| other.excludes(self)))
    }

    /// Whether not both can be had: they are the same, or one is an address of every network and the other one of these.
    pub fn excludes(&self, other: &Claim) -> bool {
        match (self, other) {
            (Claim::Route(a), Claim::Route(b)) => a == b,
            (Claim::Tcp(a), Claim::Tcp(b)) => {
                let every = a.ip().is_unspecified() || b.ip().is_unspecified();
                a == b || (every && a.port() == b.port() && a.is_ipv4() == b.is_ipv4())
            }
            (Claim::Route(_), Claim::Tcp(_)) | (Claim::Tcp(_), Claim::Route(_)) => false,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claim::Route(route) => write!(f, "{route}"),
            Claim::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl ServiceSpec {
    /// Everything that it wants for itself alone.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        self.routes.iter().map(Claim::of).chain(self.tcp.iter().copied().map(Claim::Tcp))
    }

    /// The same for people, with what becomes of requests.
    pub fn reached_by(&self) -> Vec<String> {
        let routes = self.routes.iter().map(RouteMatch::to_string);
        routes.chain(self.tcp.iter().map(|address| Claim::Tcp(*address).to_string())).collect()
    }

    /// Whether anyone reaches it by the data plane. If not, it is a worker.
    pub fn is_reached(&self) -> bool {
        !self.routes.is_empty() || !self.tcp.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_every_network_excludes_those_of_each() {
        let excludes = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| Claim::Tcp(text.parse().unwrap()));
            assert_eq!(a.excludes(&b), b.excludes(&a));
            a.excludes(&b)
        };
        assert!(excludes("127.0.0.1:5432", "127.0.0.1:5432"));
        assert!(excludes("0.0.0.0:5432", "127.0.0.1:5432"));
        assert!(!excludes("127.0.0.1:5432", "127.0.0.2:5432"));
        assert!(!excludes("0.0.0.0:5432", "127.0.0.1:5433"));
        assert!(!excludes("[::]:5432", "0.0.0.0:5432"), "all of IPv6 and nothing else");
    }
}
