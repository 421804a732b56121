//! Reading what shims captured: the newest lines, and those that follow.
//!
//! A [`Reader`] is asked again and again; it never waits and every answer is bounded. Lines of several instances are
//! merged by their time within one answer. How the files look is said in [`crate::shim`]'s output.

use crate::{
    layout,
    shim::output::{parse_segment, segment_path, segments},
};
use model::{InstanceId, ServiceKey, Time};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// The most that one answer reads from one instance's files.
const MOST_AT_ONCE: u64 = 4 << 20;
/// What is kept of instances that are forgotten, for each service: the newest of so many, and of so many bytes.
const FORGOTTEN_INSTANCES: usize = 50;
const FORGOTTEN_BYTES: u64 = 512 << 20;

/// One captured line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Of which instance.
    pub instance: InstanceId,
    /// When it was captured.
    pub time: Time,
    /// Where it came from.
    pub stream: Stream,
    /// Whether it continues the instance's line before it, which was too long or came in pieces.
    pub continues: bool,
    /// Text without control characters other than tabs.
    pub text: String,
}

/// Where a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// A note of Quarterdeck's own.
    Note,
}

/// Where reading goes on, in one instance's output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    segment: u64,
    offset: u64,
}

/// Reads the output of a service's instances, and goes on where it stopped.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    only: Option<InstanceId>,
    places: BTreeMap<InstanceId, Place>,
}

impl Reader {
    /// A reader of all instances of a service that have output on disk, or of one of them.
    pub fn new(data: &Path, service: &ServiceKey, only: Option<InstanceId>) -> Reader {
        Reader { directory: layout::logs(data, service), only, places: BTreeMap::new() }
    }

    /// The newest `lines` lines, and everything after them from now on. Call it once, first.
    pub fn last(&mut self, lines: usize) -> Vec<Line> {
        let mut all = Vec::new();
        for id in self.instances() {
            let (mut newest, end) = self.newest(id, lines);
            self.places.insert(id, end);
            all.append(&mut newest);
        }
        all.sort_by_key(|line| line.time);
        all.split_off(all.len().saturating_sub(lines))
    }

    /// What came since. Empty when nothing did; possibly not all of it when much did, so ask again.
    pub fn next_lines(&mut self) -> Vec<Line> {
        let mut all = Vec::new();
        for id in self.instances() {
            let begin = segments(&self.directory, id).first().map_or(1, |(segment, _)| *segment);
            let begin = Place { segment: begin, offset: 0 };
            let place = self.places.get(&id).copied().unwrap_or(begin);
            if place < begin {
                let time = layout::now();
                let text = "some output was removed before it was read here".to_owned();
                all.push(Line { instance: id, time, stream: Stream::Note, continues: false, text });
            }
            let (mut lines, end) = self.read(id, place.max(begin), MOST_AT_ONCE);
            self.places.insert(id, end);
            all.append(&mut lines);
        }
        all.sort_by_key(|line| line.time);
        all
    }

    fn instances(&self) -> Vec<InstanceId> {
        let all = instances(&self.directory);
        all.into_iter().filter(|id| self.only.is_none_or(|only| only == *id)).collect()
    }

    /// Whole lines from a place, and where the next begins.
    fn read(&self, id: InstanceId, from: Place, most: u64) -> (Vec<Line>, Place) {
        let mut place = from;
        let mut lines = Vec::new();
        let mut left = most;
        for (segment, size) in segments(&self.directory, id) {
            if segment < place.segment || left == 0 {
                continue;
            }
            if segment > place.segment {
                place = Place { segment, offset: 0 };
            }
            let bytes = read_part(&segment_path(&self.directory, id, segment), place.offset, left);
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
            lines.extend(bytes[..whole].split(|b| *b == b'\n').filter_map(|line| Line::parse(id, line)));
            place.offset += whole as u64;
            left = left.saturating_sub(bytes.len() as u64);
            if place.offset < size {
                break;
            }
        }
        (lines, place)
    }

    /// The newest lines of one instance, from the end of its segments backwards, and the end.
    fn newest(&self, id: InstanceId, lines: usize) -> (Vec<Line>, Place) {
        let all = segments(&self.directory, id);
        let end = all.last().map_or(Place { segment: 1, offset: 0 }, |(s, size)| Place { segment: *s, offset: *size });
        let mut found: Vec<Line> = Vec::new();
        let mut left = MOST_AT_ONCE;
        for (segment, size) in all.iter().rev() {
            if found.len() >= lines || left == 0 {
                break;
            }
            let begin = size.saturating_sub(left);
            let bytes = read_part(&segment_path(&self.directory, id, *segment), begin, size - begin);
            left -= size - begin;
            // The first line of a part may be half a line.
            let skip =
                if begin == 0 { 0 } else { bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| i + 1) };
            let mut part: Vec<Line> =
                bytes[skip..].split(|b| *b == b'\n').filter_map(|line| Line::parse(id, line)).collect();
            part.append(&mut found);
            found = part;
        }
        let surplus = found.len().saturating_sub(lines);
        (found.split_off(surplus), end)
    }
}

impl Line {
    fn parse(instance: InstanceId, line: &[u8]) -> Option<Line> {
        let line = std::str::from_utf8(line).ok()?;
        let (stamp, rest) = line.split_once(' ')?;
        let (tag, text) = rest.split_once(' ')?;
        let time = stamp.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        let (tag, continues) = tag.strip_suffix('+').map_or((tag, false), |tag| (tag, true));
        let stream = match tag {
            "out" => Stream::Out,
            "err" => Stream::Err,
            "qd" => Stream::Note,
            _ => return None,
        };
        Some(Line { instance, time: Time(u64::try_from(time).ok()?), stream, continues, text: text.to_owned() })
    }
}

fn read_part(path: &Path, offset: u64, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A segment that was removed meanwhile has nothing to say.
    let _ = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.take(most).read_to_end(&mut bytes)
    });
    bytes
}

fn instances(directory: &Path) -> Vec<InstanceId> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut ids: Vec<InstanceId> =
        entries.filter_map(|entry| Some(parse_segment(entry.file_name().to_str()?)?.0)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Removes output of instances that are no more, beyond what is kept for each service.
pub(crate) fn prune(data: &Path, service: &ServiceKey, living: &[InstanceId]) {
    let directory = layout::logs(data, service);
    let forgotten = instances(&directory).into_iter().rev().filter(|id| !living.contains(id));
    let mut bytes = 0;
    for (i, id) in forgotten.enumerate() {
        let all = segments(&directory, id);
        bytes += all.iter().map(|(_, size)| size).sum::<u64>();
        if i >= FORGOTTEN_INSTANCES || bytes > FORGOTTEN_BYTES {
            for (segment, _) in all {
                let _ = fs::remove_file(segment_path(&directory, id, segment));
            }
        }
    }
}
