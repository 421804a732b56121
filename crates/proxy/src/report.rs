//! Sums the counts of all threads into one report.

use crate::{
    listen::Begins,
    shared::Shared,
    tally::{ThreadCounts, Use},
};
use model::{InstanceTraffic, Latencies, ProxyReport, ReleaseId, ReleaseTraffic, ServiceKey, Tally, Time};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

/// How long a release that has left the table and has nothing in flight is still reported, so that its last counts
/// arrive even when a report is lost.
const LINGER: Duration = Duration::from_secs(10);

/// Makes reports, and forgets counts that nobody needs any more.
#[derive(Default)]
pub(crate) struct Reporter {
    leaving: BTreeMap<(ServiceKey, ReleaseId), Instant>,
}

impl Reporter {
    /// The data plane as it is now.
    pub(crate) fn report(&mut self, shared: &Shared) -> ProxyReport {
        let table = shared.table.load_full();
        let now = Instant::now();
        let mut releases: BTreeMap<(ServiceKey, ReleaseId), (Tally, Latencies)> = BTreeMap::new();
        for service in &table.services {
            for arm in &service.arms {
                releases.entry((service.key.clone(), arm.release)).or_default();
            }
        }
        self.leaving.retain(|(service, release), _| !table.has(service, *release));
        shared.registry.sweep_releases(|counts, used| {
            let id = (counts.service.clone(), counts.release);
            if !table.has(&id.0, id.1) {
                let over = *self.leaving.entry(id.clone()).or_insert(now);
                match used {
                    Use::Held => {
                        self.leaving.insert(id.clone(), now);
                    }
                    Use::Over if now.duration_since(over) > LINGER => return false,
                    Use::Over => {}
                }
            }
            let (tally, latencies) = releases.entry(id).or_default();
            counts.add_to(tally);
            latencies.merge(&counts.latencies());
            true
        });

        let mut instances: BTreeMap<_, u64> = table.endpoints().map(|endpoint| (endpoint.instance, 0)).collect();
        shared.registry.sweep_instances(|counts| {
            let in_flight = counts.in_flight.get();
            if in_flight > 0 {
                *instances.entry(counts.instance).or_default() += in_flight;
            }
        });

        let gates = shared.gates.borrow();
        let listening = |begins| shared.listening.iter().filter(|l| l.1 == begins).map(|l| l.0).collect();
        let sum = |count: fn(&ThreadCounts) -> u64| shared.registry.threads.iter().map(|t| count(t)).sum();
        ProxyReport {
            started: shared.started,
            at: wall_clock(),
            generation: table.generation,
            listening: listening(Begins::InClear),
            listening_tls: listening(Begins::WithTls),
            listening_tcp: gates.addresses(),
            closed_tcp: gates.closed.clone(),
            certificates: shared.tls.as_ref().map(|plane| plane.certificates()).unwrap_or_default(),
            releases: releases
                .into_iter()
                .map(|((service, release), (tally, latencies))| ReleaseTraffic { service, release, tally, latencies })
                .collect(),
            instances: instances
                .into_iter()
                .map(|(instance, in_flight)| InstanceTraffic { instance, in_flight })
                .collect(),
            evidence: table.switches().map(|switch| (switch.change, switch.evidence())).collect(),
            tripped: shared.tripped(),
            unrouted: sum(|t| t.unrouted.get()),
            limited: sum(|t| t.limited.get()),
            shed: sum(|t| t.shed.get()),
            cached: sum(|t| t.cached.get()),
            unwritten: sum(|t| t.unwritten.get()),
            refused: sum(|t| t.refused.get()),
            connections: sum(|t| t.connections.get()),
        }
    }
}

/// Now, by the wall clock.
pub(crate) fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
