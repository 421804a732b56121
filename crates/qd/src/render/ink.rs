//! Colour and width.

use std::fmt::Display;

/// How texts are written: with or without colour, and how wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ink {
    /// Whether to use colour.
    pub(crate) colour: bool,
    /// How many characters fit into a line.
    pub(crate) width: usize,
}

impl Ink {
    /// As it should be.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    /// To be looked at.
    pub(crate) fn warn(self, text: impl Display) -> String {
        self.paint("33", text)
    }

    /// Wrong.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint("1;31", text)
    }

    /// A name.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// Less important than the rest.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// A share of one as a bar of ten characters.
    pub(crate) fn bar(share: f64) -> String {
        let full = (share.clamp(0.0, 1.0) * 10.0).round() as usize;
        format!("{}{}", "█".repeat(full), "░".repeat(10 - full))
    }

    /// Pieces in a line, with a dot between them, broken between pieces where they do not fit.
    pub(crate) fn flow(self, indent: &str, pieces: impl IntoIterator<Item = String>) -> String {
        let mut text = String::new();
        let mut used = 0;
        for piece in pieces {
            let length = visible(&piece);
            if used > 0 && used + 3 + length <= self.width {
                text += " · ";
                used += 3 + length;
            } else {
                if used > 0 {
                    text += "\n";
                }
                text += indent;
                used = indent.chars().count() + length;
            }
            text += &piece;
        }
        if used > 0 {
            text += "\n";
        }
        // A piece may itself be longer than a line.
        text.lines()
            .map(|line| {
                if visible(line) > self.width {
                    wrap(line.trim_start(), self.width, indent)
                } else {
                    format!("{line}\n")
                }
            })
            .collect()
    }
}

/// How many characters are seen of a text that may have colour.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut in_code = false;
    for c in text.chars() {
        match (in_code, c) {
            (false, '\x1b') => in_code = true,
            (true, 'm') => in_code = false,
            (true, _) => {}
            (false, _) => count += 1,
        }
    }
    count
}

/// A text broken at spaces into lines of at most this width, every one of them indented.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = visible(word);
        if used > 0 && used + 1 + length <= width {
            out.push(' ');
            used += 1 + length;
        } else {
            if used > 0 {
                out.push('\n');
            }
            out += indent;
            used = indent.chars().count() + length;
        }
        out += word;
    }
    if used > 0 {
        out.push('\n');
    }
    out
}
