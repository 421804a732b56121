//! Every key there is, down to the parts of a service ([`super::parts`]). To add one: an entry here, and a field for it in
//! what the table describes. An entry without a default says in its text what holds without it.

use super::{
    access_log::ACCESS_LOG,
    draft::{Draft, Placed, Service},
    files::read_files,
    key::{Key, Shows, read, write_reference},
    node::Node,
    parts::{LIMITS, ROLLOUT, TRAFFIC},
    routes::read_routes,
    tls::TLS,
    values::{loopback, read_env, read_probe, read_services, read_tcp},
};
use model::Listen;

/// What an instance may listen on, as it is written.
const LISTENS: &[(&str, Listen)] = &[("port", Listen::Port), ("socket", Listen::Socket)];

const MOST_REPLICAS: u32 = control::service::MAX_REPLICAS;

pub(super) const ROOT: &[Key<Draft>] = &[
    Key {
        name: "environment",
        doc: "The environment this file describes.",
        shows: Shows::Default(r#""production""#),
        set: |d, v, f| {
            let name = v.name().and_then(|n| n.parse().map_err(|e: model::NameError| v.fault(e.to_string(), "")));
            f.put(&mut d.environment, name);
        },
    },
    Key {
        name: "data",
        doc: "The data directory, relative to this file: the ledger, releases, output and sockets.",
        shows: Shows::Default(r#"".quarterdeck""#),
        set: |d, v, f| f.put(&mut d.data, v.path()),
    },
    Key {
        name: "proxy",
        doc: "The data plane: where requests come in.",
        shows: Shows::Table(|out, path| write_reference(out, path, PROXY)),
        set: |d, v, f| read(PROXY, d, v, f),
    },
    Key {
        name: "api",
        doc: "The API, beside its Unix socket in the data directory.",
        shows: Shows::Table(|out, path| write_reference(out, path, API)),
        set: |d, v, f| read(API, d, v, f),
    },
    Key {
        name: "access",
        doc: "Who may do what. The user who runs `qd serve`, and root, are always owners.",
        shows: Shows::Table(|out, path| write_reference(out, path, ACCESS)),
        set: |d, v, f| read(ACCESS, d, v, f),
    },
    Key {
        name: "services",
        doc: "A service. `shop` is its name, yours to choose: 1 to 40 lowercase letters, digits and `-`.",
        shows: Shows::Table(|out, path| write_reference(out, &format!("{path}.shop"), SERVICE)),
        set: read_services,
    },
];

pub(super) const PROXY: &[Key<Draft>] = &[
    Key {
        name: "listen",
        doc: "Addresses that requests come in at.",
        shows: Shows::Default(r#"["127.0.0.1:8080"]"#),
        set: |d, v, f| f.put(&mut d.proxy.listen, v.addresses()),
    },
    Key {
        name: "threads",
        doc: "Threads that carry requests. 0: one for each processor.",
        shows: Shows::Default("0"),
        set: |d, v, f| f.put(&mut d.proxy.threads, v.integer(0..=1024).map(|n| n as usize)),
    },
    Key {
        name: "forwarded_by",
        doc: "Networks of proxies before this one that are believed about where requests come from: x-forwarded-for and\n\
              x-forwarded-proto. Without it: nobody is, and a client is who connects.",
        shows: Shows::Example(r#"["10.0.0.0/8", "fd00::/8"]"#),
        set: |d, v, f| f.put(&mut d.proxy.settings.forwarded_by, v.list(Node::network)),
    },
    Key {
        name: "proxy_protocol_from",
        doc: "Networks of balancers whose connections begin with a header of the PROXY protocol (version 1 or 2), and must.\n\
              Without it: none do, and one that is sent is refused as a malformed request.",
        shows: Shows::Example(r#"["10.0.0.0/8"]"#),
        set: |d, v, f| f.put(&mut d.proxy.settings.proxy_protocol_from, v.list(Node::network)),
    },
    Key {
        name: "access_log",
        doc: "What is written down of every request.",
        shows: Shows::Table(|out, path| write_reference(out, path, ACCESS_LOG)),
        set: |d, v, f| read(ACCESS_LOG, &mut d.proxy.access_log, v, f),
    },
    Key {
        name: "tls",
        doc: "TLS to clients: on when there is a certificate.",
        shows: Shows::Table(|out, path| write_reference(out, path, TLS)),
        set: |d, v, f| {
            d.tls_at = v.at.clone();
            read(TLS, d.proxy.tls.get_or_insert_default(), v, f);
        },
    },
];

const API: &[Key<Draft>] = &[Key {
    name: "listen",
    doc: "An address that the API also answers at over TCP, to whoever has the token.\nWithout it: the Unix socket only.",
    shows: Shows::Example(r#""127.0.0.1:7777""#),
    set: |d, v, f| f.put(&mut d.api.listen, loopback(v).map(Some)),
}];

const ACCESS: &[Key<Draft>] = &[
    Key {
        name: "owners",
        doc: "People, by their user name on this machine, who may do everything.",
        shows: Shows::Default("[]"),
        set: |d, v, f| f.put(&mut d.access.owners, v.list(Node::name).map(|l| l.into_iter().collect())),
    },
    Key {
        name: "viewers",
        doc: "People who may look, not touch.",
        shows: Shows::Default("[]"),
        set: |d, v, f| f.put(&mut d.access.viewers, v.list(Node::name).map(|l| l.into_iter().collect())),
    },
    Key {
        name: "approvals",
        doc: "How many others must approve a change before it begins. Undoing never waits for approval.",
        shows: Shows::Default("0"),
        set: |d, v, f| f.put(&mut d.access.approvals, v.integer(0..=100)),
    },
];

pub(super) const SERVICE: &[Key<Service>] = &[
    Key {
        name: "command",
        doc: "Program and arguments, as a text that is split at spaces (quotes are respected) or as a list. There is no shell.\n\
              A relative program is sought in the release, then in PATH; $PORT is replaced by the instance's port.\n\
              Without it: the release must be a single executable, and that is run.",
        shows: Shows::Example(r#""./shop --port $PORT""#),
        set: |s, v, f| f.put(&mut s.spec.run.command, v.command()),
    },
    Key {
        name: "files",
        doc: "A directory of the release that Quarterdeck serves as it is, in the place of a command: for a service that is only files.\n\
              Or a table: { directory = \".\", single_page = \"index.html\" }, where that file answers for every path without a file.\n\
              Without it: `command` serves.",
        shows: Shows::Example(r#"".""#),
        set: read_files,
    },
    Key {
        name: "listen",
        doc: "What an instance listens on: a \"port\", which it is given as $PORT, or a \"socket\" of its own, a Unix socket whose path it\n\
              is given as $SOCKET, in the environment and in `command`. Nobody else may reach that.",
        shows: Shows::Default(r#""port""#),
        set: |s, v, f| {
            s.listen_at = v.at.clone();
            f.put(&mut s.spec.run.listen, v.one_of(LISTENS));
        },
    },
    Key {
        name: "replicas",
        doc: "How many instances run.",
        shows: Shows::Default("1"),
        set: |s, v, f| f.put(&mut s.spec.replicas, v.integer(1..=MOST_REPLICAS)),
    },
    Key {
        name: "sleep_after",
        doc: "For how long nobody may have asked for it until its instances are stopped. The next request waits until they are ready\n\
              again. Without it: it never sleeps.",
        shows: Shows::Example(r#""15m""#),
        set: |s, v, f| f.put(&mut s.spec.sleep_after, v.span().map(Some)),
    },
    Key {
        name: "routes",
        doc: "Which requests it gets: \"host\", \"host/path\" or \"/path\" on any host; \"*.host\" for all hosts below one. The most\n\
              specific route wins. A table says more: { at = \"host/path\", exact = true, methods = [\"GET\"], headers = { \"x-beta\" = \"1\" } },\n\
              or pattern = \"^/users/([0-9]+)$\" instead of a path. It may say what becomes of the requests, too: rewrite = \"/v2\" is what an\n\
              instance sees in the place of what was matched; redirect = \"https://example.com/\" is where clients are sent (status = 308).\n\
              And what is its own: name = \"upload\", by which its requests are counted; response_timeout, idle_timeout, max_body,\n\
              client_rate, concurrency, in the place of what is said for the service under `traffic`.\n\
              Without it: none, as for a worker.",
        shows: Shows::Example(r#"["shop.localhost", "shop.example.com/api", "/"]"#),
        set: read_routes,
    },
    Key {
        name: "tcp",
        doc: "Addresses that the data plane listens on for it, carrying what comes as it is: for databases, brokers and all\n\
              else that is not HTTP. Without it: none.",
        shows: Shows::Example(r#"["127.0.0.1:5432"]"#),
        set: read_tcp,
    },
    Key {
        name: "ready",
        doc: "When an instance may get requests: \"/path\" answers a GET with 200 to 399, \"tcp\" its port accepts, \"started\" it runs.\n\
              Or a table: { path = \"/healthz\", interval = \"2s\", timeout = \"1s\", failures = 3 }, with `command = [\"…\"]`\n\
              in place of `path` for a program that must exit with 0, or with neither for \"tcp\".\n\
              A service without routes and addresses is \"started\" by default.",
        shows: Shows::Default(r#""tcp""#),
        set: |s, v, f| read_probe(&mut s.ready, v, f),
    },
    Key {
        name: "live",
        doc: "When an instance must be restarted: when this fails, written as `ready` is. Without it: only when it exits.",
        shows: Shows::Example(r#"{ path = "/healthz", interval = "10s", timeout = "5s", failures = 3 }"#),
        set: |s, v, f| read_probe(&mut s.spec.run.live, v, f),
    },
    Key {
        name: "env",
        doc: "Environment variables. They are recorded in the ledger: not for secrets.",
        shows: Shows::Example(r#"{ LOG_LEVEL = "info" }"#),
        set: read_env,
    },
    Key {
        name: "env_file",
        doc: "A file of KEY=value lines, relative to this one, that are added to `env`, which wins.",
        shows: Shows::Example(r#""shop.env""#),
        set: |s, v, f| f.put(&mut s.env_file, v.path().map(|p| Some(Placed::new(p, v)))),
    },
    Key {
        name: "secrets_file",
        doc: "A file of KEY=value lines that instances get as environment variables. They are stored encrypted, never shown again,\n\
              and never come near the ledger. Keep this file out of version control.",
        shows: Shows::Example(r#""shop.secrets""#),
        set: |s, v, f| f.put(&mut s.secrets_file, v.path().map(|p| Some(Placed::new(p, v)))),
    },
    Key {
        name: "start_deadline",
        doc: "How long a new instance may take to become ready.",
        shows: Shows::Default(r#""60s""#),
        set: |s, v, f| f.put(&mut s.spec.run.start_deadline, v.span()),
    },
    Key {
        name: "stop_deadline",
        doc: "How long an instance may take to exit after SIGTERM, before it is killed with all it started.",
        shows: Shows::Default(r#""10s""#),
        set: |s, v, f| f.put(&mut s.spec.run.stop_deadline, v.span()),
    },
    Key {
        name: "user",
        doc: "The user to run as, when Quarterdeck runs as root. Without it: nobody.",
        shows: Shows::Example(r#""www-data""#),
        set: |s, v, f| f.put(&mut s.spec.run.user, v.name().map(Some)),
    },
    Key {
        name: "limits",
        doc: "Bounds on each instance.",
        shows: Shows::Table(|out, path| write_reference(out, path, LIMITS)),
        set: |s, v, f| read(LIMITS, &mut s.spec.run.limits, v, f),
    },
    Key {
        name: "traffic",
        doc: "How requests are carried.",
        shows: Shows::Table(|out, path| write_reference(out, path, TRAFFIC)),
        set: |s, v, f| read(TRAFFIC, &mut s.spec.traffic, v, f),
    },
    Key {
        name: "rollout",
        doc: "How a new release takes over, and what evidence that takes.",
        shows: Shows::Table(|out, path| write_reference(out, path, ROLLOUT)),
        set: |s, v, f| read(ROLLOUT, &mut s.spec.rollout, v, f),
    },
];
