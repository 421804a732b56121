//! Which release a connection goes to: as requests are assigned, but that a client is known by its address or not at all.

use crate::{
    admit::User,
    assign::unit_hash,
    lane::Lane,
    table::{Hashed, Key},
    tally::Outcome,
    ticket::Ticket,
    worker::Worker,
};
use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Instant,
};

/// Assigns a connection to a release of the service at `address`: its ticket and the arm. Waits for a while when no
/// instance is there. `None`: it is to be closed, which is counted.
pub(super) async fn admit(
    worker: &Rc<Worker>,
    peer: IpAddr,
    address: SocketAddr,
    known: Option<Rc<Lane>>,
    began: Instant,
) -> Option<(Ticket, usize)> {
    let mut waiting = None;
    loop {
        let lanes = worker.lanes();
        let Some(lane) = lanes.find_tcp(address).or(known.as_ref()) else {
            worker.counts.unrouted.increment();
            return None;
        };
        // Nothing is to reach an instance, and there is no way to say so here.
        if lane.service.traffic.maintenance.is_some() {
            worker.counts.unrouted.increment();
            return None;
        }
        if let (None, Some(limiter)) = (&waiting, &lane.service.bounds.of(None).limiter)
            && limiter.value.pass(peer, began).is_err()
        {
            worker.counts.limited.increment();
            return None;
        }
        let user = user(lane, peer);
        let Some((arm, weight)) = lane.choose(worker, &user) else {
            worker.counts.unrouted.increment();
            return None;
        };
        let ticket = |arm, bet| Ticket::new(Rc::clone(worker), Rc::clone(lane), arm, began, bet);
        // Made once, when it is clear what becomes of the connection: a user is bet on once.
        let bet = || lane.bet(&user, arm, weight, began);
        if lane.has_instance(arm) {
            return Some((ticket(arm, bet()), arm));
        }
        let no_instance = || ticket(arm, bet()).settle(Outcome::NoInstance);
        if let Some(home) = lane.refuge(arm) {
            no_instance();
            return Some((ticket(home, None), home));
        }
        let Some((_, changed)) = &mut waiting else {
            let Some(held) = worker.hold() else {
                no_instance();
                return None;
            };
            // No table is missed from here on; one that came just before is looked at first.
            waiting = Some((held, worker.shared.changed.subscribe()));
            continue;
        };
        if !lane.next_table(worker, arm, began, changed).await {
            no_instance();
            return None;
        }
    }
}

/// What chooses an instance, where something does.
pub(super) fn key(lane: &Lane, peer: IpAddr) -> Option<u64> {
    match &lane.service.hashed {
        Some(Hashed::User(Key::Client)) => Some(unit_hash(peer.to_canonical().to_string().as_bytes(), 0)),
        Some(Hashed::User(Key::Cookie(_) | Key::Header(_)) | Hashed::Path) | None => None,
    }
}

/// There are neither cookies nor header fields here.
fn user(lane: &Lane, peer: IpAddr) -> User {
    match &lane.service.sticky {
        Some(Key::Client) => {
            let address = peer.to_canonical().to_string();
            User::Known(unit_hash(address.as_bytes(), lane.service.salt))
        }
        Some(Key::Cookie(_) | Key::Header(_)) | None => User::Anyone,
    }
}
