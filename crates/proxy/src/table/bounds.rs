//! What bounds the requests of a service, and of those of its routes that say something themselves. Worked out when a table is
//! made, so that a request finds its bounds by a position, or finds its service's.
//!
//! Routes of one name are one here: they share what counts and what limits. What has been used of a rate or of the places outlives a
//! table as long as it is the same rate, or terms, of the same service and the same name, or the same route where it has none.

use crate::{bulkhead::Bulkhead, limiter::Limiter, refusal::On};
use model::{Bytes, Concurrency, Rate, RouteMatch, RouteName, Span, TrafficSpec};
use std::{sync::Arc, time::Instant};

/// Those of a service and of its routes.
pub(crate) struct AllBounds {
    /// Where a route says nothing.
    usual: Bounds,
    own: Vec<Bounds>,
}

/// What one request is held to.
pub(crate) struct Bounds {
    of: Whose,
    /// How long an instance may take until it begins to answer.
    pub(crate) response_timeout: Bound<Span>,
    /// How long a body, or a connection, may be silent.
    pub(crate) idle_timeout: Bound<Span>,
    /// The largest body accepted.
    pub(crate) max_body: Bound<Bytes>,
    /// How many requests each client may send.
    pub(crate) limiter: Option<Bound<Arc<Limiter>>>,
    /// How many may be under way.
    pub(crate) bulkhead: Option<Bound<Arc<Bulkhead>>>,
}

/// Whose requests they bound.
#[derive(PartialEq, Eq)]
enum Whose {
    Service,
    Named(RouteName),
    Route(Box<RouteMatch>),
}

/// A bound, and who has set it.
#[derive(Clone)]
pub(crate) struct Bound<T> {
    pub(crate) value: T,
    pub(crate) by: By,
}

/// Who has set a bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// The service, for all of its requests.
    Service,
    /// The route, for its own.
    Route,
}

impl By {
    /// As it is written in the access log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            By::Service => "service",
            By::Route => "route",
        }
    }
}

impl AllBounds {
    /// Of a service, before any of its routes is added.
    pub(super) fn new(traffic: &TrafficSpec, before: Option<&AllBounds>) -> AllBounds {
        let (by, before) = (By::Service, before.map(|all| &all.usual));
        let usual = Bounds {
            of: Whose::Service,
            response_timeout: Bound { value: traffic.response_timeout, by },
            idle_timeout: Bound { value: traffic.idle_timeout, by },
            max_body: Bound { value: traffic.max_body, by },
            limiter: traffic.client_rate.map(|rate| limiter(rate, by, before)),
            bulkhead: traffic.concurrency.map(|terms| bulkhead(terms, by, before)),
        };
        AllBounds { usual, own: Vec::new() }
    }

    /// Adds those of a route: their position. `None`: it says nothing itself.
    pub(super) fn add(&mut self, route: &RouteMatch, before: Option<&AllBounds>) -> Option<usize> {
        let of = match &route.name {
            Some(name) => Whose::Named(name.clone()),
            None if route.own.is_empty() => return None,
            None => Whose::Route(Box::new(route.claim())),
        };
        // There are few names, and no route without one comes twice.
        let known = route.name.as_ref().and_then(|_| self.own.iter().position(|known| known.of == of));
        if known.is_some() {
            return known;
        }
        let (own, usual, by) = (&route.own, &self.usual, By::Route);
        let is_limited = own.client_rate.is_some() || own.concurrency.is_some();
        let before = before.filter(|_| is_limited).and_then(|all| all.own.iter().find(|known| known.of == of));
        let made = Bounds {
            of,
            response_timeout: Bound::of(own.response_timeout, &usual.response_timeout),
            idle_timeout: Bound::of(own.idle_timeout, &usual.idle_timeout),
            max_body: Bound::of(own.max_body, &usual.max_body),
            limiter: own.client_rate.map(|rate| limiter(rate, by, before)).or_else(|| usual.limiter.clone()),
            bulkhead: own.concurrency.map(|terms| bulkhead(terms, by, before)).or_else(|| usual.bulkhead.clone()),
        };
        self.own.push(made);
        Some(self.own.len() - 1)
    }

    /// Those of the route at a position, or of the service.
    pub(crate) fn of(&self, route: Option<usize>) -> &Bounds {
        route.and_then(|route| self.own.get(route)).unwrap_or(&self.usual)
    }

    /// The names of the routes that say something themselves, by position.
    pub(crate) fn names(&self) -> impl Iterator<Item = Option<&RouteName>> {
        self.own.iter().map(Bounds::name)
    }
}

impl Bounds {
    /// The name of the route, where it has one.
    pub(crate) fn name(&self) -> Option<&RouteName> {
        match &self.of {
            Whose::Named(name) => Some(name),
            Whose::Service | Whose::Route(_) => None,
        }
    }

    /// Where something that was set by one of the two holds, for people.
    pub(crate) fn on(&self, by: By) -> On {
        match by {
            By::Service => On::Service,
            By::Route => On::Route(self.name().cloned()),
        }
    }
}

impl<T: Copy> Bound<T> {
    /// The route's own, or else its service's.
    fn of(own: Option<T>, usual: &Bound<T>) -> Bound<T> {
        own.map_or_else(|| usual.clone(), |value| Bound { value, by: By::Route })
    }
}

/// The limiter of before, as long as its rate is this one, or a new one.
fn limiter(rate: Rate, by: By, before: Option<&Bounds>) -> Bound<Arc<Limiter>> {
    let known = before.and_then(|before| before.limiter.clone());
    let known = known.filter(|known| known.by == by && known.value.rate == rate);
    known.unwrap_or_else(|| Bound { value: Arc::new(Limiter::new(rate)), by })
}

/// The bulkhead of before, as long as its terms are these, or a new one.
fn bulkhead(terms: Concurrency, by: By, before: Option<&Bounds>) -> Bound<Arc<Bulkhead>> {
    let known = before.and_then(|before| before.bulkhead.clone());
    let known = known.filter(|known| known.by == by && known.value.terms == terms);
    known.unwrap_or_else(|| Bound { value: Arc::new(Bulkhead::new(terms, Instant::now())), by })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::RouteBounds;

    fn route(path: &str, name: Option<&str>, own: RouteBounds) -> RouteMatch {
        RouteMatch { name: name.map(|name| name.parse().unwrap()), own, ..RouteMatch::prefix(None, path) }
    }

    fn rated(rate: &str) -> RouteBounds {
        RouteBounds { client_rate: Rate::parse(rate), ..RouteBounds::default() }
    }

    fn traffic(rate: &str) -> TrafficSpec {
        TrafficSpec { client_rate: Rate::parse(rate), ..TrafficSpec::default() }
    }

    fn all(
        traffic: &TrafficSpec,
        routes: &[RouteMatch],
        before: Option<&AllBounds>,
    ) -> (AllBounds, Vec<Option<usize>>) {
        let mut all = AllBounds::new(traffic, before);
        let places = routes.iter().map(|route| all.add(route, before)).collect();
        (all, places)
    }

    fn limiter_of(all: &AllBounds, route: Option<usize>) -> &Arc<Limiter> {
        &all.of(route).limiter.as_ref().unwrap().value
    }

    #[test]
    fn what_a_route_says_holds_in_the_place_of_its_service_and_nothing_else_does() {
        let own = RouteBounds { max_body: Some(Bytes::mib(5)), ..RouteBounds::default() };
        let routes = [route("/", None, RouteBounds::default()), route("/up", None, own)];
        let (all, places) = all(&traffic("1/s"), &routes, None);
        assert_eq!(places, [None, Some(0)]);
        let bounds = all.of(places[1]);
        assert_eq!((bounds.max_body.value, bounds.max_body.by), (Bytes::mib(5), By::Route));
        assert_eq!(bounds.response_timeout.by, By::Service);
        assert!(Arc::ptr_eq(limiter_of(&all, places[1]), limiter_of(&all, None)), "one account for both");
        assert_eq!(all.of(None).max_body.value, TrafficSpec::default().max_body);
    }

    #[test]
    fn routes_of_one_name_are_one_and_others_are_not() {
        let routes = ["/a", "/b"].map(|path| route(path, Some("up"), rated("5/s")));
        let other = route("/c", None, rated("5/s"));
        let (all, places) = all(&traffic("1/s"), &[&routes[..], &[other]].concat(), None);
        assert_eq!(places, [Some(0), Some(0), Some(1)]);
        assert!(!Arc::ptr_eq(limiter_of(&all, places[0]), limiter_of(&all, places[2])));
        assert!(!Arc::ptr_eq(limiter_of(&all, places[0]), limiter_of(&all, None)));
    }

    #[test]
    fn what_was_used_outlives_a_table_by_name_or_by_route_as_long_as_the_rate_is_the_same() {
        let routes = |named: &str, unnamed: &str| {
            [
                route("/a", Some("up"), rated(named)),
                route("/b", None, rated(unnamed)),
                route("/c", Some("c"), rated("1/s")),
            ]
        };
        let (before, was) = all(&traffic("1/s"), &routes("5/s", "5/s"), None);
        let kept = |routes: &[RouteMatch], at: usize, like: usize| {
            let (after, is) = all(&traffic("1/s"), routes, Some(&before));
            Arc::ptr_eq(limiter_of(&after, is[at]), limiter_of(&before, was[like]))
        };
        let mut moved = routes("5/s", "5/s");
        moved.reverse();
        moved[2].path = "/elsewhere".to_owned();
        assert!(kept(&moved, 2, 0), "a name is the same wherever its route is");
        assert!(kept(&moved, 1, 1), "a route without a name is the same as long as it matches the same");
        moved[1].path = "/elsewhere-too".to_owned();
        assert!(!kept(&moved, 1, 1));
        assert!(!kept(&routes("6/s", "5/s"), 0, 0) && kept(&routes("6/s", "5/s"), 1, 1));
    }

    #[test]
    fn a_rate_that_becomes_the_routes_own_begins_anew_even_if_it_is_the_same() {
        let named = |own| [route("/a", Some("up"), own)];
        let (before, was) = all(&traffic("5/s"), &named(RouteBounds::default()), None);
        let (after, is) = all(&traffic("5/s"), &named(rated("5/s")), Some(&before));
        assert!(!Arc::ptr_eq(limiter_of(&after, is[0]), limiter_of(&before, was[0])));
        assert!(Arc::ptr_eq(limiter_of(&after, None), limiter_of(&before, None)));
    }
}
