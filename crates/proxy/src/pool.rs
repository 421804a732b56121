//! Idle connections to one instance, of one kind, in one thread.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

/// The most idle connections kept to one instance, of each kind, in each thread.
const MAX_IDLE: usize = 512;

/// How long an idle connection is kept. Below the 60 to 75 s after which most servers close it themselves.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(50);

/// How long a connection may have been idle to carry a request that could not be sent again: servers close idle
/// connections after seconds, and the closing may be on its way.
pub(crate) const FRESH: Duration = Duration::from_secs(1);

/// Whether a request can be sent again when its connection turns out to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replay {
    /// Yes: it is idempotent and has no body.
    Safe,
    /// No.
    Never,
}

/// What a connection is found to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Able to carry a request.
    Ready,
    /// Not yet.
    Busy,
    /// Closed, or with something on it that nobody has asked for.
    Over,
}

/// A connection that can be kept.
pub(crate) trait Keepable {
    /// What it is now.
    fn standing(&self) -> Standing;
}

/// Idle connections, the one used last at the end: the others may then grow old and be closed.
pub(crate) struct Pool<C>(RefCell<Vec<Idle<C>>>);

struct Idle<C> {
    connection: C,
    since: Instant,
}

impl<C: Keepable> Pool<C> {
    /// An idle connection for a request.
    pub(crate) fn take(&self, now: Instant, replay: Replay) -> Option<C> {
        let mut idle = self.0.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let found = &idle[at];
            match found.connection.standing() {
                Standing::Over => drop(idle.swap_remove(at)),
                Standing::Ready | Standing::Busy
                    if replay == Replay::Never && now.duration_since(found.since) > FRESH =>
                {
                    return None;
                }
                Standing::Ready => return Some(idle.remove(at).connection),
                Standing::Busy => {}
            }
        }
        None
    }

    /// Keeps a connection whose response is over for the next request.
    pub(crate) fn keep(&self, connection: C, now: Instant) {
        let mut idle = self.0.borrow_mut();
        if idle.len() < MAX_IDLE && connection.standing() != Standing::Over {
            idle.push(Idle { connection, since: now });
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn close_old(&self, now: Instant) {
        let kept =
            |idle: &Idle<C>| now.duration_since(idle.since) < IDLE_TIME && idle.connection.standing() != Standing::Over;
        self.0.borrow_mut().retain(kept);
    }

    /// Whether there is none.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

impl<C> Default for Pool<C> {
    fn default() -> Pool<C> {
        Pool(RefCell::default())
    }
}
