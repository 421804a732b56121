//! The part of regular expressions that label matchers of Prometheus are written in: `5.*`, `5..`, `[45]..`, `2.*|3.*`,
//! `(500|503)`. Not a library: it answers which of a few short texts match, in a time that is bounded by their lengths.
//!
//! What always holds: a pattern with anything else in it is not read at all, rather than read wrongly.

use std::collections::BTreeSet;

/// The longest pattern read, in bytes.
const MAX_BYTES: usize = 300;
/// The deepest that groups may be nested.
const MAX_DEPTH: usize = 8;
/// The most often that a piece may be repeated by a number.
const MAX_REPEAT: usize = 50;

/// A pattern: one of these sequences.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Vec<Piece>>);

#[derive(Debug)]
struct Piece {
    what: What,
    least: usize,
    most: usize,
}

#[derive(Debug)]
enum What {
    Any,
    OneOf { ranges: Vec<(char, char)>, negated: bool },
    Group(Pattern),
}

impl Pattern {
    /// Reads a pattern, if it has nothing in it that is not known here.
    pub(super) fn read(text: &str) -> Option<Pattern> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut rest = text.strip_prefix('^').unwrap_or(text);
        if rest.ends_with('$') && !rest.ends_with("\\$") {
            rest = &rest[..rest.len() - 1];
        }
        let pattern = alternatives(&mut rest, 0)?;
        rest.is_empty().then_some(pattern)
    }

    /// Whether the whole text matches, as in Prometheus.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.ends(&text, &BTreeSet::from([0])).contains(&text.len())
    }

    /// Whether any part of the text matches.
    pub(super) fn occurs_in(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        !self.ends(&text, &(0..=text.len()).collect()).is_empty()
    }

    /// Where it may end when it begins at one of these places.
    fn ends(&self, text: &[char], starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        let sequence = |pieces: &Vec<Piece>| pieces.iter().fold(starts.clone(), |at, piece| piece.ends(text, at));
        self.0.iter().flat_map(sequence).collect()
    }
}

impl Piece {
    fn ends(&self, text: &[char], starts: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut all = if self.least == 0 { starts.clone() } else { BTreeSet::new() };
        let mut at = starts;
        for times in 1..=self.most.min(text.len() + 1) {
            at = self.once(text, &at);
            if at.is_empty() {
                break;
            }
            if times >= self.least {
                all.extend(&at);
            }
        }
        all
    }

    fn once(&self, text: &[char], starts: &BTreeSet<usize>) -> BTreeSet<usize> {
        let is_one = |c: char| match &self.what {
            What::Any => true,
            What::OneOf { ranges, negated } => ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)) != *negated,
            What::Group(_) => false,
        };
        match &self.what {
            What::Group(pattern) => pattern.ends(text, starts),
            What::Any | What::OneOf { .. } => {
                starts.iter().filter(|i| text.get(**i).is_some_and(|c| is_one(*c))).map(|i| i + 1).collect()
            }
        }
    }
}

fn alternatives(rest: &mut &str, depth: usize) -> Option<Pattern> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut all = vec![Vec::new()];
    while let Some(c) = rest.chars().next() {
        if c == ')' {
            break;
        }
        *rest = &rest[c.len_utf8()..];
        let what = match c {
            '|' => {
                all.push(Vec::new());
                continue;
            }
            '.' => What::Any,
            '[' => class(rest)?,
            '\\' => escaped(rest)?,
            '(' => {
                let inner = rest.strip_prefix("?:").unwrap_or(rest);
                *rest = inner;
                let group = alternatives(rest, depth + 1)?;
                *rest = rest.strip_prefix(')')?;
                What::Group(group)
            }
            '*' | '+' | '?' | '{' | '}' | ']' | '^' | '$' => return None,
            literal => What::OneOf { ranges: vec![(literal, literal)], negated: false },
        };
        let (least, most) = repeated(rest)?;
        all.last_mut()?.push(Piece { what, least, most });
    }
    Some(Pattern(all))
}

fn escaped(rest: &mut &str) -> Option<What> {
    let c = rest.chars().next()?;
    *rest = &rest[c.len_utf8()..];
    let range = match c {
        'd' => ('0', '9'),
        c if c.is_ascii_alphanumeric() => return None,
        c => (c, c),
    };
    Some(What::OneOf { ranges: vec![range], negated: false })
}

/// What stands between brackets.
fn class(rest: &mut &str) -> Option<What> {
    let end = rest.find(']').filter(|end| *end > 0)?;
    let inner = &rest[..end];
    *rest = &rest[end + 1..];
    let (inner, negated) = inner.strip_prefix('^').map_or((inner, false), |inner| (inner, true));
    if inner.is_empty() || inner.contains(['\\', '[']) {
        return None;
    }
    let mut ranges = Vec::new();
    let mut chars = inner.chars().peekable();
    while let Some(first) = chars.next() {
        let mut last = first;
        if chars.peek() == Some(&'-') {
            chars.next();
            last = chars.next()?;
        }
        ranges.push((first, last));
    }
    Some(What::OneOf { ranges, negated })
}

/// How often the piece before may occur.
fn repeated(rest: &mut &str) -> Option<(usize, usize)> {
    let bounds = match rest.chars().next() {
        Some('*') => (0, usize::MAX),
        Some('+') => (1, usize::MAX),
        Some('?') => (0, 1),
        Some('{') => {
            let end = rest.find('}')?;
            let (least, most) = rest[1..end].split_once(',').unwrap_or((&rest[1..end], &rest[1..end]));
            let least: usize = least.parse().ok()?;
            let most = if most.is_empty() { MAX_REPEAT } else { most.parse().ok()? };
            *rest = &rest[end..];
            if least > most || most > MAX_REPEAT {
                return None;
            }
            (least, most)
        }
        Some(_) | None => return Some((1, 1)),
    };
    *rest = &rest[1..];
    // A second sign would mean something else again.
    if rest.starts_with(['*', '+', '?', '{']) { None } else { Some(bounds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_patterns_match_what_they_should() {
        for (pattern, yes, no) in [
            ("5.*", &["500", "5xx", "5"][..], &["200", "1500"][..]),
            ("5..", &["503"], &["50", "5000"]),
            ("2.*|3.*", &["204", "302"], &["404", "123"]),
            ("(500|50[2-4])", &["500", "503"], &["501", "505"]),
            ("[^45]..", &["200"], &["404", "500"]),
            (r"5\d\d", &["599"], &["5xx"]),
            ("^5[0-9]{2}$", &["500"], &["50", "5000"]),
            ("(?:4|5)xx", &["4xx"], &["45xx"]),
            ("a?b+", &["b", "abb"], &["a", "aab"]),
            ("", &[""], &["a"]),
            (".*", &["", "anything"], &[]),
        ] {
            let read = Pattern::read(pattern).unwrap();
            assert!(yes.iter().all(|text| read.matches(text)), "{pattern}: {yes:?}");
            assert!(!no.iter().any(|text| read.matches(text)), "{pattern}: {no:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_read() {
        for pattern in ["(?i)a", "a(?=b)", r"\w", "a**", "[", "a{2", "(a", "a)", "a{9,1}", "[a\\]]", "^*", "a{99999}"] {
            assert!(Pattern::read(pattern).is_none(), "{pattern}");
        }
        assert!(Pattern::read(&"(".repeat(299)).is_none());
        assert!(Pattern::read(&"a".repeat(MAX_BYTES + 1)).is_none());
    }

    #[test]
    fn a_pattern_that_grows_when_it_is_tried_step_by_step_takes_no_time_here() {
        let pattern = Pattern::read("(a*)*(a*)*(a*)*b").unwrap();
        assert!(!pattern.matches(&"a".repeat(60)));
        assert!(pattern.occurs_in("xxaab"));
    }
}
