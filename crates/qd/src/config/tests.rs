//! The configuration as it is read: [`routes`] apart.

mod instances;
mod mistakes;
mod routes;

use super::*;
use expect_test::{Expect, expect, expect_file};

fn load(text: &str) -> Result<Config, Problems> {
    Config::parse(Path::new("quarterdeck.toml"), text)
}

fn good(text: &str) -> Config {
    load(text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&load(text).unwrap_err().to_string());
}

fn shop(text: &str) -> ServiceSpec {
    let config = good(&format!("[services.shop]\n{text}"));
    config.services.into_values().next().unwrap()
}

/// The reference with every key live, where `keep` says so of its line above.
fn uncommented(keep: impl Fn(&str) -> bool) -> String {
    let text = reference::text();
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') && !key.is_empty() && keep(key) => key,
        Some(_) => "",
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_is_what_is_kept_in_the_repository() {
    expect_file!["../../../../docs/reference/config.toml"].assert_eq(&reference::text());
}

#[test]
fn the_reference_is_valid_and_so_is_every_example_in_it() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shop.env"), "A=1").unwrap();
    std::fs::write(directory.path().join("shop.secrets"), "B=2").unwrap();
    let path = directory.path().join(FILE_NAME);
    let as_printed = Config::parse(&path, &reference::text()).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(as_printed.services.len(), 1);
    // A service is a program or files, and never both; files are not asked for over TLS.
    let tls = ["ca = ", "name = \"shop.internal\"", "certificate = \"proxy.pem\"", "key = \"proxy.key\""];
    for left_out in [&["files = "][..], &[&["command = "], &tls[..]].concat()] {
        let text = uncommented(|key| !left_out.iter().any(|start| key.starts_with(start)));
        let all = Config::parse(&path, &text).unwrap_or_else(|p| panic!("{p}"));
        assert_ne!(all, as_printed);
        assert_eq!(all.secrets_files.len(), 1);
    }
}

#[test]
fn the_defaults_in_the_reference_are_the_defaults() {
    // With a route, because one default depends on whether there is one.
    let route = "routes = [\"/\"]\n";
    let with_route = |text: String| text.replace("[services.shop]\n", &format!("[services.shop]\n{route}"));
    let defaults: Vec<String> = reference::text()
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ') && !key.is_empty()))
        .map(str::to_owned)
        .collect();
    assert!(defaults.len() > 35, "{}", defaults.len());
    let base = good(&with_route(uncommented(|_| false)));
    let examples = [
        "command",
        "files",
        "live",
        "env",
        "env_file",
        "secrets_file",
        "user",
        "memory",
        "cpu",
        "sticky",
        "ca",
        "name",
        "certificate",
        "key",
        "routes",
        "tcp",
        "sleep_after",
        "steps",
        "exposure",
        "certificates",
        "agreed",
        "contact",
        "directory",
        "roots",
        "hosts",
        "client_rate",
        "cache",
        "cache_disk",
        "hedge_after",
        "request_headers",
        "response_headers",
        "maintenance",
        "client_authorities",
        "concurrency",
        "forwarded_by",
        "proxy_protocol_from",
        "format",
        "file",
        "hsts",
        "limits",
    ];
    let is_default = |key: &str| {
        let name = key.split(' ').next().unwrap_or_default();
        !examples.contains(&name) && key != "listen = \"127.0.0.1:7777\""
    };
    assert_eq!(good(&with_route(uncommented(is_default))), base);
}

#[test]
fn an_authority_is_asked_once_its_terms_are_agreed_to() {
    let acme = |text: &str| good(&format!("[proxy.tls.acme]\n{text}")).proxy.tls.and_then(|tls| tls.terms.acme);
    let agreed = acme("agreed = true").unwrap();
    assert_eq!(agreed.directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!((agreed.contact, agreed.roots, agreed.hosts.len()), (None, None, 0));
    let text = "agreed = true\ncontact = \"mailto:a@b.com\"\nroots = \"ca.pem\"\nhosts = [\"Shop.Internal\"]";
    let all = acme(text).unwrap();
    assert_eq!((all.contact.as_deref(), &all.hosts[..]), (Some("a@b.com"), &["shop.internal".to_owned()][..]));
    assert_eq!(all.roots.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(acme(""), None);
    check(
        "[proxy.tls.acme]\ncontact = \"ops@example.com\"\n",
        expect![[r#"
        the terms of service of the authority are not agreed to, and it issues to nobody else
         --> quarterdeck.toml:1:1
          |
        1 | [proxy.tls.acme]
          | ^^^^^^^^^^^^^^^^
          = read those that https://acme-v02.api.letsencrypt.org/directory links to, and write agreed = true
    "#]],
    );
    check(
        "[proxy.tls.acme]\nagreed = true\ncontact = \"ops\"\ndirectory = \"http://ca.example\"\nhosts = [\"*.a.com\", \"192.0.2.1\"]\n",
        expect![[r#"
            `ops` is not one e-mail address
             --> quarterdeck.toml:3:11
              |
            3 | contact = "ops"
              |           ^^^^^
              = for example "ops@example.com"

            `http://ca.example` is not an address that begins with https://
             --> quarterdeck.toml:4:13
              |
            4 | directory = "http://ca.example"
              |             ^^^^^^^^^^^^^^^^^^^
              = for example "https://acme-v02.api.letsencrypt.org/directory"

            `*.a.com` is not a host that can get a certificate
             --> quarterdeck.toml:5:10
              |
            5 | hosts = ["*.a.com", "192.0.2.1"]
              |          ^^^^^^^^^
              = that takes a proof by DNS, which is not made here; name each host, or give a certificate from files
        "#]],
    );
}

#[test]
fn the_starting_file_is_valid() {
    let text = reference::starting_file(&ServiceName::new("shop").unwrap());
    expect![[r##"
        # What runs here. Every key there is: `qd config reference`.

        [proxy]
        # Addresses that requests come in at.
        listen = ["127.0.0.1:8080"]

        [services.shop]
        # Program and arguments, as a text that is split at spaces (quotes are respected) or as a list. There is no shell.
        command = "./shop --port $PORT"
        # How many instances run.
        replicas = 2
        # Which requests it gets: "host", "host/path" or "/path" on any host; "*.host" for all hosts below one. The most
        routes = ["shop.localhost", "/"]
        # When an instance may get requests: "/path" answers a GET with 200 to 399, "tcp" its port accepts, "started" it runs.
        ready = "tcp"
    "##]]
    .assert_eq(&text);
    assert_eq!(good(&text).services.len(), 1);
}

#[test]
fn an_empty_file_is_a_whole_configuration() {
    let config = good("");
    assert_eq!(config.environment, EnvironmentName::default());
    assert_eq!(config.data, Path::new(".quarterdeck"));
    assert_eq!(config.proxy.listen, ["127.0.0.1:8080".parse().unwrap()]);
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = Config::parse(Path::new("/srv/app/quarterdeck.toml"), "data = \"state\"").unwrap();
    assert_eq!(config.data, Path::new("/srv/app/state"));
}

#[test]
fn a_service_reads_as_it_is_written() {
    let spec = shop(
        r#"
        command = "./shop --name 'the shop' --port $PORT"
        replicas = 2
        routes = ["Shop.Localhost", "shop.example.com/api", "/"]
        ready = { path = "/healthz", interval = "5s" }
        live = { command = "./check" }
        env = { A = "1" }
        limits = { memory = "512 MiB", cpu = 1.5 }
        traffic = { sticky = "header:X-User" }
        rollout = { strategy = "blue-green", steps = ["0.5 %", "50%"], false_alarm = "0.01 %", hold_back = "0s" }
        "#,
    );
    expect![[r#"
        {
          "run": {
            "command": [
              "./shop",
              "--name",
              "the shop",
              "--port",
              "$PORT"
            ],
            "env": {
              "A": "1"
            },
            "secrets": null,
            "ready": {
              "check": {
                "http": "/healthz"
              },
              "interval": 5000,
              "timeout": 1000,
              "failures": 3
            },
            "live": {
              "check": {
                "command": [
                  "./check"
                ]
              },
              "interval": 2000,
              "timeout": 1000,
              "failures": 3
            },
            "start_deadline": 60000,
            "stop_deadline": 10000,
            "limits": {
              "memory": 536870912,
              "cpu_milli": 1500,
              "open_files": 65536,
              "output": 67108864
            },
            "user": null
          },
          "replicas": 2,
          "routes": [
            {
              "host": "shop.localhost",
              "path": "/"
            },
            {
              "host": "shop.example.com",
              "path": "/api"
            },
            {
              "host": null,
              "path": "/"
            }
          ],
          "traffic": {
            "sticky": {
              "header": "x-user"
            },
            "response_timeout": 60000,
            "idle_timeout": 300000,
            "drain_deadline": 30000,
            "max_body": 1073741824
          },
          "rollout": {
            "strategy": "blue-green",
            "steps": [
              5000,
              500000
            ],
            "step_time": 10000,
            "min_time": 0,
            "deadline": 3600000,
            "on_deadline": "rollback",
            "hold_back": 0,
            "hold_back_share": 0,
            "judgement": {
              "false_alarm": 100,
              "miss": 50000,
              "tolerance": 10000,
              "latency_tolerance": 100000,
              "latency_margin": 100000,
              "latency_slack": 5,
              "warm_up": 0,
              "limits": [],
              "exposure": null
            }
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&spec).unwrap());
}

#[test]
fn a_service_that_nobody_reaches_is_ready_when_it_runs() {
    assert_eq!(shop("").run.ready.check, model::Check::Started);
    assert_eq!(shop("routes = [\"/\"]").run.ready.check, model::Check::Tcp);
    assert_eq!(shop("ready = \"tcp\"").run.ready.check, model::Check::Tcp);
}

#[test]
fn a_service_that_is_only_files_is_served_by_this_executable() {
    let command = |text: &str| shop(text).run.command;
    assert_eq!(command("files = \".\""), ["@files", "."]);
    assert_eq!(command("files = { directory = \"dist\" }"), ["@files", "dist"]);
    assert_eq!(command("files = { single_page = \"app/index.html\" }"), ["@files", ".", "app/index.html"]);
    assert_eq!(shop("files = \"a b\"\nroutes = [\"/\"]").run.ready.check, model::Check::Tcp);
    check(
        "[services.shop]\nfiles = \".\"\ncommand = \"./shop\"\n[services.docs]\nfiles = \"../public\"\n[services.blog]\nfiles = { directory = \"/srv\" }\n",
        expect![[r#"
            `files` and `command` are two services
             --> quarterdeck.toml:2:9
              |
            2 | files = "."
              |         ^^^
              = leave `command` out, and Quarterdeck serves the files; or leave `files` out, and your program does

            `../public` is not inside of a release
             --> quarterdeck.toml:5:9
              |
            5 | files = "../public"
              |         ^^^^^^^^^^^
              = name what is in the directory that you deploy, such as "." or "public"

            `/srv` is not inside of a release
             --> quarterdeck.toml:7:23
              |
            7 | files = { directory = "/srv" }
              |                       ^^^^^^
              = name what is in the directory that you deploy, such as "." or "public"
        "#]],
    );
}

#[test]
fn env_in_the_file_wins_over_the_env_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shop.env"), "A=file\nB=file\n").unwrap();
    let text = "[services.shop]\nenv_file = \"shop.env\"\nenv = { A = \"here\" }";
    let config = Config::parse(&directory.path().join(FILE_NAME), text).unwrap();
    let env = &config.services.values().next().unwrap().run.env;
    assert_eq!(env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["A=here", "B=file"]);
}

#[test]
fn a_secret_is_in_no_text_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().join("shop.secrets");
    let path = directory.path().join(FILE_NAME);
    let text = "[services.shop]\nsecrets_file = \"shop.secrets\"";
    std::fs::write(&secrets, "TOKEN=hunter2").unwrap();
    let config = Config::parse(&path, text).unwrap();
    assert_eq!(config.secrets(&ServiceName::new("shop").unwrap()).unwrap()["TOKEN"], "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    std::fs::write(&secrets, "A=1\nhunter2").unwrap();
    let problems = Config::parse(&path, text).unwrap_err().to_string();
    assert!(problems.contains("line 2") && !problems.contains("hunter2"), "{problems}");
}

#[test]
fn limits_and_exposure_are_written_as_people_say_them() {
    let rollout = "exposure = \"20 failed requests\"\nlimits = [\"errors < 0.5 %\", \"p99.9 < 1s\", \"p50<80ms\"]";
    let spec = shop(&format!("traffic = {{ sticky = \"client\" }}\n[services.shop.rollout]\n{rollout}"));
    let limits: Vec<String> = spec.rollout.judgement.limits.iter().map(ToString::to_string).collect();
    assert_eq!(limits, ["failures < 0.5 %", "p99.9 < 1 s", "p50 < 80 ms"]);
    assert_eq!((spec.rollout.judgement.exposure, &spec.traffic.sticky), (Some(20), &Some(model::Sticky::Client)));
}

#[test]
fn the_nearest_file_above_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(directory.path().join(FILE_NAME), "").unwrap();
    assert_eq!(find(&deep).unwrap(), directory.path().join(FILE_NAME));
}
