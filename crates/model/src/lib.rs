//! The nouns of Quarterdeck.
//!
//! Every other crate speaks these types, and only these, across its boundary: what a service, a release, an instance and
//! a route are; what may be done to the world ([`Action`]) and what the world was seen to be ([`ProxyReport`],
//! [`InstanceSeen`]). Nothing here decides, reads a clock or does I/O.
//!
//! Start reading at [`service`] and [`instance`]; [`wire`] is how the processes of one installation talk.

pub mod action;
pub mod actor;
pub mod address;
pub mod certificate;
pub mod claim;
pub mod digest;
pub mod evidence;
pub mod header;
pub mod id;
pub mod instance;
pub mod latency;
pub mod name;
pub mod network;
mod proxy_report;
pub mod purge;
pub mod quantity;
pub mod rate;
pub mod rollout;
pub mod route;
mod route_bounds;
mod route_match;
pub mod service;
mod shadow;
pub mod time;
pub mod wire;

pub use action::Action;
pub use actor::{Actor, ActorKind};
pub use address::{Address, NotAnAddress};
pub use certificate::{Certificate, Standing, Validity};
pub use claim::Claim;
pub use digest::Digest;
pub use evidence::{ArmBounds, ArmFigures, Evidence, Figure, Finding, LatencyBounds, LimitFinding, Metric, Verdict};
pub use header::{HeaderEdits, HeaderError};
pub use id::{ChangeId, InstanceId, ReleaseId, Seq};
pub use instance::{Exit, InstanceSeen, InstanceSpec, Phase};
pub use latency::Latencies;
pub use name::{EnvironmentName, NameError, RouteName, ServiceKey, ServiceName};
pub use network::{Network, NotANetwork};
pub use proxy_report::{CacheUse, ClosedAddress, InstanceTraffic, ProxyReport, ReleaseTraffic, RouteTraffic, Tally};
pub use purge::Purge;
pub use quantity::{Bytes, Ratio};
pub use rate::Rate;
pub use rollout::{AbsoluteLimit, Judgement, OnDeadline, RolloutSpec, Strategy};
pub use route::{Arm, ArmRole, Endpoint, Guard, RouteTable, ServiceRoutes, Sticky};
pub use route_bounds::{MOST_NAMED_ROUTES, MOST_RATED_ROUTES, RouteBounds, check_together};
pub use route_match::{PathIs, RouteError, RouteMatch, Then, pattern};
pub use service::{
    Balance, Check, Concurrency, InstanceTls, Limits, Listen, Probe, Protocol, RunSpec, ServiceSpec, ShownToInstances,
    TrafficSpec,
};
pub use shadow::{Copies, Shadow};
pub use time::{Span, Time};

#[cfg(test)]
mod tests;
