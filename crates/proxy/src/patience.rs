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

    /// Ready when something that comes from an instance may not be waited for any more: when it has been silent for too long, or
    /// when the instance drains and it is time to depart.
    pub(crate) fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &Upstream,
        departure: &mut Departure,
    ) -> Poll<Overdue> {
        loop {
            let now = Instant::now();
            let silent_at = departure.silent_at(now);
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

/// When something leaves an instance that is silent or drains.
pub(crate) struct Departure {
    leaving: Leaving,
    /// How long the instance may be silent.
    limit: Duration,
    /// Until when it may be, since something is waited for.
    silent_at: Option<Instant>,
    /// The instance's deadline when it was looked at, and the moment that follows from it.
    set: Option<(Instant, Instant)>,
}

impl Departure {
    /// Of something that leaves so.
    pub(crate) fn new(leaving: Leaving, limit: Duration) -> Departure {
        Departure { leaving, limit, silent_at: None, set: None }
    }

    /// What was waited for has come: what comes next has all the time again, from when it is waited for.
    pub(crate) fn progress(&mut self) {
        self.silent_at = None;
    }

    fn silent_at(&mut self, now: Instant) -> Instant {
        *self.silent_at.get_or_insert_with(|| now + self.limit)
    }

    /// `None`: the instance does not drain.
    fn from(&mut self, upstream: &Upstream, now: Instant) -> Option<Instant> {
        let by = upstream.leave_by()?;
        let (_, at) = self.set.take_if(|(known, _)| *known == by).unwrap_or_else(|| (by, self.leaving.at(now, by)));
        self.set = Some((by, at));
        Some(at)
    }
}
