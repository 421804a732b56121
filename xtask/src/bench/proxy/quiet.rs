//! What others do on this machine meanwhile. A sample that they disturbed is taken again when they are quiet, as long as there
//! is patience left; then it is taken as it is, and the page says how much they did.

use super::{loader::Sample, process};
use crate::error::Error;
use std::{
    fs,
    time::{Duration, Instant},
};

/// How much of a core others may take while something is measured.
const DISTURBED: f64 = 0.25;
/// For how long it must have been less before something is measured.
const LOOK: Duration = Duration::from_millis(200);

/// The patience that is left.
pub(super) struct Quiet(Duration);

impl Quiet {
    /// As long as this in all.
    pub(super) fn new(patience: Duration) -> Quiet {
        Quiet(patience)
    }

    /// Takes a sample in quiet, or the least disturbed of those that there was time for.
    pub(super) fn sample(&mut self, mut take: impl FnMut() -> Result<Sample, Error>) -> Result<Sample, Error> {
        let mut best: Option<Sample> = None;
        loop {
            self.wait();
            let (begun, busy) = (Instant::now(), Busy::now());
            let mut sample = take()?;
            sample.others = busy.others_since();
            let least = best.take().filter(|best| best.others < sample.others).unwrap_or(sample);
            if least.others < DISTURBED || self.0.is_zero() {
                return Ok(least);
            }
            self.0 = self.0.saturating_sub(begun.elapsed());
            best = Some(least);
        }
    }

    fn wait(&mut self) {
        while !self.0.is_zero() {
            let (begun, busy) = (Instant::now(), Busy::now());
            std::thread::park_timeout(LOOK);
            if busy.others_since() < DISTURBED {
                return;
            }
            self.0 = self.0.saturating_sub(begun.elapsed());
        }
    }
}

/// How much had been done at some moment, in seconds of a processor: by everybody, and by this program and what it started.
struct Busy {
    at: Instant,
    all_s: f64,
    own_s: f64,
}

impl Busy {
    fn now() -> Busy {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<f64> = text.lines().next().into_iter().flat_map(numbers).collect();
        // user, nice, system, idle, waiting, irq, softirq, and what other machines took.
        let all: f64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|n| ticks.get(*n)).sum();
        Busy { at: Instant::now(), all_s: all / process::TICKS_PER_SECOND, own_s: process::cpu_s_with_ended() }
    }

    /// How many cores others have kept busy since, on average.
    fn others_since(&self) -> f64 {
        let now = Busy::now();
        let others = (now.all_s - self.all_s) - (now.own_s - self.own_s);
        (others / (now.at - self.at).as_secs_f64().max(1e-3)).max(0.0)
    }
}

fn numbers(line: &str) -> impl Iterator<Item = f64> + '_ {
    line.split_whitespace().filter_map(|word| word.parse().ok())
}
