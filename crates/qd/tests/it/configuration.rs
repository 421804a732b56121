//! What is wrong with a configuration is said with its place, what is allowed, and what was probably meant.

use crate::site::Site;
use expect_test::{Expect, expect};

fn check(text: &str, expected: Expect) {
    let site = Site::empty();
    site.configure(text);
    let said = site.qd(&["config", "check"]).expect(2);
    expected.assert_eq(&said.err);
    // Nobody goes on with a file like this.
    for command in [&["serve"][..], &["plan"], &["apply", "--yes", "--reason", "x"]] {
        site.qd(command).expect(2);
    }
    assert!(!site.data().exists());
}

#[test]
fn an_unknown_key_names_the_nearest() {
    check(
        "[services.shop]\ncomand = \"./shop\"\n",
        expect![[r#"
            error: `comand` is not a key here
             --> quarterdeck.toml:2:1
              |
            2 | comand = "./shop"
              | ^^^^^^
              = did you mean `command`? known here: command, files, listen, replicas, sleep_after, routes, tcp, ready, live, env, env_file, secrets_file, start_deadline, stop_deadline, user, limits, traffic, rollout
        "#]],
    );
}

#[test]
fn a_wrong_type_says_what_is_allowed() {
    check(
        "[services.shop]\nreplicas = \"two\"\n",
        expect![[r#"
        error: this is a text, and a whole number is expected here
         --> quarterdeck.toml:2:12
          |
        2 | replicas = "two"
          |            ^^^^^
    "#]],
    );
}

#[test]
fn an_impossible_value_says_what_is_possible() {
    check(
        "[services.shop]\nreplicas = 2\n[services.shop.rollout]\nsteps = [\"50 %\", \"5 %\"]\n",
        expect![[r#"
        error: the steps must be shares above 0 % that grow
         --> quarterdeck.toml:4:9
          |
        4 | steps = ["50 %", "5 %"]
          |         ^^^^^^^^^^^^^^^
          = for example ["1 %", "10 %", "50 %"]
    "#]],
    );
}

#[test]
fn two_services_on_one_route_are_both_named() {
    let text = "[services.shop]\nroutes = [\"/\"]\n\n[services.till]\nroutes = [\"shop.localhost\", \"/\"]\n";
    check(
        text,
        expect![[r#"
            error: shop has the route / already, on line 2
             --> quarterdeck.toml:5:29
              |
            5 | routes = ["shop.localhost", "/"]
              |                             ^^^
              = give one of them another host or path
        "#]],
    );
}

#[test]
fn what_is_not_toml_is_shown_where_it_breaks() {
    check(
        "[services.shop\nreplicas = 2\n",
        expect![[r#"
        error: unclosed table, expected `]`
         --> quarterdeck.toml:1:15
          |
        1 | [services.shop
          |               ^
    "#]],
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    check(
        "datta = \"x\"\n[services.Shop]\nready = 5\n",
        expect![[r#"
        error: `datta` is not a key here
         --> quarterdeck.toml:1:1
          |
        1 | datta = "x"
          | ^^^^^
          = did you mean `data`? known here: environment, data, proxy, api, access, services

        `Shop` is not a name: use 1 to 40 lowercase letters, digits and `-`, beginning with a letter and not ending with `-`
         --> quarterdeck.toml:2:11
          |
        2 | [services.Shop]
          |           ^^^^

        this is a number, and a text such as "/healthz", or a table, is expected here
         --> quarterdeck.toml:3:9
          |
        3 | ready = 5
          |         ^
    "#]],
    );
}

#[test]
fn no_configuration_at_all_says_how_to_get_one() {
    let site = Site::empty();
    site.qd(&["serve"]).expect(2).telling("qd init");
    site.qd(&["serve", "--config", "elsewhere.toml"]).expect(2).telling("elsewhere.toml");
}
