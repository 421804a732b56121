//! What an import is told as: the settings to paste, what became of each part of the documents, and the same for programs.

use super::{Class, Finding, Import};
use crate::{
    config::Shown,
    render::{Ink, many, wrap},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Import {
    /// The settings to paste into the configuration, each with where it came from.
    pub(crate) fn settings(&self) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        let tables: Vec<String> =
            self.services.iter().map(|service| service.to_toml(&names)).filter(|text| !text.is_empty()).collect();
        if tables.is_empty() { "# There is nothing to set.\n".to_owned() } else { tables.join("\n") }
    }

    /// What was taken over, what was approximated and what is not needed. What is said of several parts is said once.
    pub(crate) fn told(&self, ink: Ink) -> String {
        let mut text = String::new();
        for class in [Class::Taken, Class::Approximated, Class::NotNeeded] {
            let of_class: Vec<&Finding> = self.findings.iter().filter(|finding| finding.class == class).collect();
            if of_class.is_empty() {
                continue;
            }
            text += &format!("{}\n", ink.bold(class.heading()));
            let mut said: BTreeMap<(&str, &str), Vec<&Finding>> = BTreeMap::new();
            for finding in &of_class {
                said.entry((&finding.what, &finding.instead)).or_default().push(finding);
            }
            for finding in of_class {
                let Some(places) = said.remove(&(finding.what.as_str(), finding.instead.as_str())) else { continue };
                text += &wrap(&finding.what, ink.width, "  ");
                if !finding.instead.is_empty() {
                    text += &wrap(&format!("= {}", finding.instead), ink.width, "    ");
                }
                text.extend(places.into_iter().map(|finding| place(finding, ink)));
            }
            text.push('\n');
        }
        text
    }

    /// What was left out, each with its place and what to do instead; nothing when nothing was.
    pub(crate) fn left_out(&self) -> Option<String> {
        let left: Vec<&Finding> = self.findings.iter().filter(|finding| finding.class == Class::Left).collect();
        if left.is_empty() {
            return None;
        }
        let (number, verb) = (many(left.len() as u64, "part"), if left.len() == 1 { "is" } else { "are" });
        let mut text = format!("{number} of this {verb} left out\n");
        let lines: Vec<Vec<&str>> = self.files.iter().map(|file| file.text.lines().collect()).collect();
        for finding in left {
            let Some((file, lines)) = self.files.get(finding.number).zip(lines.get(finding.number)) else { continue };
            let path = if finding.path.is_empty() { String::new() } else { format!("{}: ", finding.path) };
            let with = match &finding.also[..] {
                [] => String::new(),
                also => format!("; and with it {}", also.join(", ")),
            };
            let shown = Shown {
                what: &format!("{path}{}{with}", finding.what),
                path: &file.name,
                line: finding.line,
                column: finding.column,
                source: lines.get(finding.line - 1).copied().unwrap_or_default(),
                marked: file.text.get(finding.at.clone()).unwrap_or_default(),
                help: &finding.instead,
            };
            text += &format!("\n{shown}");
        }
        Some(text)
    }

    /// All of it, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let services: Vec<Value> = self.services.iter().map(super::Service::to_json).collect();
        json!({ "services": services, "toml": self.settings(), "findings": self.findings })
    }
}

/// Where a finding stands, on a line.
fn place(finding: &Finding, ink: Ink) -> String {
    let value = finding.value.as_ref().map_or(String::new(), |value| format!(": {value}"));
    let line = format!("    {}:{}:{} {}{value}", finding.file, finding.line, finding.column, finding.path);
    let cut: String = if line.chars().count() > ink.width {
        line.chars().take(ink.width.saturating_sub(1)).chain(['…']).collect()
    } else {
        line
    };
    format!("{}\n", ink.dim(cut.trim_end()))
}
