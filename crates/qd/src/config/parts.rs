//! The keys of a service's parts: its limits, how its requests are carried, how a new release of it takes over.

use super::{
    instance_tls::{INSTANCE_TLS, read_instance_tls},
    key::{Key, Shows, write_reference},
    values::{above_zero, balance, chance, concurrency, exposure, limit, read_edits, steps, sticky},
};
use model::{Limits, OnDeadline, Protocol, RolloutSpec, Strategy, TrafficSpec};

pub(super) const LIMITS: &[Key<Limits>] = &[
    Key {
        name: "memory",
        doc: "Memory. Without it: no bound.",
        shows: Shows::Example(r#""512 MiB""#),
        set: |l, v, f| f.put(&mut l.memory, v.bytes().map(Some)),
    },
    Key {
        name: "cpu",
        doc: "Processors. Without it: no bound.",
        shows: Shows::Example("1.5"),
        set: |l, v, f| f.put(&mut l.cpu_milli, v.milli(1024).map(Some)),
    },
    Key {
        name: "open_files",
        doc: "Open files and connections.",
        shows: Shows::Default("65536"),
        set: |l, v, f| f.put(&mut l.open_files, v.integer(16..=10_000_000)),
    },
    Key {
        name: "output",
        doc: "How much of its output is kept, the newest of it.",
        shows: Shows::Default(r#""64 MiB""#),
        set: |l, v, f| f.put(&mut l.output, v.bytes()),
    },
];

pub(super) const TRAFFIC: &[Key<TrafficSpec>] = &[
    Key {
        name: "sticky",
        doc: "What tells one user from another, so that a user stays on one release: \"cookie:NAME\", \"header:NAME\", or\n\
              \"client\", the address that connects (not behind another proxy, whose address all would have).\n\
              Users who are told apart are judged by user. Without it: every request is assigned and judged by itself.",
        shows: Shows::Example(r#""cookie:shop_arm""#),
        set: |t, v, f| f.put(&mut t.sticky, sticky(v).map(Some)),
    },
    Key {
        name: "protocol",
        doc: "What instances speak: \"http1\", or \"http2\" from the first byte on, as gRPC servers do. Clients may speak either.",
        shows: Shows::Default(r#""http1""#),
        set: |t, v, f| f.put(&mut t.protocol, v.one_of(PROTOCOLS)),
    },
    Key {
        name: "instance_tls",
        doc: "TLS to instances: on when `ca` is set. Their certificates are always checked.",
        shows: Shows::Table(|out, path| write_reference(out, path, INSTANCE_TLS)),
        set: |t, v, f| read_instance_tls(&mut t.instance_tls, v, f),
    },
    Key {
        name: "response_timeout",
        doc: "How long an instance may take until it begins to answer.",
        shows: Shows::Default(r#""60s""#),
        set: |t, v, f| f.put(&mut t.response_timeout, v.span()),
    },
    Key {
        name: "idle_timeout",
        doc: "How long a streaming body, WebSocket, event stream or TCP connection may be silent.",
        shows: Shows::Default(r#""5m""#),
        set: |t, v, f| f.put(&mut t.idle_timeout, v.span()),
    },
    Key {
        name: "drain_deadline",
        doc: "How long requests and connections may go on after their instance was told to drain.",
        shows: Shows::Default(r#""30s""#),
        set: |t, v, f| f.put(&mut t.drain_deadline, v.span_or_zero()),
    },
    Key {
        name: "max_body",
        doc: "The largest request body accepted.",
        shows: Shows::Default(r#""1 GiB""#),
        set: |t, v, f| f.put(&mut t.max_body, v.bytes()),
    },
    Key {
        name: "client_rate",
        doc: "How many requests each client address may send, such as \"100/s\" or \"1000/10m\": all at once if it likes, then as they\n\
              come back one by one. More are answered 429. Behind another proxy, name it in `forwarded_by`.\n\
              Without it: as many as it likes.",
        shows: Shows::Example(r#""100/s""#),
        set: |t, v, f| f.put(&mut t.client_rate, v.rate().map(Some)),
    },
    Key {
        name: "concurrency",
        doc: "How many requests may be under way at once: a number, or \"adaptive\" for as many as the service can work on, found by how\n\
              long they take. More are answered 503 at once; those of low urgency (`priority: u=4` to 7) first, those of high last.\n\
              Without it: any number.",
        shows: Shows::Example(r#""adaptive""#),
        set: |t, v, f| f.put(&mut t.concurrency, concurrency(v).map(Some)),
    },
    Key {
        name: "balance",
        doc: "How an instance is chosen: \"least\", the less busy of two random ones; or always the same one for the same user or path:\n\
              \"cookie:NAME\", \"header:NAME\", \"client\", \"path\". One that comes or goes moves no others than its own.",
        shows: Shows::Default(r#""least""#),
        set: |t, v, f| f.put(&mut t.balance, balance(v)),
    },
    Key {
        name: "slow_start",
        doc: "For how long an instance that has just become ready gets fewer requests than the others of its release.",
        shows: Shows::Default(r#""0s""#),
        set: |t, v, f| f.put(&mut t.slow_start, v.span_or_zero()),
    },
    Key {
        name: "hedge_after",
        doc: "After how long without an answer a request that changes nothing (GET, HEAD, OPTIONS, without a body) is sent to a second\n\
              instance as well; whichever answers first wins. At most one request in five. Without it: never.",
        shows: Shows::Example(r#""200ms""#),
        set: |t, v, f| f.put(&mut t.hedge_after, v.span().map(Some)),
    },
    Key {
        name: "client_certificate",
        doc: "Whether it answers only clients that have shown a certificate, by the authorities under [proxy.tls]; others get 403.",
        shows: Shows::Default("false"),
        set: |t, v, f| f.put(&mut t.client_certificate, v.truth()),
    },
    Key {
        name: "compress",
        doc: "Whether texts that an instance sends as they are go to clients that take it as zstd, brotli or gzip.",
        shows: Shows::Default("false"),
        set: |t, v, f| f.put(&mut t.compress, v.truth()),
    },
    Key {
        name: "cache",
        doc: "How much memory responses are kept in that say how long they may be (`cache-control: max-age=60`), for others who ask for\n\
              the same. Each release has its own. Without it: none is kept.",
        shows: Shows::Example(r#""64 MiB""#),
        set: |t, v, f| f.put(&mut t.cache, v.bytes().map(Some)),
    },
    Key {
        name: "cache_disk",
        doc: "How much of the disk with the data directory they are kept on as well: those that `cache` has no room for, and those too\n\
              large for memory. Without it: none is.",
        shows: Shows::Example(r#""2 GiB""#),
        set: |t, v, f| f.put(&mut t.cache_disk, v.bytes().map(Some)),
    },
    Key {
        name: "request_headers",
        doc: "Header fields that an instance sees as written here, whatever the client sent; \"\" takes one out.",
        shows: Shows::Example(r#"{ "x-environment" = "production", "x-debug" = "" }"#),
        set: |t, v, f| read_edits(&mut t.request_headers, v, f),
    },
    Key {
        name: "response_headers",
        doc: "Header fields that a client sees as written here, whatever an instance sent; \"\" takes one out. What we answer\n\
              ourselves, such as a 404, is left as it is.",
        shows: Shows::Example(r#"{ "x-frame-options" = "DENY", "server" = "" }"#),
        set: |t, v, f| read_edits(&mut t.response_headers, v, f),
    },
    Key {
        name: "maintenance",
        doc: "What everybody is told with status 503 instead of being answered by an instance: a text, or a page that begins with `<`.\n\
              Without it: nothing is under maintenance.",
        shows: Shows::Example(r#""We are moving house. Back at nine.""#),
        set: |t, v, f| f.put(&mut t.maintenance, v.name().map(Some)),
    },
];

pub(super) const ROLLOUT: &[Key<RolloutSpec>] = &[
    Key {
        name: "strategy",
        doc: "\"canary\": a growing share of the requests, judged. \"blue-green\": all at once, the old release kept warm.\n\
              \"rolling\": instance by instance, judged. \"recreate\": stop the old, then start the new.",
        shows: Shows::Default(r#""canary""#),
        set: |r, v, f| f.put(&mut r.strategy, v.one_of(STRATEGIES)),
    },
    Key {
        name: "steps",
        doc: "The canary's shares of the requests. The last one is held until the verdict.\n\
              Without it: the share begins at 1 % and grows as the evidence does, up to 50 %.",
        shows: Shows::Example(r#"["1 %", "5 %", "10 %", "25 %", "50 %"]"#),
        set: |r, v, f| f.put(&mut r.steps, steps(v)),
    },
    Key {
        name: "step_time",
        doc: "How long each of `steps` is held at least.",
        shows: Shows::Default(r#""10s""#),
        set: |r, v, f| f.put(&mut r.step_time, v.span_or_zero()),
    },
    Key {
        name: "shadow",
        doc: "The share of the GET and HEAD requests of which a canary gets copies before it gets any request. Nobody sees the answers;\n\
              if copies fail more often than the requests themselves, it is undone before it had a user. \"0 %\": none.",
        shows: Shows::Default(r#""0 %""#),
        set: |r, v, f| f.put(&mut r.shadow, v.ratio()),
    },
    Key {
        name: "shadow_requests",
        doc: "How many copies are compared before it gets requests. `deadline` and `on_deadline` hold for them, too.",
        shows: Shows::Default("200"),
        set: |r, v, f| f.put(&mut r.shadow_requests, v.integer(1..=MOST_COPIES)),
    },
    Key {
        name: "exposure",
        doc: "How many more requests may fail because of a new release before it gets no more of them, proof or no proof.\n\
              Also slows the growing share of a busy service. Without it: only evidence ends a rollout.",
        shows: Shows::Example(r#""20 failed requests""#),
        set: |r, v, f| f.put(&mut r.judgement.exposure, exposure(v).map(Some)),
    },
    Key {
        name: "limits",
        doc: "What a new release must keep whatever the running one does: the share of failures, quantiles of the latency.\n\
              It is undone when the evidence shows that one is broken, and not promoted while its figures are beyond one.",
        shows: Shows::Example(r#"["failures < 1 %", "p99 < 400ms"]"#),
        set: |r, v, f| f.put(&mut r.judgement.limits, v.list(limit)),
    },
    Key {
        name: "min_time",
        doc: "How long after its first request a release is promoted at the earliest.",
        shows: Shows::Default(r#""0s""#),
        set: |r, v, f| f.put(&mut r.min_time, v.span_or_zero()),
    },
    Key {
        name: "deadline",
        doc: "How long after its first request a release must be decided on.",
        shows: Shows::Default(r#""60m""#),
        set: |r, v, f| f.put(&mut r.deadline, v.span()),
    },
    Key {
        name: "on_deadline",
        doc: "What happens to one that is not: \"rollback\", \"hold\" it where it is for a person, or \"promote\" it.",
        shows: Shows::Default(r#""rollback""#),
        set: |r, v, f| f.put(&mut r.on_deadline, v.one_of(ON_DEADLINE)),
    },
    Key {
        name: "hold_back",
        doc: "How long the old release stays warm after a promotion, for an instant return.",
        shows: Shows::Default(r#""10m""#),
        set: |r, v, f| f.put(&mut r.hold_back, v.span_or_zero()),
    },
    Key {
        name: "hold_back_share",
        doc: "The share of the requests that the old release keeps meanwhile, so that the two are compared further.\n\
              \"0 %\": none, and the new one is compared with what was usual before.",
        shows: Shows::Default(r#""0 %""#),
        set: |r, v, f| f.put(&mut r.hold_back_share, v.ratio()),
    },
    Key {
        name: "false_alarm",
        doc: "The probability of undoing a good release, at any time during its rollout.",
        shows: Shows::Default(r#""0.1 %""#),
        set: |r, v, f| f.put(&mut r.judgement.false_alarm, chance(v)),
    },
    Key {
        name: "miss",
        doc: "The probability of promoting one that fails more often by more than `tolerance`.",
        shows: Shows::Default(r#""5 %""#),
        set: |r, v, f| f.put(&mut r.judgement.miss, chance(v)),
    },
    Key {
        name: "tolerance",
        doc: "How much higher the share of failed requests may be and still be called not worse.",
        shows: Shows::Default(r#""1 %""#),
        set: |r, v, f| f.put(&mut r.judgement.tolerance, above_zero(v)),
    },
    Key {
        name: "latency_tolerance",
        doc: "How much larger the share of requests slower than the running release's median may be and still be called\n\
              not worse. \"0 %\": latency is not judged.",
        shows: Shows::Default(r#""10 %""#),
        set: |r, v, f| f.put(&mut r.judgement.latency_tolerance, v.ratio()),
    },
    Key {
        name: "latency_margin",
        doc: "How much slower a request may be, relatively, and still not count as slower.",
        shows: Shows::Default(r#""10 %""#),
        set: |r, v, f| f.put(&mut r.judgement.latency_margin, v.ratio()),
    },
    Key {
        name: "latency_slack",
        doc: "How much slower a request may be, absolutely, on top of that.",
        shows: Shows::Default(r#""5ms""#),
        set: |r, v, f| f.put(&mut r.judgement.latency_slack, v.span_or_zero()),
    },
    Key {
        name: "warm_up",
        doc: "Requests to an instance that became ready less than this long ago are not judged.",
        shows: Shows::Default(r#""0s""#),
        set: |r, v, f| f.put(&mut r.judgement.warm_up, v.span_or_zero()),
    },
];

/// More copies than a canary would need requests.
const MOST_COPIES: u32 = 1_000_000;

const PROTOCOLS: &[(&str, Protocol)] = &[("http1", Protocol::Http1), ("http2", Protocol::Http2)];

pub(crate) const STRATEGIES: &[(&str, Strategy)] = &[
    ("canary", Strategy::Canary),
    ("blue-green", Strategy::BlueGreen),
    ("rolling", Strategy::Rolling),
    ("recreate", Strategy::Recreate),
];

const ON_DEADLINE: &[(&str, OnDeadline)] =
    &[("rollback", OnDeadline::Rollback), ("hold", OnDeadline::Hold), ("promote", OnDeadline::Promote)];
