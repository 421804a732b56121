//! Which release a request goes to: finds its service, knows its user, draws or looks up its arm, and waits a little when
//! nobody is there to answer. Ends with a [`Ticket`] for the arm.

use crate::{
    access_log::Record,
    assign::{Point, Random, unit_hash},
    bulkhead::Priority,
    cache::Found,
    connection::Client,
    headers,
    lane::{Lane, Lanes},
    origin::Origin,
    refusal::Refusal,
    table::{Hashed, Key, Route, Way, spelling::leads_elsewhere},
    tally::Outcome,
    ticket::{Bet, Ticket},
    worker::Worker,
};
use http::{HeaderName, HeaderValue, header::COOKIE};
use model::{ArmRole, Ratio};
use std::{rc::Rc, time::Instant};

/// How much a request matters (RFC 9218).
static PRIORITY: HeaderName = HeaderName::from_static("priority");

/// What assignment looks at in a request.
pub(crate) trait Asked {
    /// Whom it is for, with or without a port.
    fn host(&self) -> &[u8];

    /// What is to be done.
    fn method(&self) -> &str;

    /// Its path, with its query.
    fn target(&self) -> &str;

    /// Its path, without a query.
    fn path(&self) -> &str {
        self.target().split_once('?').map_or(self.target(), |(path, _)| path)
    }

    /// How many bytes its body has at least.
    fn least_body(&self) -> u64;

    /// The values of a field.
    fn fields<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]>;

    /// What the cache of its service can do for it, where it is assigned to this arm. `rewritten`: what an instance is asked for
    /// instead of its target. Requests that take the short way are for services without one.
    fn look(&self, _: &Lane, _arm: usize, _: &Origin, _rewritten: Option<&str>) -> Option<Found> {
        None
    }
}

/// A request with the release that will answer it.
pub(crate) struct Assigned {
    /// The record of the request.
    pub(crate) ticket: Ticket,
    /// The arm of its service that will answer.
    pub(crate) arm: usize,
    /// What makes a new user known next time.
    pub(crate) set_cookie: Option<HeaderValue>,
    /// The path and query that an instance is asked for instead of the client's.
    pub(crate) rewritten: Option<String>,
    /// What chooses an instance, where something does.
    pub(crate) key: Option<u64>,
    /// What the cache of its service can do for it, where there is one.
    pub(crate) found: Option<Found>,
}

/// Finds the service and assigns the request to one of its releases. Waits for a while when no instance is there. What is to be
/// written down of the request goes with it, and stays where it is when it is refused.
pub(crate) async fn admit(
    client: &Client,
    request: &impl Asked,
    origin: &Origin,
    began: Instant,
    record: &mut Option<Box<Record>>,
) -> Result<Assigned, Refusal> {
    let worker = &client.worker;
    let mut given = None;
    let mut waiting = None;
    let mut pass = None;
    loop {
        let lanes = worker.lanes();
        let (lane, route) = find(&lanes, request)?;
        let (service, own) = (&lane.service, route.own);
        let bounds = service.bounds.of(own);
        if let Some(record) = record {
            record.found(&service.key, bounds.name());
        }
        let mut turned_away = |refusal: Refusal| lane.turned_away(own, refusal, record.as_deref_mut());
        let rewritten = pass_by(lane, route, request, origin).map_err(&mut turned_away)?;
        if let (None, Some(limiter)) = (&waiting, &bounds.limiter) {
            limiter.value.pass(origin.ip, began).map_err(|wait| {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                turned_away(Refusal::TooMany(service.key.clone(), bounds.on(limiter.by), seconds))
            })?;
        }
        let user = User::of(lane, request, origin, &worker.random, &mut given);
        let Some((arm, weight)) = lane.choose(worker, &user) else {
            return Err(turned_away(Refusal::NoRelease(service.key.clone())));
        };
        let look = |arm| request.look(lane, arm, origin, rewritten.as_deref());
        let found = look(arm);
        let is_spared = found.as_ref().is_some_and(Found::spares_instance);
        if let (false, None, Some(bulkhead)) = (is_spared, &pass, &bounds.bulkhead) {
            let priority = Priority::of(request.fields(&PRIORITY).last());
            let busy = || turned_away(Refusal::Busy(service.key.clone(), bounds.on(bulkhead.by)));
            pass = Some(bulkhead.value.enter(priority, began).ok_or_else(busy)?);
        }
        let ticket = |arm, bet| Ticket::new(Rc::clone(worker), Rc::clone(lane), arm, began, bet).of_route(own);
        let assigned = |mut ticket: Ticket, arm, pass, found, rewritten, record| {
            ticket.hold(pass);
            ticket.record(record);
            let key = service.hashed.as_ref().and_then(|hashed| key(hashed, request, origin));
            Assigned { ticket, arm, set_cookie: user.set_cookie(lane), rewritten, key, found }
        };
        // Made once, when it is clear what becomes of the request: a user is bet on once. Not for one that no instance sees, which
        // is so for all arms or for none.
        let bet = || if is_spared { None } else { lane.bet(&user, arm, weight, began) };
        if is_spared || lane.has_instance(arm) {
            return Ok(assigned(ticket(arm, bet()), arm, pass, found, rewritten, record.take()));
        }
        let no_instance = || {
            ticket(arm, bet()).settle(Outcome::NoInstance);
            Refusal::NoInstance(service.key.clone())
        };
        if let Some(home) = lane.refuge(arm) {
            no_instance();
            let found = look(home);
            return Ok(assigned(ticket(home, None), home, pass, found, rewritten, record.take()));
        }
        let Some((_, changed)) = &mut waiting else {
            let Some(held) = worker.hold() else { return Err(no_instance()) };
            // No table is missed from here on; one that came just before is looked at first.
            waiting = Some((held, worker.shared.changed.subscribe()));
            continue;
        };
        // Boxed: few requests wait, and all would have room for it.
        if !Box::pin(lane.next_table(worker, arm, began, changed)).await {
            return Err(no_instance());
        }
    }
}

fn find<'a>(lanes: &'a Lanes, request: &impl Asked) -> Result<(&'a Rc<Lane>, &'a Route), Refusal> {
    // It would be carried by the route of one path, and mean another one to its instance.
    if leads_elsewhere(request.path()) {
        return Err(Refusal::BadPath);
    }
    lanes.find(request).ok_or_else(|| match lanes.table.services.is_empty() {
        true => Refusal::NoTable,
        false => Refusal::no_route(request.host(), request.path()),
    })
}

/// Whether a request is one for an instance at all: the path and query that it is asked for, where they are not the client's.
///
/// # Errors
/// When it is not.
fn pass_by(lane: &Lane, route: &Route, request: &impl Asked, origin: &Origin) -> Result<Option<String>, Refusal> {
    let service = &lane.service;
    let rewritten = match route.way(request.target()) {
        Way::Carry => None,
        Way::As(target) => Some(target),
        Way::Elsewhere(to, status) => return Err(Refusal::Moved(to, status)),
    };
    if service.traffic.client_certificate && origin.certificate.is_none() {
        return Err(Refusal::Stranger(service.key.clone()));
    }
    if let Some(notice) = &service.traffic.maintenance {
        return Err(Refusal::Maintenance(notice.clone()));
    }
    if request.least_body() > service.bounds.of(route.own).max_body.value.0 {
        return Err(lane.too_large(route.own));
    }
    Ok(rewritten)
}

/// What chooses an instance for a request. `None`: nothing is known of its user.
fn key(hashed: &Hashed, request: &impl Asked, origin: &Origin) -> Option<u64> {
    match hashed {
        Hashed::Path => Some(unit_hash(request.path().as_bytes(), 0)),
        Hashed::User(key) => who(key, 0, request, origin),
    }
}

/// The user who has sent a request, as far as it says.
fn who(key: &Key, salt: u64, request: &impl Asked, origin: &Origin) -> Option<u64> {
    match key {
        Key::Client => Some(unit_hash(origin.address().as_bytes(), salt)),
        Key::Header(name) => request.fields(name).next().map(|value| unit_hash(value, salt)),
        Key::Cookie(name) => headers::cookie(request.fields(&COOKIE), name).map(|value| unit_hash(value, salt)),
    }
}

/// Who sent a request, as far as assignment is concerned.
pub(crate) enum User {
    /// Nobody in particular: each request is a unit.
    Anyone,
    /// Somebody: all requests of the same user are one unit.
    Known(u64),
    /// Somebody new, who is given this cookie value.
    New(u64, u64),
}

impl User {
    /// `given` keeps the value given to a new user while the request is assigned again.
    fn of(lane: &Lane, request: &impl Asked, origin: &Origin, random: &Random, given: &mut Option<u64>) -> User {
        let service = &lane.service;
        let Some(key) = &service.sticky else { return User::Anyone };
        match (who(key, service.salt, request, origin), key) {
            (Some(user), _) => User::Known(user),
            (None, Key::Client | Key::Header(_)) => User::Anyone,
            (None, Key::Cookie(_)) => {
                let value = *given.get_or_insert_with(|| random.next());
                User::New(unit_hash(cookie_value(value).as_bytes(), service.salt), value)
            }
        }
    }

    fn unit(&self) -> Option<u64> {
        match self {
            User::Anyone => None,
            User::Known(hash) | User::New(hash, _) => Some(*hash),
        }
    }

    fn set_cookie(&self, lane: &Lane) -> Option<HeaderValue> {
        match (self, &lane.service.sticky) {
            (User::New(_, value), Some(Key::Cookie(name))) => {
                let cookie = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", cookie_value(*value));
                HeaderValue::from_str(&cookie).ok()
            }
            (User::Anyone | User::Known(_) | User::New(..), _) => None,
        }
    }
}

fn cookie_value(value: u64) -> String {
    format!("{value:016x}")
}

impl Lane {
    /// Counts a request that is assigned to no release, and writes down why. `own`: the position of what its route says itself.
    fn turned_away(&self, own: Option<usize>, refusal: Refusal, record: Option<&mut Record>) -> Refusal {
        if let Some(route) = self.route(own) {
            route.turn_away(&refusal);
        }
        if let Some(record) = record {
            record.refused(&refusal);
        }
        refusal
    }

    /// Assigns a unit to an arm, with the weights and the guard as they are now: the arm, and the probability with which
    /// a unit of which nothing is known goes to the canary. `None`: there is no arm.
    pub(crate) fn choose(&self, worker: &Worker, user: &User) -> Option<(usize, Ratio)> {
        let service = &self.service;
        let tripped = service.guard.as_ref().is_some_and(|switch| switch.is_tripped());
        match service.split.home().filter(|_| tripped) {
            Some(home) => Some((home, Ratio::ZERO)),
            None => {
                let point = Point::from_uniform(user.unit().unwrap_or_else(|| worker.random.next()));
                Some((service.split.arm(point)?, service.split.canary_weight()))
            }
        }
    }

    /// What is needed to judge a unit; `None` when it is not to be judged.
    pub(crate) fn bet(&self, user: &User, arm: usize, weight: Ratio, began: Instant) -> Option<Bet> {
        let switch = self.service.guard.as_ref()?;
        match (&self.service.sticky, user) {
            (Some(Key::Cookie(_)), User::Known(_)) => switch.count_cookie(true),
            (Some(Key::Cookie(_)), User::New(..)) => switch.count_cookie(false),
            (_, User::Anyone) | (Some(Key::Header(_) | Key::Client) | None, _) => {}
        }
        let role = self.service.arms.get(arm)?.role;
        let weight = match (user.unit(), self.service.stage) {
            _ if began < self.warm_at => None,
            (Some(user), Some(stage)) => switch.units().claim(user, stage),
            (None, _) | (_, None) => Some(weight),
        };
        if weight.is_none() {
            switch.skip();
        }
        Some(Bet { arm: role, weight: weight? })
    }

    /// The trusted release, when it can serve a unit of a canary that has no instance. The other way round would raise
    /// the canary's exposure.
    pub(crate) fn refuge(&self, arm: usize) -> Option<usize> {
        let role = self.service.arms.get(arm)?.role;
        self.service.split.home().filter(|home| role == ArmRole::Canary && self.has_instance(*home))
    }

    /// Whether an arm has an instance that may be ready.
    pub(crate) fn has_instance(&self, arm: usize) -> bool {
        self.arms.get(arm).is_some_and(|arm| !arm.upstreams.is_empty())
    }
}
