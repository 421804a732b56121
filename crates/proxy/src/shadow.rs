//! Copies of requests for a release that gets no request yet: sent beside them, answered for nobody, and compared with what
//! became of the requests themselves.
//!
//! ```text
//!  copy ─── may it be copied, and is it among the share?            no: nothing happens
//!    │      (as many copies are under way as may be: counted)
//!  send ─── as an instance gets it, with `x-shadow: 1`, by a task of its own
//!    │
//!  read ─── its answer, to the end or to a bound, and throw it away
//!    │
//! compare ─ wait until the request itself has ended, and count the pair
//! ```
//!
//! A request knows nothing of its copy: its ticket leaves word of how it ended, and nothing else of it is touched. A copy takes
//! no ticket. It counts for no arm and no guard, uses up nobody's rate and none of the retries that requests may have, asks and
//! fills no cache, and leaves no line in the access log. Only requests that can do no harm twice are copied: GET and HEAD without
//! a body.

use crate::{
    assign::Point,
    body::RequestBody,
    forward::twin,
    lane::Lane,
    pool::Replay,
    table::Bounds,
    tally::Outcome,
    ticket::Ticket,
    upstream::{Connection, Upstream},
    worker::Worker,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE, request};
use hyper::body::{Body as _, Incoming};
use model::{Copies, Protocol, Shadow};
use std::{
    cell::Cell,
    future::poll_fn,
    ops::ControlFlow,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time::timeout};

/// How many copies may be under way at once, in each thread. Requests beyond that are not copied.
const MOST: u32 = 64;

/// How often a copy is sent at most.
const TRIES: u32 = 3;

/// How much of an answer is read, and for how long while it still comes. What is longer was answered.
const BODY: (u64, Duration) = (1 << 20, Duration::from_secs(30));

/// How long a copy waits for the end of the request that it is a copy of.
const WAIT: Duration = Duration::from_secs(60);

/// Tells an instance that nobody sees its answer.
pub(crate) static X_SHADOW: HeaderName = HeaderName::from_static("x-shadow");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where in a `traceparent` of this length the id of the span before is.
const PARENT: (usize, std::ops::Range<usize>) = (55, 36..52);

/// The shadow of a service, as its table has it.
pub(crate) struct Mirror {
    /// What is copied, to whom.
    pub(crate) terms: Shadow,
    /// What became of it: of this table and of those before that copied for the same change.
    figures: Arc<Mutex<Copies>>,
}

impl Mirror {
    /// Goes on counting where the one `before` is, if it is the same release's.
    pub(crate) fn new(terms: &Shadow, before: Option<&Mirror>) -> Mirror {
        let same = |before: &&Mirror| before.terms.change == terms.change && before.terms.release == terms.release;
        let figures = before.filter(same).map(|before| Arc::clone(&before.figures)).unwrap_or_default();
        Mirror { terms: terms.clone(), figures }
    }

    /// What became of all copies.
    pub(crate) fn copies(&self) -> Copies {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looked at for copies only: no request waits for this lock.
    fn count(&self, change: impl FnOnce(&mut Copies)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The instances of a shadow in one thread.
pub(crate) struct Shade {
    /// Those that are ready.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
    /// Until when none of them is compared, because one is still warming up.
    pub(crate) warm_at: Instant,
}

impl Shade {
    /// The least busy one, but for those that refused a connection lately and the one that was just tried.
    fn pick(&self, now: Instant, tried: Option<&Rc<Upstream>>) -> Option<&Rc<Upstream>> {
        let is_good = |upstream: &&Rc<Upstream>| {
            upstream.is_usable(now) && !tried.is_some_and(|tried| Rc::ptr_eq(tried, upstream))
        };
        let best = self.upstreams.iter().filter(is_good).min_by_key(|upstream| upstream.load());
        best.or(self.upstreams.first())
    }
}

/// How many copies are under way in a thread.
#[derive(Default)]
pub(crate) struct Room(Rc<Cell<u32>>);

/// The right to have one more under way.
struct Place(Rc<Cell<u32>>);

impl Room {
    fn enter(&self) -> Option<Place> {
        (self.0.get() < MOST).then(|| {
            self.0.set(self.0.get() + 1);
            Place(Rc::clone(&self.0))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a request leaves word of when it ends, for its copy.
pub(crate) struct Word {
    to: oneshot::Sender<Given>,
    status: Option<u16>,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Given {
    outcome: Outcome,
    status: Option<u16>,
}

impl Word {
    /// The client is given this status.
    pub(crate) fn status(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The request has ended.
    pub(crate) fn ended(self, outcome: Outcome) {
        // Nobody may be waiting any more.
        let _ = self.to.send(Given { outcome, status: self.status });
    }
}

/// Copies a request without a body that is about to be sent, if it is to be copied. `head`: as an instance gets it.
pub(crate) fn copy(worker: &Rc<Worker>, lane: &Rc<Lane>, ticket: &mut Ticket, head: &request::Parts) {
    let (Some(mirror), Some(shade)) = (&lane.service.shadow, &lane.shade) else { return };
    let may_be = head.method == Method::GET || head.method == Method::HEAD;
    if !may_be || shade.upstreams.is_empty() || !Point::from_uniform(worker.random.next()).is_below(mirror.terms.share)
    {
        return;
    }
    let Some(place) = worker.copies.enter() else { return mirror.count(|copies| copies.crowded_out += 1) };
    let (to, word) = oneshot::channel();
    ticket.leave_word(Word { to, status: None });
    let request = copied(worker, head);
    tokio::task::spawn_local(follow(Rc::clone(worker), Rc::clone(lane), ticket.own(), request, word, place));
}

/// A request as a shadow gets it.
fn copied(worker: &Worker, head: &request::Parts) -> Request<RequestBody> {
    let mut copy = twin(&head.method, &head.uri, &head.headers);
    let headers = copy.headers_mut();
    headers.insert(&X_SHADOW, HeaderValue::from_static("1"));
    // The same trace, and another span in it than the request's.
    if let Some(trace) = headers.get(TRACEPARENT).filter(|trace| trace.len() == PARENT.0) {
        let mut trace = trace.as_bytes().to_vec();
        trace.splice(PARENT.1, format!("{:016x}", worker.random.next() | 1).into_bytes());
        HeaderValue::from_bytes(&trace).into_iter().for_each(|trace| drop(headers.insert(TRACEPARENT, trace)));
    }
    copy
}

/// The life of a copy.
async fn follow(
    worker: Rc<Worker>,
    lane: Rc<Lane>,
    own: Option<usize>,
    request: Request<RequestBody>,
    word: oneshot::Receiver<Given>,
    _place: Place,
) {
    let (Some(mirror), Some(shade)) = (&lane.service.shadow, &lane.shade) else { return };
    let began = Instant::now();
    // It has as much time as the request.
    let bounds = lane.service.bounds.of(own);
    let end = send(&worker, lane.service.traffic.protocol, bounds, shade, request).await;
    let latency_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let given = timeout(WAIT, word).await.ok().and_then(Result::ok);
    mirror.count(|copies| {
        tally(copies, end.outcome, latency_us);
        let given = given.filter(|_| began >= shade.warm_at);
        compare(copies, end, given);
    });
}

/// Counts how a copy ended.
fn tally(copies: &mut Copies, outcome: Outcome, latency_us: u64) {
    let tally = &mut copies.tally;
    match outcome {
        Outcome::Answered => {
            tally.answered += 1;
            copies.latencies.record(latency_us);
        }
        Outcome::Status5xx => tally.status_5xx += 1,
        Outcome::Refused => tally.refused += 1,
        Outcome::Reset => tally.reset += 1,
        Outcome::Timeout => tally.timeout += 1,
        Outcome::NoInstance => tally.no_instance += 1,
        Outcome::Cancelled | Outcome::Cached => tally.cancelled += 1,
        Outcome::Cut => tally.cut += 1,
    }
}

/// Counts a pair, if both of it say something.
fn compare(copies: &mut Copies, copy: Given, request: Option<Given>) {
    let ends = request.map(|request| (failed(copy.outcome), failed(request.outcome), request));
    let Some((Some(copy_failed), Some(user_failed), request)) = ends else {
        copies.uncompared += 1;
        return;
    };
    match (copy_failed, user_failed) {
        (false, false) => copies.both_fine += 1,
        (true, false) => copies.only_copy_failed += 1,
        (false, true) => copies.only_user_failed += 1,
        (true, true) => copies.both_failed += 1,
    }
    if let (Some(one), Some(other)) = (copy.status, request.status) {
        copies.statuses_differ += u64::from(one / 100 != other / 100);
    }
}

/// Whether an end is a failure; `None`: it says nothing about a release.
fn failed(outcome: Outcome) -> Option<bool> {
    match outcome {
        Outcome::Answered => Some(false),
        Outcome::Status5xx | Outcome::Refused | Outcome::Reset | Outcome::Timeout | Outcome::NoInstance => Some(true),
        Outcome::Cancelled | Outcome::Cut | Outcome::Cached => None,
    }
}

/// An instance is busy with a copy as long as this is there.
struct Entered<'a>(&'a Upstream);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.exit();
    }
}

/// Sends a copy until it is answered, under the same rules as requests are sent.
async fn send(
    worker: &Worker,
    protocol: Protocol,
    bounds: &Bounds,
    shade: &Shade,
    mut request: Request<RequestBody>,
) -> Given {
    let mut tried: Option<&Rc<Upstream>> = None;
    for left in (0..TRIES).rev() {
        let Some(upstream) = shade.pick(Instant::now(), tried) else { break };
        // Once its instance leaves, nobody is interested in it any more, and nothing shall wait for it.
        let leaving = upstream.leaving();
        if upstream.leave_by().is_some() {
            return Given { outcome: Outcome::Cut, status: None };
        }
        upstream.enter();
        let _entered = Entered(upstream);
        let others = shade.upstreams.len() > 1;
        let attempt = attempt(worker, (protocol, bounds), upstream, request, tried.is_none());
        let attempted = tokio::select! {
            biased;
            () = leaving => return Given { outcome: Outcome::Cut, status: None },
            attempted = attempt => attempted,
        };
        match attempted {
            ControlFlow::Break(end) => return end,
            ControlFlow::Continue((_, outcome)) if left == 0 || (outcome == Outcome::Refused && !others) => {
                return Given { outcome, status: None };
            }
            ControlFlow::Continue((again, _)) => request = again,
        }
        tried = Some(upstream);
    }
    Given { outcome: Outcome::Refused, status: None }
}

/// One try. It goes on with the request where nothing can have been done yet, and with what to call that if it was the last one.
async fn attempt(
    worker: &Worker,
    (protocol, bounds): (Protocol, &Bounds),
    upstream: &Upstream,
    request: Request<RequestBody>,
    is_first: bool,
) -> ControlFlow<Given, (Request<RequestBody>, Outcome)> {
    let idle = if is_first { upstream.take(protocol, Instant::now(), Replay::Safe) } else { None };
    let is_reused = idle.is_some();
    let mut connection = match idle {
        Some(connection) => connection,
        None => match upstream.connect(protocol, &worker.shared.limits).await {
            Ok(connection) => connection,
            Err(_) => return ControlFlow::Continue((request, Outcome::Refused)),
        },
    };
    let spare = is_reused.then(|| twin(request.method(), request.uri(), request.headers()));
    match timeout(bounds.response_timeout.value.duration(), connection.send(request)).await {
        Ok(Ok(response)) => ControlFlow::Break(read(bounds, upstream, connection, response).await),
        // What was never sent comes back; an old connection may have been closed before anything was read from it.
        Ok(Err(mut failed)) => match failed.take_message().or(spare) {
            Some(again) => ControlFlow::Continue((again, Outcome::Reset)),
            None => ControlFlow::Break(Given { outcome: Outcome::Reset, status: None }),
        },
        Err(_) => ControlFlow::Break(Given { outcome: Outcome::Timeout, status: None }),
    }
}

/// Reads an answer and throws it away. The connection is used again when all of it has come.
async fn read(bounds: &Bounds, upstream: &Upstream, connection: Connection, response: Response<Incoming>) -> Given {
    let (head, mut body) = response.into_parts();
    let status = Some(head.status.as_u16());
    let given = |outcome| Given { outcome, status };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for that.
        return given(Outcome::Reset);
    }
    let answered = if head.status.is_server_error() { Outcome::Status5xx } else { Outcome::Answered };
    // Events have no end to wait for.
    if head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        return given(answered);
    }
    let silence = bounds.idle_timeout.value.duration();
    let until = Instant::now() + BODY.1;
    let mut left = BODY.0;
    while !body.is_end_stream() {
        let next = timeout(silence, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))).await;
        let size = match next {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len) as u64,
            // How it began to answer says more than how it ended.
            _ if answered == Outcome::Status5xx => return given(answered),
            Ok(Some(Err(_))) => return given(Outcome::Reset),
            Err(_) => return given(Outcome::Timeout),
        };
        match left.checked_sub(size) {
            Some(rest) if Instant::now() < until => left = rest,
            Some(_) | None => return given(answered),
        }
    }
    upstream.keep(connection, Instant::now());
    given(answered)
}
