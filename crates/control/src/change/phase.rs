//! The phases of a change and the only ways between them.

use crate::{Code, Refusal};
use model::ChangeId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a change is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Proposed; others must agree first.
    WaitingApproval,
    /// Being carried out.
    Running,
    /// Kept where it is by a person.
    Paused,
    /// Promoted; what was there before stays warm for a while.
    HoldingBack,
    /// On the way back to what was there before.
    Undoing,
    /// Done.
    Succeeded,
    /// Undone because the evidence spoke against it.
    RolledBack,
    /// Could not be done, or not undone.
    Failed,
    /// Withdrawn or undone by a person.
    Cancelled,
    /// Undone because another change took its place.
    Superseded,
}

/// How a change can end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// Undone because the evidence spoke against it.
    RolledBack,
    /// Could not be done, or not undone.
    Failed,
    /// Withdrawn or undone by a person.
    Cancelled,
    /// Undone because another change took its place.
    Superseded,
}

/// What moves a change from one phase to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It has all approvals it needs.
    Start,
    /// A person keeps it where it is.
    Pause,
    /// A person lets it go on.
    Resume,
    /// The new release gets all requests.
    Promote,
    /// It begins to be undone.
    Undo,
    /// It is over.
    Finish(Outcome),
}

/// Every transition there is. Whatever is not here is refused.
pub const TRANSITIONS: &[(Phase, Event, Phase)] = {
    use Event::{Finish, Pause, Promote, Resume, Start, Undo};
    use Outcome as O;
    use Phase::{
        Cancelled, Failed, HoldingBack, Paused, RolledBack, Running, Succeeded, Superseded, Undoing, WaitingApproval,
    };
    &[
        (WaitingApproval, Start, Running),
        (WaitingApproval, Finish(O::Cancelled), Cancelled),
        (Running, Pause, Paused),
        (Paused, Resume, Running),
        (Running, Promote, HoldingBack),
        (Paused, Promote, HoldingBack),
        (Running, Undo, Undoing),
        (Paused, Undo, Undoing),
        (HoldingBack, Undo, Undoing),
        (Running, Finish(O::Succeeded), Succeeded),
        (Running, Finish(O::Failed), Failed),
        (Running, Finish(O::Cancelled), Cancelled),
        (Running, Finish(O::Superseded), Superseded),
        (Paused, Finish(O::Cancelled), Cancelled),
        (Paused, Finish(O::Superseded), Superseded),
        (HoldingBack, Finish(O::Succeeded), Succeeded),
        (Undoing, Finish(O::RolledBack), RolledBack),
        (Undoing, Finish(O::Failed), Failed),
        (Undoing, Finish(O::Cancelled), Cancelled),
    ]
};

impl Phase {
    /// Whether anything can still happen to the change.
    pub const fn is_open(self) -> bool {
        self.outcome().is_none()
    }

    /// How the change ended, once it has.
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Phase::Succeeded => Some(Outcome::Succeeded),
            Phase::RolledBack => Some(Outcome::RolledBack),
            Phase::Failed => Some(Outcome::Failed),
            Phase::Cancelled => Some(Outcome::Cancelled),
            Phase::Superseded => Some(Outcome::Superseded),
            Phase::WaitingApproval | Phase::Running | Phase::Paused | Phase::HoldingBack | Phase::Undoing => None,
        }
    }

    /// The phase after an event; `None` when the event cannot happen here.
    pub fn next(self, event: Event) -> Option<Phase> {
        TRANSITIONS.iter().find(|(from, on, _)| *from == self && *on == event).map(|(_, _, to)| *to)
    }

    /// The phase after an event that was decided on: an entry that is not in the table changes nothing.
    pub(crate) fn after(self, event: Event) -> Phase {
        self.next(event).unwrap_or(self)
    }

    /// Refuses an event that cannot happen here, and says what can.
    pub(crate) fn check(self, id: ChangeId, event: Event) -> Result<(), Refusal> {
        if self.next(event).is_some() {
            return Ok(());
        }
        let can: Vec<_> =
            TRANSITIONS.iter().filter(|(from, _, _)| *from == self).filter_map(|(_, on, _)| on.command()).collect();
        let hint = if can.is_empty() {
            "nothing can be done to it any more".to_owned()
        } else {
            format!("you can {} it", can.join(" or "))
        };
        Err(Refusal::new(Code::WrongPhase, format!("{id} is {self}"), hint))
    }
}

impl Event {
    /// The command that brings it about, if there is one.
    const fn command(self) -> Option<&'static str> {
        match self {
            Event::Start => Some("approve"),
            Event::Pause => Some("pause"),
            Event::Resume => Some("resume"),
            Event::Promote => Some("promote"),
            Event::Undo => Some("cancel"),
            Event::Finish(_) => None,
        }
    }
}

/// The transition table as a Mermaid state diagram, for the documentation.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> WaitingApproval: propose\n");
    for (from, event, to) in TRANSITIONS {
        let label = match event {
            Event::Start => "approved by enough others".to_owned(),
            Event::Pause => "pause".to_owned(),
            Event::Resume => "resume".to_owned(),
            Event::Promote => "promote".to_owned(),
            Event::Undo => "undo".to_owned(),
            Event::Finish(outcome) => outcome.to_string(),
        };
        text += &format!("    {from:?} --> {to:?}: {label}\n");
    }
    for end in [Phase::Succeeded, Phase::RolledBack, Phase::Failed, Phase::Cancelled, Phase::Superseded] {
        text += &format!("    {end:?} --> [*]\n");
    }
    text
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::WaitingApproval => "waiting for approval",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::HoldingBack => "promoted, old release kept warm",
            Phase::Undoing => "being undone",
            Phase::Succeeded => "succeeded",
            Phase::RolledBack => "rolled back",
            Phase::Failed => "failed",
            Phase::Cancelled => "cancelled",
            Phase::Superseded => "superseded",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Succeeded => "succeeded",
            Outcome::RolledBack => "was rolled back",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "was cancelled",
            Outcome::Superseded => "was superseded",
        })
    }
}

#[cfg(test)]
mod tests;
