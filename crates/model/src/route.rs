//! The route table: everything the data plane knows. Immutable, replaced as a whole, ordered by generation.

use crate::{
    Address, ArmFigures, ChangeId, InstanceId, Judgement, Purge, Ratio, ReleaseId, RouteMatch, ServiceKey, Shadow,
    Span, TrafficSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What tells one user from another, so that a user stays on one release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// The value of a cookie. Given by the proxy when the client has none.
    Cookie(String),
    /// The value of a request header. Requests without it are assigned one by one.
    Header(String),
    /// The address that the client connects from.
    Client,
}

/// All routes. `generation` orders tables: a data plane refuses one that is older than what it has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RouteTable {
    /// The ledger position this table was planned at.
    pub generation: u64,
    /// Every service that has routes.
    pub services: Vec<ServiceRoutes>,
}

/// The routes of one service and the releases that answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRoutes {
    /// Which service.
    pub service: ServiceKey,
    /// Which requests it gets.
    pub routes: Vec<RouteMatch>,
    /// The addresses whose connections it gets, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<SocketAddr>,
    /// How they are carried.
    pub traffic: TrafficSpec,
    /// The releases that share the requests. Their weights sum to one, unless there is no arm at all.
    pub arms: Vec<Arm>,
    /// The test that watches the canary arm, while there is one.
    pub guard: Option<Guard>,
    /// What is given to nobody any more of the responses that are stored of it, in the order of their generations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<Purge>,
    /// The release that gets copies of the requests, while there is one. It is in no arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// For how long requests are held when it has no instance, where that is longer than usual: one is known to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
}

/// What part an arm plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArmRole {
    /// The release that is trusted.
    Running,
    /// The release that is being judged.
    Canary,
}

/// One release's share of a service's requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// Which release.
    pub release: ReleaseId,
    /// What part it plays.
    pub role: ArmRole,
    /// The probability that a unit is assigned to it.
    pub weight: Ratio,
    /// Its ready instances.
    pub endpoints: Vec<Endpoint>,
}

/// An instance that may get requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// Which instance.
    pub instance: InstanceId,
    /// Where it listens.
    pub address: Address,
}

/// A test the data plane evaluates itself, so that it can stop exposing users without asking anyone. It trips at most
/// once: the canary's weight becomes zero, and stays so until a table without this guard arrives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Guard {
    /// For which change. A table with the same change, compared with the same, keeps the evidence gathered so far.
    pub change: ChangeId,
    /// What evidence it takes.
    pub judgement: Judgement,
    /// What was usual before, when there is no running release beside the canary to compare it with. `None`: there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ArmFigures>,
}
