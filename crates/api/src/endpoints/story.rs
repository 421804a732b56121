//! Explaining: stories and entries, read from the ledger in pages.

use super::view::{unknown_change, unknown_service};
use crate::{
    Problem,
    body::Message,
    endpoint::{Call, Place},
    message::{Entries, EntriesQuery, Line, Story, StoryQuery},
    problem::Fault,
    served::Served,
};
use control::{
    Entry, Fact,
    story::{self, Subject},
};
use model::{Seq, Time};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::VecDeque;

/// How many entries are read at a time.
pub(super) const PAGE: usize = 1_000;
/// How many lines a story has at most; the last ones are told.
const MAX_LINES: usize = 10_000;

/// A subject in a path.
#[derive(Deserialize, JsonSchema)]
pub(super) struct SubjectPlace {
    /// A change (`CHG-12`), an instance (`INS-3`) or a service (`shop`, `staging%2Fshop`).
    subject: String,
}

impl Place for SubjectPlace {}

pub(super) async fn of_everything(call: Call<(), StoryQuery, ()>) -> Result<Message<Story>, Problem> {
    tell(&call.served, &Subject::Everything, "everything".to_owned(), call.query).await.map(|(story, _)| Message(story))
}

pub(super) async fn of_subject(call: Call<SubjectPlace, StoryQuery, ()>) -> Result<Message<Story>, Problem> {
    let about = parse(&call.path.subject)?;
    match (tell(&call.served, &about, call.path.subject, call.query).await?, &about) {
        ((story, Heard::Something), _) | ((story, Heard::Nothing), Subject::Everything) => Ok(Message(story)),
        ((_, Heard::Nothing), Subject::Change(id)) => Err(unknown_change(*id)),
        ((_, Heard::Nothing), Subject::Service(key)) => Err(unknown_service(key)),
        ((_, Heard::Nothing), Subject::Instance(id)) => {
            Err(Problem::new(Fault::NotFound, format!("there was never an instance {id}"), ""))
        }
    }
}

/// Whether the ledger says anything of a subject at all, also what a short story leaves out.
enum Heard {
    Something,
    Nothing,
}

/// What a text from a path or a query is about.
pub(super) fn parse(text: &str) -> Result<Subject, Problem> {
    text.parse().map_err(Problem::malformed)
}

async fn tell(served: &Served, about: &Subject, subject: String, query: StoryQuery) -> Result<(Story, Heard), Problem> {
    let _place = served.story_place().await?;
    // What is recorded while this is being read is not part of it, so that it ends.
    let length = served.control.snapshot().length;
    // Entries are put into words at the end: of a long story most are left out.
    let mut told: VecDeque<Entry> = VecDeque::new();
    let (mut next, mut left_out, mut began, mut heard) = (Seq(0), 0, None, Heard::Nothing);
    while next.0 < length {
        let page = served.backend.entries(next, PAGE).await?;
        let Some(last) = page.last() else { break };
        next = Seq(last.seq.0 + 1);
        for entry in page.into_iter().filter(|entry| entry.seq.0 < length && about.concerns(entry)) {
            heard = Heard::Something;
            if !query.details && story::is_detail(&entry.what) {
                continue;
            }
            began.get_or_insert(entry.time);
            if told.len() == MAX_LINES {
                told.pop_front();
                left_out += 1;
            }
            told.push_back(entry);
        }
    }
    let began = began.unwrap_or_default();
    let mut text = match left_out {
        0 => String::new(),
        n => format!("… {n} earlier lines are left out …\n"),
    };
    told.iter().for_each(|entry| text.extend([&story::line(entry, began), "\n"]));
    let lines = told.iter().map(|entry| line(entry, began)).collect();
    Ok((Story { subject, lines, left_out, text }, heard))
}

/// An entry as people read it, at this time since something.
pub(super) fn line(entry: &Entry, since: Time) -> Line {
    Line {
        seq: entry.seq,
        time: entry.time,
        since_ms: entry.time.since(since).0,
        actor: entry.actor.clone(),
        on_behalf_of: entry.on_behalf_of.clone(),
        kind: kind(&entry.what),
        stream: entry.stream.clone(),
        at: entry.at.clone(),
        sentence: entry.what.sentence(),
        why: entry.why.clone(),
    }
}

/// What sort of fact it is, such as `change.proposed`: the names of the feature and of the fact, as they are written.
fn kind(fact: &Fact) -> String {
    let written = serde_json::to_value(fact).unwrap_or_default();
    let (feature, fact) = outer_name(&written);
    let (fact, _) = fact.map_or(("", None), outer_name);
    format!("{}.{}", feature.to_lowercase(), snake_case(fact))
}

/// The name of an enum's variant as it is written, and what it holds.
fn outer_name(written: &Value) -> (&str, Option<&Value>) {
    match written {
        Value::String(name) => (name, None),
        Value::Object(fields) => fields.iter().next().map_or(("", None), |(name, held)| (name, Some(held))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => ("", None),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (i, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && i > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

pub(super) async fn entries(call: Call<(), EntriesQuery, ()>) -> Result<Message<Entries>, Problem> {
    let EntriesQuery { from, limit } = call.query;
    let length = call.served.control.snapshot().length;
    let mut entries = call.served.backend.entries(from, limit.unwrap_or(PAGE).clamp(1, PAGE)).await?;
    entries.retain(|entry| entry.seq.0 < length);
    let next = entries.last().map_or(from, |last| Seq(last.seq.0 + 1));
    Ok(Message(Entries { entries, next, length }))
}
