//! A histogram of latencies with a fixed relative error, small enough to send and exact to merge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The number of buckets: 5 bits of mantissa for values up to 2^32 µs (71 minutes), which is where larger ones go too.
pub const BUCKETS: usize = 32 + 27 * 16;

/// Counts of latencies in microseconds, in buckets 1/16 wide relative to their value: a quantile is off by at most 6 %.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Latencies {
    /// `(bucket, count)` with ascending buckets and counts above zero.
    counts: Vec<(u16, u64)>,
}

/// The bucket of a latency in microseconds.
pub const fn bucket(us: u64) -> usize {
    let us = if us >= 1 << 32 { (1 << 32) - 1 } else { us };
    if us < 32 {
        return us as usize;
    }
    let exponent = 63 - us.leading_zeros();
    let mantissa = (us >> (exponent - 4)) & 15;
    32 + (exponent as usize - 5) * 16 + mantissa as usize
}

/// The smallest latency in microseconds that falls into a bucket.
pub const fn bucket_floor(bucket: usize) -> u64 {
    if bucket < 32 {
        return bucket as u64;
    }
    let exponent = (bucket - 32) / 16 + 5;
    let mantissa = ((bucket - 32) % 16) as u64;
    (16 + mantissa) << (exponent - 4)
}

impl Latencies {
    /// From a full array of counts per bucket.
    pub fn from_counts(counts: impl IntoIterator<Item = u64>) -> Latencies {
        let counts = counts.into_iter().take(BUCKETS).enumerate().filter(|(_, n)| *n > 0);
        Latencies { counts: counts.map(|(bucket, n)| (bucket as u16, n)).collect() }
    }

    /// Counts one more latency, in microseconds.
    pub fn record(&mut self, us: u64) {
        let bucket = bucket(us) as u16;
        match self.counts.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(i) => self.counts[i].1 += 1,
            Err(i) => self.counts.insert(i, (bucket, 1)),
        }
    }

    /// What was counted, as `(lowest, highest, count)` with latencies in microseconds, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.counts.iter().map(|(bucket, count)| {
            let bucket = usize::from(*bucket);
            (bucket_floor(bucket), bucket_floor(bucket + 1).saturating_sub(1), *count)
        })
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, n)| n).sum()
    }

    /// The latency in microseconds below or at which a share `q` of them lie; `None` when nothing was counted.
    pub fn quantile_us(&self, q: f64) -> Option<u64> {
        let rank = ((self.count() as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        self.counts.iter().find_map(|(b, n)| {
            seen += n;
            let b = usize::from(*b);
            (seen >= rank).then(|| (bucket_floor(b) + bucket_floor(b + 1).saturating_sub(1)) / 2)
        })
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Latencies) {
        self.combine(other, |a, b| a + b);
    }

    /// What was counted here and not yet in `earlier`, which must be an older state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Latencies) -> Latencies {
        let mut rest = self.clone();
        rest.combine(earlier, u64::saturating_sub);
        rest
    }

    fn combine(&mut self, other: &Latencies, f: impl Fn(u64, u64) -> u64) {
        let mut full = vec![0; BUCKETS];
        for (bucket, n) in &self.counts {
            full[usize::from(*bucket).min(BUCKETS - 1)] = *n;
        }
        for (bucket, n) in &other.counts {
            let place = &mut full[usize::from(*bucket).min(BUCKETS - 1)];
            *place = f(*place, *n);
        }
        *self = Latencies::from_counts(full);
    }
}
