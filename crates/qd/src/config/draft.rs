//! A configuration while it is read: what the keys fill in, with the places that later checks want to point at.

use super::{
    Access, Api, Proxy,
    access_log::Log,
    node::Node,
    problem::{Fault, Faults},
};
use model::{
    Check, Claim, EnvironmentName, Limits, Listen, Probe, RolloutSpec, RunSpec, ServiceName, ServiceSpec, Span,
    TrafficSpec,
};
use runtime::shim;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    path::PathBuf,
};

/// A whole file. Its beginning is what an empty file means.
pub(super) struct Draft {
    pub(super) environment: EnvironmentName,
    pub(super) data: PathBuf,
    pub(super) proxy: Proxy,
    pub(super) api: Api,
    /// The place of the addresses with TLS.
    pub(super) tls_at: Range<usize>,
    pub(super) access: Access,
    pub(super) services: BTreeMap<ServiceName, Service>,
}

impl Default for Draft {
    fn default() -> Draft {
        Draft {
            environment: EnvironmentName::default(),
            data: ".quarterdeck".into(),
            proxy: Proxy {
                listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))],
                threads: 0,
                tls: None,
                access_log: Log::default(),
                settings: proxy::Settings::default(),
            },
            api: Api::default(),
            tls_at: 0..0,
            access: Access::default(),
            services: BTreeMap::new(),
        }
    }
}

/// A value and where it stands.
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
}

impl<T> Placed<T> {
    pub(super) fn new(value: T, node: &Node<'_>) -> Placed<T> {
        Placed { value, at: node.at.clone() }
    }
}

/// A service.
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    /// What serves its files, if it is only files.
    pub(super) files: Option<Placed<Vec<String>>>,
    pub(super) ready: Option<Probe>,
    pub(super) env_file: Option<Placed<PathBuf>>,
    pub(super) secrets_file: Option<Placed<PathBuf>>,
    /// The places of `spec.routes`.
    pub(super) route_places: Vec<Range<usize>>,
    /// The places of `spec.tcp`.
    pub(super) tcp_places: Vec<Range<usize>>,
    /// The place of `spec.run.listen`.
    pub(super) listen_at: Range<usize>,
    /// The place of its name.
    pub(super) at: Range<usize>,
}

impl Service {
    /// A service about which nothing is said, whose name stands here.
    pub(super) fn new(at: Range<usize>) -> Service {
        let run = RunSpec {
            command: Vec::new(),
            listen: Listen::Port,
            env: BTreeMap::new(),
            secrets: None,
            ready: Probe::default(),
            live: None,
            start_deadline: Span::seconds(60),
            stop_deadline: Span::seconds(10),
            limits: Limits::default(),
            user: None,
        };
        let (traffic, rollout) = (TrafficSpec::default(), RolloutSpec::default());
        let spec =
            ServiceSpec { run, replicas: 1, sleep_after: None, routes: Vec::new(), tcp: Vec::new(), traffic, rollout };
        Service {
            spec,
            files: None,
            ready: None,
            env_file: None,
            secrets_file: None,
            route_places: Vec::new(),
            tcp_places: Vec::new(),
            listen_at: 0..0,
            at,
        }
    }

    /// Complains about a socket that nobody would listen on.
    pub(super) fn check_listen(&self, faults: &mut Faults) {
        let run = &self.spec.run;
        if run.listen == Listen::Port {
            return;
        }
        let asks = |name: &str| {
            let (bare, braced) = (format!("${name}"), format!("${{{name}}}"));
            run.command.iter().any(|word| word.contains(&bare) || word.contains(&braced))
        };
        let (what, help) = if run.command.first().is_some_and(|word| word == shim::FILES) {
            ("what serves `files` listens on a port", "leave `listen` out")
        } else if asks("PORT") {
            ("a service that listens on a socket has no port, and `command` asks for $PORT", "use $SOCKET there")
        } else if run.env.contains_key("SOCKET") {
            ("`SOCKET` cannot be set: it is given to each instance by Quarterdeck", "give the variable another name")
        } else {
            return;
        };
        faults.0.push(Fault::new(self.listen_at.clone(), what, help));
    }

    /// How it is checked: as it says, else by its port if anyone is to reach it.
    pub(super) fn ready(&self) -> Probe {
        let check = if self.spec.is_reached() { Check::Tcp } else { Check::Started };
        self.ready.clone().unwrap_or(Probe { check, ..Probe::default() })
    }
}

impl Draft {
    /// Complains about an address that would have to be two things.
    pub(super) fn check_addresses(&self, faults: &mut Faults) {
        let clear = &self.proxy.listen;
        let secured = self.proxy.tls.iter().flat_map(|tls| &tls.listen);
        for address in secured.filter(|address| address.port() != 0 && clear.contains(address)) {
            let what = format!("requests come in at {address} in clear already, by `listen` under [proxy]");
            faults.0.push(Fault::new(self.tls_at.clone(), what, "give one of them another port, such as 8443"));
        }
        let own: Vec<_> = self.proxy.tls.iter().flat_map(|tls| &tls.listen).chain(clear).copied().collect();
        for service in self.services.values() {
            for (address, at) in service.spec.tcp.iter().zip(&service.tcp_places) {
                if let Some(own) = own.iter().find(|own| Claim::Tcp(**own).excludes(&Claim::Tcp(*address))) {
                    let what = format!("requests come in at {own} already, by `listen` under [proxy]");
                    faults.0.push(Fault::new(at.clone(), what, "give the service another port"));
                }
            }
        }
    }

    /// Complains about every route and address that is claimed twice.
    pub(super) fn check_claims(&self, line_of: impl Fn(usize) -> usize, faults: &mut Faults) {
        let mut claims: Vec<(Claim, &ServiceName, &Range<usize>)> = Vec::new();
        for (name, service) in &self.services {
            let places = service.route_places.iter().chain(&service.tcp_places);
            claims.extend(service.spec.claims().zip(places).map(|(claim, at)| (claim, name, at)));
        }
        claims.sort_by_key(|(_, _, at)| at.start);
        let mut taken = BTreeMap::new();
        for (claim, name, at) in claims {
            let Some((theirs, (owner, place))) = claim.against(&taken).next() else {
                taken.insert(claim, (name, at));
                continue;
            };
            let line = line_of(place.start);
            let [a, the, help] = match claim {
                Claim::Route(_) => ["a route", "the route", "give one of them another host or path"],
                Claim::Tcp(_) => ["an address", "the address", "give one of them another port"],
            };
            let what = if *owner == name {
                format!("{theirs} is already {a} of {name} on line {line}")
            } else {
                format!("{owner} has {the} {theirs} already, on line {line}")
            };
            faults.0.push(Fault::new(at.clone(), what, help));
        }
    }
}
