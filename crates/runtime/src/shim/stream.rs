//! What a shim reads from its child: two streams of output, and once the report of the stage before the program.

use super::output::Lines;
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
};

/// How much is read from one stream before the others get their turn.
const READ_AT_ONCE: usize = 64 << 10;

/// One of the child's two output streams.
pub(super) struct Stream {
    pub(super) pipe: File,
    pub(super) lines: Lines,
    pub(super) open: bool,
}

impl Stream {
    pub(super) fn new(pipe: OwnedFd, tag: &'static str) -> Stream {
        Stream { pipe: File::from(pipe), lines: Lines::new(tag), open: true }
    }

    pub(super) fn read(&mut self, out: &mut Vec<u8>) {
        let mut buffer = [0; READ_AT_ONCE];
        match self.pipe.read(&mut buffer) {
            Ok(0) => {
                self.open = false;
                self.lines.flush(true, out);
            }
            Ok(n) => self.lines.push(&buffer[..n], out),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.open = false,
        }
    }
}

/// What the stage before the program says.
pub(super) struct Report {
    pub(super) pipe: File,
    text: Vec<u8>,
}

pub(super) enum Reported {
    More,
    Began,
    Refused(String),
}

impl Report {
    pub(super) fn new(pipe: OwnedFd) -> Report {
        Report { pipe: File::from(pipe), text: Vec::new() }
    }

    pub(super) fn read(&mut self) -> Reported {
        const LONGEST: usize = 8 << 10;
        let mut buffer = [0; 1024];
        match self.pipe.read(&mut buffer) {
            Ok(n) if n > 0 && self.text.len() < LONGEST => {
                self.text.extend_from_slice(&buffer[..n]);
                Reported::More
            }
            Ok(_) | Err(_) if self.text.is_empty() => Reported::Began,
            Ok(_) | Err(_) => Reported::Refused(String::from_utf8_lossy(&self.text).into_owned()),
        }
    }
}
