//! One route, ready: whether a request fits it, and what becomes of the request then. Pure.

use super::spelling::spelled;
use crate::admit::Asked;
use http::{HeaderName, HeaderValue, StatusCode};
use model::{PathIs, RouteMatch, Then, pattern};
use regex::bytes::Regex;
use std::borrow::Cow;

/// A route to a service.
pub(crate) struct Route {
    /// The position of the service in the table.
    pub(super) service: usize,
    /// The position of what it says itself, among what the routes of its service do. `None`: nothing.
    pub(crate) own: Option<usize>,
    methods: Vec<Box<str>>,
    headers: Vec<(HeaderName, Option<Box<[u8]>>)>,
    course: Course,
}

/// What becomes of a request.
enum Course {
    Carry,
    Rewrite(Rewriter),
    Redirect(Rewriter, StatusCode),
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// To its service, as it is.
    Carry,
    /// To its service, with this path and query.
    As(String),
    /// Back to the client, which is to go there.
    Elsewhere(HeaderValue, StatusCode),
}

impl Route {
    /// `None`: it asks for what cannot be; no such route passes the edge. `at`: where its service is in the table, and what it says
    /// itself is there.
    pub(crate) fn new(at: (usize, Option<usize>), wanted: &RouteMatch, like: Option<&Regex>) -> Option<Route> {
        let mut headers = Vec::with_capacity(wanted.headers.len());
        for (name, value) in &wanted.headers {
            let value = value.as_ref().map(|value| value.as_bytes().into());
            headers.push((HeaderName::from_bytes(name.as_bytes()).ok()?, value));
        }
        let rewriter = |to: &str| Rewriter {
            to: to.into(),
            matched: match (wanted.path_is, like) {
                (PathIs::Prefix, _) => Matched::Prefix(spelled(&wanted.path).trim_end_matches('/').into()),
                (PathIs::Pattern, Some(like)) => Matched::Pattern(like.clone()),
                (PathIs::Exact | PathIs::Pattern, _) => Matched::Whole,
            },
        };
        let course = match &wanted.then {
            Then::Carry => Course::Carry,
            Then::Rewrite(to) => Course::Rewrite(rewriter(to)),
            Then::Redirect { to, status } => Course::Redirect(rewriter(to), StatusCode::from_u16(*status).ok()?),
        };
        let methods = wanted.methods.iter().map(|method| method.as_str().into()).collect();
        let (service, own) = at;
        Some(Route { service, own, methods, headers, course })
    }

    /// On how much it depends besides host and path.
    pub(super) fn conditions(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len()
    }

    /// Whether a request of this path is one of its.
    pub(super) fn fits(&self, request: &impl Asked) -> bool {
        let method = || self.methods.is_empty() || self.methods.iter().any(|method| **method == *request.method());
        let header = |(name, value): &(HeaderName, Option<Box<[u8]>>)| {
            let wanted = |there: &[u8]| value.as_ref().is_none_or(|value| **value == *there);
            request.fields(name).any(wanted)
        };
        self.conditions() == 0 || method() && self.headers.iter().all(header)
    }

    /// Where a request that fits goes. `target`: its path, with its query.
    pub(crate) fn way(&self, target: &str) -> Way {
        match &self.course {
            Course::Carry => Way::Carry,
            Course::Rewrite(rewriter) => Way::As(rewriter.target(target)),
            Course::Redirect(rewriter, status) => {
                let to = HeaderValue::try_from(rewriter.target(target));
                to.map_or(Way::Carry, |to| Way::Elsewhere(to, *status))
            }
        }
    }
}

/// Puts something in the place of what a route has matched.
struct Rewriter {
    to: Box<str>,
    matched: Matched,
}

/// What a route has matched.
enum Matched {
    /// This at the beginning of the path, however it was spelled.
    Prefix(Box<str>),
    /// All of it.
    Whole,
    /// What this matches.
    Pattern(Regex),
}

impl Rewriter {
    fn target(&self, target: &str) -> String {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let mut made = match &self.matched {
            Matched::Whole => self.to.to_string(),
            Matched::Prefix(prefix) => {
                // As it was sent, as far as that begins with what was matched.
                let is_rest = |rest: &&str| rest.is_empty() || rest.starts_with('/') || prefix.is_empty();
                let respelled;
                let rest = match path.strip_prefix(&**prefix).filter(is_rest) {
                    Some(rest) => rest,
                    None => {
                        respelled = spelled(path);
                        respelled.get(prefix.len()..).unwrap_or_default()
                    }
                };
                match rest {
                    "" => self.to.to_string(),
                    rest => format!("{}{rest}", self.to.trim_end_matches('/')),
                }
            }
            Matched::Pattern(like) => {
                let path = if like.is_match(path.as_bytes()) { Cow::Borrowed(path) } else { spelled(path) };
                let made = like.replace(path.as_bytes(), self.to.as_bytes());
                match made {
                    Cow::Borrowed(_) => path.to_string(),
                    Cow::Owned(made) => String::from_utf8_lossy(&made).into_owned(),
                }
            }
        };
        // Two slashes at the beginning would name another host.
        let slashes = made.bytes().take_while(|byte| *byte == b'/').count();
        drop(made.drain(..slashes.saturating_sub(1)));
        if !made.contains('?') {
            made += query;
        }
        made
    }
}

/// A pattern, made ready once however many tables have it.
pub(super) fn ready(text: &str, before: Option<&Regex>) -> Option<Regex> {
    before.cloned().or_else(|| pattern(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(path: &str, path_is: PathIs, then: &Then, targets: &[&str], expect: Expect) {
        let wanted = RouteMatch { path_is, then: then.clone(), ..RouteMatch::prefix(None, path) };
        assert_eq!(wanted.check(), Ok(()));
        let like = (path_is == PathIs::Pattern).then(|| pattern(path).unwrap());
        let route = Route::new((0, None), &wanted, like.as_ref()).unwrap();
        let lines = targets.iter().map(|target| match route.way(target) {
            Way::Carry => format!("{target} → as it is\n"),
            Way::As(to) => format!("{target} → {to}\n"),
            Way::Elsewhere(to, status) => format!("{target} → {} {}\n", status.as_u16(), to.to_str().unwrap()),
        });
        expect.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn a_prefix_is_replaced_and_the_rest_is_kept() {
        let to = |to: &str| Then::Rewrite(to.to_owned());
        let targets = ["/api", "/api/", "/api/x/y?a=/b", "/api//x", "/api?q"];
        check(
            "/api",
            PathIs::Prefix,
            &to("/"),
            &targets,
            expect![[r#"
                /api → /
                /api/ → /
                /api/x/y?a=/b → /x/y?a=/b
                /api//x → /x
                /api?q → /?q
            "#]],
        );
        check(
            "/api/",
            PathIs::Prefix,
            &to("/v2/"),
            &targets,
            expect![[r#"
                /api → /v2/
                /api/ → /v2/
                /api/x/y?a=/b → /v2/x/y?a=/b
                /api//x → /v2//x
                /api?q → /v2/?q
            "#]],
        );
    }

    #[test]
    fn what_was_matched_in_another_spelling_is_replaced_too() {
        check(
            "/%61pi",
            PathIs::Prefix,
            &Then::Rewrite("/v2".to_owned()),
            &["/api//x%2Fy", "//api/x", "/a%70i?q", "/a%70i//x%2Fy"],
            expect![[r#"
                /api//x%2Fy → /v2//x%2Fy
                //api/x → /v2/x
                /a%70i?q → /v2?q
                /a%70i//x%2Fy → /v2/x%2Fy
            "#]],
        );
    }

    #[test]
    fn nobody_is_sent_to_a_host_of_the_clients_choice() {
        let to = |to: &str| Then::Redirect { to: to.to_owned(), status: 308 };
        let targets = ["/", "//evil.test/x", "/old//evil.test", "/old/.evil.test"];
        check(
            "/old",
            PathIs::Prefix,
            &to("/"),
            &targets[2..],
            expect![[r#"
                /old//evil.test → 308 /evil.test
                /old/.evil.test → 308 /.evil.test
            "#]],
        );
        check(
            "/",
            PathIs::Prefix,
            &to("https://shop.test"),
            &targets,
            expect![[r#"
                / → 308 https://shop.test/
                //evil.test/x → 308 https://shop.test//evil.test/x
                /old//evil.test → 308 https://shop.test/old//evil.test
                /old/.evil.test → 308 https://shop.test/old/.evil.test
            "#]],
        );
    }

    #[test]
    fn patterns_have_groups() {
        let to = Then::Redirect { to: "/people/$1?from=old".to_owned(), status: 301 };
        check(
            "^/u/([0-9]+)$",
            PathIs::Pattern,
            &to,
            &["/u/17", "/u/17?x=1"],
            expect![[r#"
                /u/17 → 301 /people/17?from=old
                /u/17?x=1 → 301 /people/17?from=old
            "#]],
        );
    }
}
