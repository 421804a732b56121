//! What a route says of itself instead of its service: its own bounds, and a name to be counted by.

use crate::{Bytes, Concurrency, Rate, RouteError, RouteMatch, RouteName, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// How many names the routes of one service may have: each is counted by itself, in every thread.
pub const MOST_NAMED_ROUTES: usize = 100;

/// How many routes of one service may have a `client_rate` of their own: each remembers clients by itself.
pub const MOST_RATED_ROUTES: usize = 100;

/// The bounds that a route has of its own, each in the place of its service's. `None`: its service's holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RouteBounds {
    /// How long an upstream may take until its response head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout: Option<Span>,
    /// How long a streaming body, WebSocket or event stream may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Span>,
    /// The largest request body accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<Bytes>,
    /// How many requests each client address may send by this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_rate: Option<Rate>,
    /// How many requests of this route may be under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

impl RouteBounds {
    /// Whether all are its service's.
    pub fn is_empty(&self) -> bool {
        *self == RouteBounds::default()
    }
}

impl fmt::Display for RouteBounds {
    /// As they are written in the configuration, with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
        let all = [
            said("response_timeout", self.response_timeout.map(|span| span.to_string())),
            said("idle_timeout", self.idle_timeout.map(|span| span.to_string())),
            said("max_body", self.max_body.map(|bytes| bytes.to_string())),
            said("client_rate", self.client_rate.map(|rate| rate.to_string())),
            said("concurrency", self.concurrency.map(|terms| terms.to_string())),
        ];
        f.write_str(&all.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Checks what the routes of one service are together. Those of one name are one for whoever counts and bounds them.
///
/// # Errors
/// The position of the first route that does not go with those before it, and why.
pub fn check_together(routes: &[RouteMatch]) -> Result<(), (usize, RouteError)> {
    let mut named: BTreeMap<&RouteName, &RouteBounds> = BTreeMap::new();
    let mut rated = 0;
    for (position, route) in routes.iter().enumerate() {
        rated += usize::from(route.own.client_rate.is_some());
        if rated > MOST_RATED_ROUTES {
            return Err((position, RouteError::ManyRates));
        }
        let Some(name) = &route.name else { continue };
        if *named.entry(name).or_insert(&route.own) != &route.own {
            return Err((position, RouteError::TwoMeanings(name.clone())));
        }
        if named.len() > MOST_NAMED_ROUTES {
            return Err((position, RouteError::ManyNames));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, path: &str) -> RouteMatch {
        RouteMatch { name: Some(name.parse().unwrap()), ..RouteMatch::prefix(None, path) }
    }

    fn rated(mut route: RouteMatch, rate: &str) -> RouteMatch {
        route.own.client_rate = Rate::parse(rate);
        route
    }

    #[test]
    fn routes_of_one_name_say_the_same() {
        let [upload, other] = [named("upload", "/a"), named("upload", "/b")].map(|route| rated(route, "2/s"));
        assert_eq!(check_together(&[upload.clone(), other]), Ok(()));
        let other = rated(named("upload", "/b"), "3/s");
        let refused = check_together(&[upload, RouteMatch::prefix(None, "/"), other]);
        assert_eq!(refused, Err((2, RouteError::TwoMeanings("upload".parse().unwrap()))));
    }

    #[test]
    fn names_and_rates_are_bounded() {
        let all = |count: usize, route: &dyn Fn(usize) -> RouteMatch| {
            check_together(&(0..count).map(route).collect::<Vec<_>>())
        };
        let by_name = |n: usize| named(&format!("r{n}"), &format!("/{n}"));
        assert_eq!(all(MOST_NAMED_ROUTES, &by_name), Ok(()));
        assert_eq!(all(MOST_NAMED_ROUTES + 1, &by_name), Err((MOST_NAMED_ROUTES, RouteError::ManyNames)));
        assert_eq!(all(3 * MOST_NAMED_ROUTES, &|n| named("one", &format!("/{n}"))), Ok(()), "one name for many");
        let by_rate = |n: usize| rated(RouteMatch::prefix(None, &format!("/{n}")), "1/s");
        assert_eq!(all(MOST_RATED_ROUTES, &by_rate), Ok(()));
        assert_eq!(all(MOST_RATED_ROUTES + 1, &by_rate), Err((MOST_RATED_ROUTES, RouteError::ManyRates)));
    }

    #[test]
    fn bounds_read_as_they_are_written() {
        let mut own = RouteBounds { max_body: Some(Bytes::mib(5)), ..RouteBounds::default() };
        (own.response_timeout, own.concurrency) = (Some(Span::minutes(5)), Some(Concurrency::Adaptive));
        assert_eq!(own.to_string(), "response_timeout 5m, max_body 5 MiB, concurrency adaptive");
        own = RouteBounds {
            client_rate: Rate::parse("10/s"),
            concurrency: Some(Concurrency::Fixed(20)),
            ..RouteBounds::default()
        };
        assert_eq!(own.to_string(), "client_rate 10/s, concurrency 20");
    }
}
