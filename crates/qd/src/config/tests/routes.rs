//! Routes and addresses of services.

use super::{check, shop};
use expect_test::expect;

#[test]
fn two_services_on_one_route_are_refused_where_the_second_stands() {
    check(
        "[services.b]\nroutes = [\"/\"]\n[services.a]\nroutes = [\"x.localhost\", \"/\"]\n",
        expect![[r#"
            b has the route / already, on line 2
             --> quarterdeck.toml:4:26
              |
            4 | routes = ["x.localhost", "/"]
              |                          ^^^
              = give one of them another host or path
        "#]],
    );
}

#[test]
fn an_address_is_that_of_one_service_and_not_where_requests_come_in() {
    check(
        "[services.b]\ntcp = [\"0.0.0.0:5432\", \"127.0.0.1:8080\"]\n[services.a]\ntcp = [\"127.0.0.1:5432\"]\n",
        expect![[r#"
            requests come in at 127.0.0.1:8080 already, by `listen` under [proxy]
             --> quarterdeck.toml:2:24
              |
            2 | tcp = ["0.0.0.0:5432", "127.0.0.1:8080"]
              |                        ^^^^^^^^^^^^^^^^
              = give the service another port

            b has the address tcp://0.0.0.0:5432 already, on line 2
             --> quarterdeck.toml:4:8
              |
            4 | tcp = ["127.0.0.1:5432"]
              |        ^^^^^^^^^^^^^^^^
              = give one of them another port
        "#]],
    );
    let spec = shop("tcp = [\"127.0.0.1:5432\", \"[::1]:5432\"]");
    assert_eq!(spec.tcp, ["127.0.0.1:5432".parse().unwrap(), "[::1]:5432".parse().unwrap()]);
    assert_eq!(spec.run.ready.check, model::Check::Tcp);
}

#[test]
fn a_route_says_more_as_a_table() {
    let routes =
        |routes: &str| shop(&format!("routes = [{routes}]")).routes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        routes(
            r#""/", { at = "shop.test/a", exact = true, methods = ["PUT", "GET"] }, { pattern = "^/[0-9]$", headers = { "X-Beta" = "" } },
               { at = "/b", rewrite = "/" }, { at = "www.shop.test", redirect = "https://shop.test/", status = 301 }"#
        ),
        [
            "/",
            "GET|PUT shop.test/a exactly",
            "/ like ^/[0-9]$ with x-beta",
            "/b as /",
            "www.shop.test/ sent to https://shop.test/ (301)"
        ]
    );
}

#[test]
fn a_route_that_means_nothing_is_shown() {
    check(
        "[services.shop]\nroutes = [{ exact = true }, { at = \"/a\", pattern = \"b\" }, { pattern = \"(\" }, { at = \"/\", redirect = \"x\" }, { at = \"/\", status = 301 }, { at = \"/\", rewrite = \"/\", redirect = \"/\" }, { at = \"/\", methods = [\"get\"] }]\n",
        expect![[r#"
            this route has no place
             --> quarterdeck.toml:2:11
              |
            2 | routes = [{ exact = true }, { at = "/a", pattern = "b" }, { pattern = "(" }, { at = "/", redirect = "x" }, { at = "/", status = 301 }, { at = "/", rewrite = "/", redirect = "/" }, { at = "/", methods = ["get"] }]
              |           ^^^^^^^^^^^^^^^^
              = say which: at = "host/path"

            a route has a path or a pattern, not both
             --> quarterdeck.toml:2:29
              |
            2 | routes = [{ exact = true }, { at = "/a", pattern = "b" }, { pattern = "(" }, { at = "/", redirect = "x" }, { at = "/", status = 301 }, { at = "/", rewrite = "/", redirect = "/" }, { at = "/", methods = ["get"] }]
              |                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = leave the path out of `at`, and `exact` too

            `(` is not a pattern that can be used: error: unclosed group
             --> quarterdeck.toml:2:59
              |
            2 | routes = [{ exact = true }, { at = "/a", pattern = "b" }, { pattern = "(" }, { at = "/", redirect = "x" }, { at = "/", status = 301 }, { at = "/", rewrite = "/", redirect = "/" }, { at = "/", methods = ["get"] }]
              |                                                           ^^^^^^^^^^^^^^^^^

            `x` is nothing that clients can be sent to: use a path, or an address that begins with https:// or http://
             --> quarterdeck.toml:2:78
              |
            2 | routes = [{ exact = true }, { at = "/a", pattern = "b" }, { pattern = "(" }, { at = "/", redirect = "x" }, { at = "/", status = 301 }, { at = "/", rewrite = "/", redirect = "/" }, { at = "/", methods = ["get"] }]
              |                                                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^

            `status` means nothing without `redirect`
             --> quarterdeck.toml:2:108
              |
            2 | routes = [{ exact = true }, { at = "/a", pattern = "b" }, { pattern = "(" }, { at = "/", redirect = "x" }, { at = "/", status = 301 }, { at = "/", rewrite = "/", redirect = "/" }, { at = "/", methods = ["get"] }]
              |                                                                                                            ^^^^^^^^^^^^^^^^^^^^^^^^^^
              = leave it out

            a route has `rewrite` or `redirect`, not both
             --> quarterdeck.toml:2:136
              |
            2 | routes = [{ exact = true }, { at = "/a", pattern = "b" }, { pattern = "(" }, { at = "/", redirect = "x" }, { at = "/", status = 301 }, { at = "/", rewrite = "/", redirect = "/" }, { at = "/", methods = ["get"] }]
              |                                                                                                                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = leave one of them out

            `get` is not a method: use upper-case words such as GET, at most 16
             --> quarterdeck.toml:2:181
              |
            2 | routes = [{ exact = true }, { at = "/a", pattern = "b" }, { pattern = "(" }, { at = "/", redirect = "x" }, { at = "/", status = 301 }, { at = "/", rewrite = "/", redirect = "/" }, { at = "/", methods = ["get"] }]
              |                                                                                                                                                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn a_route_has_a_name_and_bounds_of_its_own() {
    let spec = shop(
        r#"routes = ["/", { at = "/upload", name = "upload", max_body = "5 GiB", response_timeout = "5m", idle_timeout = "1h", client_rate = "10/s", concurrency = 20 },
                 { at = "/export", concurrency = "adaptive" }, { at = "/old", redirect = "/", name = "old" }]"#,
    );
    let shown: Vec<_> = spec.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "/",
            "/upload named upload (response_timeout 5m, idle_timeout 1h, max_body 5 GiB, client_rate 10/s, concurrency 20)",
            "/export (concurrency adaptive)",
            "/old sent to / (308) named old"
        ]
    );
    // What stands in ledgers of before has neither, and stays as it is.
    assert_eq!(serde_json::to_string(&spec.routes[0]).unwrap(), r#"{"host":null,"path":"/"}"#);
    let read: model::RouteMatch = serde_json::from_str(r#"{"host":null,"path":"/"}"#).unwrap();
    assert_eq!(read, spec.routes[0]);
    let all = serde_json::to_string(&spec.routes).unwrap();
    assert_eq!(serde_json::from_str::<Vec<model::RouteMatch>>(&all).unwrap(), spec.routes);
}

#[test]
fn a_routes_name_or_bound_that_means_nothing_is_shown_where_it_stands() {
    check(
        "[services.shop]\nroutes = [\n  { at = \"/a\", name = \"Up load\" },\n  { at = \"/b\", max_body = \"5 parsecs\", client_rate = \"x\", concurrency = 0, response_timeout = \"0s\" },\n  { at = \"/c\", redirect = \"/\", max_body = \"1 MiB\" },\n  { at = \"/d\", limit = 5 },\n]\n",
        expect![[r#"
            `Up load` is not a name: use 1 to 40 lowercase letters, digits and `-`, beginning with a letter and not ending with `-`
             --> quarterdeck.toml:3:23
              |
            3 |   { at = "/a", name = "Up load" },
              |                       ^^^^^^^^^

            `5 parsecs` is not a size
             --> quarterdeck.toml:4:27
              |
            4 |   { at = "/b", max_body = "5 parsecs", client_rate = "x", concurrency = 0, response_timeout = "0s" },
              |                           ^^^^^^^^^^^
              = use a whole number above 0 with KiB, MiB or GiB (or kB, MB, GB): "512 MiB"

            `x` is not a rate
             --> quarterdeck.toml:4:54
              |
            4 |   { at = "/b", max_body = "5 parsecs", client_rate = "x", concurrency = 0, response_timeout = "0s" },
              |                                                      ^^^
              = use requests by time, both above zero: "100/s", "1000/10m"

            0 is not possible here
             --> quarterdeck.toml:4:73
              |
            4 |   { at = "/b", max_body = "5 parsecs", client_rate = "x", concurrency = 0, response_timeout = "0s" },
              |                                                                         ^
              = use 1 to 1000000

            this cannot be zero
             --> quarterdeck.toml:4:95
              |
            4 |   { at = "/b", max_body = "5 parsecs", client_rate = "x", concurrency = 0, response_timeout = "0s" },
              |                                                                                               ^^^^
              = use at least "1ms"

            no instance is asked for what is sent elsewhere: leave out max_body 1 MiB
             --> quarterdeck.toml:5:3
              |
            5 |   { at = "/c", redirect = "/", max_body = "1 MiB" },
              |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

            `limit` is not a key here
             --> quarterdeck.toml:6:16
              |
            6 |   { at = "/d", limit = 5 },
              |                ^^^^^
              = known here: at, exact, pattern, methods, headers, rewrite, redirect, status, name, response_timeout, idle_timeout, max_body, client_rate, concurrency
        "#]],
    );
}

#[test]
fn routes_of_one_name_that_say_different_things_are_shown() {
    check(
        "[services.shop]\nroutes = [\n  { at = \"/a\", name = \"up\", max_body = \"1 MiB\" },\n  { at = \"/b\", name = \"up\" },\n]\n",
        expect![[r#"
            another route is named up, too, and has other limits: those of one name share them
             --> quarterdeck.toml:4:3
              |
            4 |   { at = "/b", name = "up" },
              |   ^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}

#[test]
fn more_names_than_are_counted_by_are_refused_where_the_first_too_many_stands() {
    let routes =
        |count: usize| -> String { (0..count).map(|n| format!("{{ at = \"/{n}\", name = \"r{n}\" }},\n")).collect() };
    assert_eq!(shop(&format!("routes = [\n{}]", routes(100))).routes.len(), 100);
    check(
        &format!("[services.shop]\nroutes = [\n{}]\n", routes(101)),
        expect![[r#"
            more than 100 names for the routes of one service are too many to count by
               --> quarterdeck.toml:103:1
                |
            103 | { at = "/100", name = "r100" },
                | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#]],
    );
}
