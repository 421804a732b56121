//! What is wrong with a configuration file, shown with its place: file, line, column, the line itself and a caret.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

/// How many problems of one file are shown.
const SHOWN: usize = 20;
/// The nearest of `known` to what was written, when it is near enough to have been meant.
pub(crate) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let distance = |k: &&str| strsim::damerau_levenshtein(&written.to_lowercase(), k);
    known.into_iter().min_by_key(distance).filter(|k| distance(k) <= 1 + k.len() / 4)
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Where, in bytes of the file.
    pub(crate) at: Range<usize>,
    /// What is wrong.
    pub(crate) what: String,
    /// What is allowed, or what to do.
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(at: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { at, what: what.into(), help: help.into() }
    }
}

/// Collects what is wrong, so that all of it can be told at once.
#[derive(Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// Puts a value in its place, or keeps what is wrong with it.
    pub(crate) fn put<T>(&mut self, place: &mut T, value: Result<T, Fault>) {
        match value {
            Ok(value) => *place = value,
            Err(fault) => self.0.push(fault),
        }
    }
}

/// Everything that is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problems {
    path: PathBuf,
    text: String,
    faults: Vec<Fault>,
}

impl std::error::Error for Problems {}

impl Problems {
    /// The faults in the order of their places.
    pub(crate) fn new(path: &Path, text: &str, mut faults: Vec<Fault>) -> Problems {
        faults.sort_by_key(|f| (f.at.start, f.at.end));
        faults.dedup();
        Problems { path: path.to_owned(), text: text.to_owned(), faults }
    }

    /// Calls the file by this name.
    pub(super) fn shown_in(self, name: &str) -> Problems {
        Problems { path: name.into(), ..self }
    }

    /// For programs: line, column (both from 1), what is wrong and what helps.
    pub(crate) fn places(&self) -> impl Iterator<Item = (usize, usize, &str, &str)> {
        self.faults.iter().map(|f| {
            let (line, column, _) = place(&self.text, f.at.start);
            (line, column, f.what.as_str(), f.help.as_str())
        })
    }
}

/// Line and column from 1, in characters, and the line's text.
fn place(text: &str, at: usize) -> (usize, usize, &str) {
    let at = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let line = text[start..].lines().next().unwrap_or("");
    (text[..start].matches('\n').count() + 1, text[start..at].chars().count() + 1, line)
}

/// A place in a file, with what is to be said about it.
pub(crate) struct Shown<'a, P> {
    pub(crate) what: &'a str,
    /// What the file is called.
    pub(crate) path: P,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// The line.
    pub(crate) source: &'a str,
    /// What it is about. Only its first line is underlined.
    pub(crate) marked: &'a str,
    /// What to do; empty when nothing helps.
    pub(crate) help: &'a str,
}

impl<P: fmt::Display> fmt::Display for Shown<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { what, path, line, column, help, .. } = self;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        // A file must not be able to steer the terminal it is shown on.
        let seen = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
        let source: String = self.source.chars().map(seen).collect();
        let length = self.marked.lines().next().unwrap_or("").chars().count();
        let before: String = source.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{what}\n{gutter}--> {path}:{line}:{column}")?;
        writeln!(f, "{gutter} |\n{number} | {source}\n{gutter} | {before}{}", "^".repeat(length.max(1)))?;
        if help.is_empty() { Ok(()) } else { writeln!(f, "{gutter} = {help}") }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().take(SHOWN).enumerate() {
            let (line, column, source) = place(&self.text, fault.at.start);
            let marked = self.text.get(fault.at.clone()).unwrap_or_default();
            let path = self.path.display();
            let shown = Shown { what: &fault.what, path, line, column, source, marked, help: &fault.help };
            write!(f, "{}{shown}", if i > 0 { "\n" } else { "" })?;
        }
        match self.faults.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "\nand {more} more"),
        }
    }
}
