//! What people, CI and agents ask for.

use model::{Actor, ChangeId, Digest, EnvironmentName, ReleaseId, ServiceKey, ServiceName, ServiceSpec, Strategy};
use policy::Act;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A command, imperative. The same for every face of Quarterdeck.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Make the services of an environment be what a configuration says.
    Apply {
        /// Where.
        #[serde(default)]
        environment: EnvironmentName,
        /// What is intended, by name.
        services: BTreeMap<ServiceName, ServiceSpec>,
        /// Remove the services of this environment that are not named.
        #[serde(default)]
        prune: bool,
    },
    /// Run a new release of a service.
    Deploy {
        /// Which service.
        service: ServiceKey,
        /// The artifact, already handed over.
        artifact: Digest,
        /// What people call this version, such as a tag or a commit.
        #[serde(default)]
        label: Option<String>,
        /// How it takes over, if not as the service says.
        #[serde(default)]
        strategy: Option<Strategy>,
        /// Undo a change of this service that is still running and take its place.
        #[serde(default)]
        supersede: bool,
    },
    /// Return to an earlier release that was proven healthy, without analysis.
    Rollback {
        /// Which service.
        service: ServiceKey,
        /// To which release, if not the one before.
        #[serde(default)]
        to: Option<ReleaseId>,
    },
    /// Run another number of instances.
    Scale {
        /// Which service.
        service: ServiceKey,
        /// How many instances, at least 1.
        replicas: u32,
    },
    /// Forget what the data plane has stored of a service's responses.
    PurgeCache {
        /// Which service.
        service: ServiceKey,
        /// Only what was asked for at this path, as instances see it, and below.
        #[serde(default)]
        path: Option<String>,
    },
    /// Agree to a change someone else proposed.
    Approve {
        /// Which change.
        change: ChangeId,
        /// The digest of the plan that was read.
        digest: Digest,
    },
    /// Keep a rollout where it is. The guard goes on watching.
    Pause {
        /// Which change.
        change: ChangeId,
    },
    /// Let a paused rollout go on.
    Resume {
        /// Which change.
        change: ChangeId,
    },
    /// Give the new release all requests now, on a person's judgement.
    Promote {
        /// Which change.
        change: ChangeId,
    },
    /// Undo a change that is still running or held back, or withdraw one that waits.
    Cancel {
        /// Which change.
        change: ChangeId,
    },
}

impl Command {
    /// The act that policy decides on.
    pub const fn act(&self) -> Act {
        match self {
            Command::Apply { .. } => Act::Apply,
            Command::Deploy { .. } => Act::Deploy,
            Command::Rollback { .. } => Act::Rollback,
            Command::Scale { .. } => Act::Scale,
            Command::PurgeCache { .. } => Act::Purge,
            Command::Approve { .. } => Act::Approve,
            Command::Pause { .. } | Command::Resume { .. } | Command::Promote { .. } | Command::Cancel { .. } => {
                Act::Steer
            }
        }
    }
}

impl Request {
    /// Who gives it and why, in one sentence.
    pub(crate) fn because(&self) -> String {
        format!("{}: {}", self.actor, self.reason.trim())
    }

    /// Who gives it, and for whom.
    pub(crate) fn parties(&self) -> impl Iterator<Item = &Actor> {
        std::iter::once(&self.actor).chain(&self.on_behalf_of)
    }
}

/// A command and who gives it.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Who, as proven by the face it came through.
    pub actor: Actor,
    /// For whom, when a program or an agent acts for a person.
    pub on_behalf_of: Option<Actor>,
    /// Why. Required by every command.
    pub reason: String,
    /// What.
    pub command: Command,
    /// The digest of the plan the actor was shown: when what would be done has changed since, the command is refused.
    pub expect: Option<Digest>,
}
