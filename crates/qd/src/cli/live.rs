//! A block of lines on a terminal that is written anew in place.

use std::io::{self, Write as _};

/// The block. It stays as it was last when dropped.
#[derive(Default)]
pub(crate) struct Live {
    lines: usize,
    shown: String,
}

impl Live {
    /// Replaces the block by this text, whose lines must fit into the terminal's width.
    pub(crate) fn show(&mut self, text: &str) {
        if text == self.shown {
            return;
        }
        let up = if self.lines > 0 { format!("\x1b[{}F", self.lines) } else { String::new() };
        // Each line is cleared behind its text, so that nothing flickers; then whatever is left below.
        let body: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
        let _ = io::stderr().lock().write_all(format!("{up}{body}\x1b[J").as_bytes());
        self.lines = text.lines().count();
        text.clone_into(&mut self.shown);
    }

    /// Takes the block away.
    pub(crate) fn clear(&mut self) {
        self.show("");
    }
}
