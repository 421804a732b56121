//! Connections that wait for their next request, which is what most connections do most of the time.
//!
//! A timer and a place among those who are told of an end would cost each of them more than all else that it is. So they are in a
//! list, and one task looks through it now and then: for those that have waited for too long, and, when the proxy is being
//! stopped, for all.

use crate::patience::Patience;
use slab::Slab;
use std::{
    cell::RefCell,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// How often is looked. So much later than at its time a connection is closed at most.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

/// Why a connection waits no longer for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lapse {
    /// None has come in time.
    Overdue,
    /// The proxy parts from its clients.
    Parting,
}

/// All that wait in one thread.
#[derive(Default)]
pub(crate) struct Idle(RefCell<Slab<Waiting>>);

struct Waiting {
    waker: Waker,
    due: Instant,
    news: News,
}

/// What a connection is told when it is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    /// Nothing: it was not looked at yet.
    Fresh,
    /// It has been seen to wait, and may let go of what only the busy need.
    Rest,
    /// It does not wait for a short time, and has let go.
    Resting,
    Over(Lapse),
}

/// One connection's place among them, given up when it is dropped.
pub(crate) struct Place<'a> {
    idle: &'a Idle,
    key: Option<usize>,
    due: Instant,
}

impl Idle {
    /// A place for a connection that waits until `due`.
    pub(crate) fn enter(&self, due: Instant) -> Place<'_> {
        Place { idle: self, key: None, due }
    }

    /// Wakes those that have something to do. `parting`: that is all of them.
    pub(crate) fn look(&self, now: Instant, parting: bool) {
        for (_, waiting) in self.0.borrow_mut().iter_mut() {
            waiting.news = match waiting.news {
                News::Over(_) => continue,
                News::Fresh | News::Rest | News::Resting if parting => News::Over(Lapse::Parting),
                News::Fresh | News::Rest | News::Resting if waiting.due <= now => News::Over(Lapse::Overdue),
                News::Fresh => News::Rest,
                News::Rest | News::Resting => continue,
            };
            waiting.waker.wake_by_ref();
        }
    }
}

impl Place<'_> {
    /// Ready when there is nothing to wait for any more. To be asked whenever nothing has come. One that has waited for
    /// a while gives back the timer of its busy times.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, patience: &mut Patience) -> Poll<Lapse> {
        let mut all = self.idle.0.borrow_mut();
        let Some(waiting) = self.key.and_then(|key| all.get_mut(key)) else {
            let waiting = Waiting { waker: cx.waker().clone(), due: self.due, news: News::Fresh };
            self.key = Some(all.insert(waiting));
            return Poll::Pending;
        };
        match waiting.news {
            News::Over(lapse) => return Poll::Ready(lapse),
            News::Rest => {
                patience.rest();
                waiting.news = News::Resting;
            }
            News::Fresh | News::Resting => {}
        }
        waiting.waker.clone_from(cx.waker());
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.idle.0.borrow_mut().try_remove(key);
        }
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

    fn check(looks: &[(u64, bool)], expected: Poll<Lapse>, times: u32) {
        let (idle, woken, now) = (Idle::default(), Arc::<Woken>::default(), Instant::now());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut patience = Patience::new();
        let mut place = idle.enter(now + Duration::from_secs(10));
        assert_eq!(place.poll(&mut cx, &mut patience), Poll::Pending);
        let mut last = Poll::Pending;
        for (second, parting) in looks {
            idle.look(now + Duration::from_secs(*second), *parting);
            last = place.poll(&mut cx, &mut patience);
        }
        assert_eq!((last, woken.0.load(Relaxed)), (expected, times), "{looks:?}");
        drop(place);
        assert!(idle.0.borrow().is_empty());
    }

    #[test]
    fn a_connection_is_woken_once_to_rest_and_once_at_its_end() {
        check(&[], Poll::Pending, 0);
        check(&[(1, false), (2, false), (9, false)], Poll::Pending, 1);
        check(&[(1, false), (9, false), (10, false)], Poll::Ready(Lapse::Overdue), 2);
        check(&[(10, false), (11, true)], Poll::Ready(Lapse::Overdue), 1);
        check(&[(1, true)], Poll::Ready(Lapse::Parting), 1);
        check(&[(1, false), (2, true), (3, true)], Poll::Ready(Lapse::Parting), 2);
    }
}
