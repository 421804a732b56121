//! How long a response or a tunnel may go on: until it has been silent for too long, or, once its instance drains, until
//! the drain deadline. What costs a timer and a place in a list is made when something is waited for, not before: most
//! responses arrive whole with their head.

use crate::upstream::Upstream;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    sync::futures::OwnedNotified,
    time::{Sleep, sleep_until},
};

/// Why something may not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overdue {
    /// Nothing came for too long.
    Silent,
    /// The instance must be left now.
    Drained,
}

/// By when something long-lived leaves a draining instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaving {
    /// By the drain deadline itself: an ordinary response that should be given all the time there is.
    Last,
    /// At a moment of its own in the second half of the time there is, so that the clients of thousands of event streams
    /// and WebSockets do not all connect again at once. The number is evenly random.
    Spread(u64),
}

/// One lifeline.
pub(crate) struct Lifeline {
    idle: Duration,
    leaving: Leaving,
    progress: Option<Instant>,
    watch: Option<Watch>,
}

struct Watch {
    timer: Pin<Box<Sleep>>,
    told: Pin<Box<OwnedNotified>>,
    leave_at: Option<Instant>,
}

impl Lifeline {
    /// For something that may be silent for `idle` at most.
    pub(crate) fn new(idle: Duration, leaving: Leaving) -> Lifeline {
        Lifeline { idle, leaving, progress: None, watch: None }
    }

    /// Something came.
    pub(crate) fn touch(&mut self) {
        if self.watch.is_some() {
            self.progress = Some(Instant::now());
        }
    }

    /// Ready when it may not go on. To be polled whenever what it holds is pending.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, upstream: &Upstream) -> Poll<Overdue> {
        let progress = *self.progress.get_or_insert_with(Instant::now);
        let silent_at = progress + self.idle;
        let watch = self.watch.get_or_insert_with(|| Watch {
            timer: Box::pin(sleep_until(silent_at.into())),
            // It is told only of what happens from here on; what happened before is seen below.
            told: Box::pin(upstream.leaving()),
            leave_at: None,
        });
        while watch.told.as_mut().poll(cx).is_ready() {
            watch.told.set(upstream.leaving());
            watch.leave_at = None;
        }
        if watch.leave_at.is_none() {
            watch.leave_at = upstream.leave_by().map(|by| self.leaving.at(Instant::now(), by));
        }
        let due = watch.leave_at.map_or(silent_at, |leave_at| leave_at.min(silent_at));
        if watch.timer.deadline() > due.into() {
            watch.timer.as_mut().reset(due.into());
        }
        loop {
            ready!(watch.timer.as_mut().poll(cx));
            let now = Instant::now();
            if watch.leave_at.is_some_and(|leave_at| leave_at <= now) {
                return Poll::Ready(Overdue::Drained);
            }
            if silent_at <= now {
                return Poll::Ready(Overdue::Silent);
            }
            watch.timer.as_mut().reset(due.into());
        }
    }
}

impl Leaving {
    /// When that is.
    pub(crate) fn at(self, now: Instant, by: Instant) -> Instant {
        match self {
            Leaving::Last => by,
            Leaving::Spread(number) => {
                let half = by.saturating_duration_since(now) / 2;
                let share = (number >> 11) as f64 / (1u64 << 53) as f64;
                by - half.mul_f64(share)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_leave_at_moments_of_their_own_within_the_deadline() {
        let now = Instant::now();
        let by = now + Duration::from_secs(30);
        assert_eq!(Leaving::Last.at(now, by), by);
        assert_eq!(Leaving::Spread(0).at(now, by), by);
        assert!(Leaving::Spread(u64::MAX).at(now, by) >= now + Duration::from_secs(15));
        assert!(Leaving::Spread(1 << 63).at(now, by) < by);
        assert!(Leaving::Spread(7).at(by, now) <= now, "a deadline that has passed is now");
    }
}
