//! Effects to perform on the world. Planned by `control`, performed by drivers that decide nothing.

use crate::{Digest, InstanceId, InstanceSpec, RouteTable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One effect. Performing it twice does no harm: the second time finds it done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Run this attempt of this instance. A driver that already has it, or a later attempt, does nothing.
    StartInstance(Box<InstanceSpec>),
    /// Stop the instance: SIGTERM, its stop deadline, then kill the process group. Reported as exited when done.
    StopInstance(InstanceId),
    /// Forget an instance that has ended, with its directory; its output is kept for as long as the driver's bound on
    /// kept output allows.
    ForgetInstance(InstanceId),
    /// Obey this table. A data plane that has a newer one does nothing.
    SetRoutes(RouteTable),
    /// Keep these artifacts; any other may be removed to make room.
    KeepArtifacts(Vec<Digest>),
}
