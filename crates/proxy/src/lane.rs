//! One thread's own copy of what the table in force means: its counters, its upstreams with their connections. Nothing
//! in it is shared with another thread except counters that only this thread writes.
//!
//! A request holds its [`Lane`] from assignment to end, so that a new table never changes a request in flight.

use crate::{
    admit::Asked,
    assign::{Random, unit_hash},
    refusal::Refusal,
    shadow::Shade,
    shared::Shared,
    table::{Route, Service, Table},
    tally::{ReleaseCounts, RouteCounts},
    upstream::Upstream,
    worker::Worker,
};
use model::{Address, Endpoint, InstanceId, InstanceTls, ReleaseId, RouteName, ServiceKey, Span};
use std::{
    cell::Cell,
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout_at};

/// How many further tries each request adds to what may be used of them, and how many may be used at once, in thousandths: one in
/// five, and ten.
const TRIES: (u32, u32) = (200, 10_000);

/// What an upstream is known by: with other terms of TLS it is another one.
type Known = (InstanceId, Address, Option<InstanceTls>);

/// All services of the table in force.
#[derive(Default)]
pub(crate) struct Lanes {
    /// The table these were made for.
    pub(crate) table: Arc<Table>,
    lanes: Vec<Rc<Lane>>,
    releases: BTreeMap<(ServiceKey, ReleaseId), Arc<ReleaseCounts>>,
    routes: BTreeMap<(ServiceKey, RouteName), Arc<RouteCounts>>,
    /// With how long connections may go on after the endpoint has left the table.
    upstreams: BTreeMap<Known, (Rc<Upstream>, Span)>,
}

/// One service.
pub(crate) struct Lane {
    /// As the table has it.
    pub(crate) service: Arc<Service>,
    /// Its releases, in the same order.
    pub(crate) arms: Vec<LaneArm>,
    /// This thread's counts of those of its routes that say something themselves, in their order: of each that has a name.
    routes: Vec<Option<Arc<RouteCounts>>>,
    /// The release that gets copies of its requests, while there is one.
    pub(crate) shade: Option<Shade>,
    /// Until when none of its requests are judged, because some instance is still warming up. It holds for all arms
    /// alike: leaving out only the arm that is new would make the other one look more frequent than its weight, and the
    /// evidence would grow from nothing.
    pub(crate) warm_at: Instant,
    /// How often more than once requests may be tried, in thousandths of a try.
    tries: Cell<u32>,
}

/// One release of a service.
pub(crate) struct LaneArm {
    /// This thread's counts of it.
    pub(crate) counts: Arc<ReleaseCounts>,
    /// Its ready instances.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
}

impl Lanes {
    /// For a new table, keeping counters and upstreams that it still has. Those it has no more begin to drain.
    pub(crate) fn follow(&self, table: Arc<Table>, shared: &Shared, random: &Random) -> Lanes {
        let now = Instant::now();
        let mut next = Lanes { table: Arc::clone(&table), ..Lanes::default() };
        for service in &table.services {
            let mut warm_at = now;
            let mut arms = Vec::with_capacity(service.arms.len());
            for arm in &service.arms {
                let id = (service.key.clone(), arm.release);
                let counts = self.releases.get(&id).or_else(|| next.releases.get(&id)).cloned();
                let counts = counts.unwrap_or_else(|| shared.registry.release(&service.key, arm.release));
                let upstreams = arm.endpoints.iter().map(|endpoint| {
                    let upstream = self.upstream(&mut next, endpoint.clone(), service, shared, now);
                    if let Some(switch) = &service.guard {
                        warm_at = warm_at.max(upstream.since + switch.guard.judgement.warm_up.duration());
                    }
                    upstream
                });
                let upstreams = upstreams.collect();
                next.releases.insert(id, Arc::clone(&counts));
                arms.push(LaneArm { counts, upstreams });
            }
            let named = service.bounds.names().map(|name| {
                let id = (service.key.clone(), name?.clone());
                let counts = self.routes.get(&id).cloned().unwrap_or_else(|| shared.registry.route(&id.0, &id.1));
                next.routes.insert(id, Arc::clone(&counts));
                Some(counts)
            });
            let routes = named.collect();
            let shade = service.shadow.as_ref().map(|mirror| {
                let endpoints = mirror.terms.endpoints.iter();
                let upstreams = endpoints.map(|at| self.upstream(&mut next, at.clone(), service, shared, now));
                let upstreams: Vec<_> = upstreams.collect();
                let warm = |upstream: &Rc<Upstream>| upstream.since + mirror.terms.warm_up.duration();
                Shade { warm_at: upstreams.iter().map(warm).max().unwrap_or(now), upstreams }
            });
            let (service, tries) = (Arc::clone(service), Cell::new(TRIES.1));
            next.lanes.push(Rc::new(Lane { service, arms, routes, shade, warm_at, tries }));
        }
        for (id, (upstream, deadline)) in &self.upstreams {
            if !next.upstreams.contains_key(id) {
                upstream.leave(now + deadline.duration());
            }
        }
        next.shuffle(random);
        next
    }

    /// An instance in the `next` table: the one that is known, or a new one.
    fn upstream(
        &self,
        next: &mut Lanes,
        endpoint: Endpoint,
        service: &Service,
        shared: &Shared,
        now: Instant,
    ) -> Rc<Upstream> {
        let tls = service.traffic.instance_tls.as_ref();
        let id = (endpoint.instance, endpoint.address.clone(), tls.cloned());
        let known = self.upstreams.get(&id).or_else(|| next.upstreams.get(&id));
        let upstream = known.map(|(upstream, _)| Rc::clone(upstream)).unwrap_or_else(|| {
            let counts = shared.registry.instance(endpoint.instance);
            Rc::new(Upstream::new(endpoint, tls, counts, now))
        });
        next.upstreams.insert(id, (Rc::clone(&upstream), service.traffic.drain_deadline));
        upstream
    }

    /// The service that a request belongs to, and by which route.
    pub(crate) fn find(&self, request: &impl Asked) -> Option<(&Rc<Lane>, &Route)> {
        let (service, route) = self.table.find(request)?;
        Some((self.lanes.get(service)?, route))
    }

    /// Whether a plain request can take the short way.
    pub(crate) fn is_plain(&self, request: &impl Asked) -> bool {
        let service = |(service, _)| self.table.services.get(service);
        self.table.all_plain || self.table.find(request).and_then(service).is_none_or(|service| service.is_plain())
    }

    /// The service that gets the connections to this address as they are.
    pub(crate) fn find_tcp(&self, address: SocketAddr) -> Option<&Rc<Lane>> {
        self.table.find_tcp(address).and_then(|index| self.lanes.get(index))
    }

    /// Lets every upstream drain: the proxy is being stopped.
    pub(crate) fn leave(&self, deadline: Instant) {
        self.upstreams.values().for_each(|(upstream, _)| upstream.leave(deadline));
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn close_idle(&self, now: Instant) {
        self.upstreams.values().for_each(|(upstream, _)| upstream.close_idle(now));
    }

    /// Threads look at endpoints in different orders, so that ties between equally loaded ones do not all fall alike.
    fn shuffle(&mut self, random: &Random) {
        for lane in &mut self.lanes {
            for arm in Rc::get_mut(lane).into_iter().flat_map(|lane| &mut lane.arms) {
                for i in (1..arm.upstreams.len()).rev() {
                    arm.upstreams.swap(i, random.below(i + 1));
                }
            }
        }
    }
}

impl Lane {
    /// What counts the requests of a route, where it has a name.
    pub(crate) fn route(&self, own: Option<usize>) -> Option<&RouteCounts> {
        own.and_then(|own| self.routes.get(own)).and_then(Option::as_deref)
    }

    /// What a client is told whose body is larger than is accepted on a route.
    pub(crate) fn too_large(&self, own: Option<usize>) -> Refusal {
        let bounds = self.service.bounds.of(own);
        let limit = &bounds.max_body;
        Refusal::TooLarge(limit.value, self.service.key.clone(), bounds.on(limit.by))
    }

    /// Waits for another table, and is seen to wait for an instance of an arm. Whether one came while a request that began then may
    /// still be held.
    pub(crate) async fn next_table(
        &self,
        worker: &Worker,
        arm: usize,
        began: Instant,
        changed: &mut watch::Receiver<u64>,
    ) -> bool {
        let _waiting = self.arms.get(arm).map(|arm| Waiting::new(Arc::clone(&arm.counts)));
        let hold = self.service.hold.max(worker.shared.limits.hold);
        timeout_at((began + hold).into(), changed.changed()).await.is_ok()
    }

    /// An instance of an arm for a request. `tried`: the one that was tried before. `key`: what chooses it, where something does.
    pub(crate) fn pick(
        &self,
        arm: usize,
        random: &Random,
        now: Instant,
        tried: Option<&Rc<Upstream>>,
        key: Option<u64>,
    ) -> Option<&Rc<Upstream>> {
        let slow_start = self.service.traffic.slow_start.duration();
        self.arms.get(arm)?.pick(random, now, &Wish { tried, key, slow_start })
    }

    /// A request is tried for the first time.
    pub(crate) fn first_try(&self) {
        self.tries.set((self.tries.get() + TRIES.0).min(TRIES.1));
    }

    /// Whether a request that an instance of an arm has refused may be tried on another one. `left`: how many tries it has left.
    pub(crate) fn may_try_another(&self, arm: usize, left: u32) -> bool {
        left > 0 && self.arms.get(arm).is_some_and(|arm| arm.upstreams.len() > 1) && self.may_try_again()
    }

    /// Whether one may be tried again: retries are few, or an instance that struggles would get more requests than before.
    pub(crate) fn may_try_again(&self) -> bool {
        let left = self.tries.get().checked_sub(1000);
        left.is_some_and(|left| {
            self.tries.set(left);
            true
        })
    }
}

/// A request that waits for an instance, as it is counted.
struct Waiting(Arc<ReleaseCounts>);

impl Waiting {
    fn new(counts: Arc<ReleaseCounts>) -> Waiting {
        counts.waiting.increment();
        Waiting(counts)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.decrement();
    }
}

/// What an instance should be like.
struct Wish<'a> {
    tried: Option<&'a Rc<Upstream>>,
    key: Option<u64>,
    slow_start: Duration,
}

impl LaneArm {
    /// The one that a key chooses, or else the less loaded of two random instances, avoiding those that refused connections lately and the one that was just
    /// tried, as long as there is another, and those that break one request after the other, as long as half of them are
    /// left. `None`: the release has no instance.
    fn pick(&self, random: &Random, now: Instant, wish: &Wish<'_>) -> Option<&Rc<Upstream>> {
        let n = self.upstreams.len();
        if n <= 1 {
            return self.upstreams.first();
        }
        // With fewer than half of them left, those would be the next to break.
        let few_left = || 2 * self.upstreams.iter().filter(|upstream| !upstream.is_left_out(now)).count() < n;
        let good = |upstream: &Rc<Upstream>| {
            upstream.is_usable(now)
                && !wish.tried.is_some_and(|tried| Rc::ptr_eq(tried, upstream))
                && (!upstream.is_left_out(now) || few_left())
        };
        if let Some(key) = wish.key {
            // Each instance draws a number for each key, and the highest wins: one that comes or goes moves no other's keys.
            let drawn = |upstream: &&Rc<Upstream>| unit_hash(&key.to_le_bytes(), upstream.endpoint.instance.0);
            let chosen = self.upstreams.iter().filter(|upstream| good(upstream)).max_by_key(drawn);
            return chosen.or_else(|| self.upstreams.first());
        }
        let first = random.below(n);
        let second = (first + 1 + random.below(n - 1)) % n;
        let (a, b) = (self.upstreams.get(first)?, self.upstreams.get(second)?);
        match (good(a), good(b)) {
            (true, true) if a.is_cold(random, now, wish.slow_start) => Some(b),
            (true, true) if b.load() < a.load() && !b.is_cold(random, now, wish.slow_start) => Some(b),
            (true, _) => Some(a),
            (false, true) => Some(b),
            (false, false) => self.upstreams.iter().find(|upstream| good(upstream)).or(Some(a)),
        }
    }
}
