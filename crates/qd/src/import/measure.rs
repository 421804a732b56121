//! What a number that Prometheus gives measures, and what a bound on that number means as a limit of ours.
//!
//! What always holds: a limit says the same of a release as the bound, or what is different about it is said beside it.

use super::service::{Figure, Limit};
use model::{Ratio, Span};

/// A number that follows from a figure: `factor * figure + offset`, with failures as a share of one and a latency in
/// milliseconds.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Measure {
    pub(super) figure: Figure,
    pub(super) factor: f64,
    pub(super) offset: f64,
    /// What is different about the figure.
    pub(super) notes: Vec<String>,
}

impl Measure {
    pub(super) fn new(figure: Figure) -> Measure {
        Measure { figure, factor: 1.0, offset: 0.0, notes: Vec::new() }
    }

    /// The number, multiplied.
    pub(super) fn times(self, by: f64) -> Measure {
        Measure { factor: self.factor * by, offset: self.offset * by, ..self }
    }

    /// The number, with something added.
    pub(super) fn plus(self, what: f64) -> Measure {
        Measure { offset: self.offset + what, ..self }
    }

    /// With a word on what is different.
    pub(super) fn noting(mut self, note: impl Into<String>) -> Measure {
        self.notes.push(note.into());
        self
    }
}

/// What could not be read: what it is, and what to do instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unread {
    pub(super) what: String,
    pub(super) instead: String,
}

impl Unread {
    pub(super) fn new(what: impl Into<String>, instead: impl Into<String>) -> Unread {
        Unread { what: what.into(), instead: instead.into() }
    }
}

/// How a number is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn read(sign: &str) -> Option<Comparison> {
        match sign {
            "<" => Some(Comparison::Less),
            "<=" => Some(Comparison::LessOrEqual),
            ">" => Some(Comparison::Greater),
            ">=" => Some(Comparison::GreaterOrEqual),
            _ => None,
        }
    }

    /// What holds when this does not.
    pub(super) fn negated(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::GreaterOrEqual,
            Comparison::LessOrEqual => Comparison::Greater,
            Comparison::Greater => Comparison::LessOrEqual,
            Comparison::GreaterOrEqual => Comparison::Less,
        }
    }

    /// With its sides exchanged.
    pub(super) fn turned(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        }
    }

    fn is_upper(self) -> bool {
        match self {
            Comparison::Less | Comparison::LessOrEqual => true,
            Comparison::Greater | Comparison::GreaterOrEqual => false,
        }
    }
}

/// A bound that a number must keep.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bound {
    pub(super) comparison: Comparison,
    pub(super) number: f64,
}

/// What a bound means.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Meaning {
    /// This limit, with what is different about it.
    Limit(Limit, Vec<String>),
    /// Nothing: it always holds.
    Always,
}

/// What a bound on a measured number means.
pub(super) fn meaning(measure: &Measure, bound: Bound) -> Result<Meaning, Unread> {
    let limit = (bound.number - measure.offset) / measure.factor;
    if !limit.is_finite() {
        return Err(Unread::new("the number that is compared does not depend on the requests", ""));
    }
    let comparison = if measure.factor < 0.0 { bound.comparison.turned() } else { bound.comparison };
    if !comparison.is_upper() {
        return if limit <= ROUNDING {
            Ok(Meaning::Always)
        } else {
            let what = format!("this asks for {} above a bound, and a limit is a bound from above", measure.figure);
            Err(Unread::new(what, "check which way the comparison goes"))
        };
    }
    match measure.figure {
        Figure::Failures => failures(limit, &measure.notes),
        Figure::Latency { .. } => latency(measure.figure, limit, &measure.notes),
    }
}

/// What is lost when shares are computed with is less than this.
const ROUNDING: f64 = 1e-9;
/// A latency limit above this many milliseconds is none: the data plane gives up on requests long before.
const MAX_LATENCY_MS: f64 = 86_400_000.0;

fn failures(share: f64, notes: &[String]) -> Result<Meaning, Unread> {
    if share >= 1.0 - ROUNDING {
        let what = "this holds even if every request fails: the query gives a share of one, or a percentage, and the \
                    condition compares it with the other";
        return Err(Unread::new(what, "check the factor of 100, or write `failures < …` yourself"));
    }
    if share < -ROUNDING {
        let what = "this never holds: the query gives a share of one, and the condition compares it with a percentage";
        return Err(Unread::new(what, "check the factor of 100, or write `failures < …` yourself"));
    }
    match Ratio::from_f64(share.max(0.0)) {
        None | Some(Ratio::ZERO) => Err(Unread::new(
            "this allows no failure at all, which no number of requests can show",
            "say how much is acceptable, such as `failures < 0.1 %`",
        )),
        Some(ratio) => {
            Ok(Meaning::Limit(Limit { figure: Figure::Failures, most: u64::from(ratio.ppm()) }, notes.to_vec()))
        }
    }
}

fn latency(figure: Figure, ms: f64, notes: &[String]) -> Result<Meaning, Unread> {
    if ms <= 0.0 {
        return Err(Unread::new("no request is that fast", "check the unit of the number that is compared"));
    }
    if ms > MAX_LATENCY_MS {
        let what = format!("{} seconds are no latency", ms / 1000.0);
        return Err(Unread::new(what, "check the unit of the number that is compared"));
    }
    let mut notes = notes.to_vec();
    let whole = (ms - ROUNDING).ceil().max(1.0);
    if (whole - ms).abs() > 1e-6 {
        notes.push(format!("{ms} ms, rounded up to whole milliseconds"));
    }
    Ok(Meaning::Limit(Limit { figure, most: whole as u64 }, notes))
}

/// A length of time as the configuration takes it: `90s`, `2m`, `500ms`.
pub(super) fn written(span: Span) -> String {
    match span.0 {
        ms if ms > 0 && ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms > 0 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// Reads a length of time as Go writes it (`90s`, `1.5m`, `1m30s`). `None` when it is not one.
pub(super) fn go_duration(text: &str) -> Option<Span> {
    let mut rest = text.trim();
    let mut ms = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let next = rest[end..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |i| end + i);
        ms += number
            * match &rest[end..next] {
                "ns" => 1e-6,
                "us" | "µs" | "μs" => 1e-3,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 60e3,
                "h" => 3_600e3,
                _ => return None,
            };
        rest = &rest[next..];
    }
    (ms <= MAX_DURATION_MS).then_some(Span(ms.round() as u64))
}

/// The longest length of time that is taken over: a year.
const MAX_DURATION_MS: f64 = 365.0 * 86_400_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_go_reads_them_and_written_as_they_are_read_here() {
        for (text, expected) in
            [("90s", "90s"), ("1.5m", "90s"), ("1h30m", "90m"), ("2h", "2h"), ("250ms", "250ms"), ("0s", "0s")]
        {
            let span = go_duration(text).unwrap();
            assert_eq!(written(span), expected, "{text}");
            assert_eq!(Span::parse(&written(span)), Some(span), "{text}");
        }
        for text in ["", "5", "m", "1d", "-1s", "1..5s", "99999999h", "5 m"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
