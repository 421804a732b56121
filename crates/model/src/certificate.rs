//! A certificate that the data plane presents to clients, as far as others need to know of it. Never its key.

use crate::{Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest time before its end at which a certificate should have been renewed.
const RENEW: Span = Span(14 * 86_400_000);

/// A certificate, or where one should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Where it comes from: the path of its file, or who issued it.
    pub source: String,
    /// The hosts it is for.
    pub names: Vec<String>,
    /// When it is valid; `None` when there is none that could be used.
    pub validity: Option<Validity>,
    /// What is wrong with what is there now. The one before stays in force.
    pub problem: Option<String>,
    /// When the data plane asks for another one itself, after it has failed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Time>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// From then on.
    pub from: Time,
    /// Until then.
    pub until: Time,
}

/// What a certificate is worth at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Clients accept it, for so long.
    Valid(Span),
    /// They do so for this short time only: it should have been renewed by now.
    Ending(Span),
    /// They refuse it, since so long ago.
    Ended(Span),
    /// They refuse it until then.
    Early(Span),
}

impl Validity {
    /// What it means now. A certificate should have been renewed when a third of its time is left, or two weeks.
    pub fn standing(self, now: Time) -> Standing {
        let left = self.until.since(now);
        let third = Span(self.until.since(self.from).0 / 3);
        if now >= self.until {
            Standing::Ended(now.since(self.until))
        } else if now < self.from {
            Standing::Early(self.from.since(now))
        } else if left < third.min(RENEW) {
            Standing::Ending(left)
        } else {
            Standing::Valid(left)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_to_be_renewed_in_good_time() {
        let day = |n: u64| Time(n * 86_400_000);
        let standing = |days: u64, now| Validity { from: day(100), until: day(100 + days) }.standing(now);
        let days = |n: u64| Span(n * 86_400_000);
        assert_eq!(standing(90, day(99)), Standing::Early(days(1)));
        assert_eq!(standing(90, day(100)), Standing::Valid(days(90)));
        assert_eq!(standing(90, day(176)), Standing::Valid(days(14)));
        assert_eq!(standing(90, day(177)), Standing::Ending(days(13)));
        assert_eq!(standing(90, day(190)), Standing::Ended(Span::ZERO));
        assert_eq!(standing(6, day(103)), Standing::Valid(days(3)), "a short one has less time");
        assert_eq!(standing(6, day(105)), Standing::Ending(days(1)));
    }
}
