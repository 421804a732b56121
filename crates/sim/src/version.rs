//! What the programs of this world do: how a version starts, answers and ends.

use model::{Digest, RunSpec, Span};
use std::collections::BTreeMap;

/// How instances of a version behave. A good one starts in a moment and answers everything.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Version {
    /// How long until it is ready; `None`: never.
    pub(crate) ready_after: Option<Span>,
    /// How long until it exits with status 1.
    pub(crate) dies_after: Option<Span>,
    /// How long until its liveness check fails.
    pub(crate) hangs_after: Option<Span>,
    /// Why it cannot be started at all.
    pub(crate) not_startable: Option<&'static str>,
    /// Its readiness check fails, once it was ready.
    pub(crate) unready: bool,
    /// The share of requests that fail.
    pub(crate) failing: f64,
    /// How long a request takes on average, in microseconds.
    pub(crate) latency_us: u64,
    /// How long it takes to stop.
    pub(crate) stops_in: Span,
}

impl Default for Version {
    fn default() -> Version {
        Version {
            ready_after: Some(Span(1_000)),
            dies_after: None,
            hangs_after: None,
            not_startable: None,
            unready: false,
            failing: 0.002,
            latency_us: 20_000,
            stops_in: Span(200),
        }
    }
}

impl Version {
    pub(crate) fn fails(&mut self, share: f64) -> &mut Version {
        self.failing = share;
        self
    }

    pub(crate) fn takes(&mut self, latency: Span) -> &mut Version {
        self.latency_us = latency.0 * 1_000;
        self
    }

    pub(crate) fn is_ready_after(&mut self, span: Span) -> &mut Version {
        self.ready_after = Some(span);
        self
    }

    pub(crate) fn is_never_ready(&mut self) -> &mut Version {
        self.ready_after = None;
        self
    }

    pub(crate) fn dies_after(&mut self, span: Span) -> &mut Version {
        self.dies_after = Some(span);
        self
    }

    pub(crate) fn hangs_after(&mut self, span: Span) -> &mut Version {
        self.hangs_after = Some(span);
        self
    }

    pub(crate) fn cannot_start(&mut self, why: &'static str) -> &mut Version {
        self.not_startable = Some(why);
        self
    }
}

/// All versions there are, by name. What is not here is good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions {
    known: BTreeMap<Digest, Version>,
    good: Version,
}

impl Versions {
    /// The artifact of a version with this name.
    pub(crate) fn artifact(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    /// A version, to change it.
    pub(crate) fn named(&mut self, name: &str) -> &mut Version {
        self.known.entry(Versions::artifact(name)).or_default()
    }

    /// What an artifact does when it is run like this. A command names a version of its own, so that a configuration can
    /// be as good or bad as an artifact.
    pub(crate) fn of(&self, artifact: Digest, run: &RunSpec) -> &Version {
        let by_command = run.command.first().and_then(|name| self.known.get(&Versions::artifact(name)));
        by_command.or_else(|| self.known.get(&artifact)).unwrap_or(&self.good)
    }

    /// Makes every version good.
    pub(crate) fn heal(&mut self) {
        self.known.clear();
    }
}
