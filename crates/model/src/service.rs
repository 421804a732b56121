//! A service as its owner describes it: what to run, how many, who reaches it, and how a new release takes over.

use crate::{Bytes, Digest, HeaderEdits, Rate, RolloutSpec, RouteMatch, Span, Sticky};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, iter, net::SocketAddr, path::PathBuf};

/// Everything intended for one service in one environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSpec {
    /// What runs. A new value is a new configuration, hence a new release.
    pub run: RunSpec,
    /// How many instances, at least 1.
    pub replicas: u32,
    /// For how long nobody may have asked for it until its instances are stopped. `None`: it never sleeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_after: Option<Span>,
    /// Which requests reach it.
    #[serde(default)]
    pub routes: Vec<RouteMatch>,
    /// The addresses whose connections reach it as they are, whatever is spoken on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<SocketAddr>,
    /// How requests are carried.
    #[serde(default)]
    pub traffic: TrafficSpec,
    /// How a new release takes over.
    #[serde(default)]
    pub rollout: RolloutSpec,
}

/// How an instance is run. Together with an artifact's digest it makes a release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunSpec {
    /// Program and arguments. Empty: the artifact is one executable and is run without arguments. A relative program
    /// is sought in the release first, then in `PATH`. `$PORT` and `${PORT}` are replaced in every argument, or `$SOCKET`
    /// and `${SOCKET}`. The word `@files` in the place of a program: Quarterdeck serves the directory of the release that
    /// comes after it.
    #[serde(default)]
    pub command: Vec<String>,
    /// Where an instance listens.
    #[serde(default, skip_serializing_if = "Listen::is_port")]
    pub listen: Listen,
    /// Plain environment variables. Recorded in the ledger: not for secrets.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The digest of the encrypted secrets of this service, if it has any. The values never come near the ledger.
    #[serde(default)]
    pub secrets: Option<Digest>,
    /// When an instance may get requests.
    #[serde(default)]
    pub ready: Probe,
    /// When an instance must be restarted. `None`: only its exit counts.
    #[serde(default)]
    pub live: Option<Probe>,
    /// How long a new instance may take to become ready.
    pub start_deadline: Span,
    /// How long an instance may take to exit after SIGTERM, before its whole process group is killed.
    pub stop_deadline: Span,
    /// Bounds on what it may use.
    #[serde(default)]
    pub limits: Limits,
    /// The operating-system user to run as. `None`: `nobody` when Quarterdeck runs as root, else Quarterdeck's own.
    #[serde(default)]
    pub user: Option<String>,
}

/// What an instance listens on, as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Listen {
    /// A port of this machine alone, told as `PORT`.
    #[default]
    Port,
    /// A Unix socket that nobody else may reach, told as `SOCKET`.
    Socket,
}

impl Listen {
    fn is_port(&self) -> bool {
        *self == Listen::Port
    }
}

/// A repeated check of one instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// What is checked.
    pub check: Check,
    /// How often, once it has succeeded for the first time. Before that it is checked more eagerly.
    pub interval: Span,
    /// How long one attempt may take.
    pub timeout: Span,
    /// How many failures in a row count, at least 1.
    pub failures: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Probe { check: Check::Tcp, interval: Span::seconds(2), timeout: Span::seconds(1), failures: 3 }
    }
}

/// What a probe does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// See it running, and nothing more: for a service without a port.
    Started,
    /// Connect to where it listens.
    Tcp,
    /// GET this path and see a status from 200 to 399.
    Http(String),
    /// Run this command in the release's directory with the instance's environment and see exit status 0.
    Command(Vec<String>),
}

/// Bounds for each instance. Enforced by cgroup where it may be written, by rlimit otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Memory. `None`: no bound of ours.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// Thousandths of a processor. `None`: no bound of ours.
    #[serde(default)]
    pub cpu_milli: Option<u32>,
    /// Open files.
    pub open_files: u32,
    /// How much captured output is kept, the newest of it.
    pub output: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: None, cpu_milli: None, open_files: 65_536, output: Bytes::mib(64) }
    }
}

/// How requests to a service are carried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TrafficSpec {
    /// Keep a user on the release that served them first. `None`: every request is assigned anew.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// What instances speak.
    #[serde(default, skip_serializing_if = "Protocol::is_http1")]
    pub protocol: Protocol,
    /// On which terms instances are spoken to with TLS. `None`: in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_tls: Option<InstanceTls>,
    /// How long an upstream may take until its response head.
    pub response_timeout: Span,
    /// How long a streaming body, WebSocket, event stream or TCP connection may be silent.
    pub idle_timeout: Span,
    /// How long connections may go on after their instance was told to drain.
    pub drain_deadline: Span,
    /// The largest request body accepted.
    pub max_body: Bytes,
    /// How many requests each client address may send. `None`: as many as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_rate: Option<Rate>,
    /// How many requests may be under way at once. `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How an instance is chosen.
    #[serde(default, skip_serializing_if = "Balance::is_least")]
    pub balance: Balance,
    /// For how long a new instance gets fewer requests than the others. Zero: it gets as many at once.
    #[serde(default = "Span::zero", skip_serializing_if = "Span::is_zero")]
    pub slow_start: Span,
    /// After how long without an answer a request that changes nothing is sent to a second instance as well. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Span>,
    /// Whether it answers only clients that have shown a certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_certificate: bool,
    /// Whether responses are compressed that an instance sends as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compress: bool,
    /// How much memory responses are kept in, for others who ask for the same. `None`: none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Bytes>,
    /// How much of the disk responses are kept on that memory has no room for. `None`: none is. Means nothing without `cache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_disk: Option<Bytes>,
    /// Fields that are changed in requests before an instance sees them.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub request_headers: HeaderEdits,
    /// Fields that are changed in responses before a client sees them.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub response_headers: HeaderEdits,
    /// What everybody is told with status 503 while nothing is to reach an instance; HTML when it begins with `<`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
}

impl Default for TrafficSpec {
    fn default() -> Self {
        TrafficSpec {
            sticky: None,
            protocol: Protocol::Http1,
            instance_tls: None,
            response_timeout: Span::seconds(60),
            idle_timeout: Span::minutes(5),
            drain_deadline: Span::seconds(30),
            max_body: Bytes::mib(1024),
            client_rate: None,
            concurrency: None,
            client_certificate: false,
            compress: false,
            cache: None,
            cache_disk: None,
            balance: Balance::Least,
            slow_start: Span::ZERO,
            hedge_after: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            maintenance: None,
        }
    }
}

/// How many requests of a service may be under way at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// So many, at least 1.
    Fixed(u32),
    /// As many as it can work on: found by how long requests take.
    Adaptive,
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concurrency::Fixed(limit) => write!(f, "{limit}"),
            Concurrency::Adaptive => f.write_str("adaptive"),
        }
    }
}

/// How an instance of a release is chosen.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The less busy of two random ones.
    #[default]
    Least,
    /// Always the same one for the same user, as long as it is there. Requests of which nothing is known, by the other way.
    Hash(Sticky),
    /// Always the same one for the same path.
    HashPath,
}

impl Balance {
    fn is_least(&self) -> bool {
        *self == Balance::Least
    }
}

/// On which terms the data plane speaks TLS with the instances of a service. Files are named here and read by the data plane; what
/// is in them goes nowhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceTls {
    /// PEM: the authorities that are believed about who an instance is. An absolute path.
    pub ca: PathBuf,
    /// The name, or the IP address, that an instance's certificate must be for.
    pub name: String,
    /// What instances are shown that ask for a certificate. `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<ShownToInstances>,
}

/// A certificate of the data plane and its key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShownToInstances {
    /// PEM: the certificate, then those that lead from it to an authority. An absolute path.
    pub certificate: PathBuf,
    /// PEM: its private key, not encrypted. An absolute path.
    pub key: PathBuf,
}

impl InstanceTls {
    /// Every file that is named.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let shown = self.shown.iter().flat_map(|shown| [&shown.certificate, &shown.key]);
        iter::once(&self.ca).chain(shown)
    }
}

/// What the data plane speaks with instances.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 from the first byte on, as gRPC servers do.
    Http2,
}

impl Protocol {
    fn is_http1(&self) -> bool {
        *self == Protocol::Http1
    }
}
