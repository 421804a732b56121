//! The instance's side of an exchange: sends a head and waits for the response's.

use super::response::{Answer, Found, Head, understand};
use crate::{
    buffers::Buffer,
    forward::{TRIES, tell_unreachable},
    lane::Lane,
    lifeline::{Leaving, Overdue},
    patience::{Departure, Patience},
    pool::Replay,
    refusal::Refusal,
    table::Bounds,
    tally::Outcome,
    ticket::Ticket,
    upstream::{Link, Upstream},
    worker::Worker,
};
use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
    time::Instant,
};
use tokio::io::AsyncWrite as _;

/// How many interim responses may come before the final one.
const MOST_INTERIM: u32 = 16;

/// A response whose head has arrived.
pub(super) struct Begun<T> {
    pub(super) link: Link,
    /// What has arrived of its body.
    pub(super) arrived: Buffer,
    pub(super) head: Head,
    /// Its head as the client is sent it.
    pub(super) passed_on: T,
}

/// Why no response began.
enum Failed {
    /// The connection broke: `unsent`, before anything was sent; `unanswered`, before anything came.
    Broken {
        unsent: bool,
        unanswered: bool,
    },
    /// What came is no response.
    Malformed,
    Overdue(Overdue),
}

/// Sends a request until a response begins, as often as a request may be tried. It has no body and may be sent again.
///
/// # Errors
/// When no response begins: the ticket is settled then.
pub(super) async fn ask<T>(
    worker: &Rc<Worker>,
    lane: &Rc<Lane>,
    (arm, key): (usize, Option<u64>),
    ticket: &mut Ticket,
    patience: &mut Patience,
    asked: &Question<impl Fn(&Answer<'_>) -> T>,
) -> Result<Begun<T>, Refusal> {
    let service = &lane.service;
    let mut tried: Option<Rc<Upstream>> = None;
    lane.first_try();
    for left in (0..TRIES).rev() {
        let now = Instant::now();
        let Some(upstream) = lane.pick(arm, &worker.random, now, tried.as_ref(), key) else { break };
        ticket.enter(upstream);
        let idle = if tried.is_none() { upstream.links.take(now, Replay::Safe) } else { None };
        let reused = idle.is_some();
        let link = match idle {
            Some(link) => link,
            // Boxed: few requests need a new connection, and all would have room for it.
            None => match Box::pin(upstream.reach(&worker.shared.limits)).await {
                Ok(stream) => Link(stream),
                Err(error) => {
                    tell_unreachable(worker, lane, upstream, &error);
                    if lane.may_try_another(arm, left) {
                        ticket.retried();
                        tried = Some(Rc::clone(upstream));
                        continue;
                    }
                    break;
                }
            },
        };
        match try_once(worker, ticket.bounds(), link, upstream, patience, asked).await {
            Ok(begun) => return Ok(begun),
            Err(Failed::Broken { unsent, unanswered })
                if left > 0 && (unsent || reused && unanswered) && lane.may_try_again() =>
            {
                ticket.retried();
                tried = Some(Rc::clone(upstream));
            }
            Err(Failed::Broken { .. } | Failed::Malformed) => {
                ticket.settle(Outcome::Reset);
                return Err(Refusal::Reset(service.key.clone()));
            }
            Err(Failed::Overdue(Overdue::Silent)) => {
                return Err(ticket.silent());
            }
            Err(Failed::Overdue(Overdue::Drained)) => {
                ticket.cut();
                return Err(Refusal::Drained(service.key.clone()));
            }
        }
    }
    ticket.settle(Outcome::Refused);
    Err(Refusal::Unreachable(service.key.clone()))
}

/// What is asked of an instance.
pub(super) struct Question<F> {
    /// The head, as it is sent.
    pub(super) head: Vec<u8>,
    /// Whether it is a HEAD request.
    pub(super) to_head: bool,
    /// Makes of the head of its response what the client is sent.
    pub(super) pass_on: F,
}

async fn try_once<T>(
    worker: &Rc<Worker>,
    bounds: &Bounds,
    mut link: Link,
    upstream: &Upstream,
    patience: &mut Patience,
    asked: &Question<impl Fn(&Answer<'_>) -> T>,
) -> Result<Begun<T>, Failed> {
    let mut departure = Departure::new(Leaving::Last, bounds.response_timeout.value.duration());
    let mut rest = &asked.head[..];
    while !rest.is_empty() {
        let written = poll_fn(|cx| {
            if let Poll::Ready(written) = Pin::new(&mut link.0).poll_write(cx, rest) {
                return Poll::Ready(Ok(written));
            }
            patience.poll_overdue(cx, upstream, &mut departure).map(|overdue| Err(Failed::Overdue(overdue)))
        });
        match written.await? {
            Ok(count) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
            Ok(_) | Err(_) => {
                let unsent = rest.len() == asked.head.len();
                return Err(Failed::Broken { unsent, unanswered: true });
            }
        }
    }
    departure.progress();
    let mut held: Option<Buffer> = None;
    let mut interim = 0;
    loop {
        let (read, mut arrived) = poll_fn(|cx| {
            let mut buffer = held.take().unwrap_or_else(|| worker.buffers.take());
            if let Poll::Ready(read) = buffer.poll_fill(cx, Pin::new(&mut link.0)) {
                return Poll::Ready(Ok((read, buffer)));
            }
            if !buffer.is_empty() {
                held = Some(buffer);
            }
            let overdue = ready!(patience.poll_overdue(cx, upstream, &mut departure));
            Poll::Ready(Err(Failed::Overdue(overdue)))
        })
        .await?;
        if !read.is_ok_and(|count| count > 0) {
            // Nothing more comes, or the head is longer than any may be.
            let unanswered = arrived.is_empty() && interim == 0;
            return Err(if arrived.is_full() {
                Failed::Malformed
            } else {
                Failed::Broken { unsent: false, unanswered }
            });
        }
        loop {
            match understand(arrived.filled(), asked.to_head, &asked.pass_on) {
                Ok(Found::Final(head, passed_on)) => {
                    arrived.consume(head.size);
                    return Ok(Begun { link, arrived, head, passed_on });
                }
                Ok(Found::Interim(length)) if interim < MOST_INTERIM => {
                    arrived.consume(length);
                    interim += 1;
                }
                Ok(Found::Part) => break,
                Ok(Found::Interim(_)) | Err(_) => return Err(Failed::Malformed),
            }
        }
        held = Some(arrived).filter(|arrived| !arrived.is_empty());
    }
}
