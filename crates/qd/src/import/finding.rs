//! What is said about the parts of a document: what was taken over, what was approximated, what needs no counterpart, and
//! what was left out. Nothing that a document says is without a finding.

use super::{service::Limit, spot::Spot};
use serde::Serialize;
use std::ops::Range;

/// What became of a part of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// It is in the settings, and means the same.
    Taken,
    /// It is in the settings, and means nearly the same: how it differs is said.
    Approximated,
    /// It is not in the settings, and nothing is missing.
    NotNeeded,
    /// It is not in the settings, and something is missing.
    Left,
}

impl Class {
    /// As a heading.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Class::Taken => "taken over",
            Class::Approximated => "approximated",
            Class::NotNeeded => "not needed here",
            Class::Left => "left out",
        }
    }
}

/// What became of a part of a document, and where that stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Finding {
    /// What became of it.
    pub(crate) class: Class,
    /// In which file, by its number.
    #[serde(skip)]
    pub(super) number: usize,
    /// Where in it, in bytes.
    #[serde(skip)]
    pub(super) at: Range<usize>,
    /// In which file, by its name.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// Such as `spec.metrics[0].successCondition`.
    pub(crate) path: String,
    /// A plain value, on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// Other parts that this says everything about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<String>,
    /// What became of it, in words.
    pub(crate) what: String,
    /// What to do; empty when nothing is to be done.
    pub(crate) instead: String,
}

impl Finding {
    /// By what became of it, then by place; the same ones stand side by side.
    pub(super) fn order(&self) -> impl Ord + '_ {
        (self.class, self.number, self.at.start, &self.path, &self.what)
    }
}

/// Collects findings.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    fn add(&mut self, class: Class, spot: &Spot<'_>, what: String, instead: String, also: Vec<String>) {
        self.0.push(Finding {
            class,
            number: spot.file,
            at: spot.mark.at.clone(),
            file: String::new(),
            line: spot.mark.line,
            column: spot.mark.column,
            path: spot.path.clone(),
            value: spot.shown(),
            also,
            what,
            instead,
        });
    }

    pub(super) fn taken(&mut self, spot: &Spot<'_>, what: impl Into<String>) {
        self.add(Class::Taken, spot, what.into(), String::new(), Vec::new());
    }

    pub(super) fn approximated(&mut self, spot: &Spot<'_>, what: impl Into<String>, instead: impl Into<String>) {
        self.add(Class::Approximated, spot, what.into(), instead.into(), Vec::new());
    }

    pub(super) fn not_needed(&mut self, spot: &Spot<'_>, why: impl Into<String>) {
        self.add(Class::NotNeeded, spot, why.into(), String::new(), Vec::new());
    }

    pub(super) fn left(&mut self, spot: &Spot<'_>, what: impl Into<String>, instead: impl Into<String>) {
        self.left_also(spot, what, instead, Vec::new());
    }

    /// Left out, and with it these other parts.
    pub(super) fn left_also(
        &mut self,
        spot: &Spot<'_>,
        what: impl Into<String>,
        instead: impl Into<String>,
        also: Vec<String>,
    ) {
        self.add(Class::Left, spot, what.into(), instead.into(), also);
    }

    /// A limit was found, with what is different about it.
    pub(super) fn limit(&mut self, spot: &Spot<'_>, limit: &Limit, notes: &[String], also: Vec<String>) {
        let class = if notes.is_empty() { Class::Taken } else { Class::Approximated };
        let what = if notes.is_empty() { format!("`{limit}`") } else { format!("`{limit}`: {}", notes.join("; ")) };
        self.add(class, spot, what, String::new(), also);
    }
}
