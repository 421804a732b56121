//! The form of an entry, before it is stored ([`Draft`]), stored ([`Entry`]), and when nobody knows its facts any more
//! ([`AnyFact`]).
//!
//! Fields may be added, with a default; unknown fields are ignored; nothing is ever renamed or removed.

use crate::{Error, cbor};
use imbl::OrdMap;
use model::{Actor, Seq, Time};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt};

/// The longest stored entry, in bytes: 64 KiB less one, because entry bundles write lengths in two bytes.
pub const MAX_ENTRY_BYTES: usize = 0xffff;

/// A fact in the ledger: what happened, with its position and circumstances.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry<F> {
    /// Its position in the ledger.
    pub seq: Seq,
    /// When it was recorded.
    pub time: Time,
    /// Who did it.
    pub actor: Actor,
    /// On whose behalf, when it was not the actor's own wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Actor>,
    /// The thing whose story it continues: `service/shop`, `change/CHG-12`.
    pub stream: String,
    /// Its position in its stream, from 0.
    pub stream_seq: u64,
    /// What happened.
    pub what: F,
    /// Where: the service or environment, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The entries it follows from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<Seq>,
}

/// What `decide` wants recorded: an entry without its position and time, which only the sequencer can give.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft<F> {
    /// Who did it.
    pub actor: Actor,
    /// On whose behalf.
    pub on_behalf_of: Option<Actor>,
    /// The thing whose story it continues.
    pub stream: String,
    /// What happened.
    pub what: F,
    /// Where.
    pub at: Option<String>,
    /// The reason that was given.
    pub why: Option<String>,
    /// The entries it follows from.
    pub cause: Vec<Seq>,
}

impl<F> Draft<F> {
    /// A fact about the thing that `stream` names.
    pub fn new(actor: Actor, stream: impl Into<String>, what: F) -> Draft<F> {
        let stream = stream.into();
        Draft { actor, on_behalf_of: None, stream, what, at: None, why: None, cause: Vec::new() }
    }

    /// Where it happened: a service or an environment.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Draft<F> {
        self.at = Some(place.to_string());
        self
    }

    /// The reason that was given.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Draft<F> {
        self.why = Some(why.into());
        self
    }

    /// An entry that this one follows from; may be said several times.
    #[must_use]
    pub fn caused_by(mut self, seq: Seq) -> Draft<F> {
        self.cause.push(seq);
        self
    }

    /// On whose behalf the actor acted.
    #[must_use]
    pub fn on_behalf_of(mut self, actor: Actor) -> Draft<F> {
        self.on_behalf_of = Some(actor);
        self
    }
}

/// An entry does not follow the one before it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Gap {
    /// Its position in the ledger is wrong.
    #[error("the entry says it is {found} where {expected} must come")]
    Seq {
        /// What must come.
        expected: Seq,
        /// What the entry says.
        found: Seq,
    },
    /// Its position in its stream is wrong.
    #[error("the entry says it is number {found} of `{stream}` where number {expected} must come")]
    StreamSeq {
        /// Which stream.
        stream: String,
        /// What must come.
        expected: u64,
        /// What the entry says.
        found: u64,
    },
}

/// Where the ledger and each of its streams end: what is needed to number the next entries, and to see that none is
/// missing. Part of every snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Numbering {
    next: Seq,
    /// Persistent, because the event loop numbers ahead of the disk on a copy, at every turn.
    streams: OrdMap<String, u64>,
}

impl Numbering {
    /// The position the next entry will have.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// How many entries `stream` has.
    pub fn stream_len(&self, stream: &str) -> u64 {
        self.streams.get(stream).copied().unwrap_or(0)
    }

    /// The drafts as the entries that come next. Nothing is counted until they are [accepted](Self::accept), which is
    /// done when they are durable.
    pub fn number<F>(&self, drafts: Vec<Draft<F>>, now: Time) -> Vec<Entry<F>> {
        let mut in_batch: BTreeMap<String, u64> = BTreeMap::new();
        drafts
            .into_iter()
            .zip(self.next.0..)
            .map(|(draft, seq)| {
                let Draft { actor, on_behalf_of, stream, what, at, why, cause } = draft;
                let before = in_batch.entry(stream.clone()).or_insert_with(|| self.stream_len(&stream));
                let stream_seq = *before;
                *before += 1;
                Entry { seq: Seq(seq), time: now, actor, on_behalf_of, stream, stream_seq, what, at, why, cause }
            })
            .collect()
    }

    /// Counts an entry: one that has just become durable, or one that is replayed.
    ///
    /// # Errors
    /// When it is not the one that must come next; nothing is counted then.
    pub fn accept<F>(&mut self, entry: &Entry<F>) -> Result<(), Gap> {
        self.accept_place(entry.seq, &entry.stream, entry.stream_seq)
    }

    pub(crate) fn accept_place(&mut self, seq: Seq, stream: &str, stream_seq: u64) -> Result<(), Gap> {
        if seq != self.next {
            return Err(Gap::Seq { expected: self.next, found: seq });
        }
        let expected = self.stream_len(stream);
        if stream_seq != expected {
            return Err(Gap::StreamSeq { stream: stream.to_owned(), expected, found: stream_seq });
        }
        self.next.0 += 1;
        match self.streams.get_mut(stream) {
            Some(count) => *count += 1,
            None => drop(self.streams.insert(stream.to_owned(), 1)),
        }
        Ok(())
    }
}

/// The bytes to store for an entry.
///
/// # Errors
/// When it is longer than [`MAX_ENTRY_BYTES`], or its fact has something that [`cbor`] does not write.
pub fn encode<F: Serialize>(entry: &Entry<F>) -> Result<Vec<u8>, Error> {
    let bytes = cbor::to_vec(entry)?;
    if bytes.len() > MAX_ENTRY_BYTES { Err(Error::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// The entry that stored bytes are.
///
/// # Errors
/// When they are too long, not deterministic CBOR, or not an entry with such a fact.
pub fn decode<F: DeserializeOwned>(bytes: &[u8]) -> Result<Entry<F>, Error> {
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(Error::TooLong(bytes.len()));
    }
    Ok(cbor::from_slice(bytes)?)
}

/// A fact of any type, also of one that this program does not know: for showing and verifying a ledger. It is the JSON
/// that the fact itself would be written as.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnyFact(pub serde_json::Value);

impl AnyFact {
    /// The name of the fact, when it is a variant of an enum as facts are, with the variant within it when features
    /// have enums of their own: `Change.Approved`. Empty when it is something else.
    pub fn kind(&self) -> String {
        let Some((outer, within)) = variant(&self.0) else { return String::new() };
        match within.and_then(variant) {
            Some((inner, _)) => format!("{outer}.{inner}"),
            None => outer.to_owned(),
        }
    }
}

/// The name of an enum's variant and what is in it.
fn variant(value: &serde_json::Value) -> Option<(&str, Option<&serde_json::Value>)> {
    match value.as_object() {
        Some(map) if map.len() == 1 => map.iter().next().map(|(name, within)| (name.as_str(), Some(within))),
        Some(_) => None,
        None => value.as_str().map(|name| (name, None)),
    }
}

#[cfg(test)]
mod tests;
