//! Who may do what, where and when.
//!
//! One decision point: a [`Question`] in, an [`Answer`] out, deny by default. Every command passes it, whether it comes
//! from the command line, the console, CI or an agent. Today it knows two roles by name, owner and viewer; what is
//! inside may be replaced, its place may not. It reads no state and no clock: everything it weighs is in the question.

use model::{Actor, ActorKind, EnvironmentName, ServiceKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// What someone wants to do. Closed, so that the permission matrix is complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// See state, stories, figures and the ledger.
    View,
    /// Read the output of services, which may hold anything.
    ReadLogs,
    /// Ask what a command would do.
    Plan,
    /// Hand over an artifact, or secrets, for a later command.
    Upload,
    /// Apply a configuration.
    Apply,
    /// Deploy a release.
    Deploy,
    /// Return to an earlier release.
    Rollback,
    /// Change the number of instances.
    Scale,
    /// Forget stored responses of a service.
    Purge,
    /// Approve a change that someone else proposed.
    Approve,
    /// Pause, resume, promote or cancel a running change.
    Steer,
    /// Stop Quarterdeck and everything it runs.
    Shutdown,
}

impl Act {
    /// Every act, for the permission matrix.
    pub const ALL: [Act; 12] = [
        Act::View,
        Act::ReadLogs,
        Act::Plan,
        Act::Upload,
        Act::Apply,
        Act::Deploy,
        Act::Rollback,
        Act::Scale,
        Act::Purge,
        Act::Approve,
        Act::Steer,
        Act::Shutdown,
    ];

    /// The act as a verb phrase: "you may not *deploy*".
    pub const fn verb(self) -> &'static str {
        match self {
            Act::View => "view",
            Act::ReadLogs => "read logs",
            Act::Plan => "plan",
            Act::Upload => "upload",
            Act::Apply => "apply a configuration",
            Act::Deploy => "deploy",
            Act::Rollback => "roll back",
            Act::Scale => "scale",
            Act::Purge => "purge a cache",
            Act::Approve => "approve",
            Act::Steer => "steer a change",
            Act::Shutdown => "shut down",
        }
    }
}

/// What a named actor is to this installation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything.
    Owner,
    /// May look, not touch.
    Viewer,
}

/// The rules in force. Not part of the ledger: an entry records what was decided, not by which rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Names of people and programs that may do everything.
    pub owners: BTreeSet<String>,
    /// Names of people and programs that may look.
    pub viewers: BTreeSet<String>,
    /// How many people other than the proposer must approve a change, per environment. None named: zero.
    pub approvals: BTreeMap<EnvironmentName, u32>,
}

/// Who wants to do what, where.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What.
    pub act: Act,
    /// Where; `None` when the act concerns no environment in particular.
    pub environment: Option<&'a EnvironmentName>,
    /// To which service; `None` when to none in particular.
    pub service: Option<&'a ServiceKey>,
}

/// What the policy says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Yes, once `approvals` others agree.
    Permit {
        /// How many people other than the actor must approve before it takes effect.
        approvals: u32,
    },
    /// No, because of this.
    Deny(String),
}

impl Policy {
    /// The role of an actor, if it has one. Quarterdeck itself is an owner: it acts on what people already approved.
    pub fn role(&self, actor: &Actor) -> Option<Role> {
        if actor.kind == ActorKind::Quarterdeck || self.owners.contains(&actor.name) {
            Some(Role::Owner)
        } else if self.viewers.contains(&actor.name) {
            Some(Role::Viewer)
        } else {
            None
        }
    }

    /// Decides. Whatever is not permitted here is denied.
    pub fn decide(&self, question: &Question<'_>) -> Answer {
        let actor = question.actor;
        let Some(role) = self.role(actor) else {
            return Answer::Deny(format!(
                "{actor} has no role here; an owner can name them under [access] in quarterdeck.toml"
            ));
        };
        match (role, question.act) {
            (Role::Owner, Act::Apply | Act::Deploy | Act::Scale) => {
                let environment = question.environment.or(question.service.map(|s| &s.environment));
                Answer::Permit { approvals: environment.and_then(|e| self.approvals.get(e)).copied().unwrap_or(0) }
            }
            // Undoing, steering and looking never wait for approval: safety must not queue behind a person.
            (
                Role::Owner,
                Act::Plan | Act::Rollback | Act::Purge | Act::Approve | Act::Steer | Act::Upload | Act::Shutdown,
            )
            | (_, Act::View | Act::ReadLogs) => Answer::Permit { approvals: 0 },
            (Role::Viewer, act) => Answer::Deny(format!("{actor} is a viewer here and may not {}", act.verb())),
        }
    }
}
