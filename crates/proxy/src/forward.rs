//! The life of one request.
//!
//! ```text
//!  arrive ── the head is there, within its bounds; whose host and path are these?     400, 404, 413, 503
//!     │      (in clear, where TLS is wanted: sent there)                              308
//!     │
//!   admit ── random or sticky, with known weights; the guard's switch is looked at    no_instance
//!     │      (no instance at all: wait a little for a table that has one)             503
//!  choose ── the less loaded of two random instances of the release
//!     │
//!   send ─── on an idle connection or a new one                                       refused 502
//!     │      (nothing was sent, or it may be sent again: back to choose, twice)       reset 502, timeout 504, cut 503
//!     │      (no answer for a while: to a second instance as well, [`crate::hedge`])
//!  answer ── the response's head goes to the client; a switch of protocol becomes a tunnel
//!     │
//!   body ─── frames as they come, at the pace of the slower side                      reset, timeout, cut
//!     │
//!   end ──── counted once, by how it ended and how long it took; offered to the guard
//! ```
//!
//! From `admit` on, a [`Ticket`] makes sure of the last step, whatever happens. When the client goes away, hyper drops
//! the future or the body, and with it the ticket: `cancelled`.

mod asked;
mod outgoing;

use crate::{
    access_log::Record,
    admit::{Asked as _, Assigned, admit},
    body::{Compressed, Content, Kind, Progress, Relay, RequestBody, ResponseBody, Source, Stage, Upload},
    cache::{self, Fetch, Found, Usable, Wanted, Why},
    client_io::Busy,
    compress::{self, Coding},
    connection::Client,
    headers,
    hedge::{Hedge, Raced, Won, race},
    lane::Lane,
    lifeline::{Leaving, Lifeline, Overdue},
    origin::Origin,
    patience::DRAIN_LOOK,
    plain::{self, Parted},
    pool::Replay,
    refusal::Refusal,
    shadow,
    tally::Outcome,
    ticket::Ticket,
    tls::elsewhere,
    tunnel,
    upstream::{Connection, Upstream},
    websocket,
    worker::Worker,
};
use asked::{Whole, has_target, has_unknown_coding, host};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
        TRANSFER_ENCODING,
    },
    request, response,
};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::TrySendError,
    upgrade::{self, OnUpgrade},
};
use model::Protocol;
use outgoing::outgoing;
use std::{convert::Infallible, io, pin::pin, rc::Rc, time::Duration, time::Instant};
use tokio::time::sleep_until;

/// How often a request is sent at most.
pub(crate) const TRIES: u32 = 3;

/// Answers one request.
pub(crate) async fn serve(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let busy = Busy::new(client.pace());
    let is_http1 = request.version() < Version::HTTP_2;
    let has_body = !request.body().is_end_stream();
    let mut record = None;
    let mut response = match carry(&client, request, &mut record).await {
        Ok(response) => response,
        Err(refusal) => {
            count_refusal(&client, &refusal);
            if has_body {
                client.answered_early.set(true);
            }
            refusal.response()
        }
    };
    if let Some(record) = &mut record {
        record.status(response.status().as_u16());
        if let Content::Text(text) = response.body() {
            record.sent(text.len());
        }
    }
    if is_http1 && client.worker.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(hsts) = &client.hsts {
        // An instance may know better.
        response.headers_mut().entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| HeaderValue::clone(hsts));
    }
    Ok(response.map(|content| content.into_body(busy, client.streams().current())))
}

/// Refusals of requests that were assigned are counted with their release, by their ticket.
pub(crate) fn count_refusal(client: &Client, refusal: &Refusal) {
    let counts = &client.worker.counts;
    match refusal {
        Refusal::BadHost
        | Refusal::BadTarget
        | Refusal::BadPath
        | Refusal::Connect
        | Refusal::Coding
        | Refusal::TooLarge(..)
        | Refusal::TooSlow
        | Refusal::Stranger(_) => counts.refused.increment(),
        Refusal::TooMany(..) => counts.limited.increment(),
        Refusal::Busy(..) => counts.shed.increment(),
        Refusal::NoRoute { .. } | Refusal::NoTable | Refusal::NoRelease(_) | Refusal::Maintenance(_) => {
            counts.unrouted.increment();
        }
        Refusal::BadBody
        | Refusal::Moved(..)
        | Refusal::NotStored
        | Refusal::NoInstance(_)
        | Refusal::Unreachable(_)
        | Refusal::Reset(_)
        | Refusal::Drained(_)
        | Refusal::Timeout(..) => {}
    }
}

async fn carry(
    client: &Rc<Client>,
    request: Request<Incoming>,
    record: &mut Option<Box<Record>>,
) -> Result<Response<Content>, Refusal> {
    let began = Instant::now();
    let worker = &client.worker;
    if request.method() == Method::CONNECT && !websocket::is_asked(&request) {
        return Err(Refusal::Connect);
    }
    if has_unknown_coding(&request) {
        return Err(Refusal::Coding);
    }
    if !has_target(&request) {
        return Err(Refusal::BadTarget);
    }
    let host = host(&request)?;
    let asked = Whole { request: &request, host: &host };
    let origin = Origin::of(client, &asked).into_owned();
    let version = if request.version() == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" };
    *record = Record::begin(client, &asked, version, &origin, began);
    if let Some(response) = elsewhere(worker, &origin, host.as_bytes(), asked.target())? {
        client.answered_early.set(!request.body().is_end_stream());
        return Ok(response);
    }
    let assigned = admit(client, &asked, &origin, began, record).await?;
    let lane = assigned.ticket.lane();
    if !lane.service.is_plain() || !Parted::is_plain(&request) {
        // In a place of its own, as what else only some need: the others would carry room for it.
        return Box::pin(carry_at_length(client, request, host, origin, assigned)).await;
    }
    let lane = Rc::clone(lane);
    let Assigned { ticket, arm, set_cookie, rewritten, key, .. } = assigned;
    let asked = Parted { request: &request, host: &host, origin: &origin, rewritten: rewritten.as_deref() };
    let mut response = plain::answer(worker, &lane, (arm, key), ticket, &asked).await?;
    set_cookie.map(|cookie| response.headers_mut().append(SET_COOKIE, cookie));
    Ok(response)
}

/// Carries a request that takes the longer way, to the release that it is assigned to.
async fn carry_at_length(
    client: &Rc<Client>,
    mut request: Request<Incoming>,
    host: HeaderValue,
    origin: Origin,
    assigned: Assigned,
) -> Result<Response<Content>, Refusal> {
    let worker = &client.worker;
    let Assigned { mut ticket, arm, set_cookie, rewritten, key, found } = assigned;
    let lane = Rc::clone(ticket.lane());
    let is_connect = request.method() == Method::CONNECT;
    let asked = Whole { request: &request, host: &host };
    let traffic = &lane.service.traffic;
    let accepted = if traffic.compress { Coding::accepted(asked.fields(&ACCEPT_ENCODING)) } else { None };
    let found = match found {
        Some(Found::Fetch(fetch)) => Some(Box::pin(fetch.join()).await),
        other => other,
    };
    if let Some(Found::Fetch(fetch)) = &found {
        // How long another request took says nothing about how long this one does.
        fetch.waited.into_iter().for_each(|until| ticket.asked(until));
    }
    if let Some(Found::Refused) = found {
        // As its client wants it.
        ticket.status(StatusCode::GATEWAY_TIMEOUT.as_u16());
        ticket.settle(Outcome::Cancelled);
        return Err(Refusal::NotStored);
    }

    let wanted = match request.version() {
        Version::HTTP_11 => headers::wanted_upgrade(request.headers()),
        _ if is_connect => websocket::asked(&mut request, &worker.random),
        _ => None,
    };
    // Switching is something that HTTP/1.1 does.
    let protocol = if wanted.is_some() { Protocol::Http1 } else { traffic.protocol };
    let downstream = wanted.is_some().then(|| upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    let found = match found {
        Some(Found::Usable(usable)) => match stored(client, &lane, &mut ticket, &usable, &head, accepted).await {
            Ok(mut response) => {
                if let Some(fetch) = usable.behind {
                    cache::behind(worker, &lane, (arm, key), ticket.own(), fetch, || {
                        outgoing(client, &lane, &mut head, &host, &origin, None, rewritten);
                        Request::from_parts(head, RequestBody::Empty)
                    });
                }
                set_cookie.map(|cookie| response.headers_mut().append(SET_COOKIE, cookie));
                return Ok(response);
            }
            // Its instance answers. It was admitted without being bet on, whichever arm it has: a disk that fails says nothing of releases.
            Err(_) => Some(Found::Nothing(Why::Miss)),
        },
        other => other,
    };
    outgoing(client, &lane, &mut head, &host, &origin, wanted, rewritten);
    if downstream.is_none() && body.is_end_stream() {
        shadow::copy(worker, &lane, &mut ticket, &head);
    }
    if let Some(Found::Fetch(fetch)) = &found {
        fetch.ask(&mut head.headers);
    }
    let (body, progress) = if body.is_end_stream() {
        (RequestBody::Empty, None)
    } else {
        if protocol == Protocol::Http1 && !head.headers.contains_key(CONTENT_LENGTH) {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let bounds = ticket.bounds();
        let (upload, progress) = Upload::new(body, bounds.max_body.value.0, bounds.idle_timeout.value.duration());
        (RequestBody::Upload(upload), Some(progress))
    };
    let request = Request::from_parts(head, body);
    let upload = progress.clone();
    let sent = match send(worker, &lane, (arm, key), ticket, protocol, request, progress).await {
        Ok(sent) => {
            if upload.is_some_and(|upload| upload.stage.get() == Stage::Sending) {
                client.answered_early.set(true);
            }
            sent
        }
        Err(refusal) => {
            let stale = |fetch: &Fetch| fetch.on_error(cache::Status::Unreachable);
            let stale = if let Some(Found::Fetch(fetch)) = &found { stale(fetch) } else { None };
            return stale.map(|stale| given(client, &lane, stale, accepted)).ok_or(refusal);
        }
    };
    let mut response = answer(client, &lane, sent, downstream, accepted, found);
    if is_connect {
        websocket::accept(&mut response);
    }
    if let Some(cookie) = set_cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// A response whose head has arrived.
pub(crate) struct Sent {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Connection,
    pub(crate) ticket: Ticket,
}

impl Sent {
    /// Refused where it is not clear where the response ends, as plain ones are.
    fn begun(mut response: Response<Incoming>, connection: Connection, mut ticket: Ticket) -> Result<Sent, Refusal> {
        if headers::frame_response(response.version(), response.headers_mut()).is_err() {
            ticket.settle(Outcome::Reset);
            return Err(Refusal::Reset(ticket.lane().service.key.clone()));
        }
        Ok(Sent { response, connection, ticket })
    }
}

/// Sends a request until a response begins, at most [`TRIES`] times.
pub(crate) async fn send(
    worker: &Rc<Worker>,
    lane: &Rc<Lane>,
    (arm, key): (usize, Option<u64>),
    mut ticket: Ticket,
    protocol: Protocol,
    mut request: Request<RequestBody>,
    progress: Option<Rc<Progress>>,
) -> Result<Sent, Refusal> {
    let service = &lane.service;
    let replay = if progress.is_none() && request.method().is_idempotent() { Replay::Safe } else { Replay::Never };
    let hedge = Hedge::of(&ticket, &request, replay);
    let mut tried: Option<Rc<Upstream>> = None;
    lane.first_try();
    for left in (0..TRIES).rev() {
        let now = Instant::now();
        let Some(upstream) = lane.pick(arm, &worker.random, now, tried.as_ref(), key) else { break };
        ticket.enter(upstream);
        let idle = if tried.is_none() { upstream.take(protocol, now, replay) } else { None };
        let reused = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None => match upstream.connect(protocol, &worker.shared.limits).await {
                Ok(connection) => connection,
                Err(error) => {
                    tell_unreachable(worker, lane, upstream, &error);
                    if lane.may_try_another(arm, left) {
                        ticket.retried();
                        tried = Some(Rc::clone(upstream));
                        continue;
                    }
                    ticket.settle(Outcome::Refused);
                    return Err(Refusal::Unreachable(service.key.clone()));
                }
            },
        };
        let again = || twin(request.method(), request.uri(), request.headers());
        let spare = (reused && replay == Replay::Safe && left > 0).then(again);
        let limit = ticket.bounds().response_timeout.value;
        let second = hedge.as_ref().map(|hedge| hedge.second(worker, (arm, key), upstream, protocol, again()));
        let sending = connection.send(request);
        let first = head_in_time(sending, limit.duration(), progress.as_deref(), upstream);
        let ended = match race(hedge.as_ref(), first, second).await {
            Raced::First(ended) => ended,
            Raced::Second(Won { response, connection, visit }) => {
                ticket.enter(visit.upstream());
                return Sent::begun(response, connection, ticket);
            }
        };
        let mut failed = match ended {
            Ok(Ok(response)) => return Sent::begun(response, connection, ticket),
            Ok(Err(failed)) => failed,
            Err(Overdue::Silent) => {
                return Err(ticket.silent());
            }
            Err(Overdue::Drained) => {
                ticket.cut();
                return Err(Refusal::Drained(service.key.clone()));
            }
        };
        // What was never sent comes back. What was sent on a connection that was closed before a response began may be
        // sent again when that does no harm.
        match failed.take_message().or(spare) {
            Some(again) if left > 0 && lane.may_try_again() => {
                ticket.retried();
                tried = Some(Rc::clone(upstream));
                request = again;
            }
            Some(_) | None => return Err(broken(&mut ticket, progress.as_deref(), lane)),
        }
    }
    ticket.settle(Outcome::Refused);
    Err(Refusal::Unreachable(service.key.clone()))
}

/// Tells the operator that an instance could not be connected to.
pub(crate) fn tell_unreachable(worker: &Worker, lane: &Lane, upstream: &Upstream, error: &io::Error) {
    if let Some(withheld) = worker.trouble.pass() {
        let (service, instance, address) = (&lane.service.key, upstream.endpoint.instance, &upstream.endpoint.address);
        tracing::warn!(%service, %instance, %address, %error, withheld, "no connection to an instance");
    }
}

/// Why no response began: for what the client sent, or for the instance.
fn broken(ticket: &mut Ticket, progress: Option<&Progress>, lane: &Lane) -> Refusal {
    let service = &lane.service;
    let (outcome, refusal) = match progress.map_or(Stage::Sent, |progress| progress.stage.get()) {
        Stage::Sending | Stage::Sent => (Outcome::Reset, Refusal::Reset(service.key.clone())),
        Stage::TooLarge => return ticket.too_large(),
        Stage::TooSlow => (Outcome::Cancelled, Refusal::TooSlow),
        Stage::ClientGone => (Outcome::Cancelled, Refusal::BadBody),
    };
    ticket.settle(outcome);
    refusal
}

/// A request of the same head, without a body.
pub(crate) fn twin(method: &Method, uri: &Uri, headers: &HeaderMap) -> Request<RequestBody> {
    let mut twin = Request::new(RequestBody::Empty);
    twin.method_mut().clone_from(method);
    twin.uri_mut().clone_from(uri);
    twin.headers_mut().clone_from(headers);
    twin
}

/// What becomes of waiting for a response: its head, or why the connection gave none, with what was never sent.
pub(crate) type Begun = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// Waits for the head of a response. The time runs from when the whole request was sent, or the last bit of it so far.
///
/// # Errors
/// When it has run out, or when the instance drains and its deadline has passed.
pub(crate) async fn head_in_time(
    sending: impl Future<Output = Begun>,
    limit: Duration,
    progress: Option<&Progress>,
    upstream: &Upstream,
) -> Result<Begun, Overdue> {
    let began = Instant::now();
    let mut sending = pin!(sending);
    let mut timer = pin!(sleep_until((began + limit.min(DRAIN_LOOK)).into()));
    loop {
        tokio::select! {
            biased;
            sent = sending.as_mut() => return Ok(sent),
            () = timer.as_mut() => {}
        }
        let now = Instant::now();
        let due = progress.map_or(began, |progress| progress.last.get()) + limit;
        if upstream.leave_by().is_some_and(|by| by <= now) {
            return Err(Overdue::Drained);
        }
        if due <= now {
            return Err(Overdue::Silent);
        }
        timer.as_mut().reset(due.min(now + DRAIN_LOOK).into());
    }
}

/// Turns an instance's response into ours.
fn answer(
    client: &Rc<Client>,
    lane: &Lane,
    sent: Sent,
    downstream: Option<OnUpgrade>,
    accepted: Option<Coding>,
    found: Option<Found>,
) -> Response<Content> {
    let Sent { mut response, connection, mut ticket } = sent;
    let idle = ticket.bounds().idle_timeout.value.duration();
    ticket.status(response.status().as_u16());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(downstream) = downstream else {
            ticket.settle(Outcome::Reset);
            return Refusal::Reset(lane.service.key.clone()).response();
        };
        ticket.settle(Outcome::Answered);
        let lifeline = Lifeline::new(idle, Leaving::Spread(client.worker.random.next()));
        let upstream = upgrade::on(&mut response);
        tokio::task::spawn_local(tunnel::carry(Rc::clone(client), downstream, upstream, ticket, lifeline));
        let protocol = response.headers().get(http::header::UPGRADE).cloned();
        let (mut head, _) = response.into_parts();
        headers::forward_response(&mut head.headers, protocol);
        lane.service.response_edits.apply(&mut head.headers);
        return Response::from_parts(head, Content::Empty);
    }
    let failed = response.status().is_server_error();
    if failed {
        ticket.settle(Outcome::Status5xx);
    }
    let (mut head, body) = response.into_parts();
    let why = found.as_ref().map(Found::why);
    let mut keeps = None;
    match found {
        Some(Found::Fetch(fetch)) => {
            let status = cache::Status::After(head.status.as_u16());
            let instead = if failed { fetch.on_error(status) } else { fetch.still_holds(&head) };
            if let Some(instead) = instead {
                ticket.settle(Outcome::Answered);
                tell(&mut ticket, &instead);
                if let Some(upstream) = ticket.upstream().filter(|_| body.is_end_stream()) {
                    upstream.keep(connection, Instant::now());
                }
                return given(client, lane, instead, accepted);
            }
            keeps = fetch.keep(&head);
        }
        Some(Found::Changes(places)) => {
            let went_well = head.status.is_success() || head.status.is_redirection();
            lane.service.cache.iter().filter(|_| went_well).for_each(|kept| kept.changed(&places));
        }
        Some(Found::Nothing(_) | Found::Usable(_) | Found::Refused) | None => {}
    }
    headers::forward_response(&mut head.headers, None);
    if let Some(why) = why {
        cache::Status::Forwarded(why).write(&mut head.headers);
    }
    lane.service.response_edits.apply(&mut head.headers);
    head.version = Version::HTTP_11;
    if body.is_end_stream() {
        ticket.settle(Outcome::Answered);
        keeps.into_iter().for_each(|keeps| keeps.complete());
        if let Some(upstream) = ticket.upstream() {
            upstream.keep(connection, Instant::now());
        }
        return Response::from_parts(head, Content::Empty);
    }
    let compress = lane.service.traffic.compress;
    let encoder = if compress { compress::applies(&mut head, accepted, &client.worker.compressing) } else { None };
    let kind = kind(&head);
    let leaving = match kind {
        Kind::Whole => Leaving::Last,
        Kind::Events => {
            // It has no end to wait for, and how long it goes on says nothing about how fast it is.
            ticket.settle(Outcome::Answered);
            Leaving::Spread(client.worker.random.next())
        }
    };
    let lifeline = Lifeline::new(idle, leaving);
    let relay = Relay { body, ticket, connection: Some(connection), lifeline, kind, keeps };
    let content = match encoder {
        Some(encoder) => Content::Compressed(Box::new(Compressed::new(Source::Relay(Box::new(relay)), encoder))),
        None => Content::Relay(Box::new(relay)),
    };
    Response::from_parts(head, content)
}

/// Answers from the cache, which no release is judged by.
///
/// # Errors
/// When what is stored cannot be read.
async fn stored(
    client: &Client,
    lane: &Lane,
    ticket: &mut Ticket,
    usable: &Usable,
    asked: &request::Parts,
    accepted: Option<Coding>,
) -> io::Result<Response<Content>> {
    let wanted = if asked.method == Method::HEAD { Wanted::Head } else { Wanted::Whole };
    let mut response = usable.answer(&asked.headers, wanted, Instant::now());
    if let Content::Stored(body) = response.body_mut() {
        body.begin().await?;
    }
    tell(ticket, &response);
    ticket.settle(Outcome::Cached);
    Ok(given(client, lane, response, accepted))
}

/// What is written down of a request that is given this.
fn tell(ticket: &mut Ticket, stored: &Response<Content>) {
    ticket.status(stored.status().as_u16());
    if let Content::Stored(body) = stored.body() {
        ticket.sent(usize::try_from(body.len()).unwrap_or(usize::MAX));
    }
}

/// Makes what was stored, as an instance had sent it, a response of ours.
fn given(client: &Client, lane: &Lane, response: Response<Content>, accepted: Option<Coding>) -> Response<Content> {
    let (mut head, content) = response.into_parts();
    lane.service.response_edits.apply(&mut head.headers);
    let Content::Stored(body) = content else { return Response::from_parts(head, content) };
    let compress = lane.service.traffic.compress;
    let encoder = if compress { compress::applies(&mut head, accepted, &client.worker.compressing) } else { None };
    let content = match encoder {
        Some(encoder) => Content::Compressed(Box::new(Compressed::new(Source::Stored(body), encoder))),
        None => Content::Stored(body),
    };
    Response::from_parts(head, content)
}

fn kind(head: &response::Parts) -> Kind {
    let events = head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    if events { Kind::Events } else { Kind::Whole }
}
