//! Connections that wait for their next request, which is what most connections do most of the time.
//!
//! A timer and a place among those who are told of an end would cost each of them more than all else that it is. So they are in a
//! list, and one task looks through it now and then: for those that have waited for too long, and, when the proxy is being
//! stopped, for all. A connection keeps its place while it is busy, so that a request costs two marks in it and nothing else.

use slab::Slab;
use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// How often is looked. So much later than at its time a connection is closed at most.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

/// What a connection is told that waits for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lapse {
    /// It has been seen to wait, and may let go of what only the busy need.
    Rest,
    /// None has come in time.
    Overdue,
    /// The proxy parts from its clients.
    Parting,
}

/// All that wait in one thread, or have waited and will again.
#[derive(Default)]
pub(crate) struct Idle(RefCell<Slab<Waiting>>);

struct Waiting {
    waker: Waker,
    due: Instant,
    state: State,
}

/// How a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It does not wait.
    Busy,
    /// It waits, and was not looked at yet.
    Fresh,
    /// It waits, and has let go of what only the busy need.
    Resting,
    /// It is to be told this.
    Told(Lapse),
}

/// One connection's place among them, given up when it is dropped. Small: every connection has one.
pub(crate) struct Place {
    idle: Rc<Idle>,
    key: usize,
}

impl Idle {
    /// A place for a connection that waits until `due`.
    pub(crate) fn enter(self: &Rc<Idle>, due: Instant) -> Place {
        let waiting = Waiting { waker: Waker::noop().clone(), due, state: State::Fresh };
        let key = self.0.borrow_mut().insert(waiting);
        Place { idle: Rc::clone(self), key }
    }

    /// Wakes those that have something to do. `parting`: that is all that wait.
    pub(crate) fn look(&self, now: Instant, parting: bool) {
        for (_, waiting) in self.0.borrow_mut().iter_mut() {
            let waits_on = match waiting.state {
                State::Busy | State::Told(Lapse::Overdue | Lapse::Parting) => continue,
                State::Fresh => State::Told(Lapse::Rest),
                told @ (State::Resting | State::Told(Lapse::Rest)) => told,
            };
            let state = match waiting.due <= now {
                _ if parting => State::Told(Lapse::Parting),
                true => State::Told(Lapse::Overdue),
                false => waits_on,
            };
            if waiting.state == state {
                continue;
            }
            waiting.state = state;
            waiting.waker.wake_by_ref();
        }
    }
}

impl Place {
    /// It waits again, until `due`.
    pub(crate) fn wait(&self, due: Instant) {
        if let Some(waiting) = self.idle.0.borrow_mut().get_mut(self.key) {
            (waiting.due, waiting.state) = (due, State::Fresh);
        }
    }

    /// What it has waited for is there.
    pub(crate) fn leave(&self) {
        if let Some(waiting) = self.idle.0.borrow_mut().get_mut(self.key) {
            waiting.state = State::Busy;
        }
    }

    /// It rests, and waits on: it is told so no more.
    pub(crate) fn rest(&self) {
        if let Some(waiting) = self.idle.0.borrow_mut().get_mut(self.key) {
            waiting.state = State::Resting;
        }
    }

    /// Ready when there is something to be told. To be asked whenever nothing has come.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Lapse> {
        let mut all = self.idle.0.borrow_mut();
        let Some(waiting) = all.get_mut(self.key) else { return Poll::Pending };
        match waiting.state {
            State::Told(lapse) => return Poll::Ready(lapse),
            State::Busy | State::Fresh | State::Resting => {}
        }
        waiting.waker.clone_from(cx.waker());
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.idle.0.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
        task::Wake,
    };

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn check(looks: &[(u64, bool)], expected: &[Lapse]) {
        let (idle, woken, now) = (Rc::<Idle>::default(), Arc::<Woken>::default(), Instant::now());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let place = idle.enter(now);
        // What it would have been told before it was busy is forgotten.
        idle.look(now, true);
        place.leave();
        idle.look(now + Duration::from_secs(1), true);
        place.wait(now + Duration::from_secs(10));
        assert_eq!(place.poll(&mut cx), Poll::Pending);
        let mut told = Vec::new();
        for (second, parting) in looks {
            let before = woken.0.load(Relaxed);
            idle.look(now + Duration::from_secs(*second), *parting);
            if woken.0.load(Relaxed) > before {
                told.push(place.poll(&mut cx));
                if told.last() == Some(&Poll::Ready(Lapse::Rest)) {
                    place.rest();
                    assert_eq!(place.poll(&mut cx), Poll::Pending);
                }
            }
        }
        let expected: Vec<_> = expected.iter().map(|lapse| Poll::Ready(*lapse)).collect();
        assert_eq!(told, expected, "{looks:?}");
        drop(place);
        assert!(idle.0.borrow().is_empty());
    }

    #[test]
    fn a_connection_is_woken_once_to_rest_and_once_at_its_end() {
        check(&[], &[]);
        check(&[(1, false), (2, false), (9, false)], &[Lapse::Rest]);
        check(&[(1, false), (9, false), (10, false)], &[Lapse::Rest, Lapse::Overdue]);
        check(&[(10, false), (11, true)], &[Lapse::Overdue]);
        check(&[(1, true)], &[Lapse::Parting]);
        check(&[(1, false), (2, true), (3, true)], &[Lapse::Rest, Lapse::Parting]);
    }
}
