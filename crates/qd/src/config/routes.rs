//! Routes: as a text, or as a table that says more about what they match and what becomes of it.

use super::{
    draft::Service,
    key::{Key, Shows, read},
    node::Node,
    problem::{Fault, Faults},
    values::concurrency,
};
use model::{PathIs, RouteBounds, RouteMatch, RouteName, Then, check_together};
use std::collections::BTreeMap;
use toml::de::DeValue;

/// How clients are sent elsewhere where nothing else is said: for good, with their method and body.
const PERMANENT: u32 = 308;

/// The routes, each with its place, so that a second claim to one can be shown.
pub(super) fn read_routes(service: &mut Service, node: &Node<'_>, faults: &mut Faults) {
    let Ok(items) = node.list(|item| Ok(item.clone())) else {
        return faults.0.push(node.wrong_type("a list such as [\"shop.localhost\", \"/api\"]"));
    };
    for item in items {
        if let Some(route) = route(&item, faults) {
            service.spec.routes.push(route);
            service.route_places.push(item.at.clone());
        }
    }
    if let Err((position, error)) = check_together(&service.spec.routes)
        && let Some(at) = service.route_places.get(position)
    {
        faults.0.push(Fault::new(at.clone(), error.to_string(), ""));
    }
}

fn route(node: &Node<'_>, faults: &mut Faults) -> Option<RouteMatch> {
    let DeValue::Table(_) = node.value else {
        return plain(node).map_err(|fault| faults.0.push(fault)).ok();
    };
    let (mut draw, before) = (Draw::default(), faults.0.len());
    read(ROUTE, &mut draw, node, faults);
    if faults.0.len() > before {
        return None;
    }
    draw.route(node).map_err(|fault| faults.0.push(fault)).ok()
}

/// What a route is made of.
#[derive(Default)]
struct Draw {
    at: Option<RouteMatch>,
    exact: bool,
    pattern: Option<String>,
    methods: Vec<String>,
    headers: BTreeMap<String, Option<String>>,
    rewrite: Option<String>,
    redirect: Option<String>,
    status: Option<u32>,
    name: Option<RouteName>,
    own: RouteBounds,
}

const ROUTE: &[Key<Draw>] = &[
    Key {
        name: "at",
        doc: "Host and path, as above.",
        shows: Shows::Example(r#""shop.localhost/api""#),
        set: |d, v, f| f.put(&mut d.at, plain(v).map(Some)),
    },
    Key {
        name: "exact",
        doc: "Whether it is this path alone, without those below it.",
        shows: Shows::Default("false"),
        set: |d, v, f| f.put(&mut d.exact, v.truth()),
    },
    Key {
        name: "pattern",
        doc: "A regular expression for the path, instead of a path in `at`.",
        shows: Shows::Example(r#""^/users/([0-9]+)$""#),
        set: |d, v, f| f.put(&mut d.pattern, v.name().map(Some)),
    },
    Key {
        name: "methods",
        doc: "Methods that it is for. Without it: all.",
        shows: Shows::Example(r#"["GET", "HEAD"]"#),
        set: |d, v, f| f.put(&mut d.methods, v.list(Node::name)),
    },
    Key {
        name: "headers",
        doc: "Header fields that a request must have, with this value; \"\" for any.",
        shows: Shows::Example(r#"{ "x-beta" = "1" }"#),
        set: read_headers,
    },
    Key {
        name: "rewrite",
        doc: "What an instance sees instead of the part of the path that was matched; `$1` is the first group of a pattern.",
        shows: Shows::Example(r#""/v2""#),
        set: |d, v, f| f.put(&mut d.rewrite, v.name().map(Some)),
    },
    Key {
        name: "redirect",
        doc: "Where the client is sent instead: a path or an address, in the place of the part of the path that was matched.",
        shows: Shows::Example(r#""https://shop.example.com/""#),
        set: |d, v, f| f.put(&mut d.redirect, v.name().map(Some)),
    },
    Key {
        name: "status",
        doc: "The status it is sent there with.",
        shows: Shows::Default("308"),
        set: |d, v, f| f.put(&mut d.status, v.integer(301..=308).map(Some)),
    },
    Key {
        name: "name",
        doc: "What its requests are counted by in metrics, and called in the access log. Several routes may have the same.",
        shows: Shows::Example(r#""upload""#),
        set: |d, v, f| f.put(&mut d.name, name(v).map(Some)),
    },
    Key {
        name: "response_timeout",
        doc: "How long an instance may take until it begins to answer, instead of what is said for the service; so the others.",
        shows: Shows::Example(r#""5m""#),
        set: |d, v, f| f.put(&mut d.own.response_timeout, v.span().map(Some)),
    },
    Key {
        name: "idle_timeout",
        doc: "How long a streaming body, WebSocket or event stream may be silent.",
        shows: Shows::Example(r#""1h""#),
        set: |d, v, f| f.put(&mut d.own.idle_timeout, v.span().map(Some)),
    },
    Key {
        name: "max_body",
        doc: "The largest request body accepted.",
        shows: Shows::Example(r#""5 GiB""#),
        set: |d, v, f| f.put(&mut d.own.max_body, v.bytes().map(Some)),
    },
    Key {
        name: "client_rate",
        doc: "How many requests each client address may send by it.",
        shows: Shows::Example(r#""10/s""#),
        set: |d, v, f| f.put(&mut d.own.client_rate, v.rate().map(Some)),
    },
    Key {
        name: "concurrency",
        doc: "How many of its requests may be under way at once, or \"adaptive\".",
        shows: Shows::Example("20"),
        set: |d, v, f| f.put(&mut d.own.concurrency, concurrency(v).map(Some)),
    },
];

fn name(node: &Node<'_>) -> Result<RouteName, Fault> {
    RouteName::new(node.text("a name such as \"upload\"")?).map_err(|error| node.fault(error.to_string(), ""))
}

fn read_headers(draw: &mut Draw, node: &Node<'_>, faults: &mut Faults) {
    let entries = match node.table() {
        Ok(entries) => entries,
        Err(fault) => return faults.0.push(fault),
    };
    for (name, value) in entries {
        match Node::new(value).text("a text in quotes") {
            Ok(text) => {
                let value = Some(text.to_owned()).filter(|text| !text.is_empty());
                draw.headers.insert(name.get_ref().to_ascii_lowercase(), value);
            }
            Err(fault) => faults.0.push(fault),
        }
    }
}

impl Draw {
    fn route(self, node: &Node<'_>) -> Result<RouteMatch, Fault> {
        let any = || RouteMatch::prefix(None, "/");
        let mut route = match (self.at, &self.pattern) {
            (Some(at), _) => at,
            (None, Some(_)) => any(),
            (None, None) => return Err(node.fault("this route has no place", "say which: at = \"host/path\"")),
        };
        route.path_is = if self.exact { PathIs::Exact } else { PathIs::Prefix };
        if let Some(pattern) = self.pattern {
            if self.exact || route.path != "/" {
                let help = "leave the path out of `at`, and `exact` too";
                return Err(node.fault("a route has a path or a pattern, not both", help));
            }
            (route.path, route.path_is) = (pattern, PathIs::Pattern);
        }
        route.methods = self.methods;
        route.methods.sort();
        route.headers = self.headers;
        route.then = match (self.rewrite, self.redirect, self.status) {
            (Some(_), Some(_), _) => {
                return Err(node.fault("a route has `rewrite` or `redirect`, not both", "leave one of them out"));
            }
            (_, None, Some(_)) => {
                return Err(node.fault("`status` means nothing without `redirect`", "leave it out"));
            }
            (Some(to), None, None) => Then::Rewrite(to),
            (None, Some(to), status) => {
                Then::Redirect { to, status: u16::try_from(status.unwrap_or(PERMANENT)).unwrap_or(u16::MAX) }
            }
            (None, None, None) => Then::Carry,
        };
        (route.name, route.own) = (self.name, self.own);
        route.check().map_err(|error| node.fault(error.to_string(), ""))?;
        Ok(route)
    }
}

/// A route as a text.
fn plain(node: &Node<'_>) -> Result<RouteMatch, Fault> {
    let text = node.text("a route such as \"shop.localhost\" or \"/api\"")?;
    let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    let path = if path.is_empty() { "/" } else { path };
    let bad = |what: String, help: &str| Err(node.fault(what, help));
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if text.is_empty() || text.contains("://") {
        return bad(format!("`{text}` is not a route"), "use \"host\", \"host/path\" or \"/path\"");
    }
    if let Some((name, _)) = host.split_once(':') {
        return bad(
            "a route has no port: addresses to listen at are under [proxy]".to_owned(),
            &format!("write \"{name}{path}\""),
        );
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    if !host.is_empty() && (host.len() > 253 || !name.split('.').all(label)) {
        return bad(
            format!("`{host}` is not a host name"),
            "use letters, digits, `-` and dots; \"*.\" before a name for all hosts below it; for any host, \"/path\"",
        );
    }
    if let Some(c) = path.chars().find(|c| c.is_whitespace() || c.is_control() || "?#*".contains(*c)) {
        return bad(format!("a path cannot contain {c:?}"), "a path is a prefix of whole segments: \"/api\"");
    }
    Ok(RouteMatch::prefix(Some(host.to_ascii_lowercase().as_str()).filter(|host| !host.is_empty()), path))
}
