//! The part of a file that is asked for: one range of bytes (RFC 9110, section 14).

use std::ops::Range;

/// What a `range` field asks for of so many bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// All of it: nothing else is asked for, or what is asked for is not understood.
    Whole,
    /// These bytes, of which there is at least one.
    Some(Range<u64>),
    /// Bytes that there are not.
    Beyond,
}

/// Reads a `range` field. Several ranges at once are not given: the whole is an answer to those.
pub(super) fn part(field: &str, length: u64) -> Part {
    let Some((unit, range)) = field.split_once('=') else { return Part::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Part::Whole,
        (Some(first), _) if last.is_empty() || number(last).is_some() => {
            let end = number(last).map_or(length, |last| last.saturating_add(1).min(length));
            if first < length { Part::Some(first..end) } else { Part::Beyond }
        }
        (None, Some(count)) if first.is_empty() => match count.min(length) {
            0 => Part::Beyond,
            count => Part::Some(length - count..length),
        },
        (Some(_) | None, Some(_) | None) => Part::Whole,
    }
}

/// Digits alone; a number too large to be one is larger than any file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_range_is_given() {
        assert_eq!(part("bytes=0-0", 10), Part::Some(0..1));
        assert_eq!(part("bytes=2-5", 10), Part::Some(2..6));
        assert_eq!(part("Bytes=2-", 10), Part::Some(2..10));
        assert_eq!(part("bytes=8-99", 10), Part::Some(8..10));
        assert_eq!(part("bytes=-3", 10), Part::Some(7..10));
        assert_eq!(part("bytes=-99", 10), Part::Some(0..10));
        assert_eq!(part("bytes=0-99999999999999999999999", 10), Part::Some(0..10));
    }

    #[test]
    fn what_is_not_there_is_beyond() {
        for field in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(part(field, 10), Part::Beyond, "{field}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Beyond);
        assert_eq!(part("bytes=-1", 0), Part::Beyond);
    }

    #[test]
    fn what_is_not_understood_is_the_whole() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=1-x",
        ] {
            assert_eq!(part(field, 10), Part::Whole, "{field}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_whole(field in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 0u64..500) {
            if let Part::Some(range) = part(&field, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
