//! The story of anything, told from its entries: what `qd why` prints, and what simulator tests expect.

use crate::{Entry, Fact, cache, fact, instance};
use model::{ActorKind, ChangeId, InstanceId, ServiceKey, Time};
use std::{fmt::Write as _, str::FromStr};

/// What a story can be about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A change: everything in its stream.
    Change(ChangeId),
    /// A service: everything that happened there.
    Service(ServiceKey),
    /// An instance: everything that names it.
    Instance(InstanceId),
    /// All there is.
    Everything,
}

impl FromStr for Subject {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(change) = text.parse() {
            return Ok(Subject::Change(change));
        }
        if let Ok(instance) = text.parse() {
            return Ok(Subject::Instance(instance));
        }
        text.parse().map(Subject::Service).map_err(|_| {
            format!("`{text}` is neither a change (CHG-12), an instance (INS-3) nor the name of a service")
        })
    }
}

impl Subject {
    /// Whether an entry belongs to the story.
    pub fn concerns(&self, entry: &Entry) -> bool {
        match self {
            Subject::Everything => true,
            Subject::Change(id) => entry.stream == fact::change_stream(*id),
            Subject::Service(key) => entry.at.as_deref() == Some(key.to_string().as_str()),
            Subject::Instance(id) => matches!(&entry.what, Fact::Instance(fact) if fact.instance() == *id),
        }
    }
}

/// Tells the story of these entries, a line each, with the time since the first:
/// `    +2.4 s  ann  proposed CHG-1: deploy shop (plan 1a2b…) — “faster checkout”`.
pub fn tell<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> String {
    let mut text = String::new();
    let mut start = None;
    for entry in entries {
        let start: Time = *start.get_or_insert(entry.time);
        let _ = writeln!(text, "{}", line(entry, start));
    }
    text
}

/// One line of a story that began at `start`.
pub fn line(entry: &Entry, start: Time) -> String {
    let ms = entry.time.since(start).0;
    let since = format!("+{}.{:03} s", ms / 1_000, ms % 1_000);
    // Quarterdeck's own doing is the rule; naming it in every line would drown the people.
    let by_person = entry.actor.kind != ActorKind::Quarterdeck;
    let who = if by_person && begins(&entry.what) { format!("{} ", entry.actor) } else { String::new() };
    let why = match &entry.why {
        Some(why) if by_person && begins(&entry.what) => format!(" — “{why}”"),
        Some(_) | None => String::new(),
    };
    format!("{since:>12}  {who}{}{why}", entry.what.sentence())
}

/// Whether this is what a person did, rather than what followed from it at once.
const fn begins(fact: &Fact) -> bool {
    match fact {
        Fact::Change(fact) => fact.is_a_persons(),
        Fact::Cache(cache::Fact::Purged { .. }) => true,
        Fact::Service(_)
        | Fact::Release(_)
        | Fact::Rollout(_)
        | Fact::Instance(_)
        | Fact::Sleep(_)
        | Fact::Clock(_) => false,
    }
}

/// Whether the entry is one of the many small facts about instances, which a short story leaves out.
pub const fn is_detail(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Instance(instance::Fact::Placed { .. } | instance::Fact::Gone { .. } | instance::Fact::Retired { .. })
    )
}

#[cfg(test)]
mod tests;
