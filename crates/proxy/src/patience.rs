//! One timer for all that a busy connection waits for.
//!
//! It is made when something is waited for, and set again only when it fires, or when something is due before it would: so a busy connection, whose waits are all
//! due in about as long, leaves it alone.

use crate::{
    lifeline::{Leaving, Overdue},
    upstream::Upstream,
};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::{Sleep, sleep_until};

/// How often is looked whether the instance that something comes from drains. Being told at once would cost every request
/// a place in a list.
pub(crate) const DRAIN_LOOK: Duration = Duration::from_millis(500);

/// A timer.
pub(crate) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// One that has not been asked for anything.
    pub(crate) fn new() -> Patience {
        Patience(None)
    }

    /// Nothing is waited for in the near future.
    pub(crate) fn rest(&mut self) {
        self.0 = None;
    }

    /// Ready when it is `due`. To be asked whenever what is waited for is pending.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        if timer.deadline() > due.into() {
            timer.as_mut().reset(due.into());
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due.into());
        }
    }

    /// Ready when something that comes from an instance may not be waited for any more: at `silent_at`, or when the instance
    /// drains and it is time to depart.
    pub(crate) fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        silent_at: Instant,
        upstream: &Upstream,
        departure: &mut Departure,
    ) -> Poll<Overdue> {
        loop {
            let now = Instant::now();
            let leave_at = departure.from(upstream, now);
            if leave_at.is_some_and(|at| at <= now) {
                return Poll::Ready(Overdue::Drained);
            }
            if silent_at <= now {
                return Poll::Ready(Overdue::Silent);
            }
            let look = now + DRAIN_LOOK;
            ready!(self.poll(cx, leave_at.unwrap_or(look).min(silent_at).min(look)));
        }
    }
}

/// When something leaves an instance that drains.
pub(crate) struct Departure {
    leaving: Leaving,
    /// The instance's deadline when it was looked at, and the moment that follows from it.
    set: Option<(Instant, Instant)>,
}

impl Departure {
    /// Of something that leaves so.
    pub(crate) fn new(leaving: Leaving) -> Departure {
        Departure { leaving, set: None }
    }

    /// `None`: the instance does not drain.
    fn from(&mut self, upstream: &Upstream, now: Instant) -> Option<Instant> {
        let by = upstream.leave_by()?;
        let (_, at) = self.set.take_if(|(known, _)| *known == by).unwrap_or_else(|| (by, self.leaving.at(now, by)));
        self.set = Some((by, at));
        Some(at)
    }
}
