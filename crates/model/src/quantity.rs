//! Ratios and sizes as integers, so that state folds to the same bytes on every machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A share between 0 and 1, in parts per million. Always within `0..=1_000_000`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(with = "u32")]
pub struct Ratio(u32);

impl Ratio {
    /// Nothing.
    pub const ZERO: Ratio = Ratio(0);
    /// All of it.
    pub const ONE: Ratio = Ratio(1_000_000);

    /// A share in parts per million; `None` above one million.
    pub const fn from_ppm(ppm: u32) -> Option<Ratio> {
        if ppm <= 1_000_000 { Some(Ratio(ppm)) } else { None }
    }

    /// A share in whole percent; `None` above 100.
    pub const fn from_percent(percent: u32) -> Option<Ratio> {
        if percent <= 100 { Some(Ratio(percent * 10_000)) } else { None }
    }

    /// `part / whole` rounded down; zero when `whole` is zero, and never above one.
    pub const fn of(part: u64, whole: u64) -> Ratio {
        if whole == 0 {
            return Ratio::ZERO;
        }
        if part >= whole {
            return Ratio::ONE;
        }
        Ratio(((part as u128 * 1_000_000) / whole as u128) as u32)
    }

    /// The nearest ratio to a floating-point share; `None` when it is not within `0.0..=1.0`.
    pub fn from_f64(share: f64) -> Option<Ratio> {
        (0.0..=1.0).contains(&share).then(|| Ratio((share * 1e6).round() as u32))
    }

    /// Parts per million.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// As a floating-point share.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// What is left to one.
    #[must_use]
    pub const fn complement(self) -> Ratio {
        Ratio(1_000_000 - self.0)
    }
}

impl TryFrom<u32> for Ratio {
    type Error = String;
    fn try_from(ppm: u32) -> Result<Self, String> {
        Ratio::from_ppm(ppm).ok_or_else(|| format!("{ppm} parts per million is more than the whole"))
    }
}

impl From<Ratio> for u32 {
    fn from(ratio: Ratio) -> u32 {
        ratio.0
    }
}

impl fmt::Display for Ratio {
    /// As a percentage with no more decimals than needed: `5 %`, `0.1 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0 / 10_000;
        let rest = self.0 % 10_000;
        if rest == 0 {
            write!(f, "{whole} %")
        } else {
            let digits = format!("{rest:04}");
            write!(f, "{whole}.{} %", digits.trim_end_matches('0'))
        }
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A size in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// A size in mebibytes.
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n * 1024 * 1024)
    }

    /// Reads `512`, `64 KiB`, `256MiB`, `1 GiB` (and the decimal `kB`, `MB`, `GB`).
    pub fn parse(text: &str) -> Option<Bytes> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..split].parse().ok()?;
        let unit = match text[split..].trim() {
            "" | "B" => 1,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(unit).map(Bytes)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (size, unit) in UNITS {
            if self.0 >= size {
                return if self.0.is_multiple_of(size) {
                    write!(f, "{} {unit}", self.0 / size)
                } else {
                    write!(f, "{:.1} {unit}", self.0 as f64 / size as f64)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}
