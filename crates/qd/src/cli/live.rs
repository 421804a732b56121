//! A block of lines on a terminal that is written anew in place.

use crate::render::many;
use std::io::{self, Write as _};

/// The block. It stays as it was last when dropped.
pub(crate) struct Live {
    /// How many lines the terminal has: what has left it cannot be written anew.
    rows: usize,
    lines: usize,
    shown: String,
}

impl Live {
    /// An empty block on a terminal with this many lines.
    pub(crate) fn new(rows: usize) -> Live {
        Live { rows, lines: 0, shown: String::new() }
    }

    /// Replaces the block by this text, whose lines must fit into the terminal's width.
    pub(crate) fn show(&mut self, text: &str) {
        if text == self.shown {
            return;
        }
        let up = if self.lines > 0 { format!("\x1b[{}F", self.lines) } else { String::new() };
        let all = text.lines().count();
        let fitting = self.rows.saturating_sub(2).max(1);
        // Each line is cleared behind its text, so that nothing flickers; then whatever is left below.
        let mut body: String = text.lines().take(fitting).map(|line| format!("{line}\x1b[K\n")).collect();
        self.lines = all.min(fitting);
        if all > fitting {
            body += &format!("… and {} more\x1b[K\n", many((all - fitting) as u64, "line"));
            self.lines += 1;
        }
        // Nothing is lost when it cannot be shown.
        let _ = io::stderr().lock().write_all(format!("{up}{body}\x1b[J").as_bytes());
        text.clone_into(&mut self.shown);
    }

    /// Takes the block away.
    pub(crate) fn clear(&mut self) {
        self.show("");
    }
}
