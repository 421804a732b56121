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
/// How much is read at first to find the newest lines.
const FIRST_GUESS: u64 = 64 << 10;
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

    /// The newest lines of one instance, and the end. Reads more only when little was not enough.
    fn newest(&self, id: InstanceId, lines: usize) -> (Vec<Line>, Place) {
        let all = segments(&self.directory, id);
        let end = all.last().map_or(Place { segment: 1, offset: 0 }, |(s, size)| Place { segment: *s, offset: *size });
        let total: u64 = all.iter().map(|(_, size)| size).sum();
        let mut most = FIRST_GUESS;
        loop {
            let found = self.tail(id, &all, most.min(MOST_AT_ONCE));
            if found.len() >= lines || most >= total.min(MOST_AT_ONCE) {
                let surplus = found.len().saturating_sub(lines);
                return (found.into_iter().skip(surplus).collect(), end);
            }
            most *= 8;
        }
    }

    /// The lines in the last `most` bytes.
    fn tail(&self, id: InstanceId, all: &[(u64, u64)], most: u64) -> Vec<Line> {
        let mut found: Vec<Line> = Vec::new();
        let mut left = most;
        for (segment, size) in all.iter().rev() {
            let begin = size.saturating_sub(left);
            left -= size - begin;
            let bytes = read_part(&segment_path(&self.directory, id, *segment), begin, size - begin);
            let lines = bytes.split(|b| *b == b'\n');
            // The first line of a part may be half a line.
            let mut part: Vec<Line> =
                lines.skip(usize::from(begin > 0)).filter_map(|line| Line::parse(id, line)).collect();
            part.append(&mut found);
            found = part;
        }
        found
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

#[cfg(test)]
mod tests {
    use super::*;

    fn data_with(lines: &[(u64, u64, u64)]) -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let directory = layout::logs(data.path(), &service());
        fs::create_dir_all(&directory).unwrap();
        for (id, segment, count) in lines {
            let text: String = (0..*count)
                .map(|n| {
                    format!(
                        "2026-01-01T00:{:02}:{:02}.000Z out {id}/{segment}/{n} {}\n",
                        n / 60 % 60,
                        n % 60,
                        "x".repeat(60)
                    )
                })
                .collect();
            fs::write(segment_path(&directory, InstanceId(*id), *segment), text).unwrap();
        }
        data
    }

    fn service() -> ServiceKey {
        "shop".parse().unwrap()
    }

    #[test]
    fn the_newest_lines_are_found_across_segments_and_instances() {
        let data = data_with(&[(1, 3, 2000), (1, 4, 3), (2, 1, 2)]);
        let mut reader = Reader::new(data.path(), &service(), Some(InstanceId(1)));
        let all = reader.last(1503);
        assert_eq!(all.len(), 1503);
        assert!(all.last().unwrap().text.starts_with("1/3/") || all.last().unwrap().text.starts_with("1/4/"));
        assert!(reader.next_lines().is_empty());
        let both = Reader::new(data.path(), &service(), None).last(4);
        assert_eq!(both.len(), 4);
        assert!(both.is_sorted_by_key(|line| line.time));
    }

    #[test]
    fn following_goes_over_segments_and_says_when_it_missed_some() {
        let data = data_with(&[(1, 1, 2)]);
        let directory = layout::logs(data.path(), &service());
        let mut reader = Reader::new(data.path(), &service(), None);
        assert_eq!(reader.last(10).len(), 2);
        let more = data_with(&[(1, 2, 3), (1, 5, 1)]);
        let from = layout::logs(more.path(), &service());
        for segment in [2, 5] {
            fs::copy(segment_path(&from, InstanceId(1), segment), segment_path(&directory, InstanceId(1), segment))
                .unwrap();
        }
        assert_eq!(reader.next_lines().len(), 4);
        for segment in [1, 2, 5] {
            fs::remove_file(segment_path(&directory, InstanceId(1), segment)).unwrap();
        }
        fs::copy(segment_path(&from, InstanceId(1), 2), segment_path(&directory, InstanceId(1), 9)).unwrap();
        let next = reader.next_lines();
        assert_eq!(next.iter().filter(|line| line.stream == Stream::Note).count(), 1, "{next:?}");
        assert_eq!(next.len(), 4);
    }

    #[test]
    fn output_of_forgotten_instances_is_bounded_and_that_of_living_ones_stays() {
        let many: Vec<(u64, u64, u64)> = (1..=60).map(|id| (id, 1, 1)).collect();
        let data = data_with(&many);
        prune(data.path(), &service(), &[InstanceId(1)]);
        let left = instances(&layout::logs(data.path(), &service()));
        assert_eq!(left.len(), 1 + FORGOTTEN_INSTANCES);
        assert!(left.contains(&InstanceId(1)) && !left.contains(&InstanceId(2)) && left.contains(&InstanceId(60)));
    }
}
