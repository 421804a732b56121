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
