//! Which requests a service gets, and whether they are sent on as they are.

use crate::{MOST_NAMED_ROUTES, MOST_RATED_ROUTES, RouteBounds, RouteName};
use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// How large a pattern may become when it is made ready, in bytes.
const PATTERN_SIZE: usize = 256 << 10;

/// The most methods, and the most header fields, that one route asks for.
const MOST: usize = 16;

/// The longest text in a route.
const LONGEST: usize = 2048;

/// Which requests a service gets. The most specific match wins: an exact host, then the longest `*.`, then any
/// host; an exact path, then patterns as they are written, then the longest prefix; of these, the one with the most conditions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RouteMatch {
    /// The host without its port, lower case; with `*.` before it, every host below it. `None`: any host.
    pub host: Option<String>,
    /// A path, to be understood as `path_is` says. It begins with `/` unless it is a pattern.
    pub path: String,
    /// How `path` is meant.
    #[serde(default, skip_serializing_if = "PathIs::is_prefix")]
    pub path_is: PathIs,
    /// The methods, in upper case and sorted. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Header fields that must be there, by their names in lower case; with a value, exactly this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Option<String>>,
    /// What becomes of the requests.
    #[serde(default, skip_serializing_if = "Then::is_carry")]
    pub then: Then,
    /// What its requests are counted by. `None`: they count with its service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RouteName>,
    /// What bounds its requests in the place of what bounds its service's.
    #[serde(default, skip_serializing_if = "RouteBounds::is_empty")]
    pub own: RouteBounds,
}

/// How the path of a route is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathIs {
    /// It and what is below it, by whole segments: `/api` matches `/api` and `/api/x`, not `/apis`.
    #[default]
    Prefix,
    /// It alone.
    Exact,
    /// A regular expression that the whole path or a part of it matches.
    Pattern,
}

/// What becomes of the requests of a route.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// They are carried as they are.
    #[default]
    Carry,
    /// They are carried with another path: this stands in the place of what the route matched. `$1` is what the first group of
    /// a pattern matched.
    Rewrite(String),
    /// The client is sent elsewhere: to this, in the place of what the route matched, by itself or as a whole address.
    Redirect {
        /// Where to.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
}

/// Why a route means nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteError {
    /// Its path does not begin as paths do.
    #[error("the route path `{0}` does not begin with `/`")]
    Path(String),
    /// Its pattern cannot be used.
    #[error("`{0}` is not a pattern that can be used: {1}")]
    Pattern(String, String),
    /// There is no such method.
    #[error("`{0}` is not a method: use upper-case words such as GET, at most {MOST}")]
    Method(String),
    /// There is no such field, or no such value.
    #[error(
        "`{0}` is not a header field to ask for: use its name, and a value that can be sent, at most {MOST} of them"
    )]
    Header(String),
    /// Requests cannot be sent there.
    #[error("`{0}` is nothing that a path can be replaced with: use a path that begins with `/`")]
    Rewrite(String),
    /// Clients cannot be sent there.
    #[error(
        "`{0}` is nothing that clients can be sent to: use a path, or an address that begins with https:// or http://"
    )]
    Redirect(String),
    /// Clients are not sent elsewhere by such a status.
    #[error("{0} sends nobody elsewhere: use 301, 302, 303, 307 or 308")]
    Status(u16),
    /// Nothing is carried that could be bounded.
    #[error("no instance is asked for what is sent elsewhere: leave out {0}")]
    Unbounded(RouteBounds),
    /// Two routes of one name are to be bounded in different ways.
    #[error("another route is named {0}, too, and has other limits: those of one name share them")]
    TwoMeanings(RouteName),
    /// More names than are counted.
    #[error("more than {MOST_NAMED_ROUTES} names for the routes of one service are too many to count by")]
    ManyNames,
    /// More rates than are kept account of.
    #[error("more than {MOST_RATED_ROUTES} routes of one service with a client_rate of their own are too many")]
    ManyRates,
}

impl RouteMatch {
    /// All requests to a host, or to any, whose path is this one or below it.
    pub fn prefix(host: Option<&str>, path: &str) -> RouteMatch {
        RouteMatch {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            path_is: PathIs::Prefix,
            methods: Vec::new(),
            headers: BTreeMap::new(),
            then: Then::Carry,
            name: None,
            own: RouteBounds::default(),
        }
    }

    /// The requests it claims, whatever becomes of them: no two services can have the same.
    pub fn claim(&self) -> RouteMatch {
        RouteMatch { then: Then::Carry, name: None, own: RouteBounds::default(), ..self.clone() }
    }

    /// Checks what its types do not say.
    ///
    /// # Errors
    /// When it means nothing. Whatever passes can be made ready by the data plane.
    pub fn check(&self) -> Result<(), RouteError> {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        match self.path_is {
            PathIs::Pattern => drop(pattern(&self.path)?),
            PathIs::Prefix | PathIs::Exact if !self.path.starts_with('/') || self.path.len() > LONGEST => {
                return Err(RouteError::Path(shown(&self.path)));
            }
            PathIs::Prefix | PathIs::Exact => {}
        }
        let is_method = |m: &str| (1..=32).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if let Some(wrong) = self.methods.iter().find(|m| !is_method(m)).or(self.methods.get(MOST)) {
            return Err(RouteError::Method(shown(wrong)));
        }
        let is_name = |n: &str| {
            (1..=100).contains(&n.len())
                && n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        };
        let is_value = |v: &Option<String>| {
            v.as_ref().is_none_or(|v| v.len() <= LONGEST && v.bytes().all(|b| (b' '..0x7f).contains(&b)))
        };
        let wrong = self.headers.iter().find(|(name, value)| !is_name(name) || !is_value(value));
        if let Some((name, _)) = wrong.or(self.headers.iter().nth(MOST)) {
            return Err(RouteError::Header(shown(name)));
        }
        let is_sendable = |text: &str| text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic());
        match &self.then {
            Then::Carry => Ok(()),
            Then::Rewrite(to) if to.starts_with('/') && is_sendable(to) && !to.contains(['#', '?']) => Ok(()),
            Then::Rewrite(to) => Err(RouteError::Rewrite(shown(to))),
            Then::Redirect { status, .. } if !matches!(status, 301 | 302 | 303 | 307 | 308) => {
                Err(RouteError::Status(*status))
            }
            Then::Redirect { .. } if !self.own.is_empty() => Err(RouteError::Unbounded(self.own.clone())),
            Then::Redirect { to, .. } => {
                let begins = ["/", "https://", "http://"].iter().any(|beginning| to.starts_with(beginning));
                if begins && is_sendable(to) { Ok(()) } else { Err(RouteError::Redirect(shown(to))) }
            }
        }
    }
}

/// Makes a pattern ready. Matching takes time in proportion to the path, whatever the pattern.
///
/// # Errors
/// When it is none, or too large.
pub fn pattern(text: &str) -> Result<Regex, RouteError> {
    let wrong = |why: String| RouteError::Pattern(text.chars().take(80).collect(), why);
    if text.len() > LONGEST {
        return Err(wrong(format!("it is longer than {LONGEST} characters")));
    }
    let made = RegexBuilder::new(text).unicode(false).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build();
    made.map_err(|error| wrong(error.to_string().lines().last().unwrap_or_default().trim().to_owned()))
}

impl PathIs {
    fn is_prefix(&self) -> bool {
        *self == PathIs::Prefix
    }
}

impl Then {
    fn is_carry(&self) -> bool {
        *self == Then::Carry
    }
}

impl fmt::Display for RouteMatch {
    /// As it is written in the configuration: `shop.example.com/api`, or `/api` for any host; then what else it asks for and does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join("|"))?;
        }
        let host = self.host.as_deref().unwrap_or_default();
        match self.path_is {
            PathIs::Prefix => write!(f, "{host}{}", self.path)?,
            PathIs::Exact => write!(f, "{host}{} exactly", self.path)?,
            PathIs::Pattern => write!(f, "{host}/ like {}", self.path)?,
        }
        for (name, value) in &self.headers {
            match value {
                None => write!(f, " with {name}")?,
                Some(value) => write!(f, " with {name}: {value}")?,
            }
        }
        match &self.then {
            Then::Carry => {}
            Then::Rewrite(to) => write!(f, " as {to}")?,
            Then::Redirect { to, status } => write!(f, " sent to {to} ({status})")?,
        }
        if let Some(name) = &self.name {
            write!(f, " named {name}")?;
        }
        if !self.own.is_empty() {
            write!(f, " ({})", self.own)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut RouteMatch)) -> Result<(), RouteError> {
        let mut route = RouteMatch::prefix(None, "/a");
        change(&mut route);
        route.check()
    }

    #[test]
    fn what_means_nothing_is_refused() {
        assert_eq!(with(|_| {}), Ok(()));
        assert!(with(|r| r.path = "a".into()).is_err());
        assert!(with(|r| r.methods = vec!["get".into()]).is_err());
        assert!(with(|r| r.headers = [("X-A".into(), None)].into()).is_err());
        assert!(with(|r| r.headers = [("x-a".into(), Some("a\nb".into()))].into()).is_err());
        for to in ["b", "/b c", "/b?c", "/b\r\nx: y", ""] {
            assert!(with(|r| r.then = Then::Rewrite(to.into())).is_err(), "{to:?}");
        }
        for (to, status) in [("ftp://x", 301), ("/b", 200), ("/b\r\nx: y", 308), ("javascript:x", 302)] {
            assert!(with(|r| r.then = Then::Redirect { to: to.into(), status }).is_err(), "{to:?}");
        }
    }

    #[test]
    fn what_is_sent_elsewhere_can_be_named_and_not_bounded() {
        let away = |r: &mut RouteMatch| {
            r.then = Then::Redirect { to: "/b".into(), status: 308 };
            r.name = Some("old".parse().unwrap());
        };
        assert_eq!(with(away), Ok(()));
        let refused = with(|r| {
            away(r);
            r.own.max_body = Some(crate::Bytes::mib(1));
        });
        let why = "no instance is asked for what is sent elsewhere: leave out max_body 1 MiB";
        assert_eq!(refused.unwrap_err().to_string(), why);
    }

    #[test]
    fn a_claim_is_the_same_whatever_its_route_is_called_and_bounded_by() {
        let plain = RouteMatch::prefix(None, "/a");
        let mut said = RouteMatch { name: Some("a".parse().unwrap()), ..plain.clone() };
        said.own.max_body = Some(crate::Bytes::mib(1));
        assert_eq!(said.to_string(), "/a named a (max_body 1 MiB)");
        assert_eq!(said.claim(), plain);
    }

    #[test]
    fn patterns_are_bounded() {
        let like = |pattern: &str| {
            with(|r| {
                r.path_is = PathIs::Pattern;
                r.path = pattern.into();
            })
        };
        assert_eq!(like(r"^/users/[0-9]+$"), Ok(()));
        assert!(like("(").is_err());
        assert!(like(r"([a-z]{1000}){1000}").is_err());
        assert!(like(&"a".repeat(3000)).is_err());
    }
}
