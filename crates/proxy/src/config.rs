//! What the data plane is told when it starts. Everything else comes in route tables.

use crate::listen::Begins;
use model::Span;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, num::NonZero, path::PathBuf, thread, time::Duration};

/// How to run one data plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect. Port 0 is given a free port, which the first report names.
    pub listen: Vec<SocketAddr>,
    /// Where they connect with TLS, and on which terms. `None`: nowhere.
    pub tls: Option<Tls>,
    /// Where the control socket, the lock and the last table are kept. Created when missing.
    pub data_dir: PathBuf,
    /// The file with the [`Settings`](crate::Settings), as JSON. It is read again when it changes. `None`: nothing is set.
    pub settings: Option<PathBuf>,
    /// Whether to take over from a proxy that runs in the directory, instead of leaving it to it.
    pub take_over: bool,
    /// How many worker threads. 0: one per core.
    pub threads: usize,
    /// What clients and instances may cost.
    pub limits: Limits,
    /// Where the random numbers begin, for tests that need them repeated. `None`: somewhere unpredictable.
    pub seed: Option<u64>,
}

impl Config {
    /// A data plane with default limits and one worker per core.
    pub fn new(listen: Vec<SocketAddr>, data_dir: impl Into<PathBuf>) -> Config {
        Config {
            listen,
            tls: None,
            data_dir: data_dir.into(),
            settings: None,
            take_over: false,
            threads: 0,
            limits: Limits::default(),
            seed: None,
        }
    }

    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            n => n,
        }
    }

    /// Every address, with how connections begin there.
    pub(crate) fn addresses(&self) -> Vec<(SocketAddr, Begins)> {
        let secured = self.tls.iter().flat_map(|tls| &tls.listen).map(|address| (*address, Begins::WithTls));
        self.listen.iter().map(|address| (*address, Begins::InClear)).chain(secured).collect()
    }
}

/// TLS to clients.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where clients connect that begin with a handshake.
    pub listen: Vec<SocketAddr>,
    /// The file with the [`Terms`], as JSON. It is read again when it changes, as are the files it names.
    pub terms: PathBuf,
}

/// On which terms TLS is spoken with clients. They hold no secrets: keys are in files that are named here.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// Certificates from files. A client that names no host gets the first one.
    pub certificates: Vec<CertificateFiles>,
    /// Whether hosts without a certificate get one that is issued here, which nobody trusts: for development.
    pub local: bool,
    /// An authority that issues certificates for the others. `None`: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
    /// Whom clients must be known to. `None`: they are not asked who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
    /// The port that requests in clear are sent to, as clients see it. `None`: they are carried.
    pub redirect: Option<u16>,
    /// For how long browsers shall use TLS only, once they have.
    pub hsts: Option<Hsts>,
}

/// An authority that issues certificates by ACME (RFC 8555). Whoever names one has agreed to its terms of service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The address of its directory; begins with `https://`.
    pub directory: String,
    /// Whom it may write to: an e-mail address.
    pub contact: Option<String>,
    /// PEM: who is trusted to vouch for the directory's own certificate. `None`: whoever this machine trusts.
    pub roots: Option<PathBuf>,
    /// The hosts that get one, in lower case. Empty: those of the routes that are public names.
    pub hosts: Vec<String>,
}

/// Certificates of clients.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// PEM: the authorities that are believed about who a client is.
    pub authorities: PathBuf,
    /// Who must have one.
    pub wanted: Wanted,
}

/// Who must have a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Every client, or there is no connection.
    Always,
    /// Those of services that ask for one.
    WhereAsked,
}

/// What browsers are told with responses over TLS (RFC 6797).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hsts {
    /// For so long.
    pub max_age: Span,
    /// For every host below the one they asked, too.
    pub subdomains: bool,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// PEM: the certificate of the hosts first, then those that lead from it to an authority.
    pub chain: PathBuf,
    /// PEM: the private key, not encrypted.
    pub key: PathBuf,
}

/// Bounds on what one client or one instance may cost, whatever the service. Those that depend on the service are in
/// [`model::TrafficSpec`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest request head. Longer ones are answered 431, as are those of more than 100 header fields.
    pub head_bytes: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How many handshakes may be under way, in each thread.
    pub handshakes: u32,
    /// How often is looked whether certificates have changed.
    pub look: Duration,
    /// How long a host waits after an authority has failed it; twice as long after each further time.
    pub acme_pause: Duration,
    /// The first wait between two looks at how far an authority is; each further one is twice as long.
    pub acme_poll: Duration,
    /// How long a client may take to send a request head it has begun, or the first byte of a connection.
    pub head_time: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// How long a client may take none of the bytes that are ready for it.
    pub write_stall: Duration,
    /// Concurrent requests on one HTTP/2 connection.
    pub streams: u32,
    /// How long connecting to an instance may take.
    pub connect: Duration,
    /// How long a request waits for an instance when its service has none.
    pub hold: Duration,
    /// How many requests may wait so, in each thread.
    pub held: u32,
    /// How long requests in flight may go on after SIGTERM.
    pub shutdown: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 64 << 10,
            handshake: Duration::from_secs(10),
            handshakes: 1024,
            look: Duration::from_secs(2),
            acme_pause: Duration::from_secs(60),
            acme_poll: Duration::from_secs(1),
            head_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            write_stall: Duration::from_secs(60),
            streams: 128,
            connect: Duration::from_secs(3),
            hold: Duration::from_secs(5),
            held: 1024,
            shutdown: Span::seconds(30),
        }
    }
}
