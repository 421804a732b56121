//! The storm: random commands, faults and kills, then calm. Every invariant is checked after every turn, and once nothing
//! is broken any more everything must become as it is intended.
//!
//! A seed decides everything. A storm that breaks an invariant tells its story and how to repeat it.

use crate::{
    data_plane::Demand,
    invariants::Violation,
    random::Random,
    serve::Answer,
    version::{Version, Versions},
    world::{Link, World},
};
use control::{
    Command, Fact, Request, State,
    change::Phase,
    rollout::Until,
    sleep::{self, Rest},
    story,
};
use ledger::Fault;
use model::{
    AbsoluteLimit, Actor, Bytes, ChangeId, EnvironmentName, OnDeadline, Ratio, ReleaseId, RouteMatch, RunSpec,
    ServiceKey, ServiceName, ServiceSpec, Span, Strategy,
};
use std::{fmt, net::SocketAddr};

/// How long the world is troubled.
const TROUBLE: Span = Span::minutes(8);
/// How long it may take until everything is as intended, once nothing is broken any more: a deadline, a hold-back, and
/// the longest wait before a restart.
const HEALING: Span = Span::minutes(15);
/// The names of services.
const SERVICES: [&str; 3] = ["shop", "cart", "worker"];
/// The names of versions.
const VERSIONS: [&str; 6] = ["v1", "v2", "v3", "v4", "v5", "v6"];

/// What a storm saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Weather {
    /// Commands that were accepted.
    pub accepted: u64,
    /// Commands that were refused or could not be recorded.
    pub refused: u64,
    /// Entries in the ledger at the end.
    pub entries: u64,
    /// Changes that were promoted.
    pub promoted: u64,
    /// Changes that were undone.
    pub undone: u64,
    /// Kills of the control plane and of the data plane.
    pub kills: u64,
    /// How often a service fell asleep.
    pub slept: u64,
    /// The most rounds of consequences that one observation had.
    pub rounds: u64,
}

impl Weather {
    /// Adds what another storm saw.
    pub fn add(&mut self, other: Weather) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.entries += other.entries;
        self.promoted += other.promoted;
        self.undone += other.undone;
        self.kills += other.kills;
        self.slept += other.slept;
        self.rounds = self.rounds.max(other.rounds);
    }
}

/// A storm in which an invariant did not hold.
#[derive(Clone, Debug)]
pub struct Wreck {
    /// The seed that repeats it.
    pub seed: u64,
    /// How long the world had existed.
    pub after: Span,
    /// Which invariant.
    pub id: &'static str,
    /// What was found instead.
    pub why: String,
    /// The last things that happened to the world, and everything that is in the ledger.
    pub story: String,
}

impl fmt::Display for Wreck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wreck { seed, after, id, why, story } = self;
        write!(f, "{story}\nseed {seed} after {after}: {id}: {why}\nrepeat it with --seeds 1 --first {seed}")
    }
}

impl std::error::Error for Wreck {}

/// Runs one storm.
///
/// # Errors
/// When an invariant does not hold.
pub fn run(seed: u64) -> Result<Weather, Box<Wreck>> {
    let mut storm = Storm {
        world: World::new(seed),
        dice: Random::new(!seed),
        snapshot: None,
        log: Vec::new(),
        weather: Weather::default(),
    };
    match storm.rage().and_then(|()| storm.calm()) {
        Ok(()) => {
            storm.weather.entries = storm.world.audit.entries.len() as u64;
            Ok(storm.weather)
        }
        Err(Violation { id, why }) => {
            let log = storm.log.iter().map(|line| format!("{line}\n")).collect::<String>();
            let story = format!("{}\n{log}", story::tell(&storm.world.audit.entries));
            Err(Box::new(Wreck { seed, after: storm.world.age(), id, why, story }))
        }
    }
}

struct Storm {
    world: World,
    /// What happens next. Not the world's own chance, so that one more request does not alter the script.
    dice: Random,
    snapshot: Option<String>,
    log: Vec<String>,
    weather: Weather,
}

impl Storm {
    fn rage(&mut self) -> Result<(), Violation> {
        while self.world.age() < TROUBLE {
            let ticks = 1 + self.dice.below(30);
            self.pass(ticks)?;
            match self.dice.below(10) {
                0..6 => self.command(),
                _ => self.trouble(),
            }
        }
        Ok(())
    }

    fn pass(&mut self, ticks: u64) -> Result<(), Violation> {
        for _ in 0..ticks {
            self.world.tick();
            if let Some(serve) = &self.world.serve {
                self.weather.rounds = self.weather.rounds.max(serve.rounds as u64);
            }
            if let Some(violation) = self.world.violation.take() {
                return Err(violation);
            }
        }
        Ok(())
    }

    fn state(&self) -> &State {
        &self.world.audit.fold.state
    }

    fn say(&mut self, what: String) {
        self.log.push(format!("{:>10}  {what}", self.world.age().to_string()));
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.dice.below(all.len() as u64) as usize).copied()
    }

    fn service(&mut self) -> ServiceKey {
        let name = self.one_of(&SERVICES).and_then(|name| ServiceName::new(name).ok());
        let name = name.or(ServiceName::new("shop").ok());
        // The names above are valid; the compiler does not know.
        let Some(name) = name else { unreachable!() };
        ServiceKey { environment: EnvironmentName::default(), name }
    }

    fn change(&mut self) -> ChangeId {
        let open: Vec<_> = self.state().changes.values().filter(|c| c.phase.is_open()).map(|c| c.id).collect();
        self.one_of(&open).unwrap_or(ChangeId(1 + self.dice.below(9)))
    }

    /// Gives one to three commands at once.
    fn command(&mut self) {
        let count = 1 + self.dice.below(3) / 2;
        let requests: Vec<Request> = (0..count).map(|_| self.request()).collect();
        let said: Vec<String> = requests.iter().map(|r| format!("{} asks: {:?}", r.actor, r.command.act())).collect();
        let answers = self.world.give(requests);
        for (said, answer) in said.into_iter().zip(answers) {
            let told = match answer {
                Answer::Done(entries) => {
                    self.weather.accepted += 1;
                    format!("{:?}", control::changes_of(&entries))
                }
                Answer::Refused(refusal) => {
                    self.weather.refused += 1;
                    refusal.message
                }
                Answer::NotRecorded(why) => {
                    self.weather.refused += 1;
                    why
                }
            };
            self.say(format!("{said}: {told}"));
        }
    }

    fn request(&mut self) -> Request {
        let who = self.one_of(&["ann", "ann", "bob", "vic"]).unwrap_or("ann");
        let command = match self.dice.below(21) {
            0..3 => self.configuration(),
            3..10 => self.deployment(),
            10..12 => Command::Rollback { service: self.service(), to: self.release() },
            12..14 => Command::Scale { service: self.service(), replicas: 1 + self.dice.below(4) as u32 },
            14 => Command::Pause { change: self.change() },
            15 => Command::Resume { change: self.change() },
            16 => Command::Promote { change: self.change() },
            17 => Command::Cancel { change: self.change() },
            18 => {
                let path = self.one_of(&["/", "/a", "/a/b", "/c"]).map(str::to_owned);
                Command::PurgeCache { service: self.service(), path }
            }
            _ => {
                let change = self.change();
                let plan = self.state().changes.get(&change).map(|c| c.plan.digest);
                Command::Approve { change, digest: plan.unwrap_or(Versions::artifact("none")) }
            }
        };
        Request { actor: Actor::person(who), on_behalf_of: None, reason: "because".to_owned(), command, expect: None }
    }

    fn release(&mut self) -> Option<ReleaseId> {
        let all: Vec<_> = self.state().releases.keys().copied().collect();
        self.dice.chance(0.3).then(|| self.one_of(&all)).flatten()
    }

    fn strategy(&mut self) -> Strategy {
        let all = [Strategy::Canary, Strategy::Canary, Strategy::BlueGreen, Strategy::Rolling, Strategy::Recreate];
        self.one_of(&all).unwrap_or_default()
    }

    fn deployment(&mut self) -> Command {
        let version = self.one_of(&VERSIONS).unwrap_or("v1");
        Command::Deploy {
            service: self.service(),
            artifact: Versions::artifact(version),
            label: Some(version.to_owned()),
            strategy: if self.dice.chance(0.5) { Some(self.strategy()) } else { None },
            supersede: self.dice.chance(0.2),
        }
    }

    fn configuration(&mut self) -> Command {
        let mut services = std::collections::BTreeMap::new();
        for name in SERVICES {
            if self.dice.chance(0.8)
                && let Ok(key) = ServiceName::new(name)
            {
                services.insert(key, self.declaration(name));
            }
        }
        Command::Apply { environment: EnvironmentName::default(), services, prune: self.dice.chance(0.15) }
    }

    fn declaration(&mut self, name: &str) -> ServiceSpec {
        let percent = |n| Ratio::from_percent(n).unwrap_or_default();
        // Now and then two want the same.
        let path = if self.dice.chance(0.1) { "/".to_owned() } else { format!("/{name}") };
        let tcp = if path == "/" { vec![SocketAddr::from(([127, 0, 0, 1], 5432))] } else { Vec::new() };
        let route = RouteMatch::prefix(None, &path);
        let mut spec = ServiceSpec {
            run: RunSpec {
                command: Vec::new(),
                listen: Default::default(),
                env: Default::default(),
                secrets: None,
                ready: Default::default(),
                live: None,
                start_deadline: Span::seconds(20),
                stop_deadline: Span::seconds(5),
                limits: Default::default(),
                user: None,
            },
            replicas: 1 + self.dice.below(4) as u32,
            sleep_after: (name == "cart").then_some(Span::seconds(10)),
            routes: if name == "worker" { Vec::new() } else { vec![route] },
            tcp,
            traffic: Default::default(),
            rollout: Default::default(),
        };
        spec.run.env.insert("SETTING".to_owned(), self.dice.below(3).to_string());
        spec.traffic.drain_deadline = Span::seconds(5);
        spec.traffic.cache = Some(Bytes::mib(1)).filter(|_| self.dice.chance(0.8));
        spec.rollout.strategy = self.strategy();
        spec.rollout.steps = if self.dice.below(2) == 0 { Vec::new() } else { vec![percent(10), percent(50)] };
        spec.rollout.step_time = Span::seconds(self.dice.below(4));
        spec.rollout.deadline = Span::seconds(90);
        spec.rollout.hold_back = Span::seconds(self.dice.below(2) * 20);
        if spec.rollout.hold_back > Span::ZERO {
            spec.rollout.hold_back_share = percent(10 * self.dice.below(2) as u32);
        }
        if spec.rollout.strategy == Strategy::Canary {
            spec.rollout.shadow = percent(50 * self.dice.below(2) as u32);
            spec.rollout.shadow_requests = 60;
        }
        spec.rollout.min_time = Span::seconds(self.dice.below(2) * 10);
        spec.rollout.judgement.tolerance = percent(3);
        spec.rollout.judgement.exposure = (self.dice.below(3) == 0).then_some(8);
        if self.dice.below(3) == 0 {
            let slow = AbsoluteLimit::Latency { quantile: percent(99), below: Span(200) };
            spec.rollout.judgement.limits = vec![AbsoluteLimit::Failures(percent(5)), slow];
        }
        let on_deadline = [OnDeadline::Rollback, OnDeadline::Hold, OnDeadline::Promote];
        spec.rollout.on_deadline = self.one_of(&on_deadline).unwrap_or_default();
        spec
    }

    /// Breaks something, or mends it.
    fn trouble(&mut self) {
        let what = match self.dice.below(17) {
            0 | 1 => self.kill_control(),
            2..5 => self.start_control(),
            5 => {
                self.world.kill_proxy();
                self.weather.kills += 1;
                "the data plane is killed".to_owned()
            }
            6 | 7 => {
                self.world.start_proxy();
                "the data plane is started".to_owned()
            }
            8 => self.link(),
            9 => self.disk(),
            10 => {
                let by_ms = self.one_of(&[-3_600_000, 3_600_000, 90_000, -5_000]).unwrap_or_default();
                self.world.step_clock(by_ms);
                format!("the clock is set by {by_ms} ms")
            }
            11 => self.hit_instance(),
            12 => {
                let service = self.service();
                let outage = if self.dice.chance(0.3) { 0.7 } else { 0.0 };
                let per_second = self.one_of(&[0, 20, 60]).unwrap_or_default();
                self.world.demand.insert(service.clone(), Demand { per_second, outage });
                format!("{service} has {per_second} requests per second, of which {outage} fail")
            }
            13 => {
                let approvals = u32::from(self.dice.chance(0.3));
                self.world.policy.approvals.insert(EnvironmentName::default(), approvals);
                format!("{approvals} others must approve")
            }
            _ => self.version(),
        };
        self.say(what);
    }

    fn kill_control(&mut self) -> String {
        self.weather.kills += 1;
        let soon = self.world.audit.entries.len() as u64 + self.dice.below(6);
        match &mut self.world.serve {
            // In the middle of what it does next.
            Some(serve) if self.dice.chance(0.6) => {
                serve.dies_at = Some(soon);
                serve.commit_size = 1 + self.dice.below(3) as usize;
                format!("the control plane will die at entry {soon}")
            }
            Some(_) | None => {
                self.world.kill_control();
                "the control plane is killed".to_owned()
            }
        }
    }

    fn start_control(&mut self) -> String {
        if let Some(serve) = &self.world.serve
            && serve.stopped.is_some()
        {
            self.world.kill_control();
        }
        if let Some(serve) = &self.world.serve {
            self.snapshot = serve.published.snapshot().ok();
            return "a snapshot is taken".to_owned();
        }
        let snapshot = self.snapshot.clone().filter(|_| self.dice.chance(0.5));
        self.world.start_control(snapshot.as_deref());
        format!("the control plane is started {} a snapshot", if snapshot.is_some() { "from" } else { "without" })
    }

    fn link(&mut self) -> String {
        let delay = Span(self.dice.below(4) * 400);
        self.world.driver_link = Link { delay, silent: self.dice.chance(0.3), repeats: self.dice.chance(0.3) };
        format!("{:?}", self.world.driver_link)
    }

    fn disk(&mut self) -> String {
        let fault = self.one_of(&[
            None,
            None,
            Some(Fault::DiskFull),
            Some(Fault::SyncFailsAndLoses),
            Some(Fault::SyncFailsAndKeeps),
        ]);
        let Some(serve) = &mut self.world.serve else { return "the disk is nobody's".to_owned() };
        match fault.flatten() {
            Some(fault) => serve.disk.inject(fault),
            None => serve.disk.heal(),
        }
        format!("the disk: {fault:?}")
    }

    fn hit_instance(&mut self) -> String {
        let all: Vec<_> = self.world.driver.processes.keys().copied().collect();
        let Some(id) = self.one_of(&all) else { return "there is no instance to hit".to_owned() };
        if self.dice.chance(0.5) {
            self.world.hit(id);
            format!("{id} is killed")
        } else {
            self.world.driver.lose(id);
            format!("{id} is lost")
        }
    }

    fn version(&mut self) -> String {
        let name = self.one_of(&VERSIONS).unwrap_or("v1");
        let mut version = Version { latency_us: 20_000 + self.dice.below(20_000), ..Version::default() };
        match self.dice.below(12) {
            0 => _ = version.fails(0.4),
            1 => _ = version.takes(Span(90)),
            2 => _ = version.is_never_ready(),
            3 => _ = version.dies_after(Span(500 + self.dice.below(20_000))),
            4 => _ = version.hangs_after(Span(2_000 + self.dice.below(20_000))),
            5 => _ = version.cannot_start("it is not executable"),
            6 => _ = version.is_ready_after(Span(self.dice.below(30_000))),
            7 => version.unready = true,
            8 => version.stops_in = Span(self.dice.below(8_000)),
            9 => _ = version.takes(Span::seconds(8)),
            _ => {}
        }
        let said = format!("{name}: {version:?}");
        *self.world.versions.named(name) = version;
        said
    }

    /// Mends everything, and waits for everything to be as intended.
    fn calm(&mut self) -> Result<(), Violation> {
        self.say("everything is mended".to_owned());
        self.world.versions.heal();
        self.world.driver_link = Link::default();
        self.world.start_proxy();
        if let Some(serve) = &mut self.world.serve {
            serve.disk.heal();
            serve.dies_at = None;
        }
        self.start_control();
        if self.world.serve.is_none() {
            self.start_control();
        }
        // Requests, too: that an outage is over is seen in them alone.
        for demand in self.world.demand.values_mut() {
            *demand = Demand { per_second: 20, outage: 0.0 };
        }
        let begun = self.world.age();
        while !self.is_as_intended() {
            if self.world.age().0 - begun.0 > HEALING.0 {
                return Err(Violation { id: "heals", why: self.what_is_not_as_intended() });
            }
            self.resume_what_is_paused();
            self.pass(10)?;
        }
        let changes = || self.world.audit.fold.state.changes.values();
        let undone = changes().filter(|c| c.rollout.as_ref().is_some_and(|r| r.undo.is_some())).count();
        let succeeded = changes().filter(|c| c.phase == Phase::Succeeded && c.rollout.is_some()).count();
        self.weather.undone += undone as u64;
        self.weather.promoted += succeeded as u64;
        let slept = |what: &Fact| matches!(what, Fact::Sleep(sleep::Fact::Slept { .. }));
        self.weather.slept += self.world.audit.entries.iter().filter(|entry| slept(&entry.what)).count() as u64;
        Ok(())
    }

    fn resume_what_is_paused(&mut self) {
        let paused: Vec<_> = self.state().changes.values().filter(|c| c.phase == Phase::Paused).map(|c| c.id).collect();
        let resume = |change| Request {
            actor: Actor::person("ann"),
            on_behalf_of: None,
            reason: "calm".to_owned(),
            command: Command::Resume { change },
            expect: None,
        };
        let _ = self.world.give(paused.into_iter().map(resume).collect());
    }

    fn is_as_intended(&self) -> bool {
        self.what_is_not_as_intended().is_empty()
    }

    fn what_is_not_as_intended(&self) -> String {
        let state = self.state();
        let mut wrong = Vec::new();
        for change in state.changes.values().filter(|c| c.phase.is_open() && c.phase != Phase::WaitingApproval) {
            let held = change.rollout.as_ref().and_then(|r| r.held.as_ref());
            // Who asked for that waits for a person.
            if !held.is_some_and(|h| h.until == Until::Decided) {
                let observed = self.world.serve.as_ref().map(|s| s.observed.clone()).unwrap_or_default();
                let progress = control::view::change(state, &observed, change).progress;
                wrong.push(format!("{} is {}: {progress}", change.id, change.phase));
            }
        }
        for (key, service) in &state.services {
            if let Some(running) = service.running {
                let is_asleep = matches!(service.rest, Some(Rest::Asleep { .. }));
                let wanted = if is_asleep { 0 } else { service.spec.replicas };
                let ready = state.ready(running);
                if ready != wanted && service.active.is_none() {
                    wrong.push(format!("{ready} of {wanted} instances of {key} are ready"));
                }
            }
        }
        for id in state.instances.values().filter(|i| i.retired.is_some()).map(|i| i.id) {
            wrong.push(format!("{id} still drains"));
        }
        for id in self.world.driver.processes.keys().filter(|id| !state.instances.contains_key(*id)) {
            wrong.push(format!("{id} runs and nothing wants it"));
        }
        if self.world.proxy.as_ref().is_none_or(|p| p.saved.table.generation != state.routes.generation) {
            wrong.push("the data plane has another table".to_owned());
        }
        wrong.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Weather, run};

    /// In two halves, for two processors.
    fn storms(seeds: std::ops::Range<u64>) {
        let mut all = Weather::default();
        for seed in seeds {
            match run(seed) {
                Ok(weather) => all.add(weather),
                Err(wreck) => panic!("{wreck}"),
            }
        }
        // A storm in which nothing happens proves nothing.
        assert!(all.accepted > 250 && all.promoted > 50 && all.undone > 25 && all.kills > 50, "{all:?}");
        assert!(all.slept > 0, "{all:?}");
    }

    #[test]
    fn no_storm_breaks_an_invariant() {
        storms(0..15);
    }

    #[test]
    fn no_other_storm_breaks_an_invariant() {
        storms(15..30);
    }
}
