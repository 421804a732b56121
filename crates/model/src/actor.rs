//! Who acts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What sort of actor it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A human being.
    Person,
    /// A program: CI, a script, a scheduled job.
    Program,
    /// An AI agent.
    Agent,
    /// Quarterdeck itself, acting on what it observed.
    Quarterdeck,
}

/// Who did something. The name is the identity that was proven, never one that was merely claimed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// What sort of actor.
    pub kind: ActorKind,
    /// The proven name: an operating-system user, a token's name.
    pub name: String,
}

impl Actor {
    /// A person known by an operating-system user or an identity provider.
    pub fn person(name: impl Into<String>) -> Actor {
        Actor { kind: ActorKind::Person, name: name.into() }
    }

    /// A program, such as CI, known by its token.
    pub fn program(name: impl Into<String>) -> Actor {
        Actor { kind: ActorKind::Program, name: name.into() }
    }

    /// Quarterdeck itself.
    pub fn quarterdeck() -> Actor {
        Actor { kind: ActorKind::Quarterdeck, name: "quarterdeck".into() }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ActorKind::Person | ActorKind::Quarterdeck => f.write_str(&self.name),
            ActorKind::Program => write!(f, "program {}", self.name),
            ActorKind::Agent => write!(f, "agent {}", self.name),
        }
    }
}
