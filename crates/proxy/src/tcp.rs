//! Connections that are carried as they are, whatever is spoken on them: for databases, brokers and all else that is not
//! HTTP. Nothing of what they carry is looked at.
//!
//! ```text
//!  gates ─── the table names addresses; one thread opens and closes their sockets, and tries again where it could not
//!     │
//!  accept ── each worker accepts from its own sockets
//!     │
//!   admit ── as a request is: random, or by the client's address, with known weights; waits a little for an instance
//!     │
//!   reach ── the less loaded of two random instances; nothing was sent yet, so another is tried when one refuses
//!     │
//!   relay ── bytes both ways at the pace of the slower side, until both are done, silent for too long, or cut
//! ```
//!
//! A connection is one unit: assigned once, counted once, bet on once. What always holds: a connection that did not end in
//! order is reset on the other side, so that half of something never looks whole.

mod accept;
mod admit;
mod gates;
mod relay;

pub(crate) use accept::Entrances;
pub(crate) use gates::{Gates, Opened};

use crate::{
    forward::{TRIES, tell_unreachable},
    lane::Lane,
    tally::Outcome,
    ticket::Ticket,
    upstream::{Socket, Upstream},
    worker::Worker,
};
use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// Serves a connection to an address of a service until it ends. `known` is the service that had the address last, for a
/// connection that came just before it was given up.
async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, address: SocketAddr, known: Option<Rc<Lane>>) {
    let _open = worker.open();
    let Some((mut ticket, arm)) = admit::admit(&worker, peer.ip(), address, known, Instant::now()).await else {
        return;
    };
    let key = admit::key(ticket.lane(), peer.ip());
    if let Some(instance) = reach(&worker, &mut ticket, arm, key).await {
        relay::carry(&worker, stream, instance, ticket).await;
    }
}

/// Connects to an instance of an arm, at most [`TRIES`] times. `None`: none can be reached, which is counted.
async fn reach(worker: &Rc<Worker>, ticket: &mut Ticket, arm: usize, key: Option<u64>) -> Option<Socket> {
    let lane = Rc::clone(ticket.lane());
    let mut tried: Option<Rc<Upstream>> = None;
    lane.first_try();
    for left in (0..TRIES).rev() {
        let now = Instant::now();
        let Some(upstream) = lane.pick(arm, &worker.random, now, tried.as_ref(), key) else { break };
        ticket.enter(upstream);
        match upstream.reach(&worker.shared.limits).await {
            Ok(instance) => return Some(instance),
            Err(error) => tell_unreachable(worker, &lane, upstream, &error),
        }
        if !lane.may_try_another(arm, left) {
            break;
        }
        ticket.retried();
        tried = Some(Rc::clone(upstream));
    }
    ticket.settle(Outcome::Refused);
    None
}

/// Makes a connection end with a reset instead of in order, once it is closed.
fn reset(stream: &TcpStream) {
    // One that cannot is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
