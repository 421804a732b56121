//! For how long nobody has asked for a service, as far as is known.
//!
//! It is added up from report to report, so that a data plane that says nothing, or a clock that is set, makes no idleness; and it
//! begins anew with either process, because nothing is known of before.

use model::{InstanceId, ProxyReport, ServiceKey, Span, Time};
use std::collections::BTreeMap;

/// The most that counts between two reports: they come at least once a second.
const MOST_BETWEEN: Span = Span::seconds(5);
/// For how long a request that found no instance, and did not wait, still counts as one that asks.
const JUST_NOW: Span = Span::seconds(10);

/// What is known of all services.
#[derive(Clone, Debug, Default)]
pub(super) struct Quiet {
    /// When the process that reports started, and when it last did.
    last: Option<(Time, Time)>,
    services: BTreeMap<ServiceKey, Asked>,
    /// For how long each instance has had nothing in flight.
    instances: BTreeMap<InstanceId, Span>,
}

/// Who has asked for a service.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// How many requests of it had ended.
    ended: u64,
    /// How many of them because there was no instance.
    in_vain: u64,
    /// How many wait for one.
    waiting: u64,
    /// For how long none has ended or waited.
    quiet: Span,
    /// Whether the last one found no instance.
    is_in_vain: bool,
}

impl Quiet {
    /// Takes a report that is not late.
    pub(super) fn follow(&mut self, report: &ProxyReport) {
        let before = self.last.replace((report.started, report.at)).filter(|(started, _)| *started == report.started);
        let passed = before.map_or(Span::ZERO, |(_, at)| report.at.since(at).min(MOST_BETWEEN));
        let known = if before.is_some() { std::mem::take(self) } else { Quiet::default() };
        let mut services: BTreeMap<ServiceKey, Asked> = BTreeMap::new();
        for traffic in &report.releases {
            let (asked, tally) = (services.entry(traffic.service.clone()).or_default(), &traffic.tally);
            asked.ended += tally.total() + tally.cancelled + tally.cut;
            asked.in_vain += tally.no_instance;
            asked.waiting += traffic.waiting;
        }
        for (service, asked) in &mut services {
            let Some(before) = known.services.get(service) else { continue };
            if asked.ended == before.ended && asked.waiting == 0 {
                (asked.quiet, asked.is_in_vain) = (before.quiet + passed, before.is_in_vain);
            } else {
                asked.is_in_vain = asked.in_vain > before.in_vain;
            }
        }
        let quiet = |id| known.instances.get(id).map_or(Span::ZERO, |quiet| *quiet + passed);
        let instances = report.instances.iter();
        let instances = instances.map(|i| (i.instance, if i.in_flight > 0 { Span::ZERO } else { quiet(&i.instance) }));
        *self = Quiet { last: Some((report.started, report.at)), services, instances: instances.collect() };
    }

    /// For how long a service with these instances was not asked for; `None`: it is not in the reports.
    pub(super) fn of(&self, service: &ServiceKey, instances: impl Iterator<Item = InstanceId>) -> Option<Span> {
        let asked = self.services.get(service)?.quiet;
        Some(instances.filter_map(|id| self.instances.get(&id)).fold(asked, |least, quiet| least.min(*quiet)))
    }

    /// Whether a request waits for an instance of a service, or has just found none.
    pub(super) fn is_asked_for(&self, service: &ServiceKey) -> bool {
        let is_asked = |asked: &Asked| asked.waiting > 0 || (asked.is_in_vain && asked.quiet < JUST_NOW);
        self.services.get(service).is_some_and(is_asked)
    }
}
