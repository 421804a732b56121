//! A refusal is a value, not an error: what was asked cannot be done now, because of this; do that instead.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What sort of refusal, for programs. Stable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Policy denies it to this actor.
    Denied,
    /// No reason was given.
    ReasonRequired,
    /// There is no such service.
    UnknownService,
    /// There is no such release of this service.
    UnknownRelease,
    /// There is no such change.
    UnknownChange,
    /// Another change of the same service is under way.
    ChangeUnderWay,
    /// The change is not in a phase in which this can be done.
    WrongPhase,
    /// It is already as asked.
    NothingToDo,
    /// A value is impossible.
    Invalid,
    /// Two services would get the same requests.
    RouteTaken,
    /// The plan has changed since it was shown or approved.
    PlanChanged,
    /// Nobody may approve their own change, or twice.
    OwnApproval,
    /// There is no earlier release that was proven healthy.
    NoRollbackTarget,
}

/// Why a command is refused, and what to do instead.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// What sort.
    pub code: Code,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do next; empty when nothing helps.
    pub hint: String,
}

impl Refusal {
    /// A refusal with a hint.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}
