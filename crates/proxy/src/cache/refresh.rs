//! Asking an instance behind an answer that was stale: whether it still holds, or what holds instead. Its request counts for its
//! release, and its route, like any other, but is not bet on: nobody sent it.

use super::Fetch;
use crate::{
    body::{Kind, Relay, RequestBody},
    forward::{Sent, send},
    lane::Lane,
    lifeline::{Leaving, Lifeline},
    tally::Outcome,
    ticket::Ticket,
    worker::Worker,
};
use http::Request;
use hyper::body::Body as _;
use std::{future::poll_fn, rc::Rc, time::Instant};

/// Asks, unless somebody does already. `own`: the position of what the route says itself.
pub(crate) fn behind(
    worker: &Rc<Worker>,
    lane: &Rc<Lane>,
    to: (usize, Option<u64>),
    own: Option<usize>,
    mut fetch: Box<Fetch>,
    request: impl FnOnce() -> Request<RequestBody>,
) {
    if !lane.has_instance(to.0) || !fetch.take_lead() {
        return;
    }
    let mut request = request();
    fetch.ask(request.headers_mut());
    let ticket = Ticket::new(Rc::clone(worker), Rc::clone(lane), to.0, Instant::now(), None).of_route(own);
    tokio::task::spawn_local(refresh(Rc::clone(worker), to, ticket, fetch, request));
}

async fn refresh(
    worker: Rc<Worker>,
    to: (usize, Option<u64>),
    ticket: Ticket,
    fetch: Box<Fetch>,
    request: Request<RequestBody>,
) {
    let lane = Rc::clone(ticket.lane());
    let protocol = lane.service.traffic.protocol;
    // What went wrong is counted; what is stored stays as stale as it is.
    let Ok(sent) = send(&worker, &lane, to, ticket, protocol, request, None).await else { return };
    let Sent { response, connection, mut ticket } = sent;
    ticket.status(response.status().as_u16());
    if response.status().is_server_error() {
        return ticket.settle(Outcome::Status5xx);
    }
    let (head, body) = response.into_parts();
    let keeps = if fetch.still_holds(&head).is_some() { None } else { fetch.keep(&head) };
    if body.is_end_stream() {
        ticket.settle(Outcome::Answered);
        if let Some(upstream) = ticket.upstream() {
            upstream.keep(connection, Instant::now());
        }
        return keeps.into_iter().for_each(|keeps| keeps.complete());
    }
    if keeps.is_none() {
        // The rest of it is of no use to anybody.
        return ticket.settle(Outcome::Answered);
    }
    let lifeline = Lifeline::new(ticket.bounds().idle_timeout.value.duration(), Leaving::Last);
    let mut relay = Relay { body, ticket, connection: Some(connection), lifeline, kind: Kind::Whole, keeps };
    while relay.keeps.is_some() {
        match poll_fn(|cx| relay.poll_frame(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
    relay.ticket.settle(Outcome::Answered);
}
