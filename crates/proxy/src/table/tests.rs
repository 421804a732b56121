use super::*;
use expect_test::{Expect, expect};
use model::{RouteMatch, ServiceRoutes};

/// A table with one service for each route, named `s0`, `s1`, and so on.
fn table(routes: &[&str]) -> Table {
    let services = routes.iter().enumerate().map(|(i, route)| {
        let (host, path) = route.split_at(route.find('/').unwrap());
        ServiceRoutes {
            service: format!("s{i}").parse().unwrap(),
            // `*` alone is any host here.
            routes: vec![RouteMatch::prefix((host != "*").then_some(host), path)],
            tcp: Vec::new(),
            traffic: TrafficSpec::default(),
            arms: Vec::new(),
            guard: None,
            purges: Vec::new(),
            shadow: None,
            hold: None,
        }
    });
    Table::new(&RouteTable { generation: 1, services: services.collect() }, &Table::default(), |guard| {
        Switch::new(guard, false)
    })
}

/// A request for a host and a path.
struct Request<'a> {
    method: &'a str,
    host: &'a [u8],
    target: &'a str,
    field: Option<&'a str>,
}

impl Asked for Request<'_> {
    fn host(&self) -> &[u8] {
        self.host
    }

    fn method(&self) -> &str {
        self.method
    }

    fn target(&self) -> &str {
        self.target
    }

    fn least_body(&self) -> u64 {
        0
    }

    fn fields<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.field.filter(|_| name == "x-beta").map(str::as_bytes).into_iter()
    }
}

fn find(table: &Table, host: &[u8], target: &str) -> Option<usize> {
    table.find(&Request { method: "GET", host, target, field: None }).map(|(service, _)| service)
}

fn check(routes: &[&str], requests: &[&str], expect: Expect) {
    let table = table(routes);
    let lines = requests.iter().map(|request| {
        let (host, path) = request.split_at(request.find('/').unwrap());
        let found = find(&table, host.as_bytes(), path).map_or("-", |i| routes[i]);
        format!("{request} → {found}\n")
    });
    expect.assert_eq(&lines.collect::<String>());
}

#[test]
fn the_most_specific_route_wins() {
    check(
        &["*/", "*/api", "shop.test/", "shop.test/api/v2", "*/api/v2/deep"],
        &[
            "other/x",
            "other/api/x",
            "shop.test/api",
            "shop.test/api/v2/x",
            "other/api/v2/deep/er",
            "shop.test/api/v2/deep",
        ],
        expect![[r#"
            other/x → */
            other/api/x → */api
            shop.test/api → shop.test/
            shop.test/api/v2/x → shop.test/api/v2
            other/api/v2/deep/er → */api/v2/deep
            shop.test/api/v2/deep → shop.test/api/v2
        "#]],
    );
}

#[test]
fn a_prefix_matches_whole_segments_only() {
    check(
        &["*/api", "*/api/v2/"],
        &["h/api", "h/api/", "h/apis", "h/api/v2", "h/api/v22", "h/api/v2/", "h/", "h/ap"],
        expect![[r#"
            h/api → */api
            h/api/ → */api
            h/apis → -
            h/api/v2 → */api/v2/
            h/api/v22 → */api
            h/api/v2/ → */api/v2/
            h/ → -
            h/ap → -
        "#]],
    );
}

#[test]
fn a_host_is_the_same_in_any_spelling() {
    check(
        &["Shop.Test/", "[::1]/"],
        &[
            "shop.test/",
            "SHOP.TEST:8080/",
            "shop.test./",
            "shop.test.:80/",
            "[::1]:80/",
            "[::1]/",
            "shop.test.evil/",
            "/",
        ],
        expect![[r#"
            shop.test/ → Shop.Test/
            SHOP.TEST:8080/ → Shop.Test/
            shop.test./ → Shop.Test/
            shop.test.:80/ → Shop.Test/
            [::1]:80/ → [::1]/
            [::1]/ → [::1]/
            shop.test.evil/ → -
            / → -
        "#]],
    );
}

#[test]
fn a_star_stands_for_every_host_below_a_name() {
    check(
        &["*.shop.test/", "a.shop.test/", "*.eu.shop.test/api", "*.test/"],
        &[
            "b.shop.test/",
            "B.Shop.Test:80/",
            "a.shop.test/",
            "a.b.shop.test/",
            "a.eu.shop.test/api/x",
            "a.eu.shop.test/other",
            "shop.test/",
            ".shop.test/",
            "test/",
            "shop.test.evil/",
        ],
        expect![[r#"
            b.shop.test/ → *.shop.test/
            B.Shop.Test:80/ → *.shop.test/
            a.shop.test/ → a.shop.test/
            a.b.shop.test/ → *.shop.test/
            a.eu.shop.test/api/x → *.eu.shop.test/api
            a.eu.shop.test/other → *.shop.test/
            shop.test/ → *.test/
            .shop.test/ → *.test/
            test/ → -
            shop.test.evil/ → -
        "#]],
    );
}

#[test]
fn a_host_with_routes_of_its_own_still_falls_back_to_routes_for_any_host() {
    check(
        &["shop.test/api", "*/"],
        &["shop.test/other"],
        expect![[r#"
        shop.test/other → */
    "#]],
    );
}

#[test]
fn hostile_hosts_and_paths_match_nothing_and_cost_little() {
    let table = table(&["shop.test/a/b"]);
    assert_eq!(find(&table, &[b'a'; 100_000], "/"), None);
    assert_eq!(find(&table, b"shop.test", &"/".repeat(1 << 20)), None);
    assert_eq!(find(&table, b"shop.test", "/é/é"), None);
    assert_eq!(find(&table, b"shop.test", "*"), None);
    assert_eq!(find(&table, b"shop.test", ""), None);
}

#[test]
fn a_path_alone_goes_before_a_pattern_and_conditions_before_none() {
    let route = |path: &str, change: &dyn Fn(&mut RouteMatch)| {
        let mut route = RouteMatch::prefix(None, path);
        change(&mut route);
        route
    };
    let routes = [
        route("/", &|_| {}),
        route("/", &|r| r.methods = vec!["POST".into()]),
        route("/", &|r| r.headers = [("x-beta".into(), Some("1".into()))].into()),
        route("/users/me", &|r| r.path_is = PathIs::Exact),
        route("^/users/[a-z]+$", &|r| r.path_is = PathIs::Pattern),
        route("/users", &|r| r.headers = [("x-beta".into(), None)].into()),
    ];
    let services = routes.iter().enumerate().map(|(i, route)| ServiceRoutes {
        service: format!("s{i}").parse().unwrap(),
        routes: vec![route.clone()],
        tcp: Vec::new(),
        traffic: TrafficSpec::default(),
        arms: Vec::new(),
        guard: None,
        purges: Vec::new(),
        shadow: None,
        hold: None,
    });
    let table = RouteTable { generation: 1, services: services.collect() };
    let before = Table::new(&table, &Table::default(), |guard| Switch::new(guard, false));
    let table = Table::new(&table, &before, |guard| Switch::new(guard, false));
    let lines = [
        ("GET", "/x", None),
        ("POST", "/x", None),
        ("POST", "/x", Some("1")),
        ("GET", "/x", Some("2")),
        ("GET", "/users/me", None),
        ("GET", "/users/you?q", None),
        ("GET", "/users/17", None),
        ("GET", "/users/17", Some("2")),
    ]
    .map(|(method, target, field)| {
        let found = table.find(&Request { method, host: b"h", target, field }).map(|(service, _)| service);
        let beta = field.map(|value| format!(" x-beta: {value}")).unwrap_or_default();
        format!("{method} {target}{beta} → {}\n", routes[found.unwrap()])
    });
    expect![[r#"
        GET /x → /
        POST /x → POST /
        POST /x x-beta: 1 → POST /
        GET /x x-beta: 2 → /
        GET /users/me → /users/me exactly
        GET /users/you?q → / like ^/users/[a-z]+$
        GET /users/17 → /
        GET /users/17 x-beta: 2 → /users with x-beta
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn a_path_is_found_in_any_spelling() {
    check(
        &["*/", "*/api", "*/a%70i/%7ex", "*/%2F"],
        &["h/api", "h//api///y", "h/%61pi", "h/api%2fx", "h/api/~x/y", "h/api//%7Ex", "h/%2F", "h/%2f", "h/apis"],
        expect![[r#"
            h/api → */api
            h//api///y → */api
            h/%61pi → */api
            h/api%2fx → */
            h/api/~x/y → */a%70i/%7ex
            h/api//%7Ex → */a%70i/%7ex
            h/%2F → */%2F
            h/%2f → */
            h/apis → */
        "#]],
    );
}
