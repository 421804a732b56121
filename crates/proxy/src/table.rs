//! A route table made ready for looking up. Pure and immutable: one is shared by all threads and replaced as a whole.
//!
//! The best match is an exact host, then the longest `*.` above it, then any host; of its paths, one alone, then a pattern, then the
//! longest prefix by whole segments. The work of a look-up depends on the depth of host and path, on the longest prefix, and on
//! how many patterns its host has, not on how many routes there are.

mod bounds;
mod paths;
pub(crate) mod route;
pub(crate) mod spelling;

pub(crate) use bounds::{Bounds, By};
pub(crate) use route::{Route, Way};

use crate::{
    admit::Asked,
    assign::Split,
    cache::{Kept, Writer},
    edits::Edits,
    guard::Switch,
    shadow::Mirror,
    units::Stage,
};
use bounds::AllBounds;
use http::HeaderName;
use model::{
    Arm, Balance, ChangeId, Endpoint, Guard, PathIs, Protocol, ReleaseId, RouteTable, ServiceKey, Sticky, TrafficSpec,
};
use paths::Paths;
use regex::bytes::Regex;
use route::ready;
use spelling::spelled;
use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

/// The longest host name that can match: DNS allows no longer one.
const MAX_HOST: usize = 255;

/// A whole table.
#[derive(Default)]
pub(crate) struct Table {
    /// The generation of the table it was made from.
    pub(crate) generation: u64,
    /// The services, in the order of the table.
    pub(crate) services: Vec<Arc<Service>>,
    hosts: HashMap<Box<[u8]>, Paths>,
    /// Hosts below a name, by that name with the dot before it.
    below: HashMap<Box<[u8]>, Paths>,
    any_host: Paths,
    /// Whether plain requests to every service can take the short way.
    pub(crate) all_plain: bool,
    /// Every pattern, so that the next table has it ready.
    patterns: HashMap<String, Regex>,
    /// Services by the addresses whose connections they get as they are.
    tcp: HashMap<SocketAddr, usize>,
    /// The position of the service that is guarded for a change.
    guarded: HashMap<ChangeId, usize>,
    /// Where caches store on disk: the same in every table.
    pub(crate) cache_writer: Option<Arc<Writer>>,
}

/// One service, ready to assign.
pub(crate) struct Service {
    /// Which service.
    pub(crate) key: ServiceKey,
    /// How its requests are carried.
    pub(crate) traffic: TrafficSpec,
    /// What tells its users apart.
    pub(crate) sticky: Option<Key>,
    /// What makes this rollout's assignment of users differ from the last one's.
    pub(crate) salt: u64,
    /// Its releases.
    pub(crate) arms: Vec<Arm>,
    /// Which of them gets which share.
    pub(crate) split: Split,
    /// The test that watches its canary.
    pub(crate) guard: Option<Arc<Switch>>,
    /// The release that gets copies of its requests.
    pub(crate) shadow: Option<Mirror>,
    /// For how long requests are held at least when it has no instance.
    pub(crate) hold: Duration,
    /// What is changed in its requests.
    pub(crate) request_edits: Edits,
    /// What is changed in its responses.
    pub(crate) response_edits: Edits,
    /// What its requests are held to, by route.
    pub(crate) bounds: AllBounds,
    /// What is stored of its responses.
    pub(crate) cache: Option<Kept>,
    /// What chooses an instance; `None`: how busy they are.
    pub(crate) hashed: Option<Hashed>,
    /// The step its users are bet on in; `None` when there is no guard or each request is bet on.
    pub(crate) stage: Option<Stage>,
}

/// What chooses an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Hashed {
    /// Who the user is.
    User(Key),
    /// The path.
    Path,
}

/// Where the key of a sticky user is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// In the cookie of this name.
    Cookie(Box<str>),
    /// In this header.
    Header(HeaderName),
    /// In the address of the client's connection.
    Client,
}

impl Table {
    /// What is in force before any other. Caches store on disk in this directory.
    pub(crate) fn first(data_dir: &Path) -> Table {
        Table { cache_writer: Some(Arc::new(Writer::new(data_dir))), ..Table::default() }
    }

    /// Makes a table ready. `switch` gives the switch of a guard: the same one for the same change, so that evidence
    /// and a trip outlive the table. So does what clients have used, `before`.
    pub(crate) fn new(table: &RouteTable, before: &Table, switch: impl Fn(&Guard) -> Arc<Switch>) -> Table {
        let writer = before.cache_writer.as_ref();
        let mut made =
            Table { generation: table.generation, all_plain: true, cache_writer: writer.cloned(), ..Table::default() };
        let known: HashMap<&ServiceKey, &Service> =
            before.services.iter().map(|known| (&known.key, &**known)).collect();
        for (index, service) in table.services.iter().enumerate() {
            let known = known.get(&service.service).copied();
            let bounded = known.map(|known| &known.bounds);
            let mut bounds = AllBounds::new(&service.traffic, bounded);
            for wanted in &service.routes {
                let paths = match &wanted.host {
                    Some(host) => {
                        let host = host.to_ascii_lowercase();
                        match host.strip_prefix('*') {
                            Some(above) => made.below.entry(above.as_bytes().into()).or_default(),
                            None => made.hosts.entry(host.into_bytes().into()).or_default(),
                        }
                    }
                    None => &mut made.any_host,
                };
                let like = match wanted.path_is {
                    PathIs::Pattern => ready(&wanted.path, before.patterns.get(&wanted.path)),
                    PathIs::Exact | PathIs::Prefix => None,
                };
                let own = bounds.add(wanted, bounded);
                let Some(route) = Route::new((index, own), wanted, like.as_ref()) else { continue };
                made.patterns.extend(like.iter().map(|like| (wanted.path.clone(), like.clone())));
                paths.add(&wanted.path, wanted.path_is, like, route);
            }
            for address in &service.tcp {
                // Planning refuses two services on one address.
                made.tcp.entry(*address).or_insert(index);
            }
            let guard = service.guard.as_ref().map(&switch);
            if let Some(guard) = &guard {
                made.guarded.entry(guard.change).or_insert(index);
            }
            let sticky = service.traffic.sticky.as_ref().and_then(Key::new);
            let split = Split::new(&service.arms);
            let stage = guard.as_ref().filter(|_| sticky.is_some()).map(|g| g.units().stage(split.canary_weight()));
            made.all_plain &= is_plain(&service.traffic) && service.shadow.is_none();
            made.services.push(Arc::new(Service {
                key: service.service.clone(),
                traffic: service.traffic.clone(),
                sticky,
                salt: salt(service.guard.as_ref(), &service.arms),
                arms: service.arms.clone(),
                split,
                guard,
                shadow: service.shadow.as_ref().map(|terms| {
                    // It goes on counting as long as it is for the same change.
                    Mirror::new(terms, known.and_then(|known| known.shadow.as_ref()))
                }),
                hold: service.hold.unwrap_or_default().duration(),
                request_edits: Edits::new(&service.traffic.request_headers),
                response_edits: Edits::new(&service.traffic.response_headers),
                bounds,
                cache: service.traffic.cache.map(|budget| {
                    // The one of before, as long as it may be as large as this, or a new one.
                    let known = known.and_then(|known| known.cache.as_ref());
                    Kept::new(budget, service, table.generation, known, writer)
                }),
                hashed: match &service.traffic.balance {
                    Balance::Least => None,
                    Balance::Hash(user) => Key::new(user).map(Hashed::User),
                    Balance::HashPath => Some(Hashed::Path),
                },
                stage,
            }));
        }
        made
    }

    /// The route of a request, by its host (with or without a port, in any case), its path in any spelling, and what else routes ask
    /// for; with the position of its service.
    pub(crate) fn find(&self, request: &impl Asked) -> Option<(usize, &Route)> {
        let (host, path) = (request.host(), spelled(request.path()));
        let path = path.as_bytes();
        let named = || {
            let host = bare_host(host);
            let mut lower = [0; MAX_HOST];
            let lower = lower.get_mut(..host.len())?;
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            let exact = self.hosts.get(&*lower).and_then(|paths| paths.find(path, request));
            exact.or_else(|| self.find_below(lower, path, request))
        };
        let named = if self.hosts.is_empty() && self.below.is_empty() { None } else { named() };
        named.or_else(|| self.any_host.find(path, request)).map(|route| (route.service, route))
    }

    /// Likewise, by the names above a host in lower case, the longest first.
    fn find_below(&self, host: &[u8], path: &[u8], request: &impl Asked) -> Option<&Route> {
        if self.below.is_empty() {
            return None;
        }
        // A name above one that begins with a dot would be the name itself.
        let dots = host.iter().enumerate().filter(|(at, byte)| **byte == b'.' && *at > 0).map(|(at, _)| at);
        dots.filter_map(|dot| self.below.get(host.get(dot..)?)).find_map(|paths| paths.find(path, request))
    }

    /// The position of the service that gets the connections to this address as they are.
    pub(crate) fn find_tcp(&self, address: SocketAddr) -> Option<usize> {
        self.tcp.get(&address).copied()
    }

    /// All addresses whose connections are carried as they are.
    pub(crate) fn tcp(&self) -> impl Iterator<Item = SocketAddr> {
        self.tcp.keys().copied()
    }

    /// The hosts of all routes that name one, in lower case.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &[u8]> {
        self.hosts.keys().map(|host| &**host)
    }

    /// The switch of a change's guard, when some service is guarded for it.
    pub(crate) fn switch(&self, change: ChangeId) -> Option<&Arc<Switch>> {
        self.services.get(*self.guarded.get(&change)?)?.guard.as_ref()
    }

    /// The switches of all guards.
    pub(crate) fn switches(&self) -> impl Iterator<Item = &Arc<Switch>> {
        self.services.iter().filter_map(|service| service.guard.as_ref())
    }

    /// All shadows.
    pub(crate) fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.services.iter().filter_map(|service| service.shadow.as_ref())
    }

    /// Every endpoint of every release.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let arms = self.services.iter().flat_map(|service| &service.arms).flat_map(|arm| &arm.endpoints);
        arms.chain(self.mirrors().flat_map(|mirror| &mirror.terms.endpoints))
    }

    /// Whether a release of a service is in the table.
    pub(crate) fn has(&self, service: &ServiceKey, release: ReleaseId) -> bool {
        self.services.iter().any(|s| s.key == *service && s.arms.iter().any(|arm| arm.release == release))
    }
}

/// Whether plain requests to a service that is carried so can take the short way.
fn is_plain(traffic: &TrafficSpec) -> bool {
    traffic.protocol == Protocol::Http1
        && !traffic.compress
        && traffic.cache.is_none()
        && traffic.hedge_after.is_none()
        && traffic.instance_tls.is_none()
}

impl Service {
    /// Whether plain requests to it can take the short way.
    pub(crate) fn is_plain(&self) -> bool {
        is_plain(&self.traffic) && self.shadow.is_none()
    }
}

impl Key {
    /// `None` when the header cannot exist: every request is assigned anew then, as if nothing told users apart.
    fn new(sticky: &Sticky) -> Option<Key> {
        match sticky {
            Sticky::Cookie(name) => Some(Key::Cookie(name.as_str().into())),
            Sticky::Header(name) => HeaderName::from_bytes(name.as_bytes()).ok().map(Key::Header),
            Sticky::Client => Some(Key::Client),
        }
    }
}

/// The change when it is known, else the new release: either differs from one rollout to the next.
fn salt(guard: Option<&Guard>, arms: &[Arm]) -> u64 {
    match guard {
        Some(guard) => guard.change.0,
        None => arms.iter().map(|arm| arm.release.0).max().unwrap_or(0),
    }
}

/// A host without its port and without the dot that may end a full name.
fn bare_host(host: &[u8]) -> &[u8] {
    let end = match host.iter().rposition(|b| *b == b':') {
        // `[::1]` has colons of its own; a port can only follow the bracket.
        Some(colon) if !host[colon..].contains(&b']') => colon,
        Some(_) | None => host.len(),
    };
    let host = &host[..end];
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests;
