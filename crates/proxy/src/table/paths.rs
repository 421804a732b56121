//! The routes of one host, by their paths. Pure.

use super::{route::Route, spelling::spelled};
use crate::admit::Asked;
use model::PathIs;
use regex::bytes::Regex;
use std::collections::HashMap;

/// The routes of one host. A path alone goes before a pattern, a pattern before a prefix, a long prefix before a short one.
#[derive(Default)]
pub(super) struct Paths {
    exact: HashMap<Box<[u8]>, Vec<Route>>,
    /// As they are written.
    patterns: Vec<(Regex, Route)>,
    /// By prefix, which is without a slash at its end; the root is empty.
    prefixes: HashMap<Box<[u8]>, Vec<Route>>,
    /// The length of the longest prefix, which bounds how much of a hostile path is looked at.
    longest: usize,
}

/// Patterns are not tried on paths that are longer than this.
const MOST_PATTERN: usize = 4096;

impl Paths {
    /// The first service to claim a route keeps it; planning refuses two services on one.
    pub(super) fn add(&mut self, path: &str, path_is: PathIs, like: Option<Regex>, route: Route) {
        let at = match path_is {
            PathIs::Pattern => return self.patterns.extend(like.map(|like| (like, route))),
            PathIs::Exact => self.exact.entry(spelled(path).as_bytes().into()).or_default(),
            PathIs::Prefix => {
                let path = spelled(path);
                let prefix = path.trim_end_matches('/').as_bytes();
                self.longest = self.longest.max(prefix.len());
                self.prefixes.entry(prefix.into()).or_default()
            }
        };
        // Those with more conditions first, and as they are written otherwise.
        let place = at.iter().take_while(|before| before.conditions() >= route.conditions()).count();
        at.insert(place, route);
    }

    /// The route of a request of this path, as it is [`spelled`] best. Patterns are tried on what its client has sent, too.
    pub(super) fn find(&self, path: &[u8], request: &impl Asked) -> Option<&Route> {
        let fits = |route: &&Route| route.fits(request);
        if !self.exact.is_empty()
            && let Some(route) = self.exact.get(path).and_then(|routes| routes.iter().find(fits))
        {
            return Some(route);
        }
        if path.len() <= MOST_PATTERN {
            let sent = Some(request.path().as_bytes()).filter(|sent| *sent != path);
            let is_like = |like: &Regex| like.is_match(path) || sent.is_some_and(|sent| like.is_match(sent));
            let mut patterns = self.patterns.iter().filter(|(like, _)| is_like(like)).map(|(_, route)| route);
            if let Some(route) = patterns.find(fits) {
                return Some(route);
            }
        }
        let segment_before = |end: usize| path[..end].iter().rposition(|b| *b == b'/').unwrap_or(0);
        let mut end = match path.get(self.longest) {
            None => path.len(),
            Some(b'/') => self.longest,
            Some(_) => segment_before(self.longest),
        };
        loop {
            if let Some(route) = self.prefixes.get(&path[..end]).and_then(|routes| routes.iter().find(fits)) {
                return Some(route);
            }
            if end == 0 {
                return None;
            }
            end = segment_before(end);
        }
    }
}
