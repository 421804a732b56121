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
            routes: vec![RouteMatch { host: (host != "*").then(|| host.to_owned()), path: path.to_owned() }],
            traffic: TrafficSpec::default(),
            arms: Vec::new(),
            guard: None,
        }
    });
    Table::new(&RouteTable { generation: 1, services: services.collect() }, &Table::default(), |guard| {
        Switch::new(guard, false)
    })
}

fn check(routes: &[&str], requests: &[&str], expect: Expect) {
    let table = table(routes);
    let lines = requests.iter().map(|request| {
        let (host, path) = request.split_at(request.find('/').unwrap());
        let found = table.find(host.as_bytes(), path.as_bytes()).map_or("-", |i| routes[i]);
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
    assert_eq!(table.find(&[b'a'; 100_000], b"/"), None);
    assert_eq!(table.find(b"shop.test", "/".repeat(1 << 20).as_bytes()), None);
    assert_eq!(table.find(b"shop.test", "/é/é".as_bytes()), None);
    assert_eq!(table.find(b"shop.test", b"*"), None);
    assert_eq!(table.find(b"shop.test", b""), None);
}
