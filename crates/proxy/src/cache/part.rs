//! Which part of a stored response a request wants (RFC 9110, section 14). Pure.

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE},
};
use std::ops::Range;

/// What a request wants of a stored response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// These bytes of it, of which there is at least one.
    Bytes(Range<u64>),
    /// Something that only an instance can answer: several parts, one that there is not, or another unit.
    Other,
}

impl Part {
    /// What a request wants that is a GET, of a response with these fields and so many bytes.
    pub(crate) fn of(request: &HeaderMap, stored: &HeaderMap, size: u64) -> Part {
        let mut ranges = request.get_all(RANGE).iter();
        let Some(range) = ranges.next() else { return Part::Whole };
        if let Some(known) = request.get(IF_RANGE)
            && !is_of(known, stored)
        {
            return Part::Whole;
        }
        let range = range.to_str().ok().and_then(|text| bytes(text, size));
        range.filter(|_| ranges.next().is_none()).map_or(Part::Other, Part::Bytes)
    }
}

/// Whether what a client has a part of is this response: by a strong entity tag, or by a date that tells it from every other.
fn is_of(known: &HeaderValue, stored: &HeaderMap) -> bool {
    if known.as_bytes().starts_with(b"\"") {
        return stored.get(ETAG).is_some_and(|tag| tag == known);
    }
    let date = |value: &HeaderValue| value.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    let of = |name| stored.get(name).and_then(date);
    match (date(known), of(LAST_MODIFIED), of(DATE)) {
        // Within the second in which it was changed it might have been changed again.
        (Some(known), Some(modified), Some(sent)) => known == modified && modified < sent,
        _ => false,
    }
}

/// One range of bytes, where it is within so many.
fn bytes(text: &str, size: u64) -> Option<Range<u64>> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || ![first, last].iter().all(|part| is_number(part)) {
        return None;
    }
    // What is too large to be a number is behind every end.
    let number = |part: &str| part.parse().unwrap_or(u64::MAX);
    let range = match (first, last) {
        ("", "") => return None,
        ("", last) => size.saturating_sub(number(last))..size,
        (first, "") => number(first)..size,
        (first, last) if number(last) < number(first) => return None,
        (first, last) => number(first)..number(last).saturating_add(1).min(size),
    };
    (range.start < range.end).then_some(range)
}

fn is_number(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn part(request: &[(&'static str, &'static str)], stored: &[(&'static str, &'static str)]) -> Part {
        let map = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), value.parse().unwrap());
            pairs.iter().map(pair).collect::<Vec<(http::HeaderName, HeaderValue)>>()
        };
        let mut headers = HeaderMap::new();
        for (name, value) in map(request) {
            headers.append(name, value);
        }
        Part::of(&headers, &HeaderMap::from_iter(map(stored)), 1000)
    }

    #[test]
    fn one_range_of_bytes_is_understood_and_nothing_else_is() {
        for (range, wanted) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-499", 0..500),
            ("Bytes = 500-999", 500..1000),
            ("bytes=500-", 500..1000),
            ("bytes=500-99999999999999999999999", 500..1000),
            ("bytes=999-1000", 999..1000),
            ("bytes=-1", 999..1000),
            ("bytes=-1000", 0..1000),
            ("bytes=-5000", 0..1000),
        ] {
            assert_eq!(part(&[("range", range)], &[]), Part::Bytes(wanted), "{range}");
        }
        for range in [
            "bytes=1000-",
            "bytes=1000-1001",
            "bytes=-0",
            "bytes=5-4",
            "bytes=-",
            "bytes=",
            "bytes",
            "bytes=a-b",
            "bytes=0-1,5-6",
            "bytes=+1-2",
            "bytes=1 - 2",
            "pages=1-2",
            "",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(part(&[("range", range)], &[]), Part::Other, "{range}");
        }
        assert_eq!(part(&[("range", "bytes=0-1"), ("range", "bytes=0-1")], &[]), Part::Other);
        assert_eq!(part(&[("if-range", "\"1\"")], &[]), Part::Whole);
    }

    #[test]
    fn who_has_a_part_of_something_else_gets_all_of_it() {
        let asked = |known, stored: &[(&'static str, &'static str)]| {
            part(&[("range", "bytes=0-1"), ("if-range", known)], stored) == Part::Bytes(0..2)
        };
        assert!(asked("\"1\"", &[("etag", "\"1\"")]));
        assert!(!asked("\"1\"", &[("etag", "\"2\"")]) && !asked("\"1\"", &[]));
        assert!(!asked("W/\"1\"", &[("etag", "W/\"1\"")]), "a weak one may be of other bytes");
        assert!(asked(OLD, &[("last-modified", OLD), ("date", NEW)]));
        assert!(!asked(OLD, &[("last-modified", OLD), ("date", OLD)]));
        assert!(!asked(OLD, &[("last-modified", NEW), ("date", NEW)]) && !asked(OLD, &[]));
    }
}
