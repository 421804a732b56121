//! Sums the counts of all threads into one report.

use crate::{
    listen::Begins,
    shared::Shared,
    table::Service,
    tally::{ThreadCounts, Use},
};
use model::{
    CacheUse, InstanceTraffic, Latencies, ProxyReport, ReleaseId, ReleaseTraffic, RouteName, RouteTraffic, ServiceKey,
    Tally, Time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant, SystemTime},
};

/// How long a release that has left the table and has nothing in flight is still reported, so that its last counts
/// arrive even when a report is lost.
const LINGER: Duration = Duration::from_secs(10);

/// How often is said what routes have done. There may be many of them, and no decision waits for it.
const ROUTES_EVERY: Duration = Duration::from_secs(1);

/// Makes reports, and forgets counts that nobody needs any more.
#[derive(Default)]
pub(crate) struct Reporter {
    leaving: Leaving<(ServiceKey, ReleaseId)>,
    leaving_routes: Leaving<(ServiceKey, RouteName)>,
    routes_at: Option<Instant>,
}

/// What has left the table, and when it was last seen to count.
struct Leaving<K>(BTreeMap<K, Instant>);

impl<K> Default for Leaving<K> {
    fn default() -> Self {
        Leaving(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Leaving<K> {
    /// Whether something that has left the table is still reported. `used`: whether a thread still adds to its counts.
    fn lingers(&mut self, id: &K, used: Use, now: Instant) -> bool {
        let seen = self.0.entry(id.clone()).or_insert(now);
        match used {
            Use::Held => {
                *seen = now;
                true
            }
            Use::Over => now.duration_since(*seen) <= LINGER,
        }
    }
}

fn cache_use(service: &Service) -> Option<CacheUse> {
    let (memory, disk) = service.cache.as_ref()?.used();
    Some(CacheUse { service: service.key.clone(), memory, disk })
}

impl Reporter {
    /// The data plane as it is now.
    pub(crate) fn report(&mut self, shared: &Shared) -> ProxyReport {
        let table = shared.table.load_full();
        let now = Instant::now();
        let mut releases: BTreeMap<(ServiceKey, ReleaseId), (Tally, Latencies, u64)> = BTreeMap::new();
        for service in &table.services {
            for arm in &service.arms {
                releases.entry((service.key.clone(), arm.release)).or_default();
            }
        }
        self.leaving.0.retain(|(service, release), _| !table.has(service, *release));
        shared.registry.releases.sweep(|counts, used| {
            let id = (counts.service.clone(), counts.release);
            if !table.has(&id.0, id.1) && !self.leaving.lingers(&id, used, now) {
                return false;
            }
            let (tally, latencies, waiting) = releases.entry(id).or_default();
            counts.endings.add_to(tally);
            latencies.merge(&counts.endings.latencies());
            *waiting += counts.waiting.get();
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
                .map(|((service, release), (tally, latencies, waiting))| ReleaseTraffic {
                    service,
                    release,
                    tally,
                    latencies,
                    waiting,
                })
                .collect(),
            routes: None,
            instances: instances
                .into_iter()
                .map(|(instance, in_flight)| InstanceTraffic { instance, in_flight })
                .collect(),
            evidence: table.switches().map(|switch| (switch.change, switch.evidence())).collect(),
            copies: table.mirrors().map(|mirror| (mirror.terms.change, mirror.copies())).collect(),
            tripped: shared.tripped(),
            unrouted: sum(|t| t.unrouted.get()),
            limited: sum(|t| t.limited.get()),
            shed: sum(|t| t.shed.get()),
            cached: sum(|t| t.cached.get()),
            caches: table.services.iter().filter_map(|service| cache_use(service)).collect(),
            unwritten: sum(|t| t.unwritten.get()),
            refused: sum(|t| t.refused.get()),
            connections: sum(|t| t.connections.get()),
        }
    }

    /// What the routes with a name have done, when that was not said for a while.
    pub(crate) fn routes_when_due(&mut self, shared: &Shared) -> Option<Vec<RouteTraffic>> {
        let is_due = self.routes_at.is_none_or(|at| at.elapsed() >= ROUTES_EVERY);
        is_due.then(|| self.routes(shared))
    }

    /// What the routes with a name have done.
    pub(crate) fn routes(&mut self, shared: &Shared) -> Vec<RouteTraffic> {
        let table = shared.table.load_full();
        let now = Instant::now();
        self.routes_at = Some(now);
        let nothing = |(service, route): (ServiceKey, RouteName)| RouteTraffic {
            service,
            route,
            tally: Tally::default(),
            cached: 0,
            limited: 0,
            shed: 0,
            too_large: 0,
            ours: 0,
            latencies: Latencies::default(),
        };
        let named = table
            .services
            .iter()
            .flat_map(|service| service.bounds.names().flatten().map(|name| (service.key.clone(), name.clone())));
        let mut routes: BTreeMap<_, _> = named.map(|id| (id.clone(), nothing(id))).collect();
        let in_table: BTreeSet<_> = routes.keys().cloned().collect();
        self.leaving_routes.0.retain(|id, _| !in_table.contains(id));
        shared.registry.routes.sweep(|counts, used| {
            let id = (counts.service.clone(), counts.route.clone());
            if !in_table.contains(&id) && !self.leaving_routes.lingers(&id, used, now) {
                return false;
            }
            counts.add_to(routes.entry(id.clone()).or_insert_with(|| nothing(id)));
            true
        });
        routes.into_values().collect()
    }
}

/// Now, by the wall clock.
pub(crate) fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
