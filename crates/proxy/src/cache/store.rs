//! What is known of stored responses, within a budget of bytes of memory, for all threads. In several parts, each with its own lock,
//! so that threads seldom meet. One has bodies in memory, another one those on disk: what they take there is not looked at here.
//!
//! When there is no room, what was not asked for since it was last looked at goes first: a hand moves round the slots, forgives
//! each one once that was used, and takes the next (second chance). A lock is held for a look-up or for one insertion; no body
//! is copied under it.

use super::{
    key::{Key, Place, Selection},
    policy::Terms,
    stored::Stored,
};
use http::{HeaderMap, StatusCode};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// How many parts there are at most.
const MOST_PARTS: u64 = 16;

/// How much room each part has at least, where there is as much: several of the largest bodies.
const PART: u64 = 4 << 20;

/// How many responses are stored for one place: those that differ by what requests say (`vary`).
const VARIANTS: usize = 16;

/// What an entry takes beside its texts.
const OVERHEAD: usize = 512;

/// What a field takes beside its texts.
const FIELD: usize = 64;

/// One stored response.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Stored,
    pub(crate) terms: Terms,
    pub(crate) selection: Selection,
    /// The generation of the table that was in force when its instance was asked.
    pub(crate) born: u64,
}

impl Entry {
    /// How much memory it takes, about.
    fn size(&self, key: &Key) -> u64 {
        let fields: usize = self.headers.iter().map(|(name, value)| FIELD + name.as_str().len() + value.len()).sum();
        (OVERHEAD + key.place.size() + self.selection.size() + fields + self.body.memory()) as u64
    }
}

/// All stored responses of one service.
pub(crate) struct Store {
    parts: Box<[Mutex<Part>]>,
    /// How many bytes each part may hold.
    room: u64,
    hasher: RandomState,
    /// Whose turn it is to forget something.
    turn: AtomicUsize,
}

/// What had no room, with what it was stored under.
pub(crate) type Displaced = Vec<(Key, Arc<Entry>)>;

#[derive(Default)]
struct Part {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    places: HashMap<Key, Vec<usize>>,
    hand: usize,
    used: u64,
}

struct Slot {
    key: Key,
    entry: Arc<Entry>,
    size: u64,
    /// Whether it was given since the hand passed.
    given: bool,
}

impl Store {
    /// For so many bytes.
    pub(crate) fn new(budget: u64) -> Store {
        let parts = (budget / PART).clamp(1, MOST_PARTS);
        let made = (0..parts).map(|_| Mutex::default()).collect();
        Store { parts: made, room: budget / parts, hasher: RandomState::new(), turn: AtomicUsize::new(0) }
    }

    /// What is stored for a request.
    pub(crate) fn get(&self, key: &Key, request: &HeaderMap) -> Option<Arc<Entry>> {
        let mut part = self.part(key);
        let Part { slots, places, .. } = &mut *part;
        for at in places.get(key)? {
            if let Some(Some(slot)) = slots.get_mut(*at)
                && slot.entry.selection.fits(request)
            {
                slot.given = true;
                return Some(Arc::clone(&slot.entry));
            }
        }
        None
    }

    /// Stores a response, in the place of one for the same requests. Gives the others that it took the room of, or itself when there is
    /// not as much in all.
    pub(crate) fn put(&self, key: Key, entry: Arc<Entry>) -> Displaced {
        let size = entry.size(&key);
        let mut part = self.part(&key);
        let replaced = part.replaced(&key, &entry.selection);
        replaced.into_iter().for_each(|at| drop(part.remove(at)));
        if size > self.room {
            return vec![(key, entry)];
        }
        let mut displaced = Vec::new();
        while part.used + size > self.room {
            displaced.extend(part.make_room().map(|slot| (slot.key, slot.entry)));
        }
        part.insert(Slot { key, entry, size, given: false });
        displaced
    }

    /// Forgets one response that was not asked for lately. `false`: there is none.
    pub(crate) fn evict(&self) -> bool {
        let turns = self.parts.len();
        (0..turns).any(|_| lock(&self.parts[self.turn.fetch_add(1, Relaxed) % turns]).evict())
    }

    /// Whether there is a response for the same requests.
    pub(crate) fn has(&self, key: &Key, selection: &Selection) -> bool {
        self.part(key).same(key, selection).is_some()
    }

    /// Forgets the response for the same requests.
    pub(crate) fn forget(&self, key: &Key, selection: &Selection) {
        let mut part = self.part(key);
        let same = part.same(key, selection);
        same.into_iter().for_each(|at| drop(part.remove(at)));
    }

    /// Forgets what is stored under a key.
    pub(crate) fn remove(&self, key: &Key) {
        let mut part = self.part(key);
        let all = part.places.get(key).cloned().unwrap_or_default();
        all.into_iter().for_each(|at| drop(part.remove(at)));
    }

    /// Forgets all that is not to stay.
    pub(crate) fn retain(&self, stays: impl Fn(&Key, &Entry) -> bool) {
        for part in &self.parts {
            let mut part = lock(part);
            let gone = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| !stays(&slot.key, &slot.entry));
            let gone: Vec<usize> =
                part.slots.iter().enumerate().filter(|(_, slot)| gone(slot)).map(|(at, _)| at).collect();
            gone.into_iter().for_each(|at| drop(part.remove(at)));
        }
    }

    /// A number for a place, the same as long as this is there.
    pub(crate) fn hash(&self, place: &Place) -> u64 {
        self.hasher.hash_one(place)
    }

    fn part(&self, key: &Key) -> MutexGuard<'_, Part> {
        let at = self.hasher.hash_one(key) as usize % self.parts.len();
        lock(&self.parts[at])
    }

    /// How many bytes are used, about.
    pub(crate) fn used(&self) -> u64 {
        self.parts.iter().map(|part| lock(part).used).sum()
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Part {
    /// The position of the response for the same requests.
    fn same(&self, key: &Key, selection: &Selection) -> Option<usize> {
        let is_same = |at: &&usize| {
            let slot = self.slots.get(**at).and_then(Option::as_ref);
            slot.is_some_and(|slot| slot.entry.selection == *selection)
        };
        self.places.get(key)?.iter().find(is_same).copied()
    }

    /// What goes where a response comes that depends on this: the one for the same requests, or the oldest of too many.
    fn replaced(&self, key: &Key, selection: &Selection) -> Option<usize> {
        let all = self.places.get(key)?;
        // New ones are put behind the others.
        self.same(key, selection).or(all.first().filter(|_| all.len() >= VARIANTS).copied())
    }

    /// Moves the hand on by one slot, and gives what it has taken. Something is there as long as something is used.
    fn make_room(&mut self) -> Option<Slot> {
        self.hand = (self.hand + 1) % self.slots.len().max(1);
        match self.slots.get_mut(self.hand) {
            Some(Some(slot)) => match mem::take(&mut slot.given) {
                true => None,
                false => self.remove(self.hand),
            },
            Some(None) => None,
            None => {
                self.used = 0;
                None
            }
        }
    }

    /// Moves the hand on until it has taken something. `false`: nothing is there.
    fn evict(&mut self) -> bool {
        while !self.places.is_empty() {
            if self.make_room().is_some() {
                return true;
            }
        }
        false
    }

    fn insert(&mut self, slot: Slot) {
        self.used += slot.size;
        let key = slot.key.clone();
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = Some(slot);
                at
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() - 1
            }
        };
        self.places.entry(key).or_default().push(at);
    }

    fn remove(&mut self, at: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(at).and_then(Option::take)?;
        self.free.push(at);
        self.used = self.used.saturating_sub(slot.size);
        if let Some(all) = self.places.get_mut(&slot.key) {
            all.retain(|other| *other != at);
            if all.is_empty() {
                self.places.remove(&slot.key);
            }
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests;
