//! A cache of responses for all clients of one service (RFC 9111), in memory and on disk, for all threads alike.
//!
//! Releases never answer for each other: what is stored belongs to one stay of one release in the table ([`key::Era`]), so that
//! a release that leaves takes all of it along, and a rollback needs no purge.
//!
//! **What it does to evidence.** An answer from the cache says nothing about a release, so it is not bet on, not counted for the
//! release and not among its latencies. But leaving answers out must not depend on the arm: the release with the warmer cache
//! would reach its instances less often, and the other one look more frequent than its weight, so that failures of both would
//! be evidence against it. So while a guard watches, a stored answer is given only where every arm with a share has one to give,
//! which is settled before anybody is bet on; where one of them has none, both go to their instances, without conditions and
//! without waiting for each other. That also lets a release that fails at what others answer from the cache fail for all to see.
//!
//! What always holds: a lock is held for a look-up, never while something is awaited; what was not whole is not stored; what
//! was asked for before a change or a purge of it is not stored after. Start reading at [`Kept::look`].

mod answer;
mod disk;
mod fetch;
pub(crate) mod key;
mod part;
mod policy;
mod purged;
mod refresh;
mod status;
mod store;
mod stored;

pub(crate) use answer::Wanted;
pub(crate) use disk::Writer;
pub(crate) use fetch::{Collector, Fetch};
pub(crate) use refresh::behind;
pub(crate) use status::{Status, Why};
pub(crate) use stored::Sending;

use crate::table::Service;
use disk::Disk;
use fetch::Flights;
use http::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE, UPGRADE},
};
use key::{Era, Key, Place};
use model::{Bytes, Ratio, ReleaseId, ServiceRoutes};
use part::Part;
use policy::{Directives, Use};
use purged::Purged;
use std::{
    array,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};
use store::{Entry, Store};
use stored::Stored;

/// The largest body that is stored in memory.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// Which part of the memory is for what is known of responses on disk, where there is one.
const INDEX: u64 = 4;

/// Of how many groups of places it is remembered what became of them last.
const MARKS: usize = 4096;

/// The stored responses of one service.
pub(crate) struct Cache {
    budget: Budget,
    /// Those whose bodies are in memory.
    memory: Store,
    /// Those whose bodies are on disk. Never the same ones, save for a moment: then those in memory are newer.
    disk: Option<Disk>,
    purged: Purged,
    flights: Flights,
    /// How many bytes of bodies are there that may be stored when they are whole.
    collecting: AtomicU64,
    eras: AtomicU64,
    marks: Box<[Mark; MARKS]>,
}

/// How many bytes they may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Budget {
    memory: Bytes,
    disk: Option<Bytes>,
}

/// What is remembered of places that share a number.
#[derive(Default)]
struct Mark {
    /// The place whose response could not be stored last, by its hash: to requests that say who they are, and to others. What the former
    /// are told says nothing about what the latter are.
    passes: [AtomicU64; 2],
    /// How often one of them was changed.
    changes: AtomicU64,
}

impl Cache {
    fn new(budget: Budget, writer: Option<&Arc<Writer>>) -> Cache {
        let index = budget.memory.0 / INDEX;
        let disk = budget.disk.zip(writer).and_then(|(size, writer)| {
            let opened = Disk::open(writer, size.0, index);
            let what = "a cache has no file on disk, and goes on in memory only";
            opened.inspect_err(|error| writer.tell(error, what)).ok()
        });
        Cache {
            budget,
            memory: Store::new(budget.memory.0 - disk.as_ref().map_or(0, |_| index)),
            disk,
            purged: Purged::default(),
            flights: Flights::default(),
            collecting: AtomicU64::new(0),
            eras: AtomicU64::new(0),
            marks: Box::new(array::from_fn(|_| Mark::default())),
        }
    }

    fn stores(&self) -> impl Iterator<Item = &Store> {
        [&self.memory].into_iter().chain(self.disk.as_ref().map(|disk| &disk.index))
    }

    /// The largest body that is stored, in bytes.
    fn largest(&self) -> u64 {
        self.disk.as_ref().map_or(0, Disk::largest).max(MAX_BODY as u64)
    }

    /// What is stored for a request and was not purged.
    fn get(&self, key: &Key, request: &HeaderMap) -> Option<Arc<Entry>> {
        let entry = self.stores().find_map(|store| store.get(key, request))?;
        if entry.body.is_damaged() {
            self.stores().for_each(|store| store.forget(key, &entry.selection));
            return None;
        }
        (!self.purged.takes(&key.place, entry.born)).then_some(entry)
    }

    /// Stores a response, unless it is from before a purge. One that comes just now takes it all the same, when it is looked for.
    fn put(self: &Arc<Cache>, key: Key, entry: Entry) {
        if self.purged.takes(&key.place, entry.born) || entry.body.is_damaged() {
            return;
        }
        match &self.disk {
            Some(disk) if entry.body.is_on_disk() => {
                self.memory.forget(&key, &entry.selection);
                disk.index.put(key, entry.into());
            }
            disk => {
                disk.iter().for_each(|disk| disk.index.forget(&key, &entry.selection));
                let displaced = self.memory.put(key, entry.into());
                displaced.into_iter().for_each(|(key, entry)| self.demote(key, &entry));
            }
        }
    }

    /// Stores on disk what memory has no room for, if it is still of use and nothing else came in its place.
    fn demote(self: &Arc<Cache>, key: Key, entry: &Entry) {
        let (Some(disk), Stored::Memory(bytes)) = (&self.disk, &entry.body) else { return };
        if bytes.is_empty() || !entry.terms.is_fresh(Instant::now()) && !policy::has_validator(&entry.headers) {
            return;
        }
        let mut extent = disk.begin();
        if !disk.append(&mut extent, bytes.clone()) {
            return;
        }
        let demoted = Entry { body: Stored::Disk(Arc::new(extent)), ..entry.clone() };
        let (cache, changes) = (Arc::clone(self), self.changes(&key.place));
        disk.then(move || {
            let is_new = !cache.stores().any(|store| store.has(&key, &demoted.selection));
            if is_new && cache.changes(&key.place) == changes {
                cache.put(key, demoted);
            }
        });
    }

    /// Forgets what is stored under a key.
    fn remove(&self, key: &Key) {
        self.stores().for_each(|store| store.remove(key));
    }

    fn mark(&self, place: &Place) -> (&Mark, u64) {
        let hash = self.memory.hash(place);
        (&self.marks[hash as usize % MARKS], hash | 1)
    }

    /// Whether what such requests find there could lately not be stored: nobody of them needs to wait for it.
    fn passes(&self, place: &Place, request: &HeaderMap) -> bool {
        let (mark, hash) = self.mark(place);
        mark.passes[usize::from(request.contains_key(AUTHORIZATION))].load(Relaxed) == hash
    }

    fn set_passes(&self, place: &Place, request: &HeaderMap, passes: bool) {
        let (mark, hash) = self.mark(place);
        let known = &mark.passes[usize::from(request.contains_key(AUTHORIZATION))];
        if passes {
            known.store(hash, Relaxed);
        } else if known.load(Relaxed) == hash {
            known.store(0, Relaxed);
        }
    }

    /// How often a place was changed, or one that is taken for it.
    fn changes(&self, place: &Place) -> u64 {
        self.mark(place).0.changes.load(Relaxed)
    }
}

/// The cache of a service, as one table sees it.
pub(crate) struct Kept {
    cache: Arc<Cache>,
    /// In the order of the service's arms.
    eras: Vec<(ReleaseId, Era)>,
}

/// What the cache looks at in a request.
pub(crate) struct Asking<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) scheme: &'a str,
    pub(crate) host: &'a [u8],
    /// The path and query that an instance is asked for.
    pub(crate) target: &'a str,
    pub(crate) has_body: bool,
}

/// What the cache can do for a request.
pub(crate) enum Found {
    /// Answer it.
    Usable(Usable),
    /// Keep what an instance says.
    Fetch(Box<Fetch>),
    /// Nothing, because of this.
    Nothing(Why),
    /// Forget what is stored for these places, in case it goes well.
    Changes([Place; 2]),
    /// Nothing, and the request wants nobody else to do anything.
    Refused,
}

/// A stored response that can be given.
pub(crate) struct Usable {
    entry: Arc<Entry>,
    status: Status,
    /// The bytes of it that are wanted. `None`: all.
    part: Option<Range<u64>>,
    /// It is stale: how to ask whether it still holds, after it was given.
    pub(crate) behind: Option<Box<Fetch>>,
}

impl Usable {
    fn hit(entry: Arc<Entry>, now: Instant) -> Usable {
        let ttl = entry.terms.ttl(now);
        let status = if entry.body.is_on_disk() { Status::HitOnDisk(ttl) } else { Status::Hit(ttl) };
        Usable { entry, status, part: None, behind: None }
    }

    /// What there is for a request for a part of something: of what is stored as a whole. Parts that instances send are not stored.
    fn part(entry: Arc<Entry>, request: &HeaderMap, now: Instant) -> Option<Usable> {
        if entry.status != StatusCode::OK {
            return None;
        }
        let part = match Part::of(request, &entry.headers, entry.body.len()) {
            Part::Whole => None,
            Part::Bytes(bytes) => Some(bytes),
            Part::Other => return None,
        };
        Some(Usable { part, ..Usable::hit(entry, now) })
    }
}

impl Found {
    /// Why a request went on to an instance, as far as the cache is concerned.
    pub(crate) fn why(&self) -> Why {
        match self {
            Found::Fetch(fetch) => fetch.why,
            Found::Nothing(why) => *why,
            Found::Changes(_) => Why::Method,
            Found::Usable(_) | Found::Refused => Why::Bypass,
        }
    }

    /// Whether no instance is needed.
    pub(crate) fn spares_instance(&self) -> bool {
        match self {
            Found::Usable(_) | Found::Refused => true,
            Found::Fetch(_) | Found::Nothing(_) | Found::Changes(_) => false,
        }
    }
}

impl Kept {
    /// For a service as a table of this generation has it. What was stored before is kept, for releases that have been there all
    /// the time, where it was not purged.
    pub(crate) fn new(
        memory: Bytes,
        service: &ServiceRoutes,
        generation: u64,
        before: Option<&Kept>,
        writer: Option<&Arc<Writer>>,
    ) -> Kept {
        let arms = &service.arms;
        let budget = Budget { memory, disk: service.traffic.cache_disk };
        let before = before.filter(|before| before.cache.budget == budget);
        let cache = before.map_or_else(|| Arc::new(Cache::new(budget, writer)), |before| Arc::clone(&before.cache));
        let mut eras: Vec<(ReleaseId, Era)> = Vec::with_capacity(arms.len());
        for arm in arms {
            let of = |known: &[(ReleaseId, Era)]| known.iter().find(|(release, _)| *release == arm.release).copied();
            let known = of(&eras).or_else(|| before.and_then(|before| of(&before.eras)));
            eras.push(known.unwrap_or_else(|| (arm.release, Era(cache.eras.fetch_add(1, Relaxed)))));
        }
        let has_left = before.is_some_and(|before| before.eras.iter().any(|known| !eras.contains(known)));
        if cache.purged.tell(generation, &service.purges) || has_left {
            let is_here = |era| eras.iter().any(|(_, known)| *known == era);
            let stays = |key: &Key, entry: &Entry| is_here(key.era) && !cache.purged.takes(&key.place, entry.born);
            cache.stores().for_each(|store| store.retain(stays));
        }
        Kept { cache, eras }
    }

    /// How much is used of what may be: of memory, and of the disk.
    pub(crate) fn used(&self) -> (Bytes, Bytes) {
        let disk = self.cache.disk.as_ref().map_or(0, Disk::used);
        (Bytes(self.cache.stores().map(Store::used).sum()), Bytes(disk))
    }

    /// What there is for a request that is assigned to an arm of its service.
    pub(crate) fn look(&self, service: &Service, arm: usize, asking: &Asking<'_>, now: Instant) -> Found {
        let is_head = *asking.method == Method::HEAD;
        if [Method::POST, Method::PUT, Method::DELETE, Method::PATCH].contains(asking.method) {
            return Found::Changes(["http", "https"].map(|scheme| Place::new(scheme, asking.host, asking.target)));
        }
        if *asking.method != Method::GET && !is_head {
            return Found::Nothing(Why::Method);
        }
        let asked = Directives::of(asking.headers);
        let unusual = [IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE];
        let Some((_, era)) = self.eras.get(arm) else { return Found::Nothing(Why::Bypass) };
        let is_judged = service.guard.as_ref().is_some_and(|switch| !switch.is_tripped());
        // Whether there is such a part may depend on the arm.
        let wants_part = asking.headers.contains_key(RANGE);
        let is_unusual =
            unusual.iter().any(|name| asking.headers.contains_key(name)) || wants_part && (is_head || is_judged);
        let passed_by = if asked.only_if_cached { Found::Refused } else { Found::Nothing(Why::Bypass) };
        if asked.no_store || asking.has_body || is_unusual {
            return passed_by;
        }
        let key = Key { era: *era, place: Place::new(asking.scheme, asking.host, asking.target) };
        let born = self.cache.purged.generation();
        let entry = self.cache.get(&key, asking.headers);
        let usable = |entry: &Entry| entry.terms.usable(&asked, now);
        // Settled without regard to the arm; see above.
        let have_all = || {
            let has = |era: &Era| {
                let entry = self.cache.get(&Key { era: *era, place: key.place.clone() }, asking.headers);
                entry.is_some_and(|entry| usable(&entry) != Use::Ask)
            };
            service.arms.iter().zip(&self.eras).all(|(arm, (_, era))| arm.weight == Ratio::ZERO || has(era))
        };
        let fetch = |fallback: Option<Arc<Entry>>, why| {
            let judged = if is_judged { fetch::Judged::Yes } else { fetch::Judged::No };
            Box::new(Fetch::new(&self.cache, key.clone(), asking.headers, asked, fallback, why, judged, born, now))
        };
        if wants_part {
            let found = entry
                .filter(|entry| usable(entry) == Use::Fresh)
                .and_then(|entry| Usable::part(entry, asking.headers, now));
            return found.map_or(passed_by, Found::Usable);
        }
        let Some(entry) = entry else {
            return match (asked.only_if_cached, is_head) {
                (true, _) => Found::Refused,
                (false, true) => Found::Nothing(Why::Miss),
                (false, false) => Found::Fetch(fetch(None, Why::Miss)),
            };
        };
        match usable(&entry) {
            Use::Fresh if !is_judged || have_all() => Found::Usable(Usable::hit(entry, now)),
            Use::Meanwhile if !is_judged || have_all() => {
                let behind = (!is_head).then(|| fetch(Some(Arc::clone(&entry)), Why::Stale));
                Found::Usable(Usable { behind, ..Usable::hit(entry, now) })
            }
            Use::Fresh | Use::Meanwhile | Use::Ask if asked.only_if_cached => Found::Refused,
            Use::Fresh | Use::Meanwhile if is_head => Found::Nothing(Why::Bypass),
            Use::Fresh | Use::Meanwhile => Found::Fetch(fetch(Some(entry), Why::Bypass)),
            Use::Ask => {
                let why = if entry.terms.is_fresh(now) { Why::Request } else { Why::Stale };
                if is_head { Found::Nothing(why) } else { Found::Fetch(fetch(Some(entry), why)) }
            }
        }
    }

    /// Forgets what any release has said about places that were changed.
    pub(crate) fn changed(&self, places: &[Place]) {
        for place in places {
            self.cache.mark(place).0.changes.fetch_add(1, Relaxed);
            for (_, era) in &self.eras {
                self.cache.remove(&Key { era: *era, place: place.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests;
