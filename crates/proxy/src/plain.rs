//! The short way for plain requests: HTTP/1.1 without a body, which is most of what most services are asked.
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

pub(crate) mod chunks;
mod client;
mod exchange;
pub(crate) mod field;
mod instance;
mod relay;
pub(crate) mod request;
pub(crate) mod response;

use crate::{
    buffers::Buffer,
    connection::{Client, linger},
    patience::Patience,
    stream::Stream,
};
use client::Side;
use exchange::{Next, exchange};
use std::rc::Rc;

/// Answers plain requests. Gives the connection back, with what has arrived, when a request is not plain. `None`: the
/// connection is over.
pub(crate) async fn serve(client: &Rc<Client>, stream: Stream) -> Option<(Stream, Buffer)> {
    let limits = &client.worker.shared.limits;
    let mut side = Side::new(client, stream);
    let mut patience = Patience::new();
    let mut parting = Box::pin(client.worker.parting());
    // Browsers open connections that they never use.
    let mut wait = limits.head_time;
    loop {
        if !side.has_more() {
            tokio::select! {
                biased;
                more = side.more(&mut patience, wait) => if !more { return None },
                () = parting.as_mut() => {
                    side.end().await;
                    return None;
                }
            }
        }
        match Box::pin(exchange(client, &mut side, &mut patience)).await {
            Next::Request => wait = limits.keep_alive,
            Next::NotPlain(arrived) => return Some((side.stream, arrived)),
            Next::Close => {
                match side.has_more() {
                    true => Box::pin(linger(side.stream)).await,
                    false => side.end().await,
                }
                return None;
            }
            Next::Cut => return None,
        }
    }
}
