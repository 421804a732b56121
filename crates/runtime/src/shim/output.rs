//! An instance's captured output on disk: whole lines with time and stream, in segments, the newest of a bounded size.
//!
//! A line of the file is `2026-11-21T02:28:19.123Z out text`. The tag is `out` or `err`; `out+` and `err+` continue a
//! line that was too long or came in pieces; `qd` is a note of ours. Whatever a service writes, the file is text:
//! control characters and bytes that are not UTF-8 are written as `\x1b`. Segments are numbered, `INS-3.1.log` and up;
//! the oldest are removed so that the bound holds, and the file says so. [`crate::logs`] reads all this.

use crate::Error;
use model::{Bytes, InstanceId};
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The longest line kept in one piece.
const LONGEST_LINE: usize = 16 << 10;
/// How many segments the bound is divided into: removing one removes this part of what is kept.
const SEGMENTS: u64 = 8;
/// A smaller bound is taken as this one.
const SMALLEST_BOUND: u64 = 64 << 10;
/// How long a line without an end waits for it.
const UNFINISHED_WAIT: Duration = Duration::from_millis(500);

/// The file of one segment.
pub(crate) fn segment_path(directory: &Path, id: InstanceId, segment: u64) -> PathBuf {
    directory.join(format!("{id}.{segment}.log"))
}

/// The instance and segment that a file name stands for.
pub(crate) fn parse_segment(name: &str) -> Option<(InstanceId, u64)> {
    let (id, segment) = name.strip_suffix(".log")?.split_once('.')?;
    Some((id.parse().ok()?, segment.parse().ok()?))
}

/// The segments of an instance with their sizes, oldest first.
pub(crate) fn segments(directory: &Path, id: InstanceId) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let (of, segment) = parse_segment(entry.file_name().to_str()?)?;
            (of == id).then_some((segment, entry.metadata().ok()?.len()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// Writes an instance's segments.
pub(super) struct Output {
    directory: PathBuf,
    id: InstanceId,
    bound: u64,
    segments: VecDeque<(u64, u64)>,
    file: Option<File>,
    /// Bytes of segments removed to keep the bound.
    removed: u64,
    /// Bytes that could not be written, since the last that could.
    lost: u64,
}

impl Output {
    /// Continues where an earlier attempt ended.
    pub(super) fn open(directory: &Path, id: InstanceId, bound: Bytes) -> Result<Output, Error> {
        fs::create_dir_all(directory).map_err(|e| Error::file("create the directory", directory, e))?;
        let segments: VecDeque<_> = segments(directory, id).into();
        let bound = bound.0.max(SMALLEST_BOUND);
        let mut output =
            Output { directory: directory.to_owned(), id, bound, segments, file: None, removed: 0, lost: 0 };
        match output.segments.back() {
            Some((last, _)) => output.file = Some(open_segment(&segment_path(directory, id, *last))?),
            None => output.begin_segment()?,
        }
        Ok(output)
    }

    /// Writes a note of ours.
    pub(super) fn note(&mut self, text: &str) {
        let mut line = stamp().into_bytes();
        line.extend_from_slice(b" qd ");
        escape(text.as_bytes(), &mut line);
        line.push(b'\n');
        self.write(&line);
    }

    /// Writes whole lines. What the disk does not take is dropped and counted: a child never waits for a full disk.
    pub(super) fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let size = lines.len() as u64;
        let full = self.segments.back().is_none_or(|(_, written)| written + size > self.bound / SEGMENTS);
        if full && self.begin_segment().is_err() {
            self.lost += size;
            return;
        }
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.note(&format!("{} of output could not be written here and are lost", Bytes(lost)));
        }
        let written = self.file.as_mut().map(|file| file.write_all(lines));
        match written {
            Some(Ok(())) => {
                if let Some((_, total)) = self.segments.back_mut() {
                    *total += size;
                }
            }
            Some(Err(_)) | None => {
                self.lost += size;
                self.cut_unfinished();
            }
        }
    }

    /// Removes what a failed write may have left of a line.
    fn cut_unfinished(&mut self) {
        if let (Some(file), Some((_, whole))) = (&self.file, self.segments.back()) {
            let _ = file.set_len(*whole);
        }
    }

    fn begin_segment(&mut self) -> Result<(), Error> {
        let next = self.segments.back().map_or(1, |(last, _)| last + 1);
        while self.segments.iter().map(|(_, size)| size).sum::<u64>() + self.bound / SEGMENTS > self.bound {
            let Some((oldest, size)) = self.segments.pop_front() else { break };
            // A file that cannot be removed is met again, and counted again, when the next attempt begins.
            let _ = fs::remove_file(segment_path(&self.directory, self.id, oldest));
            self.removed += size;
        }
        self.file = Some(open_segment(&segment_path(&self.directory, self.id, next))?);
        self.segments.push_back((next, 0));
        if self.removed > 0 {
            let (removed, bound) = (Bytes(self.removed), Bytes(self.bound));
            self.note(&format!("older output is gone: {removed} so far; the newest {bound} are kept"));
        }
        Ok(())
    }
}

fn open_segment(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    opened.map_err(|e| Error::file("write", path, e))
}

/// Cuts one stream into lines.
pub(super) struct Lines {
    tag: &'static str,
    unfinished: Vec<u8>,
    since: Option<Instant>,
    /// Whether what comes next continues a line that was already written in part.
    continues: bool,
}

impl Lines {
    pub(super) fn new(tag: &'static str) -> Lines {
        Lines { tag, unfinished: Vec::new(), since: None, continues: false }
    }

    /// Takes what was read and appends the lines it completes to `out`.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        let stamp = stamp();
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.take(&bytes[..end], &stamp, out);
            self.end_line(&stamp, out);
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, &stamp, out);
        self.since = (!self.unfinished.is_empty()).then(Instant::now);
    }

    /// Writes what waited too long for the end of its line, or at the end of the stream whatever there is.
    pub(super) fn flush(&mut self, everything: bool, out: &mut Vec<u8>) {
        if self.since.is_some_and(|since| everything || since.elapsed() >= UNFINISHED_WAIT) {
            self.emit(&stamp(), out);
            self.continues = true;
            self.since = None;
        }
    }

    /// How long until [`flush`](Lines::flush) has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        self.since.map(|since| UNFINISHED_WAIT.saturating_sub(since.elapsed()))
    }

    fn take(&mut self, mut bytes: &[u8], stamp: &str, out: &mut Vec<u8>) {
        while self.unfinished.len() + bytes.len() > LONGEST_LINE {
            let (fits, rest) = bytes.split_at(LONGEST_LINE - self.unfinished.len());
            self.unfinished.extend_from_slice(fits);
            self.emit(stamp, out);
            self.continues = true;
            bytes = rest;
        }
        self.unfinished.extend_from_slice(bytes);
    }

    fn end_line(&mut self, stamp: &str, out: &mut Vec<u8>) {
        if self.unfinished.last() == Some(&b'\r') {
            self.unfinished.pop();
        }
        // The end of a line that was written already is not a line.
        if !(self.continues && self.unfinished.is_empty()) {
            self.emit(stamp, out);
        }
        self.continues = false;
    }

    fn emit(&mut self, stamp: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(stamp.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.tag.as_bytes());
        out.extend_from_slice(if self.continues { b"+ " } else { b" " });
        escape(&self.unfinished, out);
        out.push(b'\n');
        self.unfinished.clear();
    }
}

/// Appends text as it is, and everything that is not text as `\x..`.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        if valid.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            out.extend_from_slice(valid.as_bytes());
        } else {
            for c in valid.chars() {
                let mut buffer = [0; 4];
                let encoded = c.encode_utf8(&mut buffer).as_bytes();
                match c.is_control() && c != '\t' {
                    true => escape_raw(encoded, out),
                    false => out.extend_from_slice(encoded),
                }
            }
        }
        escape_raw(chunk.invalid(), out);
    }
}

fn escape_raw(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The time in UTC with milliseconds.
fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_stamps(bytes: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut lines = Lines::new("out");
        let mut out = Vec::new();
        for piece in ["he", "llo\r\nwor", "ld\n\n", "tail"] {
            lines.push(piece.as_bytes(), &mut out);
        }
        assert_eq!(without_stamps(&out), ["out hello", "out world", "out "]);
        assert!(lines.due().is_some());
        lines.flush(true, &mut out);
        lines.push(b" of it\n", &mut out);
        assert_eq!(without_stamps(&out)[3..], ["out tail", "out+  of it"]);
    }

    #[test]
    fn binary_garbage_becomes_text_and_utf8_stays() {
        let mut out = Vec::new();
        Lines::new("err").push(b"\x00\xff\x1b[31m caf\xc3\xa9\t\xc2\x9b\n", &mut out);
        assert_eq!(without_stamps(&out), ["err \\x00\\xff\\x1b[31m café\t\\xc2\\x9b"]);
    }

    #[test]
    fn very_long_lines_are_cut_and_bounded_in_memory() {
        let mut lines = Lines::new("out");
        let mut out = Vec::new();
        lines.push(&vec![b'x'; 3 * LONGEST_LINE + 5], &mut out);
        assert!(lines.unfinished.len() <= LONGEST_LINE);
        lines.push(b"\n", &mut out);
        let got = without_stamps(&out);
        assert_eq!(got.len(), 4);
        assert!(got[0].starts_with("out x") && got[1..].iter().all(|l| l.starts_with("out+ x")));
        assert_eq!(got.iter().map(|l| l.matches('x').count()).sum::<usize>(), 3 * LONGEST_LINE + 5);
    }

    #[test]
    fn output_stays_within_its_bound_and_says_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let bound = Bytes(128 << 10);
        let mut output = Output::open(dir.path(), InstanceId(3), bound).unwrap();
        let line = [&[b'y'; 99][..], b"\n"].concat();
        (0..10_000).for_each(|_| output.write(&line));
        let kept = segments(dir.path(), InstanceId(3));
        let total: u64 = kept.iter().map(|(_, size)| size).sum();
        assert!(total <= bound.0 && total > bound.0 / 2, "{total}");
        let newest = fs::read_to_string(segment_path(dir.path(), InstanceId(3), kept.last().unwrap().0)).unwrap();
        assert!(newest.lines().next().unwrap().contains("qd older output is gone"), "{newest}");
        drop(output);
        let before = kept.last().unwrap().0;
        let again = Output::open(dir.path(), InstanceId(3), bound).unwrap();
        assert_eq!(again.segments.back().unwrap().0, before, "the next attempt goes on in the same segment");
    }
}
