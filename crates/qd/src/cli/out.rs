//! Where results, notes and questions go: results to standard output, everything else to standard error; as texts, or as
//! JSON when asked.

use super::{
    args::{Colour, Global},
    failure::{Failure, ForPeople},
};
use crate::render::Ink;
use rustix::termios::{Winsize, tcgetwinsize};
use serde::Serialize;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// A line of a text is not wider than this, however wide the terminal is: nobody reads wider.
const WIDEST: usize = 100;
/// The width where there is no terminal.
const NO_TERMINAL: usize = 80;
/// The height where nobody knows it.
const NO_TERMINAL_ROWS: usize = 24;

/// The ways out, and back in.
#[derive(Debug)]
pub(crate) struct Out {
    /// Whether results are JSON.
    pub(crate) json: bool,
    quiet: bool,
    /// How results are written.
    pub(crate) ink: Ink,
    /// How notes are written.
    pub(crate) notes: Ink,
    /// Whether a person sees the notes as they are written, so that they can be rewritten.
    pub(crate) live: bool,
    /// How many lines fit where notes are written.
    pub(crate) rows: usize,
}

impl Out {
    pub(crate) fn new(global: &Global) -> Out {
        let ink = |terminal: bool, width: Option<u16>| Ink {
            colour: match global.color {
                Colour::Always => true,
                Colour::Never => false,
                Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            },
            width: width.map_or(NO_TERMINAL, |w| usize::from(w).clamp(40, WIDEST)),
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = |size: rustix::io::Result<Winsize>| size.ok().filter(|s| s.ws_col > 0 && s.ws_row > 0);
        let (for_results, for_notes) = (size(tcgetwinsize(&stdout)), size(tcgetwinsize(&stderr)));
        Out {
            json: global.json,
            quiet: global.quiet,
            ink: ink(stdout.is_terminal() && !dumb, for_results.map(|s| s.ws_col)),
            notes: ink(stderr.is_terminal() && !dumb, for_notes.map(|s| s.ws_col)),
            live: stderr.is_terminal() && !dumb && !global.quiet && !global.json,
            rows: for_notes.map_or(NO_TERMINAL_ROWS, |s| usize::from(s.ws_row)),
        }
    }

    /// Prints a result: this text, or this value as a JSON document.
    pub(crate) fn result<T: Serialize>(&self, value: &T, text: impl FnOnce(Ink) -> String) -> Result<(), Failure> {
        if self.json { self.write(&pretty(value)) } else { self.write(&text(self.ink)) }
    }

    /// Prints one of several results: this text, or this value as a line of JSON.
    pub(crate) fn line<T: Serialize>(&self, value: &T, text: impl FnOnce(Ink) -> String) -> Result<(), Failure> {
        if self.json {
            self.write(&format!("{}\n", serde_json::to_string(value).unwrap_or_default()))
        } else {
            self.write(&text(self.ink))
        }
    }

    /// Prints a text as it is.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(|e| {
            let gone = e.kind() == io::ErrorKind::BrokenPipe;
            if gone { Failure::ReaderGone } else { Failure::file("write to", "standard output")(e) }
        })
    }

    /// Tells a person what is going on. Whoever asked for less is not told.
    pub(crate) fn note(&self, text: impl FnOnce(Ink) -> String) {
        if !self.quiet && !self.json {
            // Nothing is lost when notes cannot be written.
            let _ = io::stderr().lock().write_all(text(self.notes).as_bytes());
        }
    }

    /// Tells why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        // The first needs no word; programs have the second in their document; the others were told when they happened,
        // except to programs.
        let is_told = matches!(failure, Failure::ReaderGone)
            || (matches!(failure, Failure::LeftOut { .. }) && self.json)
            || (matches!(failure, Failure::Undone | Failure::Interrupted) && !self.json);
        if is_told {
            return;
        }
        if self.json {
            // When even this cannot be written, the exit code still says it.
            let _ = self.write(&pretty(&failure.to_json()));
        } else {
            let text = format!("{} {}", self.notes.bad("error:"), ForPeople(failure));
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// Whether somebody can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.json && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks, and reads a line.
    pub(crate) fn ask(&self, question: &str) -> Result<String, Failure> {
        let mut stderr = io::stderr().lock();
        let asked = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
        let mut answer = String::new();
        let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
        read.map_err(Failure::file("read from", "the terminal"))?;
        Ok(answer.trim().to_owned())
    }

    /// Lets a person agree; `yes`: they have already.
    pub(crate) fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.can_ask() {
            return Err(Failure::Refused {
                code: "not_confirmed",
                what: "this needs to be confirmed, and there is no terminal to ask at".to_owned(),
                hint: "look at it with --dry-run, then give --yes".to_owned(),
            });
        }
        match self.ask(&format!("{question} [y/N] "))?.to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Refused {
                code: "not_confirmed",
                what: "nothing was done".to_owned(),
                hint: String::new(),
            }),
        }
    }
}

fn pretty<T: Serialize>(value: &T) -> String {
    // Views are plain data and always serialise.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
