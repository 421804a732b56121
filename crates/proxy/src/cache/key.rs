//! What a stored response is found by: the release that sent it, what was asked for, and the fields of the request that it says
//! it depends on. Pure.

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, TE, VARY},
};
use std::sync::Arc;

/// One stay of a release in the table. A release that comes back is another one: what it sent before is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Era(pub(crate) u64);

/// What is asked for, whoever answers: scheme, host, and path with its query.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place(Arc<[u8]>);

impl Place {
    /// The host counts in any case; the path and the query as they are.
    pub(crate) fn new(scheme: &str, host: &[u8], target: &str) -> Place {
        let mut text = Vec::with_capacity(scheme.len() + host.len() + target.len() + 1);
        text.extend(scheme.bytes());
        text.push(b' ');
        text.extend(host.iter().map(u8::to_ascii_lowercase));
        // Where the host ends is clear: every path begins with what no host has.
        text.extend(target.bytes());
        Place(text.into())
    }

    /// The path, with its query.
    pub(crate) fn target(&self) -> &[u8] {
        let at = self.0.iter().position(|byte| *byte == b'/').unwrap_or(self.0.len());
        &self.0[at..]
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }
}

/// What a response is stored under.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) era: Era,
    pub(crate) place: Place,
}

/// The fields of a request that a response depends on, with their values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Selection(Vec<(HeaderName, Option<Vec<u8>>)>);

/// Fields that an instance is told by us: it would depend on what the client has not said.
const OURS: [&str; 3] = ["x-forwarded-for", "traceparent", "forwarded"];

impl Selection {
    /// Of a response to a request. `None`: it depends on more than a request says.
    pub(crate) fn of(response: &HeaderMap, request: &HeaderMap) -> Option<Selection> {
        let mut selection = Vec::new();
        for name in response.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            // `*` is no name of a field.
            let name = HeaderName::from_bytes(name).ok().filter(|name| *name != "*")?;
            if OURS.contains(&name.as_str()) || name == TE || name == CONNECTION {
                return None;
            }
            let value = said(request, &name);
            selection.push((name, value));
        }
        Some(Selection(selection))
    }

    /// Whether another request says the same.
    pub(crate) fn fits(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, value)| said(request, name) == *value)
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// All values of a field, as if they had come in one.
fn said(request: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = request.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    (!values.is_empty()).then(|| values.join(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn hosts_are_alike_in_any_case_and_paths_are_not() {
        let place = |scheme, host: &str, target| Place::new(scheme, host.as_bytes(), target);
        assert_eq!(place("http", "Shop.test", "/a?b"), place("http", "shop.TEST", "/a?b"));
        for other in [
            place("https", "shop.test", "/a?b"),
            place("http", "shop.test:80", "/a?b"),
            place("http", "shop.test", "/A?b"),
        ] {
            assert_ne!(other, place("http", "shop.test", "/a?b"));
        }
    }

    #[test]
    fn a_path_is_known_again() {
        for target in ["/", "/a/b?c=/d", "//x"] {
            assert_eq!(Place::new("https", b"shop.test:8443", target).target(), target.as_bytes());
            assert_eq!(Place::new("http", b"", target).target(), target.as_bytes());
        }
    }

    #[test]
    fn a_response_is_for_those_who_say_what_it_depends_on() {
        let response = map(&[("vary", "Accept-Language, accept"), ("vary", "x-mode,")]);
        let selection = Selection::of(&response, &map(&[("accept-language", "de"), ("x-mode", "1"), ("x-mode", "2")]));
        let selection = selection.unwrap();
        let fits = |pairs| selection.fits(&map(pairs));
        assert!(fits(&[("accept-language", "de"), ("x-mode", "1"), ("x-mode", "2"), ("cookie", "a=1")]));
        assert!(fits(&[("accept-language", " de "), ("x-mode", "1,2")]));
        assert!(!fits(&[("accept-language", "fr"), ("x-mode", "1,2")]));
        assert!(!fits(&[("accept-language", "de"), ("x-mode", "1,2"), ("accept", "*/*")]));
        assert!(!fits(&[("accept-language", "de")]));
    }

    #[test]
    fn what_depends_on_more_than_a_request_says_is_for_nobody_else() {
        for vary in ["*", "accept, *", "X-Forwarded-For", "accept,\u{7f}"] {
            let Ok(value) = vary.parse() else { continue };
            let response = HeaderMap::from_iter([(VARY, value)]);
            assert_eq!(Selection::of(&response, &HeaderMap::new()), None, "{vary}");
        }
        assert_eq!(Selection::of(&HeaderMap::new(), &HeaderMap::new()), Some(Selection::default()));
    }
}
