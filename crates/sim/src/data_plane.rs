//! A data plane without sockets: it obeys a table, assigns requests that are numbers, counts them, and trips the guards
//! it was given with the real [`judge::Evaluation`].

use crate::{driver::Driver, random::Random, version::Versions};
use judge::{Evaluation, Unit};
use model::{
    Arm, ArmRole, ChangeId, Copies, Evidence, Guard, InstanceId, InstanceTraffic, Latencies, ProxyReport, Ratio,
    ReleaseId, ReleaseTraffic, RouteTable, ServiceKey, ServiceRoutes, Shadow, Tally, Time,
};
use std::collections::{BTreeMap, BTreeSet};

/// What survives the process: the table in force and the guards that have tripped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    /// The table.
    pub(crate) table: RouteTable,
    /// The changes whose canaries get nothing any more.
    pub(crate) tripped: BTreeSet<ChangeId>,
}

/// The process.
#[derive(Clone, Debug)]
pub(crate) struct DataPlane {
    started: Time,
    /// What it keeps on disk.
    pub(crate) saved: Saved,
    evaluations: BTreeMap<ChangeId, (Guard, Evaluation)>,
    copies: BTreeMap<ChangeId, Copies>,
    releases: BTreeMap<ReleaseId, ReleaseTraffic>,
    flying: Vec<Flight>,
    held: Vec<Held>,
    unrouted: u64,
}

/// A request in flight.
#[derive(Clone, Debug)]
struct Flight {
    ends: Time,
    instance: InstanceId,
    attempt: u32,
    release: ReleaseId,
    bet: Option<Bet>,
    failed: bool,
    latency_us: u64,
    copy: Option<Copied>,
}

/// What becomes of a copy of a request.
#[derive(Clone, Copy, Debug)]
struct Copied {
    change: ChangeId,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Answered(u64),
    Status5xx,
    Refused,
}

/// A request that waits for an instance of a service, because one is known to come.
#[derive(Clone, Debug)]
struct Held {
    service: ServiceKey,
    release: ReleaseId,
    until: Time,
}

/// How a request was assigned, where there was a choice.
#[derive(Clone, Copy, Debug)]
struct Bet {
    change: ChangeId,
    arm: ArmRole,
    weight: Ratio,
}

/// How requests to a service go, apart from what its versions do.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Demand {
    /// Requests per second.
    pub(crate) per_second: u64,
    /// The share that fails because of something all releases share.
    pub(crate) outage: f64,
}

impl DataPlane {
    /// Starts with what the process before it kept. Its figures are lost.
    pub(crate) fn start(saved: Saved, now: Time) -> DataPlane {
        let mut new = DataPlane {
            started: now,
            saved,
            evaluations: BTreeMap::new(),
            copies: BTreeMap::new(),
            releases: BTreeMap::new(),
            flying: Vec::new(),
            held: Vec::new(),
            unrouted: 0,
        };
        new.seat_evaluations();
        new
    }

    /// Obeys a table, unless it has a newer one.
    pub(crate) fn set_routes(&mut self, table: RouteTable) {
        if table.generation > self.saved.table.generation {
            self.saved.table = table;
            self.seat_evaluations();
        }
    }

    /// Begins the evaluations of new guards and forgets those of guards that are gone, or compare with something else.
    fn seat_evaluations(&mut self) {
        let guards: Vec<_> = self.saved.table.services.iter().filter_map(|s| s.guard.clone()).collect();
        self.evaluations.retain(|_, (known, _)| guards.contains(known));
        self.saved.tripped.retain(|change| guards.iter().any(|g| g.change == *change));
        let shadows: Vec<_> = self.saved.table.services.iter().filter_map(|s| s.shadow.as_ref()).collect();
        self.copies.retain(|change, _| shadows.iter().any(|shadow| shadow.change == *change));
        for shadow in shadows {
            self.copies.entry(shadow.change).or_default();
        }
        for guard in guards {
            self.evaluations.entry(guard.change).or_insert_with(|| (guard.clone(), Evaluation::of(&guard)));
        }
    }

    /// The share of a service's requests that its canary gets now.
    pub(crate) fn exposure(&self, service: &ServiceRoutes) -> Ratio {
        let tripped = service.guard.as_ref().is_some_and(|g| self.saved.tripped.contains(&g.change));
        let canary = service.arms.iter().find(|arm| arm.role == ArmRole::Canary && !tripped);
        canary.map_or(Ratio::ZERO, |arm| arm.weight)
    }

    /// Takes a number of requests to a service, each of which goes to an arm by chance.
    pub(crate) fn take(
        &mut self,
        (service, count, outage): (&ServiceKey, u64, f64),
        (driver, versions): (&Driver, &Versions),
        random: &mut Random,
        now: Time,
    ) {
        let Some(routes) = self.saved.table.services.iter().find(|s| s.service == *service).cloned() else {
            self.unrouted += count;
            return;
        };
        let weight = self.exposure(&routes);
        let (waited, others) = self.held.drain(..).partition(|held| held.service == *service);
        self.held = others;
        let waited: Vec<Held> = waited;
        let hold = routes.hold.unwrap_or_default();
        let untils = waited.into_iter().map(|held| held.until).chain((0..count).map(|_| now + hold));
        for until in untils {
            let to_canary = random.below(1_000_000) < u64::from(weight.ppm());
            let role = if to_canary { ArmRole::Canary } else { ArmRole::Running };
            let Some(arm) = routes.arms.iter().find(|arm| arm.role == role) else {
                self.unrouted += 1;
                continue;
            };
            if arm.endpoints.is_empty() && until > now {
                self.held.push(Held { service: routes.service.clone(), release: arm.release, until });
                continue;
            }
            let bet = routes.guard.as_ref().map(|g| Bet { change: g.change, arm: role, weight });
            let copy = routes.shadow.as_ref().and_then(|s| copied(s, outage, (driver, versions), random));
            self.send(&routes.service, arm, (bet, copy), outage, (driver, versions), random, now);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one request, with all that decides how it ends")]
    fn send(
        &mut self,
        service: &ServiceKey,
        arm: &Arm,
        (bet, copy): (Option<Bet>, Option<Copied>),
        outage: f64,
        (driver, versions): (&Driver, &Versions),
        random: &mut Random,
        now: Time,
    ) {
        let traffic = self.traffic(service, arm.release);
        let endpoint = arm.endpoints.get(random.below(arm.endpoints.len() as u64) as usize);
        let process = endpoint.and_then(|e| driver.processes.get(&e.instance).filter(|p| p.address == e.address));
        match (endpoint, process.filter(|p| p.runs())) {
            (None, _) => {
                traffic.tally.no_instance += 1;
                self.compare(copy, true);
                self.judge(bet, true, None);
            }
            (Some(_), None) => {
                traffic.tally.refused += 1;
                self.compare(copy, true);
                self.judge(bet, true, None);
            }
            (Some(endpoint), Some(process)) => {
                let version = versions.of(process.spec.artifact, &process.spec.run);
                let latency_us = (version.latency_us as f64 * (0.5 + random.share())) as u64;
                self.flying.push(Flight {
                    ends: Time(now.0 + latency_us / 1_000),
                    instance: endpoint.instance,
                    attempt: process.spec.attempt,
                    release: arm.release,
                    bet,
                    failed: random.chance(version.failing) || random.chance(outage),
                    latency_us,
                    copy,
                });
            }
        }
    }

    /// What is counted of a release.
    fn traffic(&mut self, service: &ServiceKey, release: ReleaseId) -> &mut ReleaseTraffic {
        self.releases.entry(release).or_insert_with(|| uncounted(service, release))
    }

    /// Lets requests end. The guards that have tripped by that.
    pub(crate) fn advance(&mut self, driver: &Driver, now: Time) -> Vec<ChangeId> {
        let before = self.saved.tripped.clone();
        let alive =
            |f: &Flight| driver.processes.get(&f.instance).is_some_and(|p| p.runs() && p.spec.attempt == f.attempt);
        let (ended, flying) = self.flying.drain(..).partition(|f| f.ends <= now || !alive(f));
        self.flying = flying;
        let ended: Vec<Flight> = ended;
        for flight in ended {
            let broken = !alive(&flight);
            if let Some(traffic) = self.releases.get_mut(&flight.release) {
                if broken {
                    traffic.tally.reset += 1;
                } else if flight.failed {
                    traffic.tally.status_5xx += 1;
                } else {
                    traffic.tally.answered += 1;
                    traffic.latencies.record(flight.latency_us);
                }
            }
            self.compare(flight.copy, broken || flight.failed);
            self.judge(flight.bet, broken || flight.failed, (!broken).then_some(flight.latency_us));
        }
        self.saved.tripped.difference(&before).copied().collect()
    }

    /// Counts a copy, and how the request went that it is a copy of.
    fn compare(&mut self, copy: Option<Copied>, user_failed: bool) {
        let Some(Copied { change, ending }) = copy else { return };
        let Some(copies) = self.copies.get_mut(&change) else { return };
        let copy_failed = match ending {
            Ending::Answered(latency_us) => {
                copies.tally.answered += 1;
                copies.latencies.record(latency_us);
                false
            }
            Ending::Status5xx => {
                copies.tally.status_5xx += 1;
                true
            }
            Ending::Refused => {
                copies.tally.refused += 1;
                true
            }
        };
        match (copy_failed, user_failed) {
            (false, false) => copies.both_fine += 1,
            (true, false) => copies.only_copy_failed += 1,
            (false, true) => copies.only_user_failed += 1,
            (true, true) => copies.both_failed += 1,
        }
    }

    fn judge(&mut self, bet: Option<Bet>, failed: bool, latency_us: Option<u64>) {
        let Some(Bet { change, arm, weight }) = bet else { return };
        if self.saved.tripped.contains(&change) {
            return;
        }
        let Some((_, evaluation)) = self.evaluations.get_mut(&change) else { return };
        evaluation.observe(Unit { arm, weight, failed, latency_us });
        if evaluation.verdict().ends_exposure() {
            self.saved.tripped.insert(change);
        }
    }

    /// Requests in flight at an instance.
    pub(crate) fn in_flight(&self, instance: InstanceId) -> u64 {
        self.flying.iter().filter(|f| f.instance == instance).count() as u64
    }

    #[cfg(test)]
    /// What a release did with its requests since this process started.
    pub(crate) fn tally(&self, release: ReleaseId) -> Tally {
        self.releases.get(&release).map_or(Tally::default(), |r| r.tally)
    }

    /// What it tells, at this time of the machine's clock.
    pub(crate) fn report(&self, at: Time) -> ProxyReport {
        let mut instances: BTreeSet<InstanceId> = self.flying.iter().map(|f| f.instance).collect();
        let arms = self.saved.table.services.iter().flat_map(|s| &s.arms);
        instances.extend(arms.flat_map(|arm| &arm.endpoints).map(|e| e.instance));
        let traffic = |instance| InstanceTraffic { instance, in_flight: self.in_flight(instance) };
        ProxyReport {
            started: self.started,
            at,
            generation: self.saved.table.generation,
            listening: Vec::new(),
            listening_tls: Vec::new(),
            listening_tcp: Vec::new(),
            closed_tcp: Vec::new(),
            certificates: Vec::new(),
            releases: self.traffics(),
            routes: None,
            instances: instances.into_iter().map(traffic).collect(),
            evidence: self.evaluations.iter().map(|(change, (_, e))| (*change, self.evidence(*change, e))).collect(),
            caches: Vec::new(),
            copies: self.copies.iter().map(|(change, copies)| (*change, copies.clone())).collect(),
            tripped: self.saved.tripped.iter().copied().collect(),
            unrouted: self.unrouted,
            limited: 0,
            shed: 0,
            cached: 0,
            unwritten: 0,
            refused: 0,
            connections: 0,
        }
    }

    /// What is counted of every release, also of those in the table that nobody has asked for.
    fn traffics(&self) -> Vec<ReleaseTraffic> {
        let mut all = self.releases.clone();
        for service in &self.saved.table.services {
            for arm in &service.arms {
                all.entry(arm.release).or_insert_with(|| uncounted(&service.service, arm.release));
            }
        }
        for traffic in all.values_mut() {
            traffic.waiting = self.held.iter().filter(|held| held.release == traffic.release).count() as u64;
        }
        all.into_values().collect()
    }

    /// A guard that had tripped before this process started has lost its figures.
    fn evidence(&self, change: ChangeId, evaluation: &Evaluation) -> Evidence {
        let against = evaluation.verdict().ends_exposure();
        if self.saved.tripped.contains(&change) && !against { Evidence::default() } else { evaluation.evidence() }
    }
}

/// What becomes of a request's copy, where it has one.
fn copied(
    shadow: &Shadow,
    outage: f64,
    (driver, versions): (&Driver, &Versions),
    random: &mut Random,
) -> Option<Copied> {
    if random.below(1_000_000) >= u64::from(shadow.share.ppm()) {
        return None;
    }
    let endpoint = shadow.endpoints.get(random.below(shadow.endpoints.len() as u64) as usize)?;
    let process = driver.processes.get(&endpoint.instance).filter(|p| p.address == endpoint.address && p.runs());
    let ending = match process.map(|process| versions.of(process.spec.artifact, &process.spec.run)) {
        None => Ending::Refused,
        Some(version) if random.chance(version.failing) || random.chance(outage) => Ending::Status5xx,
        Some(version) => Ending::Answered((version.latency_us as f64 * (0.5 + random.share())) as u64),
    };
    Some(Copied { change: shadow.change, ending })
}

fn uncounted(service: &ServiceKey, release: ReleaseId) -> ReleaseTraffic {
    ReleaseTraffic {
        service: service.clone(),
        release,
        tally: Tally::default(),
        latencies: Latencies::default(),
        waiting: 0,
    }
}
