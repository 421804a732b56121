//! How many requests in how much time.

use crate::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// So many requests in so much time; both are above zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// So many requests: they may come all at once.
    pub requests: u32,
    /// In so much time.
    pub per: Span,
}

impl Rate {
    /// Reads `100/s`, `5000/m`, `10/30s`. `None` when it is none, or when it allows nothing.
    pub fn parse(text: &str) -> Option<Rate> {
        let (requests, per) = text.split_once('/')?;
        let per = per.trim();
        // A unit alone is one of it.
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
            Span::parse(per)
        } else {
            Span::parse(&format!("1{per}"))
        };
        let rate = Rate { requests: requests.trim().parse().ok()?, per: per? };
        (rate.requests > 0 && rate.per > Span::ZERO).then_some(rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let whole = units.iter().find(|(_, length)| self.per.0.is_multiple_of(*length));
        match whole.map(|(unit, length)| (unit, self.per.0 / length)) {
            Some((unit, 1)) => write!(f, "{}/{unit}", self.requests),
            Some((unit, count)) => write!(f, "{}/{count}{unit}", self.requests),
            None => write!(f, "{}/{}", self.requests, self.per),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_as_it_is_written() {
        for (text, requests, per) in [("100/s", 100, 1_000), ("5000/m", 5_000, 60_000), ("10/30s", 10, 30_000)] {
            let rate = Rate { requests, per: Span(per) };
            assert_eq!(Rate::parse(text), Some(rate));
            assert_eq!(rate.to_string(), text);
        }
        assert_eq!(Rate::parse(" 5 / 1m30s "), Some(Rate { requests: 5, per: Span(90_000) }));
        for text in ["", "5", "/s", "5/", "0/s", "5/0s", "-5/s", "5/x", "5.5/s", "s/5", "99999999999/s"] {
            assert_eq!(Rate::parse(text), None, "{text:?}");
        }
    }
}
