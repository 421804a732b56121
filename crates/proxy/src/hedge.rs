//! A second try beside a slow first one: a request that changes nothing and whose response has not begun for a while goes to
//! another instance of the same release as well. The first head that comes wins; the other connection is closed, or its stream reset.
//!
//! What always holds: it is one request, counted and judged once, as what the winner makes of it, and whoever lost is neither
//! counted nor left out for it. There is one second try at most, none by which a service would get more than it may be given: it
//! needs a place among those under way, as what matters least, and one of the further tries that a lane may use.

use crate::{
    body::RequestBody,
    bulkhead::Priority,
    forward::{Begun, head_in_time},
    lane::Lane,
    lifeline::Overdue,
    pool::Replay,
    ticket::Ticket,
    upstream::{Connection, Upstream},
    worker::Worker,
};
use http::{Request, Response, header::UPGRADE};
use hyper::body::Incoming;
use model::Protocol;
use std::{
    cell::Cell,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// The second try that one request may have.
pub(crate) struct Hedge {
    lane: Rc<Lane>,
    /// The position of the bounds that its route has of its own.
    own: Option<usize>,
    /// After how long without a response.
    after: Duration,
    stage: Cell<Stage>,
}

/// How far the second try is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There was none yet.
    Waiting,
    /// It is under way.
    Racing,
    /// It brought nothing, and there is no other.
    Over,
}

/// A response that the second instance began first.
pub(crate) struct Won {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Connection,
    pub(crate) visit: Visit,
}

/// That a second try is with an instance, until this is dropped.
pub(crate) struct Visit(Rc<Upstream>);

impl Visit {
    fn new(upstream: &Rc<Upstream>) -> Visit {
        upstream.enter();
        Visit(Rc::clone(upstream))
    }

    /// With which.
    pub(crate) fn upstream(&self) -> &Rc<Upstream> {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.exit();
    }
}

impl Hedge {
    /// `None`: this request may not be sent twice. Methods that change something may not, though trying them again would do no harm:
    /// whoever deletes, and is answered by the instance that came second, is told that there was nothing.
    pub(crate) fn of(ticket: &Ticket, request: &Request<RequestBody>, replay: Replay) -> Option<Hedge> {
        let lane = ticket.lane();
        let after = lane.service.traffic.hedge_after?.duration();
        let may = replay == Replay::Safe && request.method().is_safe() && !request.headers().contains_key(UPGRADE);
        may.then(|| Hedge { lane: Rc::clone(lane), own: ticket.own(), after, stage: Cell::new(Stage::Waiting) })
    }

    /// The second try, beside one by `first`. `None`: there was none, or it brought nothing.
    pub(crate) async fn second(
        &self,
        worker: &Worker,
        (arm, key): (usize, Option<u64>),
        first: &Rc<Upstream>,
        protocol: Protocol,
        request: Request<RequestBody>,
    ) -> Option<Won> {
        if self.stage.get() == Stage::Over {
            return None;
        }
        sleep(self.after).await;
        let (lane, now) = (&self.lane, Instant::now());
        let upstream = lane.pick(arm, &worker.random, now, Some(first), key);
        // Where no other one is well, the first may be chosen again, or one that is not well.
        let is_well = |upstream: &&Rc<Upstream>| {
            !Rc::ptr_eq(upstream, first)
                && upstream.is_usable(now)
                && !upstream.is_left_out(now)
                && upstream.leave_by().is_none()
        };
        let upstream = upstream.filter(is_well)?;
        let bulkhead = lane.service.bounds.of(self.own).bulkhead.as_ref();
        let pass = bulkhead.map(|bulkhead| bulkhead.value.enter(Priority::Low, now));
        if matches!(pass, Some(None)) || !lane.may_try_again() {
            return None;
        }
        self.stage.set(Stage::Racing);
        let counts = lane.arms.get(arm).map(|arm| &arm.counts);
        counts.into_iter().for_each(|counts| counts.endings.hedged.increment());
        let won = self.send(worker, upstream, protocol, request).await;
        self.stage.set(Stage::Over);
        counts.filter(|_| won.is_some()).into_iter().for_each(|counts| counts.endings.hedges_won.increment());
        won
    }

    async fn send(
        &self,
        worker: &Worker,
        upstream: &Rc<Upstream>,
        protocol: Protocol,
        request: Request<RequestBody>,
    ) -> Option<Won> {
        let visit = Visit::new(upstream);
        // Both have the same time.
        let limit = self.lane.service.bounds.of(self.own).response_timeout.value.duration().saturating_sub(self.after);
        let mut connection = match upstream.take(protocol, Instant::now(), Replay::Safe) {
            Some(connection) => connection,
            None => upstream.connect(protocol, &worker.shared.limits).await.ok()?,
        };
        let response = head_in_time(connection.send(request), limit, None, upstream).await.ok()?.ok()?;
        Some(Won { response, connection, visit })
    }
}

/// How a race ended.
pub(crate) enum Raced {
    /// The first one is what there is, whatever it is.
    First(Result<Begun, Overdue>),
    /// The second one has begun to answer.
    Second(Won),
}

/// Waits for the first head. When the first try fails, a second one that is under way goes on.
pub(crate) async fn race(
    hedge: Option<&Hedge>,
    first: impl Future<Output = Result<Begun, Overdue>>,
    second: Option<impl Future<Output = Option<Won>>>,
) -> Raced {
    let (Some(hedge), Some(second)) = (hedge, second) else { return Raced::First(first.await) };
    let (mut first, mut second) = (pin!(first), pin!(second));
    tokio::select! {
        biased;
        ended = first.as_mut() => {
            if matches!(ended, Ok(Ok(_))) || hedge.stage.get() != Stage::Racing {
                return Raced::First(ended);
            }
            second.await.map_or(Raced::First(ended), Raced::Second)
        }
        won = second.as_mut() => match won {
            Some(won) => Raced::Second(won),
            None => Raced::First(first.await),
        }
    }
}
