//! The short way for plain requests: those without a body or anything unusual, which are most of what most services are asked.
//!
//! ```text
//!  read ──── a head, understood where it lies ([`request`])              anything else: hyper goes on from here
//!   admit ── as every request is ([`crate::admit`])
//!    send ── one write on a kept socket, or on a new one; tried again as [`crate::forward`] does
//!   answer ─ its head written anew ([`response`]) and what has come of its body, in one write
//!    body ── read and written at the pace of the slower side, to an end that is known ([`chunks`])
//! ```
//!
//! What is decided, counted and promised is the same as for requests that hyper carries, and so are the tests. What differs is
//! the cost: no copy of a head in pieces, no channel between two halves of a connection, no timer that is set for each request,
//! and no buffer that is held while nothing is in it.
//!
//! Where hyper has read a request, because it came over HTTP/2 or behind one that is not plain, the way begins at "send", and the
//! answer goes back through hyper ([`parted`], [`body`]).

mod body;
pub(crate) mod chunks;
mod client;
mod exchange;
pub(crate) mod field;
mod instance;
mod parted;
mod relay;
pub(crate) mod request;
pub(crate) mod response;
mod source;

use crate::{
    connection::{Client, by_hyper, linger},
    idle::Place,
    patience::Patience,
    stream::Stream,
};
pub(crate) use body::Body;
pub(crate) use parted::{Parted, answer};

use client::{More, Side, end};
use exchange::{Next, exchange};
use std::{future::poll_fn, pin::Pin, rc::Rc, time::Instant};

/// Answers plain requests, until one is not plain: hyper serves the rest then.
///
/// What it is made of is what every connection holds, so only what outlasts a rest is part of it. No async function: one keeps a
/// second place for each of its arguments.
pub(crate) fn serve(client: Rc<Client>, stream: Stream) -> impl Future<Output = ()> {
    // Browsers open connections that they never use.
    let place = client.worker.idle.enter(Instant::now() + client.worker.shared.limits.head_time);
    let mut side = Side::new(client, stream);
    let mut pause = Pause::Long;
    async move {
        let last: Pin<Box<dyn Future<Output = ()>>> = loop {
            match poll_fn(|cx| side.poll_more(cx, &place)).await {
                More::Arrived => {}
                More::Rest => {
                    place.rest();
                    pause = Pause::Long;
                    continue;
                }
                More::Nothing => return,
                More::Unwanted => break Box::pin(end(side.stream)),
            }
            match Box::pin(requests(&mut side, &place, pause)).await {
                Next::Request => pause = Pause::Short,
                Next::NotPlain(arrived) => break Box::pin(by_hyper(side.client, side.stream, Some(arrived))),
                Next::Close if side.has_more() => break Box::pin(linger(side.stream)),
                Next::Close => break Box::pin(end(side.stream)),
                Next::Cut => return,
            }
        };
        drop(place);
        last.await;
    }
}

/// How long a connection has waited for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pause {
    /// As long as makes it rest, or for its first one.
    Long,
    /// Less.
    Short,
}

/// Answers a request, and those that come soon after it when it has come soon after another itself. What they need is in a box
/// until then: to make it anew for each of them would cost more, and to keep it for those that may not come would, too.
async fn requests(side: &mut Side, place: &Place, pause: Pause) -> Next {
    let mut patience = Patience::new();
    loop {
        place.leave();
        match exchange(side, &mut patience).await {
            Next::Request => place.wait(Instant::now() + side.client.worker.shared.limits.keep_alive),
            last @ (Next::Close | Next::Cut | Next::NotPlain(_)) => return last,
        }
        if pause == Pause::Long {
            return Next::Request;
        }
        match poll_fn(|cx| side.poll_more(cx, place)).await {
            More::Arrived => {}
            More::Nothing => return Next::Cut,
            // Whoever asks again is told the same.
            More::Rest | More::Unwanted => return Next::Request,
        }
    }
}
