//! Points in time and lengths of time. Reading a clock is not possible here: `now` is an argument everywhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, ops, time::Duration};

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// How long it is since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}

/// A length of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// No time at all, for what is left out.
    pub fn zero() -> Span {
        Span::ZERO
    }

    /// Whether it is no time at all.
    pub fn is_zero(&self) -> bool {
        *self == Span::ZERO
    }

    /// A length in seconds.
    pub const fn seconds(n: u64) -> Span {
        Span(n * 1000)
    }

    /// A length in minutes.
    pub const fn minutes(n: u64) -> Span {
        Span(n * 60_000)
    }

    /// For the standard library's waits.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Reads `250ms`, `30s`, `5m`, `2h`, `7d` and sums of them such as `1m30s`. `None` when it is not one.
    pub fn parse(text: &str) -> Option<Span> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |i| digits + i);
            let unit = match &rest[digits..unit_end] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            total = total.checked_add(number.checked_mul(unit)?)?;
            rest = &rest[unit_end..];
        }
        Some(Span(total))
    }
}

impl ops::Add<Span> for Span {
    type Output = Span;
    fn add(self, span: Span) -> Span {
        Span(self.0.saturating_add(span.0))
    }
}

impl fmt::Display for Span {
    /// The two largest units: `1h 5m`, `12.3 s`, `250 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        match ms {
            0 => write!(f, "0 s"),
            1..1_000 => write!(f, "{ms} ms"),
            1_000..60_000 if ms.is_multiple_of(1_000) => write!(f, "{} s", ms / 1_000),
            1_000..60_000 => write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100),
            _ => {
                let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
                let first = units.iter().position(|(size, _)| ms >= *size).unwrap_or(3);
                let (size, unit) = units[first];
                write!(f, "{}{unit}", ms / size)?;
                if let Some((next, next_unit)) = units.get(first + 1)
                    && ms % size / next > 0
                {
                    write!(f, " {}{next_unit}", ms % size / next)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
