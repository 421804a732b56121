//! What is measured: one row of [`CASES`] for each.

use super::program::Program::{self, Caddy, Haproxy, Nginx, Qd, QdPlain};

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Load {
    /// As much as so many clients of HTTP/1.1 can, each on a connection that is kept.
    Kept { over: Over, path: &'static str, clients: u32 },
    /// The same, with a new connection for each request, and with a whole handshake where there is one.
    New { over: Over, path: &'static str, clients: u32 },
    /// The same on connections that are kept, each request to the next of so many paths.
    Spread { paths: usize, clients: u32 },
    /// As much as so many clients of HTTP/2 can, each with so many requests at a time.
    Http2 { path: &'static str, clients: u32, streams: u32 },
    /// Small answers at a share of what the slowest of [`TUNED`] managed in the first case of the round, whatever happens: the
    /// same rate for all of them. Latency counts from when a request was due.
    Paced { percent: u32, clients: u32 },
}

/// How a connection begins.
#[derive(Clone, Copy)]
pub(super) enum Over {
    Clear,
    Tls,
}

/// Where requests are routed: all of them lead to the same origin.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Routes {
    /// By one route that takes all paths.
    One,
    /// By a route for each path, to one service.
    OfOneService,
    /// By a route for each path, each to a service of its own: with ours, each has a canary and a guard. The others know no
    /// services, and have their routes as before.
    OfManyServices,
}

impl Routes {
    /// How many there are.
    pub(super) fn count(self) -> usize {
        match self {
            Routes::One => 1,
            Routes::OfOneService | Routes::OfManyServices => ROUTES,
        }
    }
}

/// One comparison.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) load: Load,
    /// Where requests are routed.
    pub(super) routes: Routes,
    pub(super) programs: &'static [Program],
    /// Whether it is part of the short version.
    pub(super) length: Length,
}

/// In which versions of the bench a case is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Length {
    Always,
    FullOnly,
}

const ROUTES: usize = 1_000;
/// Without Caddy, which looks through its routes one by one, and where its figures would add nothing.
pub(super) const TUNED: &[Program] = &[Nginx, Haproxy, Qd];

/// All of them. The first is the one that rates are shares of.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "1 KiB, 64 clients, connections kept",
        load: Load::Kept { over: Over::Clear, path: "/1k", clients: 64 },
        routes: Routes::One,
        programs: &[Nginx, Haproxy, Caddy, Qd, QdPlain],
        length: Length::Always,
    },
    Case {
        name: "1 KiB, 512 clients, connections kept",
        load: Load::Kept { over: Over::Clear, path: "/1k", clients: 512 },
        routes: Routes::One,
        programs: TUNED,
        length: Length::FullOnly,
    },
    Case {
        name: "100 KiB, 64 clients, connections kept",
        load: Load::Kept { over: Over::Clear, path: "/100k", clients: 64 },
        routes: Routes::One,
        programs: &[Nginx, Haproxy, Caddy, Qd],
        length: Length::Always,
    },
    Case {
        name: "1 KiB, 64 clients, a connection for each request",
        load: Load::New { over: Over::Clear, path: "/1k", clients: 64 },
        routes: Routes::One,
        programs: &[Nginx, Haproxy, Caddy, Qd],
        length: Length::Always,
    },
    Case {
        name: "1 KiB, TLS, 64 clients, connections kept",
        load: Load::Kept { over: Over::Tls, path: "/1k", clients: 64 },
        routes: Routes::One,
        programs: TUNED,
        length: Length::Always,
    },
    Case {
        name: "1 KiB, TLS, 64 clients, a connection for each request",
        load: Load::New { over: Over::Tls, path: "/1k", clients: 64 },
        routes: Routes::One,
        programs: TUNED,
        length: Length::Always,
    },
    Case {
        name: "1 KiB, HTTP/2, 64 clients with 10 requests at a time",
        load: Load::Http2 { path: "/1k", clients: 64, streams: 10 },
        routes: Routes::One,
        programs: &[Nginx, Haproxy, Caddy, Qd],
        length: Length::Always,
    },
    Case {
        name: "1 KiB, 64 clients, 1,000 paths, 1 route",
        load: Load::Spread { paths: ROUTES, clients: 64 },
        routes: Routes::One,
        programs: TUNED,
        length: Length::FullOnly,
    },
    Case {
        name: "1 KiB, 64 clients, 1,000 paths, 1,000 routes",
        load: Load::Spread { paths: ROUTES, clients: 64 },
        routes: Routes::OfOneService,
        programs: TUNED,
        length: Length::FullOnly,
    },
    Case {
        name: "1 KiB, 64 clients, 1,000 paths, 1,000 services",
        load: Load::Spread { paths: ROUTES, clients: 64 },
        routes: Routes::OfManyServices,
        programs: TUNED,
        length: Length::FullOnly,
    },
    Case {
        name: "1 KiB, at 50 % of what the slowest of these can",
        load: Load::Paced { percent: 50, clients: 128 },
        routes: Routes::One,
        programs: TUNED,
        length: Length::Always,
    },
    Case {
        name: "1 KiB, at 80 % of what the slowest of these can",
        load: Load::Paced { percent: 80, clients: 128 },
        routes: Routes::One,
        programs: TUNED,
        length: Length::Always,
    },
];
