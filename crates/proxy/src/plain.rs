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
    patience::Patience,
    stream::Stream,
};
pub(crate) use body::Body;
pub(crate) use parted::{Parted, answer};

use client::{More, Side};
use exchange::{Next, exchange};
use std::{future::poll_fn, rc::Rc, time::Instant};

/// Answers plain requests, until one is not plain: hyper serves the rest then.
///
/// No async function: one keeps a second place for each of its arguments, in every connection.
pub(crate) fn serve(client: Rc<Client>, stream: Stream) -> impl Future<Output = ()> {
    let mut side = Side::new(&client, stream);
    let mut patience = Patience::new();
    let mut is_known = false;
    async move {
        let limits = &client.worker.shared.limits;
        loop {
            // Browsers open connections that they never use.
            let time = if is_known { limits.keep_alive } else { limits.head_time };
            let mut place = client.worker.idle.enter(Instant::now() + time);
            match poll_fn(|cx| side.poll_more(cx, &mut patience, &mut place)).await {
                More::Arrived => drop(place),
                More::Nothing => return,
                More::Unwanted => return Box::pin(side.end()).await,
            }
            match Box::pin(exchange(&client, &mut side, &mut patience)).await {
                Next::Request => is_known = true,
                Next::NotPlain(arrived) => {
                    return Box::pin(by_hyper(Rc::clone(&client), side.stream, Some(arrived))).await;
                }
                Next::Close if side.has_more() => return Box::pin(linger(side.stream)).await,
                Next::Close => return Box::pin(side.end()).await,
                Next::Cut => return,
            }
        }
    }
}
