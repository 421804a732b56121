//! Stored responses within a budget of bytes, for all threads. In several parts, each with its own lock, so that threads seldom meet.
//!
//! When there is no room, what was not asked for since it was last looked at goes first: a hand moves round the slots, forgives
//! each one once that was used, and takes the next (second chance). A lock is held for a look-up or for one insertion; no body
//! is copied under it.

use super::{
    key::{Key, Place, Selection},
    policy::Terms,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) terms: Terms,
    pub(crate) selection: Selection,
    /// The generation of the table that was in force when its instance was asked.
    pub(crate) born: u64,
}

impl Entry {
    /// How much memory it takes, about.
    fn size(&self, key: &Key) -> u64 {
        let fields: usize = self.headers.iter().map(|(name, value)| FIELD + name.as_str().len() + value.len()).sum();
        (OVERHEAD + key.place.size() + self.selection.size() + fields + self.body.len()) as u64
    }
}

/// All stored responses of one service.
pub(crate) struct Store {
    parts: Box<[Mutex<Part>]>,
    /// How many bytes each part may hold.
    room: u64,
    hasher: RandomState,
}

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
        Store { parts: made, room: budget / parts, hasher: RandomState::new() }
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

    /// Stores a response, in the place of one for the same requests, and of as many others as it takes.
    pub(crate) fn put(&self, key: Key, entry: Entry) {
        let size = entry.size(&key);
        let mut part = self.part(&key);
        let replaced = part.replaced(&key, &entry.selection);
        replaced.into_iter().for_each(|at| part.remove(at));
        if size > self.room {
            return;
        }
        while part.used + size > self.room {
            part.make_room();
        }
        part.insert(Slot { key, entry: Arc::new(entry), size, given: false });
    }

    /// Forgets what is stored under a key.
    pub(crate) fn remove(&self, key: &Key) {
        let mut part = self.part(key);
        let all = part.places.get(key).cloned().unwrap_or_default();
        all.into_iter().for_each(|at| part.remove(at));
    }

    /// Forgets all that is not to stay.
    pub(crate) fn retain(&self, stays: impl Fn(&Key, &Entry) -> bool) {
        for part in &self.parts {
            let mut part = lock(part);
            let gone = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| !stays(&slot.key, &slot.entry));
            let gone: Vec<usize> =
                part.slots.iter().enumerate().filter(|(_, slot)| gone(slot)).map(|(at, _)| at).collect();
            gone.into_iter().for_each(|at| part.remove(at));
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

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.parts.iter().map(|part| lock(part).used).sum()
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Part {
    /// What goes where a response comes that depends on this: the one for the same requests, or the oldest of too many.
    fn replaced(&self, key: &Key, selection: &Selection) -> Option<usize> {
        let all = self.places.get(key)?;
        let is_same = |at: &&usize| {
            let slot = self.slots.get(**at).and_then(Option::as_ref);
            slot.is_some_and(|slot| slot.entry.selection == *selection)
        };
        // New ones are put behind the others.
        all.iter().find(is_same).or(all.first().filter(|_| all.len() >= VARIANTS)).copied()
    }

    /// Moves the hand on by one slot. Something is there as long as something is used.
    fn make_room(&mut self) {
        self.hand = (self.hand + 1) % self.slots.len().max(1);
        match self.slots.get_mut(self.hand) {
            Some(Some(slot)) if slot.given => slot.given = false,
            Some(Some(_)) => self.remove(self.hand),
            Some(None) => {}
            None => self.used = 0,
        }
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

    fn remove(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::take) else { return };
        self.free.push(at);
        self.used = self.used.saturating_sub(slot.size);
        if let Some(all) = self.places.get_mut(&slot.key) {
            all.retain(|other| *other != at);
            if all.is_empty() {
                self.places.remove(&slot.key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
