//! What the data plane saw. All counts run from the start of the proxy process, so that a lost or repeated report does
//! no harm: whoever wants a window subtracts two reports with the same `started`.

use crate::{
    Bytes, Certificate, ChangeId, Copies, Evidence, InstanceId, Latencies, ReleaseId, RouteName, ServiceKey, Time,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The data plane as it is now.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProxyReport {
    /// When this proxy process started; tells its reports from those of the one before.
    pub started: Time,
    /// When the report was made.
    pub at: Time,
    /// The generation of the table it obeys.
    pub generation: u64,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// Where it listens for connections that begin with TLS.
    #[serde(default)]
    pub listening_tls: Vec<SocketAddr>,
    /// The certificates it presents there.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// The addresses of services that it listens on for connections that are carried as they are.
    #[serde(default)]
    pub listening_tcp: Vec<SocketAddr>,
    /// Those that it cannot listen on. It tries again now and then.
    #[serde(default)]
    pub closed_tcp: Vec<ClosedAddress>,
    /// Counts of every release in its table, and of those that left it with requests still in flight.
    pub releases: Vec<ReleaseTraffic>,
    /// Likewise for every route with a name, now and then: `None` stands for what the report before said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<RouteTraffic>>,
    /// Requests in flight, for every instance that is in the table or still has some.
    pub instances: Vec<InstanceTraffic>,
    /// The evidence of every guard in the table.
    pub evidence: Vec<(ChangeId, Evidence)>,
    /// Guards that have tripped: their canaries get no requests, whatever the table says.
    pub tripped: Vec<ChangeId>,
    /// What became of the copies that every shadow in the table got.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<(ChangeId, Copies)>,
    /// Requests that matched no route.
    pub unrouted: u64,
    /// Requests refused before routing: malformed, too large, too slow.
    pub refused: u64,
    /// Requests refused because their client had sent as many as it may.
    #[serde(default)]
    pub limited: u64,
    /// Requests refused because their service had as much to do as it could.
    #[serde(default)]
    pub shed: u64,
    /// Requests that were answered from a cache: they reached no instance.
    #[serde(default)]
    pub cached: u64,
    /// What the caches of all services hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<CacheUse>,
    /// Lines of the access log that were dropped because it could not be written as fast.
    #[serde(default)]
    pub unwritten: u64,
    /// Open client connections.
    pub connections: u64,
}

/// An address of a service that cannot be listened on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClosedAddress {
    /// Which address.
    pub address: SocketAddr,
    /// Why, for people.
    pub why: String,
}

/// What one release did with its requests.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseTraffic {
    /// Of which service.
    pub service: ServiceKey,
    /// Which release.
    pub release: ReleaseId,
    /// How they ended.
    pub tally: Tally,
    /// How long they took, first byte in to last byte out, those that did not fail.
    pub latencies: Latencies,
    /// How many wait for an instance of it now.
    #[serde(default, skip_serializing_if = "is_none_waiting")]
    pub waiting: u64,
}

const fn is_none_waiting(waiting: &u64) -> bool {
    *waiting == 0
}

/// What the cache of one service holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CacheUse {
    /// Of which service.
    pub service: ServiceKey,
    /// How much memory is used of what it may use.
    pub memory: Bytes,
    /// Likewise of the disk.
    pub disk: Bytes,
}

/// What became of the requests of the routes of one name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RouteTraffic {
    /// Of which service.
    pub service: ServiceKey,
    /// Which routes.
    pub route: RouteName,
    /// How those ended that a release was asked for.
    pub tally: Tally,
    /// Those that were answered from a cache.
    pub cached: u64,
    /// Those refused because their client had sent as many as it may.
    pub limited: u64,
    /// Those refused because as many were under way as could be.
    pub shed: u64,
    /// Those refused because their body was said to be larger than is accepted.
    pub too_large: u64,
    /// Those answered by the data plane itself for another reason: sent elsewhere, under maintenance, no release yet.
    pub ours: u64,
    /// How long the answered ones took, first byte in to last byte out.
    pub latencies: Latencies,
}

/// Requests by how they ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Answered with a status below 500.
    pub answered: u64,
    /// Answered with a status from 500 by the instance.
    pub status_5xx: u64,
    /// No connection to the instance could be had.
    pub refused: u64,
    /// The connection broke before the response was whole.
    pub reset: u64,
    /// No response in time.
    pub timeout: u64,
    /// No instance was ready.
    pub no_instance: u64,
    /// The client went away first: neither success nor failure.
    pub cancelled: u64,
    /// Tried again on another connection or instance: first tries that are not counted above.
    pub retried: u64,
    /// Sent to a second instance as well, because the first was slow: counted above once, too.
    #[serde(default)]
    pub hedged: u64,
    /// Of those: the second instance answered first.
    #[serde(default)]
    pub hedges_won: u64,
    /// Connections we cut because their drain deadline had passed.
    pub cut: u64,
}

impl Tally {
    /// Requests that count as failed.
    pub const fn failed(&self) -> u64 {
        self.status_5xx + self.refused + self.reset + self.timeout + self.no_instance
    }

    /// Requests that count at all.
    pub const fn total(&self) -> u64 {
        self.answered + self.failed()
    }
}

/// What one instance is busy with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstanceTraffic {
    /// Which instance.
    pub instance: InstanceId,
    /// Requests and upgraded connections in flight.
    pub in_flight: u64,
}
