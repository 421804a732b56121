//! A bench for checks of one boundary: a state with one running service, and the turn of the loop without its disk.
//! Whole rollouts are told as stories in the simulator.

use crate::{Command, Draft, Entry, Input, Observed, Refusal, Request, State};
use ledger::Numbering;
use model::{
    Actor, ChangeId, Digest, InstanceId, InstanceSeen, Phase, RouteMatch, RunSpec, ServiceKey, ServiceName,
    ServiceSpec, Span, Time,
};
use policy::Policy;

pub(crate) const NOW: Time = Time(1_000_000);

/// Everything a turn needs.
pub(crate) struct Bench {
    pub(crate) state: State,
    pub(crate) observed: Observed,
    pub(crate) policy: Policy,
    pub(crate) now: Time,
    pub(crate) entries: Vec<Entry>,
    numbering: Numbering,
}

pub(crate) fn key(name: &str) -> ServiceKey {
    name.parse().unwrap()
}

pub(crate) fn spec(name: &str) -> ServiceSpec {
    ServiceSpec {
        run: RunSpec {
            command: vec!["serve".to_owned()],
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
        routes: vec![RouteMatch::prefix(None, &format!("/{name}"))],
        tcp: Vec::new(),
        traffic: Default::default(),
        rollout: Default::default(),
    }
}

pub(crate) fn apply<const N: usize>(services: [(&str, ServiceSpec); N]) -> Command {
    let services = services.into_iter().map(|(name, spec)| (ServiceName::new(name).unwrap(), spec)).collect();
    Command::Apply { environment: Default::default(), services, prune: false }
}

pub(crate) fn deploy(service: &str, version: &str) -> Command {
    Command::Deploy {
        service: key(service),
        artifact: Digest::of(version.as_bytes()),
        label: Some(version.to_owned()),
        strategy: None,
        supersede: false,
    }
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let policy = Policy { owners: ["ann".to_owned(), "bob".to_owned()].into(), ..Policy::default() };
        let mut observed = Observed::default();
        observed.take_instances([]);
        Bench {
            state: State::default(),
            observed,
            policy,
            now: NOW,
            entries: Vec::new(),
            numbering: Numbering::default(),
        }
    }

    /// `shop` runs its `v1`.
    pub(crate) fn with_shop() -> Bench {
        let mut b = Bench::new();
        b.command(apply([("shop", spec("shop"))])).unwrap();
        b.command(deploy("shop", "v1")).unwrap();
        b.settle();
        b.all_ready();
        b.settle();
        b
    }

    pub(crate) fn request(&self, command: Command) -> Request {
        Request {
            actor: Actor::person("ann"),
            on_behalf_of: None,
            reason: "a reason".to_owned(),
            command,
            expect: None,
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Result<Vec<Entry>, Refusal> {
        let input = Input::Command(Box::new(request));
        let drafts = crate::decide(&self.state, &self.observed, &self.policy, self.now, &input)?;
        Ok(self.record(drafts))
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<Vec<Entry>, Refusal> {
        self.ask(self.request(command))
    }

    pub(crate) fn refusal(&mut self, command: Command) -> String {
        let refusal = self.command(command).unwrap_err();
        format!("{:?}: {refusal}", refusal.code)
    }

    /// Records drafts as the shell would: each must fit, and be read back as what was written.
    pub(crate) fn record(&mut self, drafts: Vec<Draft>) -> Vec<Entry> {
        let entries = self.numbering.number(drafts, self.now);
        for entry in &entries {
            let bytes = ledger::encode(entry).unwrap();
            assert_eq!(ledger::decode::<crate::Fact>(&bytes).unwrap(), *entry);
            self.numbering.accept(entry).unwrap();
            crate::apply(&mut self.state, entry);
        }
        self.entries.extend(entries.clone());
        entries
    }

    /// Follows what follows from the observation until nothing more does.
    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            let drafts = crate::decide(&self.state, &self.observed, &self.policy, self.now, &Input::Observed).unwrap();
            if drafts.is_empty() {
                return;
            }
            self.record(drafts);
        }
        panic!("it never settles");
    }

    /// The driver has everything that is wanted, and it is ready.
    pub(crate) fn all_ready(&mut self) {
        let seen = self.state.instances.values().map(|i| seen(i.id, i.attempt, Phase::Ready)).collect::<Vec<_>>();
        self.observed.take_instances(seen);
    }

    pub(crate) fn last_change(&self) -> ChangeId {
        *self.state.changes.keys().next_back().unwrap()
    }
}

pub(crate) fn seen(id: InstanceId, attempt: u32, phase: Phase) -> InstanceSeen {
    let address = format!("127.0.0.1:{}", 10_000 + id.0).parse().unwrap();
    InstanceSeen { id, attempt, phase, address: Some(address), since: NOW }
}
