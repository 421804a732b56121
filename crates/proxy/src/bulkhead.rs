//! How many requests of a service may be under way at once, for all threads alike. Whoever comes beyond that is told to come back,
//! at once: a request that would wait until nobody waits for it any more costs the same and helps nobody.
//!
//! The limit is fixed, or it is found ([`adaptive`]). The last places are kept for what matters most, as clients say themselves by
//! `priority` (RFC 9218).

mod adaptive;

use adaptive::Adaptive;
use model::Concurrency;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Instant,
};

/// A limit of one service.
pub(crate) struct Bulkhead {
    /// What it was asked for.
    pub(crate) terms: Concurrency,
    limit: AtomicU32,
    under_way: AtomicU32,
    adaptive: Mutex<Adaptive>,
}

/// How much a request matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Priority {
    /// More than others: urgency 0 to 2.
    High,
    /// Nothing is said, or 3.
    Usual,
    /// Less than others: urgency 4 to 7.
    Low,
}

impl Priority {
    /// Of the value of a `priority` field.
    pub(crate) fn of(value: Option<&[u8]>) -> Priority {
        let mut members = value.into_iter().flat_map(|value| value.rsplit(|byte| *byte == b','));
        // The last one counts, as in every dictionary of structured fields.
        match members.find_map(|member| member.trim_ascii().strip_prefix(b"u=")) {
            Some(b"0" | b"1" | b"2") => Priority::High,
            Some(b"4" | b"5" | b"6" | b"7") => Priority::Low,
            Some(_) | None => Priority::Usual,
        }
    }

    /// Which part of the places it may use, in percent.
    fn part(self) -> u32 {
        match self {
            Priority::High => 100,
            Priority::Usual => 90,
            Priority::Low => 70,
        }
    }
}

/// A place of one request, until it is dropped.
pub(crate) struct Pass {
    bulkhead: Arc<Bulkhead>,
    began: Instant,
    /// How many were under way with it.
    together: u32,
    ending: Option<Ending>,
}

/// What the end of a request says about how busy its service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// It was answered, whatever with.
    Answered,
    /// It was not answered in time, or was refused.
    Overloaded,
}

impl Bulkhead {
    pub(crate) fn new(terms: Concurrency, now: Instant) -> Bulkhead {
        let adaptive = Adaptive::new(now);
        let limit = match terms {
            Concurrency::Fixed(limit) => limit.max(1),
            Concurrency::Adaptive => adaptive.limit(),
        };
        Bulkhead { terms, limit: AtomicU32::new(limit), under_way: AtomicU32::new(0), adaptive: Mutex::new(adaptive) }
    }

    /// A place for a request. `None`: there is none for it.
    pub(crate) fn enter(self: &Arc<Bulkhead>, priority: Priority, now: Instant) -> Option<Pass> {
        let limit = self.limit.load(Relaxed);
        // Whatever matters least has one place, if nothing else is there.
        let places = (u64::from(limit) * u64::from(priority.part()) / 100).max(1);
        let before = self.under_way.fetch_add(1, Relaxed);
        if u64::from(before) >= places {
            self.under_way.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Pass { bulkhead: Arc::clone(self), began: now, together: before + 1, ending: None })
    }

    fn learn(&self, pass: &Pass, ending: Ending) {
        let now = Instant::now();
        // A thread that would have to wait for another one leaves its request out: there are enough.
        let Ok(mut adaptive) = self.adaptive.try_lock().or_else(|error| match error {
            std::sync::TryLockError::Poisoned(poisoned) => Ok(PoisonError::into_inner(poisoned)),
            std::sync::TryLockError::WouldBlock => Err(()),
        }) else {
            return;
        };
        adaptive.ended(now, now.saturating_duration_since(pass.began), pass.together, ending);
        self.limit.store(adaptive.limit(), Relaxed);
    }
}

impl Pass {
    /// How the request has ended. What is never said is not learned from.
    pub(crate) fn ended(&mut self, ending: Ending) {
        if self.ending.replace(ending).is_none() && self.bulkhead.terms == Concurrency::Adaptive {
            self.bulkhead.learn(self, ending);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.bulkhead.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulkhead(limit: u32) -> Arc<Bulkhead> {
        Arc::new(Bulkhead::new(Concurrency::Fixed(limit), Instant::now()))
    }

    #[test]
    fn the_last_places_are_for_what_matters_most() {
        let (bulkhead, now) = (bulkhead(10), Instant::now());
        let mut passes = Vec::new();
        for (priority, places) in [(Priority::Low, 7), (Priority::Usual, 9), (Priority::High, 10)] {
            while let Some(pass) = bulkhead.enter(priority, now) {
                passes.push(pass);
            }
            assert_eq!(passes.len(), places);
        }
        passes.truncate(6);
        assert!(bulkhead.enter(Priority::Low, now).is_some());
    }

    #[test]
    fn there_is_always_one_place() {
        let (bulkhead, now) = (bulkhead(1), Instant::now());
        let pass = bulkhead.enter(Priority::Low, now);
        assert!(pass.is_some() && bulkhead.enter(Priority::High, now).is_none());
    }

    #[test]
    fn priority_is_read_as_its_definition_has_it() {
        let of = |value: &str| Priority::of(Some(value.as_bytes()));
        assert_eq!([of("u=1"), of("i, u=0"), of("u=2;x")], [Priority::High, Priority::High, Priority::Usual]);
        assert_eq!([of("u=5, i"), of("u=7"), of("u=1, u=4")], [Priority::Low; 3]);
        assert_eq!([of("u=3"), of("u=9"), of("i"), of(""), Priority::of(None)], [Priority::Usual; 5]);
    }
}
