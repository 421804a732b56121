//! The record of one assigned request. However the request ends, it is counted exactly once: by [`Ticket::settle`], or
//! as given up by the client when the ticket is dropped without that.

use crate::{
    access_log::Record,
    bulkhead::{self, Pass},
    guard::{Ending, Judged},
    lane::Lane,
    refusal::Refusal,
    shadow::Word,
    table::Bounds,
    tally::Outcome,
    upstream::Upstream,
    worker::Worker,
};
use http::StatusCode;
use model::{ArmRole, Ratio};
use std::{rc::Rc, time::Instant};

/// What is needed to judge a unit, fixed when it was assigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bet {
    /// The arm it was assigned to.
    pub(crate) arm: ArmRole,
    /// The probability with which a unit of which as much was known was assigned to the canary then.
    pub(crate) weight: Ratio,
}

/// One assigned request.
pub(crate) struct Ticket {
    worker: Rc<Worker>,
    lane: Rc<Lane>,
    arm: usize,
    /// The position of what its route says itself.
    own: Option<usize>,
    began: Instant,
    bet: Option<Bet>,
    upstream: Option<Rc<Upstream>>,
    record: Option<Box<Record>>,
    pass: Option<Pass>,
    /// Who waits to hear how it ends.
    word: Option<Word>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Settled,
}

impl Ticket {
    /// For a request that began at `began` and was assigned to an arm. `bet` is `None` when it is not to be judged.
    pub(crate) fn new(worker: Rc<Worker>, lane: Rc<Lane>, arm: usize, began: Instant, bet: Option<Bet>) -> Ticket {
        Ticket {
            worker,
            lane,
            arm,
            own: None,
            began,
            bet,
            upstream: None,
            record: None,
            pass: None,
            word: None,
            state: State::Open,
        }
    }

    /// It came by a route that says something itself, at this position.
    pub(crate) fn of_route(mut self, own: Option<usize>) -> Ticket {
        self.own = own;
        self
    }

    /// What is written down of it is kept here from now on.
    pub(crate) fn record(&mut self, record: Option<Box<Record>>) {
        self.record = record;
    }

    /// It has a place among those under way, until it is settled.
    pub(crate) fn hold(&mut self, pass: Option<Pass>) {
        self.pass = pass;
    }

    /// It leaves word of how it ends for its copy.
    pub(crate) fn leave_word(&mut self, word: Word) {
        self.word = Some(word);
    }

    /// The client is given this status: an instance has begun to answer.
    pub(crate) fn status(&mut self, status: u16) {
        if let Some(pass) = &mut self.pass {
            pass.ended(bulkhead::Ending::Answered);
        }
        if let Some(record) = &mut self.record {
            record.status(status);
        }
        if let Some(word) = &mut self.word {
            word.status(status);
        }
    }

    /// So many bytes of a body were passed on.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.sent(bytes);
        }
    }

    /// The service it belongs to.
    pub(crate) fn lane(&self) -> &Rc<Lane> {
        &self.lane
    }

    /// The position of what its route says itself.
    pub(crate) fn own(&self) -> Option<usize> {
        self.own
    }

    /// What it is held to.
    pub(crate) fn bounds(&self) -> &Bounds {
        self.lane.service.bounds.of(self.own)
    }

    /// The instance it is with.
    pub(crate) fn upstream(&self) -> Option<&Rc<Upstream>> {
        self.upstream.as_ref()
    }

    /// It goes to this instance now, and to no other any more.
    pub(crate) fn enter(&mut self, upstream: &Rc<Upstream>) {
        upstream.enter();
        if let Some(before) = self.upstream.replace(Rc::clone(upstream)) {
            before.exit();
        }
    }

    /// What is answered next has come just now: what was not asked for before takes no time.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.began = now;
    }

    /// Counts how the request ended, and offers it to the guard. Later calls change nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        self.settle_at(outcome, Instant::now());
    }

    /// Likewise, when it is `now`.
    pub(crate) fn settle_at(&mut self, outcome: Outcome, now: Instant) {
        if self.state == State::Settled {
            return;
        }
        self.state = State::Settled;
        if let Some(word) = self.word.take() {
            word.ended(outcome);
        }
        if let (Some(mut pass), Outcome::Refused | Outcome::Reset | Outcome::Timeout) = (self.pass.take(), outcome) {
            pass.ended(bulkhead::Ending::Overloaded);
        }
        if let Some(record) = &mut self.record {
            let instance = self.upstream.as_ref().map(|upstream| upstream.endpoint.instance);
            record.settle(&self.lane, (self.arm, self.own), instance, outcome);
        }
        let Some(arm) = self.lane.arms.get(self.arm) else { return };
        let latency_us = u64::try_from(now.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX);
        arm.counts.endings.count(outcome, latency_us);
        if let Some(route) = self.lane.route(self.own) {
            route.endings.count(outcome, latency_us);
        }
        self.tell_upstream(outcome);
        let ending = match outcome {
            Outcome::Answered => Ending::Ended { failed: false, latency_us: Some(latency_us) },
            Outcome::Timeout => Ending::Ended { failed: true, latency_us: Some(latency_us) },
            // It failed at whatever moment it failed: that says nothing about how fast it is.
            Outcome::Status5xx | Outcome::Refused | Outcome::Reset | Outcome::NoInstance => {
                Ending::Ended { failed: true, latency_us: None }
            }
            // Neither success nor failure, but it had lasted for that long.
            Outcome::Cancelled => Ending::GivenUp { after_us: latency_us },
            // Our doing, and alike for both arms: leaving it out favours none.
            Outcome::Cut => return,
            Outcome::Cached => return self.worker.counts.cached.increment(),
        };
        if let (Some(bet), Some(switch)) = (self.bet, &self.lane.service.guard) {
            self.worker.judge(switch, Judged { change: switch.change, bet, ending });
        }
    }

    /// No response began in time: what its client is told.
    pub(crate) fn silent(&mut self) -> Refusal {
        self.settle(Outcome::Timeout);
        let (service, bounds) = (&self.lane.service, self.bounds());
        let limit = &bounds.response_timeout;
        Refusal::Timeout(service.key.clone(), bounds.on(limit.by), limit.value)
    }

    /// Its body turned out to be larger than is accepted: what its client is told.
    pub(crate) fn too_large(&mut self) -> Refusal {
        let refusal = self.lane.too_large(self.own);
        if let Some(record) = &mut self.record {
            record.status(StatusCode::PAYLOAD_TOO_LARGE.as_u16());
            record.refused(&refusal);
        }
        self.settle(Outcome::Cancelled);
        refusal
    }

    /// Lets an instance of a running release be left out when it breaks one request after the other. One of a canary is not:
    /// the guard is to see what it does.
    fn tell_upstream(&self, outcome: Outcome) {
        let role = self.lane.service.arms.get(self.arm).map(|arm| arm.role);
        let Some(upstream) = self.upstream.as_ref().filter(|_| role == Some(ArmRole::Running)) else { return };
        match outcome {
            Outcome::Answered | Outcome::Status5xx => upstream.ended(false),
            Outcome::Reset | Outcome::Timeout => upstream.ended(true),
            Outcome::Refused | Outcome::NoInstance | Outcome::Cancelled | Outcome::Cut | Outcome::Cached => {}
        }
    }

    /// A first try that is tried again.
    pub(crate) fn retried(&self) {
        if let Some(arm) = self.lane.arms.get(self.arm) {
            arm.counts.endings.retried.increment();
        }
        if let Some(route) = self.lane.route(self.own) {
            route.endings.retried.increment();
        }
    }

    /// The connection is being cut because its drain deadline has passed.
    pub(crate) fn cut(&mut self) {
        match self.state {
            State::Open => self.settle(Outcome::Cut),
            // A stream, answered long ago.
            State::Settled => {
                if let Some(record) = &mut self.record {
                    record.cut();
                }
                if let Some(arm) = self.lane.arms.get(self.arm) {
                    arm.counts.endings.cut.increment();
                }
                if let Some(route) = self.lane.route(self.own) {
                    route.endings.cut.increment();
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.settle(Outcome::Cancelled);
        }
        if let Some(upstream) = self.upstream.take() {
            upstream.exit();
        }
    }
}
