//! What requests and answers carry, beyond what `control` already says of views, plans and commands.

use control::{Command, Entry};
use model::{Actor, Bytes, ChangeId, Digest, InstanceId, Seq, Time};
use policy::Role;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Asks what a command would do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// What.
    pub command: Command,
    /// Why; may be empty in a plan.
    #[serde(default)]
    pub reason: String,
}

/// Gives a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// What.
    pub command: Command,
    /// Why. Recorded.
    pub reason: String,
    /// The digest of the plan that was shown: refused with `plan_changed` when another would be carried out.
    #[serde(default)]
    pub expect: Option<Digest>,
    /// The person for whom a program or an agent acts. Recorded; gives no rights.
    #[serde(default)]
    pub on_behalf_of: Option<String>,
}

/// A command was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// The changes it made or steered.
    pub changes: Vec<ChangeId>,
    /// The entries that record it.
    pub seq: Vec<Seq>,
}

/// Which changes to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangesQuery {
    /// Only those that are open, or only those that are not. Both when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
}

/// How much of a story to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoryQuery {
    /// Also the many small facts about instances.
    #[serde(default)]
    pub details: bool,
}

/// An entry as people read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Which entry.
    pub seq: Seq,
    /// When it was recorded, in milliseconds since 1970.
    pub time: Time,
    /// Milliseconds since the first line of the story; in the event stream, since the entry before.
    pub since_ms: u64,
    /// Who.
    pub actor: Actor,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Actor>,
    /// What sort of fact, such as `change.proposed`.
    pub kind: String,
    /// The thing whose story it continues, such as `change/CHG-12`.
    pub stream: String,
    /// Which service it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What happened.
    pub sentence: String,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The story of something, oldest line first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Story {
    /// What it is about: a change, a service, an instance, or `everything`.
    pub subject: String,
    /// The last lines of it.
    pub lines: Vec<Line>,
    /// How many earlier lines were left out because there are too many.
    pub left_out: u64,
    /// The same lines as text, as `qd why` prints them.
    pub text: String,
}

/// Which entries to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntriesQuery {
    /// From which entry on.
    #[serde(default)]
    pub from: Seq,
    /// At most how many; at most 1,000, which is also what you get when you do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A part of the ledger.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entries {
    /// The entries, in order.
    #[schemars(schema_with = "entries_schema")]
    pub entries: Vec<Entry>,
    /// Where to go on reading.
    pub next: Seq,
    /// How many entries the ledger has.
    pub length: u64,
}

/// The form of an entry is `ledger`'s and its facts are many: the document says what every entry has.
fn entries_schema(generator: &mut SchemaGenerator) -> Schema {
    let (actor, seq, time) =
        (generator.subschema_for::<Actor>(), generator.subschema_for::<Seq>(), generator.subschema_for::<Time>());
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["seq", "time", "actor", "stream", "stream_seq", "what"],
            "properties": {
                "seq": seq,
                "time": time,
                "actor": actor,
                "on_behalf_of": actor,
                "stream": { "type": "string", "description": "The thing whose story it continues." },
                "stream_seq": { "type": "integer", "minimum": 0, "description": "Its position in its stream." },
                "what": { "type": "object", "description": "What happened: the feature, the fact, its fields." },
                "at": { "type": "string", "description": "Which service or environment it concerns." },
                "why": { "type": "string", "description": "The reason that was given." },
                "cause": { "type": "array", "items": seq, "description": "The entries it follows from." }
            }
        }
    })
}

/// Which events to be sent. Without `from` and without a `Last-Event-ID` header: those that are recorded from now on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// From which entry on. A `Last-Event-ID` header, which browsers send when they connect again, goes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Seq>,
    /// Only what belongs to the story of this change, service or instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// An artifact that was taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// What to name it by when it is deployed.
    pub digest: Digest,
    /// How large it was when it arrived.
    pub size: Bytes,
}

/// Secrets of a service, by the environment variable they become. Never shown again.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "serde_json::Value")]
#[schemars(with = "BTreeMap<String, String>")]
pub struct Secrets(pub BTreeMap<String, String>);

impl TryFrom<serde_json::Value> for Secrets {
    type Error = String;
    /// Says what is wrong without repeating a value, as the usual error would.
    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let serde_json::Value::Object(fields) = value else {
            return Err("secrets are an object of names and texts".to_owned());
        };
        let text = |(name, value)| {
            if let serde_json::Value::String(text) = value {
                Ok((name, text))
            } else {
                Err(format!("the secret `{name}` is not a text"))
            }
        };
        fields.into_iter().map(text).collect::<Result<_, _>>().map(Secrets)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} names)", self.0.len())
    }
}

/// Secrets were stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SecretsStored {
    /// The digest of the ciphertext, for the service's configuration.
    pub digest: Digest,
}

/// Which output to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// How many of the last lines; 100 when you do not say, at most 100,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u32>,
    /// Go on with what comes after, until the client leaves.
    #[serde(default)]
    pub follow: bool,
    /// Only of this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
}

/// Stops Quarterdeck.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShutdownRequest {
    /// What becomes of what it runs.
    pub services: Afterwards,
}

/// What becomes of services and traffic when Quarterdeck stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Afterwards {
    /// They go on; the next start adopts them.
    Keep,
    /// Everything drains and stops.
    Stop,
}

/// Quarterdeck has begun to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stopping {
    /// What becomes of what it runs.
    pub services: Afterwards,
}

/// Who you are here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Whoami {
    /// As whom your requests are recorded.
    pub actor: Actor,
    /// What you are to this installation; nothing when nobody gave you a role.
    pub role: Option<Role>,
}

/// That Quarterdeck runs, and whether it takes commands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ServerHealth")]
pub struct Health {
    /// The version that runs.
    pub version: String,
    /// How many entries the ledger has.
    pub length: u64,
    /// Why commands are refused for now, when they are.
    pub refusing: Option<String>,
}
