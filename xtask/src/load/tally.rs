//! Counting what became of requests.

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// How many failures are kept in full.
const FAILURES_KEPT: usize = 20;
/// How many values of a response header are told apart; further ones are counted as `other`.
const LABELS_KEPT: usize = 32;

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered in full, with this status.
    Answered(u16),
    /// Nobody listened.
    Refused,
    /// No connection for another reason.
    Unreachable,
    /// The connection was closed or broke before the head of the answer was there.
    Reset,
    /// Not answered in time.
    TimedOut,
    /// The connection was closed or broke within the body.
    Truncated,
}

/// How many requests ended how.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Counts {
    #[serde(rename = "2xx")]
    pub(crate) success: u64,
    #[serde(rename = "3xx")]
    pub(crate) redirect: u64,
    #[serde(rename = "4xx")]
    pub(crate) client_error: u64,
    #[serde(rename = "5xx")]
    pub(crate) server_error: u64,
    pub(crate) refused: u64,
    pub(crate) unreachable: u64,
    pub(crate) reset: u64,
    pub(crate) timeout: u64,
    pub(crate) truncated: u64,
}

impl Counts {
    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Answered(400..=499) => &mut self.client_error,
            Outcome::Answered(300..=399) => &mut self.redirect,
            Outcome::Answered(200..=299) => &mut self.success,
            Outcome::Answered(_) => &mut self.server_error,
            Outcome::Refused => &mut self.refused,
            Outcome::Unreachable => &mut self.unreachable,
            Outcome::Reset => &mut self.reset,
            Outcome::TimedOut => &mut self.timeout,
            Outcome::Truncated => &mut self.truncated,
        } += 1;
    }

    fn add(&mut self, other: &Counts) {
        self.success += other.success;
        self.redirect += other.redirect;
        self.client_error += other.client_error;
        self.server_error += other.server_error;
        self.refused += other.refused;
        self.unreachable += other.unreachable;
        self.reset += other.reset;
        self.timeout += other.timeout;
        self.truncated += other.truncated;
    }

    /// Everything but 2xx and 3xx. A 4xx too: what is sent is known to be right.
    pub(crate) fn failed(&self) -> u64 {
        self.causes().iter().map(|(_, count)| count).sum()
    }

    /// Each way to fail, with its count.
    fn causes(&self) -> [(&'static str, u64); 7] {
        [
            ("4xx", self.client_error),
            ("5xx", self.server_error),
            ("refused", self.refused),
            ("unreachable", self.unreachable),
            ("reset", self.reset),
            ("timeout", self.timeout),
            ("truncated", self.truncated),
        ]
    }
}

/// One request that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// When it ended, counted from the start of the run.
    pub(crate) at_ms: u64,
    /// Its method and path.
    pub(crate) request: String,
    /// How it failed.
    pub(crate) why: String,
}

/// One finished request.
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    pub(crate) latency: Duration,
    /// How many connections had to be opened for it.
    pub(crate) connects: u64,
    /// The value of the response header that is counted by.
    pub(crate) label: Option<String>,
}

/// Counts and latencies of some time.
#[derive(Clone)]
pub(crate) struct Tally {
    counts: Counts,
    connects: u64,
    by_label: BTreeMap<String, Counts>,
    failures: Vec<Failure>,
    latencies_us: Histogram<u64>,
}

impl Tally {
    /// Nothing counted yet. Latencies are kept to three digits from 1 µs to 2 minutes; longer ones count as that.
    pub(crate) fn new() -> Result<Tally, CreationError> {
        Ok(Tally {
            counts: Counts::default(),
            connects: 0,
            by_label: BTreeMap::new(),
            failures: Vec::new(),
            latencies_us: Histogram::new_with_bounds(1, 120_000_000, 3)?,
        })
    }

    /// Counts one. A latency is kept of what was answered and of what was not answered in time: leaving those out would
    /// make the worst service look fast. `describe` is called only for a failure that is kept.
    pub(crate) fn count(&mut self, finished: Finished, describe: impl FnOnce() -> Failure) {
        let Finished { outcome, latency, connects, label } = finished;
        self.counts.count(outcome);
        self.connects += connects;
        if let Some(label) = label {
            let known = self.by_label.len() < LABELS_KEPT || self.by_label.contains_key(&label);
            self.by_label.entry(if known { label } else { "other".into() }).or_default().count(outcome);
        }
        match outcome {
            Outcome::Answered(_) | Outcome::TimedOut => {
                self.latencies_us.saturating_record(latency.as_micros().try_into().unwrap_or(u64::MAX));
            }
            Outcome::Refused | Outcome::Unreachable | Outcome::Reset | Outcome::Truncated => {}
        }
        if !matches!(outcome, Outcome::Answered(200..=399)) && self.failures.len() < FAILURES_KEPT {
            self.failures.push(describe());
        }
    }

    /// Gives what was counted, and begins anew.
    pub(crate) fn take(&mut self) -> Tally {
        let taken = self.clone();
        self.counts = Counts::default();
        self.connects = 0;
        self.by_label.clear();
        self.failures.clear();
        self.latencies_us.reset();
        taken
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.counts.add(&other.counts);
        self.connects += other.connects;
        for (label, counts) in &other.by_label {
            self.by_label.entry(label.clone()).or_default().add(counts);
        }
        self.failures.extend(other.failures.iter().cloned());
        self.failures.sort_by_key(|failure| failure.at_ms);
        self.failures.truncate(FAILURES_KEPT);
        // Both have the same bounds, hence nothing is out of them.
        let _ = self.latencies_us.add(&other.latencies_us);
    }

    /// The figures: of these seconds, ending at `until` after the start of the run, with so many requests that were due and
    /// not sent.
    pub(crate) fn figures(&self, over: Duration, until: Duration, unsent: u64) -> Figures {
        let sent = self.counts.success + self.counts.redirect + self.counts.failed();
        let ms = |us: u64| us as f64 / 1e3;
        let at = |quantile: f64| ms(self.latencies_us.value_at_quantile(quantile));
        Figures {
            at_s: (until.as_secs_f64() * 10.0).round() / 10.0,
            sent,
            per_second: (sent as f64 / over.as_secs_f64().max(1e-3)).round(),
            unsent,
            connects: self.connects,
            counts: self.counts.clone(),
            latency_ms: LatencyFigures {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: ms(self.latencies_us.max()),
            },
            by: self.by_label.clone(),
            failures: self.failures.clone(),
        }
    }
}

/// What was counted in some time, to be shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    /// When this time ended, in seconds from the start of the run.
    pub(crate) at_s: f64,
    /// Requests that ended, however they did.
    pub(crate) sent: u64,
    /// That many in each second.
    pub(crate) per_second: f64,
    /// Requests that were due but found no connection free until the end of the run.
    pub(crate) unsent: u64,
    /// Connections opened.
    pub(crate) connects: u64,
    /// How the requests ended.
    pub(crate) counts: Counts,
    /// How long they took.
    pub(crate) latency_ms: LatencyFigures,
    /// How they ended, by the value of the chosen response header.
    pub(crate) by: BTreeMap<String, Counts>,
    /// The first that failed.
    pub(crate) failures: Vec<Failure>,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencyFigures {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Figures {
    /// Requests that failed, including those that could not be sent.
    pub(crate) fn failed(&self) -> u64 {
        self.counts.failed() + self.unsent
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { at_s, sent, per_second, connects, latency_ms: ms, .. } = self;
        write!(f, "{at_s:>6.1} s  {sent} sent ({per_second}/s, {connects} connects)  ")?;
        write!(f, "p50 {:.2} ms  p99 {:.2} ms  max {:.2} ms  {} failed", ms.p50, ms.p99, ms.max, self.failed())?;
        let causes = self.counts.causes().into_iter().chain([("unsent", self.unsent)]);
        for (cause, count) in causes.filter(|(_, count)| *count > 0) {
            write!(f, "  {cause} {count}")?;
        }
        for (label, counts) in &self.by {
            write!(f, "  {label}: {} ok, {} failed", counts.success + counts.redirect, counts.failed())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(outcomes: &[(Outcome, u64)]) -> Tally {
        let mut tally = Tally::new().unwrap();
        for (outcome, ms) in outcomes {
            let finished = Finished {
                outcome: *outcome,
                latency: Duration::from_millis(*ms),
                connects: 1,
                label: Some("v1".into()),
            };
            tally.count(finished, || Failure { at_ms: 0, request: "GET /".into(), why: format!("{outcome:?}") });
        }
        tally
    }

    #[test]
    fn every_way_to_fail_is_counted_as_a_failure() {
        let ways = [
            Outcome::Answered(404),
            Outcome::Answered(502),
            Outcome::Refused,
            Outcome::Unreachable,
            Outcome::Reset,
            Outcome::TimedOut,
            Outcome::Truncated,
        ];
        for way in ways {
            let counted = tally(&[(way, 1), (Outcome::Answered(200), 1), (Outcome::Answered(304), 1)]);
            assert_eq!((counted.counts.failed(), counted.failures.len()), (1, 1), "{way:?}");
            assert_eq!(counted.figures(Duration::from_secs(1), Duration::ZERO, 0).sent, 3);
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let outcomes: Vec<(Outcome, u64)> =
            (1..=100).map(|ms| (Outcome::Answered(200 + (ms % 4) as u16 * 100), ms)).collect();
        let whole = tally(&outcomes);
        let mut part = tally(&outcomes[..40]);
        let mut sum = part.take();
        assert_eq!(part.counts, Counts::default());
        sum.add(&tally(&outcomes[40..]));
        let second = Duration::from_secs(1);
        assert_eq!(format!("{:?}", sum.figures(second, second, 0)), format!("{:?}", whole.figures(second, second, 0)));
    }

    #[test]
    fn a_timeout_shows_in_the_latencies_and_a_refusal_does_not() {
        let figures =
            tally(&[(Outcome::TimedOut, 5_000), (Outcome::Refused, 9_000)]).figures(Duration::ZERO, Duration::ZERO, 0);
        assert!((4_990.0..5_010.0).contains(&figures.latency_ms.max), "{figures}");
    }

    #[test]
    fn what_could_not_be_sent_has_failed() {
        let figures = tally(&[(Outcome::Answered(200), 1)]).figures(Duration::from_secs(1), Duration::from_secs(1), 7);
        assert_eq!(figures.failed(), 7);
    }
}
