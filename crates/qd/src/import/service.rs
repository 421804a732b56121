//! What is known of a service's rollout when everything was read: the settings of `[services.NAME.rollout]`, each with
//! where it came from, and the text to paste.
//!
//! What always holds: of two limits on one figure the stricter one stands, because both must hold.

use super::{finding::Findings, spot::Spot, yaml::cut};
use model::{Ratio, Span};
use serde_json::{Map, Value, json};
use std::fmt;

/// What a limit is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Figure {
    /// The share of the requests that fail.
    Failures,
    /// What this share of the requests take at most.
    Latency { percent: u8 },
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Failures => write!(f, "failures"),
            Figure::Latency { percent } => write!(f, "p{percent}"),
        }
    }
}

/// A limit, as a share in parts per million or a latency in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Limit {
    pub(super) figure: Figure,
    pub(super) most: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.figure {
            Figure::Failures => {
                let ratio = u32::try_from(self.most).ok().and_then(Ratio::from_ppm).unwrap_or(Ratio::ONE);
                write!(f, "failures < {ratio}")
            }
            Figure::Latency { percent } => write!(f, "p{percent} < {}", super::measure::written(Span(self.most))),
        }
    }
}

/// Where a setting came from.
#[derive(Clone, PartialEq, Debug)]
struct Origin {
    number: usize,
    line: usize,
    path: String,
    value: Option<String>,
}

impl Origin {
    fn new(spot: &Spot<'_>) -> Origin {
        Origin { number: spot.file, line: spot.mark.line, path: spot.path.clone(), value: spot.shown() }
    }

    fn comment(&self, files: &[&str]) -> String {
        let file = files.get(self.number).copied().unwrap_or_default();
        let value = self.value.as_ref().map_or(String::new(), |value| format!(": {value}"));
        format!("# {} line {}, {}{value}\n", cut(file), self.line, self.path)
    }
}

/// The value of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Set {
    Text(String),
    Texts(Vec<String>),
}

/// The settings of a service.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Service {
    /// What it is called, as a service can be called.
    pub(crate) name: String,
    settings: Vec<(&'static str, Set, Origin)>,
    limits: Vec<(Limit, Origin)>,
}

/// The order in which settings are written.
const KEYS: &[&str] = &["strategy", "steps", "step_time", "deadline", "hold_back"];
/// How many steps are written on a line.
const STEPS_PER_LINE: usize = 10;

impl Service {
    pub(super) fn new(name: String) -> Service {
        Service { name, settings: Vec::new(), limits: Vec::new() }
    }

    /// Sets a key, unless another document did.
    pub(super) fn set(&mut self, key: &'static str, value: Set, spot: &Spot<'_>, findings: &mut Findings) {
        match self.settings.iter().find(|(known, _, _)| *known == key) {
            Some((_, before, _)) if *before == value => {}
            Some((_, _, origin)) => {
                let what = format!("`{key}` of {} is taken from {} already", self.name, origin.path);
                findings.left(spot, what, "give one Rollout or Canary for a service");
            }
            None => self.settings.push((key, value, Origin::new(spot))),
        }
    }

    /// Adds a limit.
    pub(super) fn limit(&mut self, limit: Limit, spot: &Spot<'_>) {
        match self.limits.iter_mut().find(|(known, _)| known.figure == limit.figure) {
            Some((known, _)) if known.most <= limit.most => {}
            Some(place) => *place = (limit, Origin::new(spot)),
            None => self.limits.push((limit, Origin::new(spot))),
        }
    }

    fn sorted(&self) -> impl Iterator<Item = &(&'static str, Set, Origin)> {
        KEYS.iter().filter_map(|key| self.settings.iter().find(|(known, _, _)| known == key))
    }

    /// The text to paste; empty when there is nothing to set.
    pub(super) fn to_toml(&self, files: &[&str]) -> String {
        if self.settings.is_empty() && self.limits.is_empty() {
            return String::new();
        }
        let mut text = format!("[services.{}.rollout]\n", self.name);
        for (key, value, origin) in self.sorted() {
            text += &origin.comment(files);
            text += &match value {
                Set::Text(value) => format!("{key} = \"{value}\"\n"),
                Set::Texts(values) => format!("{key} = {}\n", list(values)),
            };
        }
        if !self.limits.is_empty() {
            text += "limits = [\n";
            for (limit, origin) in &self.limits {
                text += &format!("  {}  \"{limit}\",\n", origin.comment(files));
            }
            text += "]\n";
        }
        text
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let mut rollout = Map::new();
        for (key, value, _) in self.sorted() {
            let value = match value {
                Set::Text(text) => json!(text),
                Set::Texts(texts) => json!(texts),
            };
            rollout.insert((*key).to_owned(), value);
        }
        if !self.limits.is_empty() {
            let limits: Vec<String> = self.limits.iter().map(|(limit, _)| limit.to_string()).collect();
            rollout.insert("limits".to_owned(), json!(limits));
        }
        json!({ "name": self.name, "rollout": rollout })
    }
}

fn list(values: &[String]) -> String {
    let line = |values: &[String]| values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ");
    if values.len() <= STEPS_PER_LINE {
        return format!("[{}]", line(values));
    }
    let lines: String = values.chunks(STEPS_PER_LINE).map(|chunk| format!("  {},\n", line(chunk))).collect();
    format!("[\n{lines}]")
}
