//! The world as it was last reported. Kept by the shell, lost with it, never in the ledger: raw telemetry stays out.

mod quiet;

use model::{
    ChangeId, Copies, Evidence, InstanceId, InstanceSeen, Latencies, ProxyReport, ReleaseId, ServiceKey, Span, Tally,
};
use quiet::Quiet;
use std::collections::{BTreeMap, VecDeque};

/// How many reports are kept to compute windows from.
const KEPT_REPORTS: usize = 64;
/// How far apart kept reports are at least.
const REPORT_SPACING: Span = Span(500);

/// The world as last reported. `None` means that nobody has reported yet, which is not the same as nothing.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Every instance the driver has; `None` until it reported for the first time.
    pub instances: Option<BTreeMap<InstanceId, InstanceSeen>>,
    /// The data plane; `None` while there is no link to it.
    pub proxy: Option<ProxyReport>,
    /// Earlier reports of the same data plane process, oldest first.
    history: VecDeque<ProxyReport>,
    /// For how long nobody has asked for services.
    quiet: Quiet,
}

/// What a release did with its requests lately.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recent {
    /// Over how long.
    pub window: Span,
    /// How they ended.
    pub tally: Tally,
    /// How long they took.
    pub latencies: Latencies,
}

impl Observed {
    /// Takes a driver's whole view.
    pub fn take_instances(&mut self, seen: impl IntoIterator<Item = InstanceSeen>) {
        self.instances = Some(seen.into_iter().map(|i| (i.id, i)).collect());
    }

    /// Takes a data plane's report, in the order in which they came. One that the same process made under an earlier
    /// table is late and of no use any more.
    pub fn take_report(&mut self, mut report: ProxyReport) {
        let same = |other: &ProxyReport| other.started == report.started;
        if self.proxy.as_ref().is_some_and(|last| same(last) && last.generation > report.generation) {
            return;
        }
        self.quiet.follow(&report);
        // Counts begin anew with the process, and windows with the clock.
        if self.history.back().is_some_and(|last| !same(last) || last.at > report.at) {
            self.history.clear();
        }
        let before = self.proxy.as_mut().filter(|last| same(last)).and_then(|last| last.routes.take());
        // Nobody asks what routes did before.
        let routes = report.routes.take().or(before);
        if self.history.back().is_none_or(|last| report.at.since(last.at) >= REPORT_SPACING) {
            self.history.push_back(report.clone());
            if self.history.len() > KEPT_REPORTS {
                self.history.pop_front();
            }
        }
        self.proxy = Some(ProxyReport { routes, ..report });
    }

    /// Takes what the data plane has to say about one guard right now, ahead of its next report.
    pub fn take_evidence(&mut self, change: ChangeId, evidence: Evidence) {
        if let Some(proxy) = &mut self.proxy {
            proxy.evidence.retain(|(id, _)| *id != change);
            proxy.evidence.push((change, evidence));
        }
    }

    /// The link to the data plane is gone. What it counted is kept, what it is doing is unknown.
    pub fn lose_proxy(&mut self) {
        self.proxy = None;
    }

    /// The evidence the data plane has for a change.
    pub fn evidence(&self, change: ChangeId) -> Option<&Evidence> {
        self.proxy.as_ref()?.evidence.iter().find(|(id, _)| *id == change).map(|(_, e)| e)
    }

    /// What became of the copies that a change's release got.
    pub fn copies(&self, change: ChangeId) -> Option<&Copies> {
        self.proxy.as_ref()?.copies.iter().find(|(id, _)| *id == change).map(|(_, copies)| copies)
    }

    /// How many units of a change were judged per second lately; `None` when that is not known.
    pub fn units_per_second(&self, change: ChangeId) -> Option<f64> {
        let units = |report: &ProxyReport| {
            let evidence = report.evidence.iter().find(|(id, _)| *id == change).map(|(_, e)| e)?;
            Some((report.at, evidence.running.units + evidence.canary.units))
        };
        let (now, total) = units(self.proxy.as_ref()?)?;
        // Evidence begins anew with another guard: what was before that is no past of this.
        let past = self.history.iter().rev().map_while(units).take_while(|(_, then)| *then <= total).last();
        let (then, before) = past?;
        let seconds = now.since(then).0 as f64 / 1e3;
        (seconds > 0.0).then(|| (total - before) as f64 / seconds)
    }

    /// Whether the data plane has stopped a change's canary by itself.
    pub fn has_tripped(&self, change: ChangeId) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.tripped.contains(&change))
    }

    /// Requests in flight at an instance; `None` when the data plane is silent.
    pub fn in_flight(&self, instance: InstanceId) -> Option<u64> {
        let proxy = self.proxy.as_ref()?;
        Some(proxy.instances.iter().find(|i| i.instance == instance).map_or(0, |i| i.in_flight))
    }

    /// For how long nobody has asked for a service with these instances and nothing was in flight there, as far as was reported;
    /// `None` when that is not known.
    pub fn quiet(&self, service: &ServiceKey, instances: impl Iterator<Item = InstanceId>) -> Option<Span> {
        self.proxy.as_ref()?;
        self.quiet.of(service, instances)
    }

    /// Whether a request waits for an instance of a service, or has just found none.
    pub fn is_asked_for(&self, service: &ServiceKey) -> bool {
        self.proxy.is_some() && self.quiet.is_asked_for(service)
    }

    /// What a release did with its requests over the last kept reports, about half a minute.
    pub fn recent(&self, release: ReleaseId) -> Recent {
        let of = |report: &ProxyReport| report.releases.iter().find(|r| r.release == release).cloned();
        let (Some(last), Some(first)) = (self.proxy.as_ref().or(self.history.back()), self.history.front()) else {
            return Recent::default();
        };
        let Some(now) = of(last) else { return Recent::default() };
        let window = last.at.since(first.at);
        match of(first) {
            Some(then) => Recent {
                window,
                tally: difference(&now.tally, &then.tally),
                latencies: now.latencies.since(&then.latencies),
            },
            None => Recent { window, tally: now.tally, latencies: now.latencies },
        }
    }
}

fn difference(now: &Tally, then: &Tally) -> Tally {
    Tally {
        answered: now.answered.saturating_sub(then.answered),
        status_5xx: now.status_5xx.saturating_sub(then.status_5xx),
        refused: now.refused.saturating_sub(then.refused),
        reset: now.reset.saturating_sub(then.reset),
        timeout: now.timeout.saturating_sub(then.timeout),
        no_instance: now.no_instance.saturating_sub(then.no_instance),
        cancelled: now.cancelled.saturating_sub(then.cancelled),
        retried: now.retried.saturating_sub(then.retried),
        hedged: now.hedged.saturating_sub(then.hedged),
        hedges_won: now.hedges_won.saturating_sub(then.hedges_won),
        cut: now.cut.saturating_sub(then.cut),
    }
}

#[cfg(test)]
mod tests;
