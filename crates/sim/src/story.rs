//! How stories are written.

use crate::{
    data_plane::Demand,
    serve::Answer,
    version::{Version, Versions},
    world::{TICK, World},
};
use control::{Command, Entry, Refusal, Request, State, change::Phase, story};
use expect_test::Expect;
use model::{
    Actor, ChangeId, Digest, EnvironmentName, InstanceId, Ratio, RouteMatch, RunSpec, ServiceKey, ServiceName,
    ServiceSpec, Span, Strategy, Tally,
};

/// A world and a person, ann, who gives commands. Every command must be accepted, unless the story says that it is
/// refused.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) who: Actor,
    subject: Option<ChangeId>,
}

/// The key of a service in production.
pub(crate) fn key(name: &str) -> ServiceKey {
    name.parse().expect("a valid name")
}

/// A service of two instances at its own host, with a quick canary rollout.
pub(crate) fn spec(name: &str) -> ServiceSpec {
    let percent = |n| Ratio::from_percent(n).expect("at most 100");
    let mut spec = ServiceSpec {
        run: RunSpec {
            command: Vec::new(),
            listen: Default::default(),
            env: Default::default(),
            secrets: None,
            ready: Default::default(),
            live: None,
            start_deadline: Span::seconds(30),
            stop_deadline: Span::seconds(5),
            limits: Default::default(),
            user: None,
        },
        replicas: 2,
        sleep_after: None,
        routes: vec![RouteMatch::prefix(Some(&format!("{name}.example")), "/")],
        tcp: Vec::new(),
        traffic: Default::default(),
        rollout: Default::default(),
    };
    spec.rollout.steps = vec![percent(10), percent(50)];
    spec.rollout.step_time = Span::seconds(5);
    spec.rollout.deadline = Span::minutes(5);
    spec.rollout.hold_back = Span::seconds(20);
    spec.rollout.judgement.tolerance = percent(2);
    spec
}

impl Story {
    pub(crate) fn new() -> Story {
        Story { world: World::new(1), who: Actor::person("ann"), subject: None }
    }

    /// A story that begins with `shop` running its version `v1` under steady traffic.
    pub(crate) fn with_shop_running() -> Story {
        Story::with_shop(|_| {})
    }

    /// The same with something else about its declaration.
    pub(crate) fn with_shop(edit: impl FnOnce(&mut ServiceSpec)) -> Story {
        let mut s = Story::new();
        let mut shop = spec("shop");
        edit(&mut shop);
        s.apply([("shop", shop)]);
        s.deploy("shop", "v1");
        s.run_until_settled();
        s.traffic("shop", 200);
        s.run(Span::seconds(5));
        s
    }

    /// Gives a command as the present person, and runs until what it brings about has begun.
    pub(crate) fn try_command(&mut self, command: Command) -> Result<Vec<Entry>, Refusal> {
        match self.give(command) {
            Answer::Done(entries) => Ok(entries),
            Answer::Refused(refusal) => Err(refusal),
            Answer::NotRecorded(why) => panic!("it was not recorded: {why}"),
        }
    }

    pub(crate) fn give(&mut self, command: Command) -> Answer {
        let answer = self.world.give(vec![self.request(command)]).remove(0);
        if let Answer::Done(entries) = &answer {
            self.subject = control::changes_of(entries).last().copied().or(self.subject);
        }
        self.no_violation();
        answer
    }

    pub(crate) fn request(&self, command: Command) -> Request {
        Request { actor: self.who.clone(), on_behalf_of: None, reason: "because".to_owned(), command, expect: None }
    }

    pub(crate) fn command(&mut self, command: Command) -> ChangeId {
        let entries = self.try_command(command).unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        *control::changes_of(&entries).last().expect("a command makes or steers a change")
    }

    /// What a command that must be refused is told.
    pub(crate) fn refused(&mut self, command: Command) -> String {
        let refusal = self.try_command(command).expect_err("must be refused");
        format!("{:?}: {refusal}", refusal.code)
    }

    pub(crate) fn apply<const N: usize>(&mut self, services: [(&str, ServiceSpec); N]) -> ChangeId {
        self.command(apply(services, false))
    }

    pub(crate) fn deploy(&mut self, service: &str, version: &str) -> ChangeId {
        self.command(deploy(service, version))
    }

    pub(crate) fn rollback(&mut self, service: &str) -> ChangeId {
        self.command(Command::Rollback { service: key(service), to: None })
    }

    pub(crate) fn scale(&mut self, service: &str, replicas: u32) -> ChangeId {
        self.command(Command::Scale { service: key(service), replicas })
    }

    /// A version, to say how it behaves.
    pub(crate) fn version(&mut self, name: &str) -> &mut Version {
        self.world.versions.named(name)
    }

    pub(crate) fn traffic(&mut self, service: &str, per_second: u64) {
        self.world.demand.insert(key(service), Demand { per_second, outage: 0.0 });
    }

    /// Makes a share of all requests to a service fail, whatever release they go to.
    pub(crate) fn outage(&mut self, service: &str, share: f64) {
        self.world.demand.entry(key(service)).or_default().outage = share;
    }

    pub(crate) fn run(&mut self, span: Span) {
        for _ in 0..span.0 / TICK.0 {
            self.world.tick();
            self.no_violation();
        }
    }

    /// Runs until something holds; at most an hour.
    pub(crate) fn run_until(&mut self, what: &str, holds: impl Fn(&Story) -> bool) {
        for _ in 0..Span::minutes(60).0 / TICK.0 {
            if holds(self) {
                return;
            }
            self.world.tick();
            self.no_violation();
        }
        panic!("not within an hour: {what}\n{}", self.everything());
    }

    /// Runs until no change is open, but for those that wait for approval, and no instance is on its way.
    pub(crate) fn run_until_settled(&mut self) {
        self.run_until("everything is settled", |s| {
            s.world.serve.is_some()
                && s.state().changes.values().all(|c| !c.phase.is_open() || c.phase == Phase::WaitingApproval)
                && s.state().instances.values().all(|i| i.retired.is_none())
        });
    }

    /// Runs until a change is in a phase.
    pub(crate) fn run_until_phase(&mut self, change: ChangeId, phase: Phase) {
        self.run_until("the phase is reached", |s| s.state().changes[&change].phase == phase);
    }

    /// Runs until a canary gets a share of the requests.
    pub(crate) fn run_until_weight(&mut self, change: ChangeId, percent: u32) {
        let weight = Ratio::from_percent(percent).expect("at most 100");
        self.run_until("the weight is reached", |s| {
            s.state().changes[&change].rollout.as_ref().is_some_and(|r| r.weight == weight)
        });
    }

    fn no_violation(&self) {
        if let Some(violation) = &self.world.violation {
            panic!("{}: {}\n{}", violation.id, violation.why, self.everything());
        }
    }

    /// The state as it is durable.
    pub(crate) fn state(&self) -> &State {
        &self.world.audit.fold.state
    }

    pub(crate) fn everything(&self) -> String {
        story::tell(&self.world.audit.entries)
    }

    /// The story of the last change, without the small facts about instances.
    pub(crate) fn tale(&self) -> String {
        self.tale_of(self.subject.expect("there is a change"))
    }

    pub(crate) fn tale_of(&self, change: ChangeId) -> String {
        self.tell(|e| story::Subject::Change(change).concerns(e) && !story::is_detail(&e.what))
    }

    /// The story of an instance, with all its small facts.
    pub(crate) fn tale_of_instance(&self, instance: InstanceId) -> String {
        self.tell(|e| story::Subject::Instance(instance).concerns(e))
    }

    /// The story of a service, without the small facts about instances.
    pub(crate) fn tale_of_service(&self, service: &str) -> String {
        self.tell(|e| story::Subject::Service(key(service)).concerns(e) && !story::is_detail(&e.what))
    }

    fn tell(&self, belongs: impl Fn(&Entry) -> bool) -> String {
        let told = without_digests(&story::tell(self.world.audit.entries.iter().filter(|e| belongs(e))));
        told.lines().map(|line| format!("{}\n", line.trim_start())).collect()
    }

    /// The last change must have gone like this.
    #[track_caller]
    pub(crate) fn expect(&self, expected: Expect) {
        expected.assert_eq(&self.tale());
    }

    /// What the releases of a service did with their requests, a line each, by who they were for.
    pub(crate) fn requests(&self) -> String {
        let proxy = self.world.proxy.as_ref().expect("the data plane runs");
        let line = |id: &model::ReleaseId| {
            let Tally { answered, status_5xx, .. } = proxy.tally(*id);
            let ours = proxy.tally(*id).failed() - status_5xx;
            format!("{id}: {answered} answered, {status_5xx} failed, {ours} lost\n")
        };
        self.state().releases.keys().map(line).collect()
    }

    /// Requests that nobody got an answer to because of what was done, not because a version failed them.
    pub(crate) fn lost(&self) -> u64 {
        let proxy = self.world.proxy.as_ref().expect("the data plane runs");
        let lost = |id| proxy.tally(id).failed() - proxy.tally(id).status_5xx;
        self.state().releases.keys().map(|id| lost(*id)).sum()
    }
}

/// Digests say what is the same and what is not, which is tested elsewhere; here they would only change all the time.
fn without_digests(text: &str) -> String {
    let is_digest = |word: &str| word.len() == 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut shown = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        shown += &if is_digest(word) { piece.replace(word, "…") } else { piece.to_owned() };
    }
    shown
}

pub(crate) fn apply<const N: usize>(services: [(&str, ServiceSpec); N], prune: bool) -> Command {
    let name = |text: &str| ServiceName::new(text).expect("a valid name");
    let services = services.into_iter().map(|(text, spec)| (name(text), spec)).collect();
    Command::Apply { environment: EnvironmentName::default(), services, prune }
}

pub(crate) fn deploy(service: &str, version: &str) -> Command {
    Command::Deploy {
        service: key(service),
        artifact: artifact(version),
        label: Some(version.to_owned()),
        strategy: None,
        supersede: false,
    }
}

pub(crate) fn deploy_by(strategy: Strategy, service: &str, version: &str) -> Command {
    Command::Deploy {
        service: key(service),
        artifact: artifact(version),
        label: Some(version.to_owned()),
        strategy: Some(strategy),
        supersede: false,
    }
}

pub(crate) fn artifact(version: &str) -> Digest {
    Versions::artifact(version)
}
