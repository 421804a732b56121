//! The facts that entries carry. Past tense: what happened, never what should.
//!
//! Each feature defines its own facts beside the function that applies them. Facts are for ever: a field may be added
//! with a default, none is removed or given another meaning.

use crate::{cache, change, clock, instance, release, rollout, service, sleep};
use model::{Actor, ChangeId, ServiceKey};
use serde::{Deserialize, Serialize};

/// A fact, by the feature it belongs to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// About what is intended to run.
    Service(service::Fact),
    /// About releases.
    Release(release::Fact),
    /// About the life of a change.
    Change(change::Fact),
    /// About traffic moving to a release.
    Rollout(rollout::Fact),
    /// About running copies.
    Instance(instance::Fact),
    /// About stored responses.
    Cache(cache::Fact),
    /// About services that nobody asks for.
    Sleep(sleep::Fact),
    /// About the clock.
    Clock(clock::Fact),
}

/// An entry of this installation's ledger.
pub type Entry = ledger::Entry<Fact>;
/// An entry to be.
pub type Draft = ledger::Draft<Fact>;

impl Fact {
    /// What happened, as a sentence without a subject that is clear from the context: `REL-3 was promoted`.
    pub fn sentence(&self) -> String {
        match self {
            Fact::Service(fact) => fact.sentence(),
            Fact::Release(fact) => fact.sentence(),
            Fact::Change(fact) => fact.sentence(),
            Fact::Rollout(fact) => fact.sentence(),
            Fact::Instance(fact) => fact.sentence(),
            Fact::Cache(fact) => fact.sentence(),
            Fact::Sleep(fact) => fact.sentence(),
            Fact::Clock(fact) => fact.sentence(),
        }
    }
}

/// The stream of everything that belongs to a change.
pub fn change_stream(change: ChangeId) -> String {
    format!("change/{change}")
}

/// The stream of what concerns a service outside any change.
pub fn service_stream(service: &ServiceKey) -> String {
    format!("service/{service}")
}

/// A draft by Quarterdeck itself. What follows from a person's command is drafted the same way and gets that person's
/// name when the command is decided.
pub(crate) fn draft(stream: String, fact: Fact) -> Draft {
    Draft::new(Actor::quarterdeck(), stream, fact)
}
