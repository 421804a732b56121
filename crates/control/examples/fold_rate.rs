//! How fast the ledger is folded: many services that are deployed again and again, as entries, decoded and applied.

use control::{Command, Entry, Input, Observed, Request, State};
use ledger::Numbering;
use model::{
    Actor, ArmFigures, ChangeId, Digest, Evidence, InstanceSeen, Phase, ProxyReport, RouteMatch, RunSpec, ServiceName,
    ServiceSpec, Span, Time, Verdict,
};
use policy::Policy;
use std::{error::Error, net::SocketAddr, time::Instant};

const SERVICES: usize = 200;
const ENTRIES: usize = 300_000;

fn main() -> Result<(), Box<dyn Error>> {
    let ledger = written()?;
    let bytes: usize = ledger.iter().map(Vec::len).sum();
    let begun = now();
    let entries: Vec<Entry> = ledger.iter().map(|bytes| ledger::decode(bytes)).collect::<Result<_, _>>()?;
    let decoded = begun.elapsed().as_secs_f64();
    let begun = now();
    let mut state = State::default();
    entries.iter().for_each(|entry| control::apply(&mut state, entry));
    let applied = begun.elapsed().as_secs_f64();
    let rate = |seconds: f64| (entries.len() as f64 / seconds / 1e3).round();
    println!("{} entries of {SERVICES} services, {} bytes each on average", entries.len(), bytes / entries.len());
    println!("applied {:>6} k entries/s", rate(applied));
    println!("decoded {:>6} k entries/s", rate(decoded));
    println!("both    {:>6} k entries/s", rate(applied + decoded));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

/// A ledger as the loop would write it, in a world where everything is ready at once and every canary is good.
fn written() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let policy = Policy { owners: ["ann".to_owned()].into(), ..Policy::default() };
    let mut state = State::default();
    let mut numbering = Numbering::default();
    let mut observed = Observed::default();
    observed.take_instances([]);
    let mut stored = Vec::with_capacity(ENTRIES);
    let mut now = Time(1_700_000_000_000);
    let names: Vec<ServiceName> =
        (0..SERVICES).map(|n| ServiceName::new(&format!("service-{n}"))).collect::<Result<_, _>>()?;
    let services = names.iter().map(|name| (name.clone(), spec(name))).collect();
    let mut commands = vec![Command::Apply { environment: Default::default(), services, prune: false }];
    let mut version = 0_u64;
    while stored.len() < ENTRIES {
        let requests = std::mem::take(&mut commands);
        let inputs = requests.into_iter().map(|command| {
            let reason = "the next version".to_owned();
            Input::Command(Box::new(Request {
                actor: Actor::person("ann"),
                on_behalf_of: None,
                reason,
                command,
                expect: None,
            }))
        });
        for input in inputs.chain(std::iter::repeat_n(Input::Observed, 40)) {
            let drafts = control::decide(&state, &observed, &policy, now, &input).map_err(|r| r.to_string())?;
            let done = drafts.is_empty();
            for entry in numbering.number(drafts, now) {
                numbering.accept(&entry)?;
                control::apply(&mut state, &entry);
                stored.push(ledger::encode(&entry)?);
            }
            if done {
                break;
            }
        }
        now = now + Span::seconds(11);
        observed.take_instances(state.instances.values().filter(|i| i.retired.is_none()).map(|i| InstanceSeen {
            id: i.id,
            attempt: i.attempt,
            phase: Phase::Ready,
            address: Some(SocketAddr::from(([127, 0, 0, 1], 20_000 + (i.id.0 % 40_000) as u16)).into()),
            since: now,
        }));
        let open: Vec<ChangeId> = state.changes.values().filter(|c| c.phase.is_open()).map(|c| c.id).collect();
        let generation = state.routes.generation;
        let evidence = open.iter().map(|id| (*id, good())).collect();
        observed.take_report(ProxyReport { at: now, generation, evidence, ..ProxyReport::default() });
        if open.is_empty() {
            version += 1;
            let deploy = |(key, _): (&model::ServiceKey, &control::service::Service)| Command::Deploy {
                service: key.clone(),
                artifact: Digest::of(&version.to_be_bytes()),
                label: Some(format!("v{version}")),
                strategy: None,
                supersede: false,
            };
            commands = state.services.iter().map(deploy).collect();
        }
    }
    Ok(stored)
}

fn good() -> Evidence {
    let mut arm = ArmFigures { units: 500, failed: 1, ..ArmFigures::default() };
    (0..400).for_each(|n| arm.latencies.record(10_000 + n * 97));
    Evidence { verdict: Verdict::NotWorse, running: arm.clone(), canary: arm, ..Evidence::default() }
}

fn spec(name: &ServiceName) -> ServiceSpec {
    let run = RunSpec {
        command: vec!["bin/server".to_owned(), "--port=$PORT".to_owned()],
        listen: Default::default(),
        env: [("DATABASE".to_owned(), "postgres://db.internal/shop".to_owned())].into(),
        secrets: None,
        ready: Default::default(),
        live: None,
        start_deadline: Span::seconds(30),
        stop_deadline: Span::seconds(10),
        limits: Default::default(),
        user: None,
    };
    let routes = vec![RouteMatch::prefix(Some(&format!("{name}.example")), "/")];
    ServiceSpec {
        run,
        replicas: 3,
        sleep_after: None,
        routes,
        tcp: Vec::new(),
        traffic: Default::default(),
        rollout: Default::default(),
    }
}
