//! Counts of latencies in a fixed array: what [`model::Latencies`] is made from, without allocation per unit.

use model::{
    Latencies,
    latency::{BUCKETS, bucket},
};

/// Counts per bucket of [`model::latency`].
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    /// Nothing counted.
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0 }
    }

    /// Counts one more latency, in microseconds.
    pub(crate) fn record(&mut self, us: u64) {
        self.counts[bucket(us)] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Halves every count, so that the past fades.
    pub(crate) fn halve(&mut self) {
        for count in &mut self.counts {
            *count /= 2;
        }
        self.total = self.counts.iter().sum();
    }

    /// The bucket of the quantile `q`, and how many latencies lie above that bucket.
    pub(crate) fn quantile(&self, q: f64) -> (usize, u64) {
        self.find((self.total as f64 * q).ceil() as u64)
    }

    /// The bucket of the latency with this rank, from 1.
    pub(crate) fn bucket_of_rank(&self, rank: u64) -> usize {
        self.find(rank).0
    }

    fn find(&self, rank: u64) -> (usize, u64) {
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return (bucket, self.total - seen);
            }
        }
        (BUCKETS - 1, 0)
    }

    /// In the form that is reported.
    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::from_counts(self.counts.iter().copied())
    }
}
