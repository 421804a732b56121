//! What is wrong in a file, and how its writer is told.

use super::*;

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    check(
        "[services.shop]\nreplicsa = 2\n",
        expect![[r#"
            `replicsa` is not a key here
             --> quarterdeck.toml:2:1
              |
            2 | replicsa = 2
              | ^^^^^^^^
              = did you mean `replicas`? known here: command, files, listen, replicas, sleep_after, routes, tcp, ready, live, env, env_file, secrets_file, start_deadline, stop_deadline, user, limits, traffic, rollout
        "#]],
    );
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_file() {
    check(
        r#"
environment = "Prod"
[proxy]
listen = ["localhost:8080"]
threads = -1
[api]
listen = "0.0.0.0:7777"
[services.shop]
replicas = "two"
ready = "healthz"
[services.shop.limits]
memory = "lots"
[services.shop.rollout]
step_time = "10"
steps = ["50 %", "1 %"]
tolerance = "0 %"
strategy = "bluegreen"
"#,
        expect![[r#"
            `Prod` is not a name: use 1 to 40 lowercase letters, digits and `-`, beginning with a letter and not ending with `-`
             --> quarterdeck.toml:2:15
              |
            2 | environment = "Prod"
              |               ^^^^^^

            `localhost:8080` is not an address
             --> quarterdeck.toml:4:11
              |
            4 | listen = ["localhost:8080"]
              |           ^^^^^^^^^^^^^^^^
              = write "127.0.0.1:8080"

            -1 is not possible here
             --> quarterdeck.toml:5:11
              |
            5 | threads = -1
              |           ^^
              = use 0 to 1024

            0.0.0.0 can be reached from other machines, and the API has no encryption of its own yet
             --> quarterdeck.toml:7:10
              |
            7 | listen = "0.0.0.0:7777"
              |          ^^^^^^^^^^^^^^
              = use "127.0.0.1:7777", and a tunnel such as `ssh -L` from elsewhere

            this is a text, and a whole number is expected here
             --> quarterdeck.toml:9:12
              |
            9 | replicas = "two"
              |            ^^^^^

            `healthz` is not a check
              --> quarterdeck.toml:10:9
               |
            10 | ready = "healthz"
               |         ^^^^^^^^^
               = use "/path", "tcp", "started" or { command = ["…"] }

            `lots` is not a size
              --> quarterdeck.toml:12:10
               |
            12 | memory = "lots"
               |          ^^^^^^
               = use a whole number above 0 with KiB, MiB or GiB (or kB, MB, GB): "512 MiB"

            `10` is not a length of time
              --> quarterdeck.toml:14:13
               |
            14 | step_time = "10"
               |             ^^^^
               = use a number with ms, s, m, h or d: "250ms", "30s", "1m30s"

            the steps must be shares above 0 % that grow
              --> quarterdeck.toml:15:9
               |
            15 | steps = ["50 %", "1 %"]
               |         ^^^^^^^^^^^^^^^
               = for example ["1 %", "10 %", "50 %"]

            0 % could never be shown, with any number of requests
              --> quarterdeck.toml:16:13
               |
            16 | tolerance = "0 %"
               |             ^^^^^
               = say how much more would still be acceptable, such as "0.5 %"

            `bluegreen` is not known here
              --> quarterdeck.toml:17:12
               |
            17 | strategy = "bluegreen"
               |            ^^^^^^^^^^^
               = use "canary", "blue-green", "rolling", "recreate"
        "#]],
    );
}

#[test]
fn names_and_files_are_checked() {
    check(
        "[services.Shop]\nenv_file = \"no/such.env\"\nenv = { PORT = \"80\", N = 1 }\nroutes = [\"http://a\", 5]\n[services.b]\nenv_file = \"no/such.env\"\ncommand = \"a && b\"\n",
        expect![[r#"
            `Shop` is not a name: use 1 to 40 lowercase letters, digits and `-`, beginning with a letter and not ending with `-`
             --> quarterdeck.toml:1:11
              |
            1 | [services.Shop]
              |           ^^^^

            `PORT` cannot be set: PORT is given to each instance by Quarterdeck
             --> quarterdeck.toml:3:9
              |
            3 | env = { PORT = "80", N = 1 }
              |         ^^^^

            this is a number, and a text in quotes is expected here
             --> quarterdeck.toml:3:26
              |
            3 | env = { PORT = "80", N = 1 }
              |                          ^

            `http://a` is not a route
             --> quarterdeck.toml:4:11
              |
            4 | routes = ["http://a", 5]
              |           ^^^^^^^^^^
              = use "host", "host/path" or "/path"

            this is a number, and a route such as "shop.localhost" or "/api" is expected here
             --> quarterdeck.toml:4:23
              |
            4 | routes = ["http://a", 5]
              |                       ^

            cannot read no/such.env: No such file or directory (os error 2)
             --> quarterdeck.toml:6:12
              |
            6 | env_file = "no/such.env"
              |            ^^^^^^^^^^^^^

            `&&` has no meaning here: the program is started without a shell
             --> quarterdeck.toml:7:11
              |
            7 | command = "a && b"
              |           ^^^^^^^^
              = to use one, write command = ["sh", "-c", "…"]
        "#]],
    );
}

#[test]
fn broken_syntax_is_shown_with_its_place() {
    check(
        "[services.shop\nreplicas = 2\n",
        expect![[r#"
        unclosed table, expected `]`
         --> quarterdeck.toml:1:15
          |
        1 | [services.shop
          |               ^
    "#]],
    );
}

#[test]
fn what_looks_right_and_is_impossible_is_refused() {
    for text in [
        "replicas = 0",
        "replicas = 1001",
        "replicas = 1.0",
        "command = []",
        "command = \"\"",
        "command = \"a 'b\"",
        "routes = [\"a.localhost:80\"]",
        "routes = [\"a..b\"]",
        "routes = [\"*\"]",
        "routes = [\"a.*.b\"]",
        "routes = [\"*b.test\"]",
        "traffic = { client_rate = \"0/s\" }",
        "traffic = { client_rate = 5 }",
        "traffic = { response_headers = { \"content-length\" = \"5\" } }",
        "traffic = { response_headers = { \"x y\" = \"5\" } }",
        "traffic = { request_headers = { x = 5 } }",
        "tcp = [\"db.localhost:5432\"]",
        "tcp = [\"127.0.0.1:0\"]",
        "tcp = \"127.0.0.1\"",
        "routes = [\"/a b\"]",
        "routes = [\"\"]",
        "ready = { path = \"/\", command = \"x\" }",
        "ready = { path = \"x\" }",
        "ready = { failures = 0 }",
        "start_deadline = \"0s\"",
        "env = { \"A B\" = \"1\" }",
        "limits = { cpu = 0 }",
        "limits = { memory = \"0 MiB\" }",
        "traffic = { sticky = \"cookie:\" }",
        "traffic = { sticky = \"session\" }",
        "rollout = { false_alarm = \"50 %\" }",
        "rollout = { miss = \"101 %\" }",
        "rollout = { miss = 5 }",
        "rollout = { steps = [] }",
        "rollout = { exposure = 20 }",
        "rollout = { exposure = \"0 failed requests\" }",
        "rollout = { exposure = \"20 errors\" }",
        "rollout = { limits = \"p99 < 400ms\" }",
        "rollout = { limits = [\"p99 > 400ms\"] }",
        "rollout = { limits = [\"p100 < 400ms\"] }",
        "rollout = { limits = [\"p99 < 400\"] }",
        "rollout = { limits = [\"p99 < 0ms\"] }",
        "rollout = { limits = [\"failures < 0 %\"] }",
        "rollout = { limits = [\"failures < nan %\"] }",
        "rollout = { limits = [\"latency < 1 %\"] }",
        "rollout = { hold_back_share = \"-1 %\" }",
    ] {
        let problems = load(&format!("[services.shop]\n{text}")).expect_err(text);
        let places: Vec<_> = problems.places().collect();
        assert_eq!(places.len(), 1, "{text}: {problems}");
        assert_eq!(places[0].0, 2, "{text}: {problems}");
    }
}
