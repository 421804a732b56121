use super::*;
use crate::testing::{Bench, apply, deploy, key, spec};
use expect_test::{Expect, expect};
use model::{AbsoluteLimit, Check, InstanceTls, Probe, Ratio, RouteMatch, Span, Strategy};
use std::{fmt::Write as _, net::SocketAddr};

fn percent(n: u32) -> Ratio {
    Ratio::from_percent(n).unwrap()
}

fn check(b: &Bench, command: Command, expected: Expect) {
    let plan = plan(&b.state, &b.observed, &b.policy, &b.request(command)).unwrap();
    let mut text = String::new();
    for change in &plan.changes {
        let _ = writeln!(text, "{} {} ({:?})", change.kind, change.service, change.class);
        for Step { what, because } in &change.steps {
            let _ = writeln!(text, "- {what}: {because}");
        }
        let _ = writeln!(text, "blast radius: {}\nreversibility: {}", change.blast_radius, change.reversibility);
    }
    expected.assert_eq(&text);
}

#[test]
fn a_canary_says_what_it_will_do_and_why() {
    check(
        &Bench::with_shop(),
        deploy("shop", "v2"),
        expect![[r#"
            deploy shop (Normal)
            - create a release of shop from artifact fb04dcb6970e: with the configuration d84b14ab8cc9
            - start 2 instances beside REL-1: users notice nothing of a release that does not start
            - send the new release 1 % of the requests, and up to 50 % as evidence grows: every request is evidence; few users feel a bad release
            - roll back at once when it is worse (false alarm ≤ 0.1 %): the data plane judges every request and stops exposing users by itself
            - promote it when failures are not worse by more than 1 %: a good release should not wait for a timer
            - keep REL-1 warm for 10m, then stop it: a return is then a matter of moments
            blast radius: 1 % of its requests first, more only as evidence allows
            reversibility: undone in moments until 10m after promotion: REL-1 stays warm; later by a rollback
        "#]],
    );
}

#[test]
fn a_canary_with_a_shadow_says_that_nobody_is_concerned_at_first() {
    let mut b = Bench::with_shop();
    let mut shop = spec("shop");
    shop.rollout.shadow = percent(20);
    b.command(apply([("shop", shop)])).unwrap();
    b.settle();
    check(
        &b,
        deploy("shop", "v2"),
        expect![[r#"
            deploy shop (Normal)
            - create a release of shop from artifact fb04dcb6970e: with the configuration d84b14ab8cc9
            - start 2 instances beside REL-1: users notice nothing of a release that does not start
            - send it copies of 20 % of the safe requests until 200 are compared: nobody sees its answers, and what fails is undone first
            - send the new release 1 % of the requests, and up to 50 % as evidence grows: every request is evidence; few users feel a bad release
            - roll back at once when it is worse (false alarm ≤ 0.05 %): the data plane judges every request and stops exposing users by itself
            - promote it when failures are not worse by more than 1 %: a good release should not wait for a timer
            - keep REL-1 warm for 10m, then stop it: a return is then a matter of moments
            blast radius: nobody at first, then 1 % of its requests, more only as evidence allows
            reversibility: undone in moments until 10m after promotion: REL-1 stays warm; later by a rollback
        "#]],
    );
}

#[test]
fn a_first_deploy_says_that_nothing_runs_yet() {
    let mut b = Bench::new();
    b.command(apply([("shop", spec("shop"))])).unwrap();
    check(
        &b,
        deploy("shop", "v1"),
        expect![[r#"
            deploy shop (Normal)
            - create a release of shop from artifact 3bfc269594ef: with the configuration d84b14ab8cc9
            - start 2 instances and send requests when all are ready: nothing runs yet
            blast radius: nobody uses it yet
            reversibility: cancel it; there is nothing to return to
        "#]],
    );
}

#[test]
fn every_strategy_says_what_it_will_do() {
    let b = Bench::with_shop();
    let by = |strategy| {
        let Command::Deploy { service, artifact, label, supersede, .. } = deploy("shop", "v2") else { unreachable!() };
        Command::Deploy { service, artifact, label, supersede, strategy: Some(strategy) }
    };
    check(
        &b,
        by(Strategy::BlueGreen),
        expect![[r#"
            deploy shop (Normal)
            - create a release of shop from artifact fb04dcb6970e: with the configuration d84b14ab8cc9
            - start 2 instances beside REL-1: users notice nothing of a release that does not start
            - send the new release all requests at once: the strategy is blue-green
            - keep REL-1 warm for 10m, then stop it: a return is then a matter of moments
            blast radius: all its requests
            reversibility: undone in moments until 10m after promotion: REL-1 stays warm; later by a rollback
        "#]],
    );
    check(
        &b,
        by(Strategy::Rolling),
        expect![[r#"
            deploy shop (Normal)
            - create a release of shop from artifact fb04dcb6970e: with the configuration d84b14ab8cc9
            - replace 2 instances one by one, each held for 10 s: never fewer instances ready than wanted
            - undo it when the new release is worse: both releases are judged on the requests they get
            blast radius: 1 of 2 instances first
            reversibility: undone by starting REL-1 again
        "#]],
    );
    check(
        &b,
        by(Strategy::Recreate),
        expect![[r#"
            deploy shop (Normal)
            - create a release of shop from artifact fb04dcb6970e: with the configuration d84b14ab8cc9
            - drain and stop all instances of REL-1: the strategy is recreate: the two must not run together
            - start 2 instances of the new release: requests wait in the meantime, for a few seconds at most
            blast radius: all its requests
            reversibility: undone by starting REL-1 again
        "#]],
    );
}

#[test]
fn a_configuration_says_what_differs_and_whether_that_is_another_release() {
    let b = Bench::with_shop();
    let mut shop = spec("shop");
    shop.replicas = 3;
    shop.traffic.drain_deadline = Span::seconds(1);
    shop.rollout.hold_back = Span::seconds(1);
    check(
        &b,
        apply([("shop", shop.clone()), ("cart", spec("cart"))]),
        expect![[r#"
            config cart (Normal)
            - declare cart on /cart: it is new; it runs with its first deploy
            blast radius: no request is moved to another release
            reversibility: apply the earlier configuration
            config shop (Normal)
            - run 3 instances instead of 2: the configuration says so
            - carry requests in another way (traffic settings): the configuration says so
            - let later releases take over in another way (rollout settings): the configuration says so
            blast radius: no request is moved to another release
            reversibility: apply the earlier configuration
        "#]],
    );
    shop.run.command = vec!["serve".to_owned(), "--fast".to_owned()];
    shop.run.env.insert("COLOUR".to_owned(), "blue".to_owned());
    shop.run.stop_deadline = Span::seconds(1);
    check(
        &b,
        apply([("shop", shop)]),
        expect![[r#"
            config shop (Normal)
            - run 3 instances instead of 2: the configuration says so
            - carry requests in another way (traffic settings): the configuration says so
            - let later releases take over in another way (rollout settings): the configuration says so
            - run `serve --fast` instead of `serve`: the configuration says so
            - set the environment variables COLOUR: the configuration says so
            - check, limit or stop its instances in another way: the configuration says so
            - create a release with the new configuration: another way of running is another release
            - start 3 instances beside REL-1: users notice nothing of a release that does not start
            - send the new release 1 % of the requests, and up to 50 % as evidence grows: every request is evidence; few users feel a bad release
            - roll back at once when it is worse (false alarm ≤ 0.1 %): the data plane judges every request and stops exposing users by itself
            - promote it when failures are not worse by more than 1 %: a good release should not wait for a timer
            - keep REL-1 warm for 1 s, then stop it: a return is then a matter of moments
            blast radius: 1 % of its requests first, more only as evidence allows
            reversibility: undone in moments until 1 s after promotion: REL-1 stays warm; later by a rollback
        "#]],
    );
}

#[test]
fn scaling_removing_and_returning_say_what_they_will_do() {
    let mut b = Bench::with_shop();
    check(
        &b,
        Command::Scale { service: key("shop"), replicas: 5 },
        expect![[r#"
            scale shop (Standard)
            - start 3 instances of shop: 5 instead of 2 shall run
            blast radius: no request is moved to another release
            reversibility: scale back to 2
        "#]],
    );
    check(
        &b,
        Command::Scale { service: key("shop"), replicas: 1 },
        expect![[r#"
            scale shop (Standard)
            - drain and stop 1 instance of shop: 1 instead of 2 shall run
            blast radius: no request is moved to another release
            reversibility: scale back to 2
        "#]],
    );
    let all = Command::Apply { environment: Default::default(), services: Default::default(), prune: true };
    check(
        &b,
        all,
        expect![[r#"
            remove shop (Normal)
            - take shop out of the route table: it is not in the configuration any more
            - drain and stop all its instances: nothing may use it any more
            blast radius: every request to shop will be refused
            reversibility: declare and deploy it again
        "#]],
    );
    b.command(deploy("shop", "v2")).unwrap();
    b.settle();
    b.all_ready();
    b.settle();
    // What gives way is said too.
    let Command::Deploy { service, artifact, label, strategy, .. } = deploy("shop", "v3") else { unreachable!() };
    let change = b.last_change();
    check(
        &b,
        Command::Deploy { service, artifact, label, strategy, supersede: true },
        expect![[r#"
            deploy shop (Normal)
            - undo CHG-3, which is running: this takes its place
            - create a release of shop from artifact e0d2747b9ab7: with the configuration d84b14ab8cc9
            - start 2 instances beside REL-1: users notice nothing of a release that does not start
            - send the new release 1 % of the requests, and up to 50 % as evidence grows: every request is evidence; few users feel a bad release
            - roll back at once when it is worse (false alarm ≤ 0.1 %): the data plane judges every request and stops exposing users by itself
            - promote it when failures are not worse by more than 1 %: a good release should not wait for a timer
            - keep REL-1 warm for 10m, then stop it: a return is then a matter of moments
            blast radius: 1 % of its requests first, more only as evidence allows
            reversibility: undone in moments until 10m after promotion: REL-1 stays warm; later by a rollback
        "#]],
    );
    b.command(Command::Promote { change }).unwrap();
    b.settle();
    check(
        &b,
        deploy("shop", "v3"),
        expect![[r#"
            deploy shop (Normal)
            - end the hold-back of CHG-3: REL-1 is kept warm no longer: the next change begins
            - create a release of shop from artifact e0d2747b9ab7: with the configuration d84b14ab8cc9
            - start 2 instances beside REL-2: users notice nothing of a release that does not start
            - send the new release 1 % of the requests, and up to 50 % as evidence grows: every request is evidence; few users feel a bad release
            - roll back at once when it is worse (false alarm ≤ 0.1 %): the data plane judges every request and stops exposing users by itself
            - promote it when failures are not worse by more than 1 %: a good release should not wait for a timer
            - keep REL-2 warm for 10m, then stop it: a return is then a matter of moments
            blast radius: 1 % of its requests first, more only as evidence allows
            reversibility: undone in moments until 10m after promotion: REL-2 stays warm; later by a rollback
        "#]],
    );
    // A return to what is still warm steers the change that exists, and makes none.
    check(&b, Command::Rollback { service: key("shop"), to: None }, expect![[r#""#]]);
    b.now = b.now + Span::minutes(30);
    b.settle();
    check(
        &b,
        Command::Rollback { service: key("shop"), to: None },
        expect![[r#"
            rollback shop (Emergency)
            - start 2 × REL-1 where it is not running any more: it was proven healthy
            - send it all requests of shop: a return to what was good needs no analysis
            - stop REL-2: nobody uses it any more
            blast radius: all requests of shop move to REL-1
            reversibility: roll back once more
        "#]],
    );
}

#[test]
fn a_plan_is_refused_as_the_command_would_be() {
    let mut b = Bench::with_shop();
    b.command(deploy("shop", "v2")).unwrap();
    let request = b.request(deploy("shop", "v3"));
    assert_eq!(plan(&b.state, &b.observed, &b.policy, &request).unwrap_err(), b.ask(request).unwrap_err());
}

#[test]
fn a_command_is_held_to_the_plan_that_was_shown() {
    let mut b = Bench::with_shop();
    let shown = plan(&b.state, &b.observed, &b.policy, &b.request(deploy("shop", "v2"))).unwrap().digest;
    let same = plan(&b.state, &b.observed, &b.policy, &b.request(deploy("shop", "v2"))).unwrap().digest;
    assert_eq!(shown, same);
    b.command(Command::Scale { service: key("shop"), replicas: 1 }).unwrap();
    b.settle();
    let request = Request { expect: Some(shown), ..b.request(deploy("shop", "v2")) };
    assert_eq!(b.ask(request).unwrap_err().code, Code::PlanChanged);
    let shown = plan(&b.state, &b.observed, &b.policy, &b.request(deploy("shop", "v2"))).unwrap().digest;
    let request = Request { expect: Some(shown), ..b.request(deploy("shop", "v2")) };
    assert!(b.ask(request).is_ok());
}

#[test]
fn what_could_never_run_is_refused() {
    let mut b = Bench::with_shop();
    let mut check = |edit: fn(&mut ServiceSpec), expected: Expect| {
        let mut shop = spec("shop");
        edit(&mut shop);
        expected.assert_eq(&b.refusal(apply([("shop", shop)])));
    };
    check(
        |s| s.replicas = 0,
        expect![
            "Invalid: shop cannot have 0 replicas; use 1 to 1000; to stop a service, remove it from the configuration and apply with --prune"
        ],
    );
    check(
        |s| s.replicas = 1_001,
        expect![
            "Invalid: shop cannot have 1001 replicas; use 1 to 1000; to stop a service, remove it from the configuration and apply with --prune"
        ],
    );
    check(
        |s| s.rollout.judgement.false_alarm = Ratio::ZERO,
        expect![
            "Invalid: shop: false_alarm = 0 % is not a usable probability of error; use more than 0 % and less than 50 %"
        ],
    );
    check(
        |s| s.rollout.judgement.miss = Ratio::ONE,
        expect![
            "Invalid: shop: miss = 100 % is not a usable probability of error; use more than 0 % and less than 50 %"
        ],
    );
    check(
        |s| s.rollout.judgement.tolerance = Ratio::ZERO,
        expect![
            "Invalid: shop: tolerance = 0 % could never be shown, with any number of requests; say how much higher a failure rate would still be acceptable, such as 0.5 %"
        ],
    );
    check(
        |s| s.rollout.judgement.limits = vec![AbsoluteLimit::Failures(Ratio::ONE)],
        expect![[
            r#"Invalid: shop: the limit “failures < 100 %” can never be kept, or never be broken; use a share above 0 % and below 100 %, and a time above zero: "failures < 1 %", "p99 < 400ms""#
        ]],
    );
    check(
        |s| {
            let below = Span::ZERO;
            s.rollout.judgement.limits = vec![AbsoluteLimit::Latency { quantile: percent(99), below }];
        },
        expect![[
            r#"Invalid: shop: the limit “p99 < 0 s” can never be kept, or never be broken; use a share above 0 % and below 100 %, and a time above zero: "failures < 1 %", "p99 < 400ms""#
        ]],
    );
    check(
        |s| s.rollout.judgement.limits = vec![AbsoluteLimit::Failures(percent(1)); 17],
        expect!["Invalid: shop: 17 rollout limits are too many; use at most 16"],
    );
    check(
        |s| s.rollout.judgement.exposure = Some(0),
        expect![
            "Invalid: shop: an exposure of 0 failed requests would end every rollout at once; allow at least 1 failed request; the first one cannot be foreseen"
        ],
    );
    check(
        |s| {
            s.rollout.hold_back_share = percent(5);
            s.rollout.hold_back = Span::ZERO;
        },
        expect![[
            r#"Invalid: shop: hold_back_share means nothing without hold_back; say for how long the old release keeps its share: hold_back = "10m""#
        ]],
    );
    check(
        |s| {
            s.rollout.shadow = percent(10);
            s.rollout.strategy = Strategy::Rolling;
        },
        expect![[
            r#"Invalid: shop: shadow is what a canary begins with, and its strategy is rolling; take `shadow` out, or set strategy = "canary""#
        ]],
    );
    check(
        |s| {
            s.rollout.shadow = percent(10);
            s.rollout.shadow_requests = 0;
        },
        expect![
            "Invalid: shop: a shadow of which nothing is compared shows nothing; say how many copies are to be compared: shadow_requests = 200"
        ],
    );
    check(
        |s| s.traffic.cache_disk = Some(model::Bytes::mib(64)),
        expect![[
            r#"Invalid: shop: cache_disk means nothing without cache: what is on disk is known in memory; say how much memory it may take, such as cache = "64 MiB""#
        ]],
    );
    check(
        |s| s.rollout.hold_back_share = percent(51),
        expect!["Invalid: shop: with a hold_back_share of more than half nothing is promoted; use 50 % or less"],
    );
    check(
        |s| s.rollout.steps = [50, 5].map(percent).to_vec(),
        expect![[
            r#"Invalid: shop: rollout steps must be shares above 0 % that grow; for example ["1 %", "10 %", "50 %"]"#
        ]],
    );
    check(
        |s| s.rollout.steps = (1..52).filter_map(Ratio::from_percent).collect(),
        expect!["Invalid: shop: 51 rollout steps are too many; use at most 50"],
    );
    check(
        |s| s.routes[0].path = "shop".to_owned(),
        expect!["Invalid: shop: the route path `shop` does not begin with `/`"],
    );
    check(
        |s| {
            let named = |path: &str| RouteMatch { name: "up".parse().ok(), ..RouteMatch::prefix(None, path) };
            s.routes = vec![named("/a"), named("/b")];
            s.routes[1].own.max_body = Some(model::Bytes::mib(1));
        },
        expect!["Invalid: shop: another route is named up, too, and has other limits: those of one name share them"],
    );
    check(
        |s| s.tcp = vec!["127.0.0.1:0".parse().unwrap()],
        expect![
            "Invalid: shop: nobody could know the port of tcp://127.0.0.1:0; name the port that clients connect to, such as 127.0.0.1:5432"
        ],
    );
    check(
        |s| s.tcp = (1..18).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect(),
        expect!["Invalid: shop: 17 TCP addresses are too many; use at most 16"],
    );
    check(
        |s| drop(s.run.env.insert("BIG".to_owned(), "x".repeat(40_000))),
        expect![
            "Invalid: shop: its declaration is 40777 bytes long and at most 32768 are recorded; put large values into files or secrets"
        ],
    );
}

#[test]
fn tls_to_instances_that_could_not_be_what_it_says_is_refused() {
    let mut b = Bench::new();
    let mut check = |ca: &str, name: &str, edit: fn(&mut ServiceSpec), expected: Expect| {
        let mut shop = spec("shop");
        shop.traffic.instance_tls = Some(InstanceTls { ca: ca.into(), name: name.to_owned(), shown: None });
        edit(&mut shop);
        expected.assert_eq(&b.refusal(apply([("shop", shop)])));
    };
    check(
        "ca.pem",
        "shop.internal",
        |_| {},
        expect![
            "Invalid: shop: nobody could know where ca.pem of instance_tls is; give its absolute path: the data plane reads it"
        ],
    );
    check(
        "/ca.pem",
        "*.internal",
        |_| {},
        expect![
            "Invalid: shop: no certificate can be for `*.internal` (instance_tls); use a name, or an IP address, that the certificates of the instances are for"
        ],
    );
    let probe = |s: &mut ServiceSpec| {
        s.run.live = Some(Probe { check: Check::Http("/".to_owned()), ..Probe::default() });
    };
    check(
        "/ca.pem",
        "127.0.0.1",
        probe,
        expect![[
            r#"Invalid: shop: checks speak no TLS, and with instance_tls a path is not answered in clear; use "tcp", or { command = ["…"] } with a program that asks as the service wants to be asked"#
        ]],
    );
    let tcp = |s: &mut ServiceSpec| s.tcp = vec!["127.0.0.1:5432".parse().unwrap()];
    check(
        "/ca.pem",
        "localhost",
        tcp,
        expect![
            "Invalid: shop: what comes by `tcp` is carried as it is, without instance_tls; leave one of them out: over `tcp`, clients speak TLS with an instance themselves"
        ],
    );
}

#[test]
fn services_that_exchange_routes_are_refused_and_a_chain_is_put_in_order() {
    let mut b = Bench::new();
    let on = |path: &str| {
        let mut all = spec("x");
        all.routes[0].path = path.to_owned();
        all
    };
    b.command(apply([("a", on("/a")), ("b", on("/b")), ("c", on("/c"))])).unwrap();
    b.settle();
    expect!["RouteTaken: a and another service want to exchange a route; give one of them no route, or another one, in an apply of its own first"].assert_eq(&b.refusal(apply([("a", on("/b")), ("b", on("/a"))])));
    let entries = b.command(apply([("a", on("/b")), ("b", on("/c")), ("c", on("/d"))])).unwrap();
    let order: Vec<_> = entries.iter().filter_map(|e| e.at.as_deref()).collect();
    assert_eq!((order[0], order[3], order[6]), ("c", "b", "a"), "each gives up its route before another takes it");
}

#[test]
fn a_plan_lists_the_routes_that_differ_and_no_others() {
    let mut b = Bench::new();
    let many = |change: &dyn Fn(&mut Vec<RouteMatch>)| {
        let mut shop = spec("shop");
        shop.routes = (0..20).map(|n| RouteMatch::prefix(None, &format!("/{n}"))).collect();
        change(&mut shop.routes);
        apply([("shop", shop)])
    };
    b.command(many(&|_| {})).unwrap();
    b.settle();
    let step = |b: &Bench, change: &dyn Fn(&mut Vec<RouteMatch>)| {
        let plan = plan(&b.state, &b.observed, &b.policy, &b.request(many(change))).unwrap();
        plan.changes[0].steps[0].what.clone()
    };
    let said = [
        step(&b, &|routes| routes[15].own.max_body = Some(model::Bytes::mib(5))),
        step(&b, &|routes| routes[3].name = "three".parse().ok()),
        step(&b, &|routes| drop(routes.pop())),
        step(&b, &|routes| routes.push(RouteMatch::prefix(None, "/more"))),
        step(&b, &|routes| routes.swap(0, 1)),
    ];
    expect![[r#"
        answer on /15 (max_body 5 MiB) instead of /15
        answer on /3 named three instead of /3
        no longer answer on /19
        answer on /more, too
        answer on /1, /0, /2, /3, /4, /5, /6, /7, and 12 more instead of /0, /1, /2, /3, /4, /5, /6, /7, and 12 more"#]]
    .assert_eq(&said.join("\n"));
}

#[test]
fn names_of_routes_are_bounded_in_all() {
    let mut b = Bench::new();
    let service = |n: usize| {
        let mut one = spec("x");
        let named = |r: usize| RouteMatch {
            name: format!("r{r}").parse().ok(),
            ..RouteMatch::prefix(None, &format!("/{n}/{r}"))
        };
        one.routes = (0..100).map(named).collect();
        one
    };
    for n in 0..10 {
        b.command(apply([(format!("s{n}").as_str(), service(n))])).unwrap();
        b.settle();
    }
    expect![
        "Invalid: 1100 names for routes, those of all services together, are too many to count by; use at most 1000: several routes may have the same name"
    ]
    .assert_eq(&b.refusal(apply([("s10", service(10))])));
    let again = ServiceSpec { replicas: 3, ..service(3) };
    assert!(b.command(apply([("s3", again)])).is_ok(), "what is declared anew is counted once");
}

#[test]
fn the_longest_declarations_fit_into_entries() {
    let mut b = Bench::with_shop();
    for name in ["first", "second"] {
        let mut shop = spec("shop");
        shop.run.command = vec![format!("{name}{}", "é\u{1}".repeat(500)), "☃".repeat(2_000)];
        shop.run.env = (0..100).map(|i| (format!("NAME_{i}_{}", "é".repeat(20)), "z".repeat(40))).collect();
        shop.routes = (0..30).map(|i| RouteMatch::prefix(None, &format!("/{i}/{}", "☃".repeat(60)))).collect();
        assert!(serde_json::to_vec(&shop).unwrap().len() > 25_000, "it is long");
        // Everything is encoded and decoded by the bench.
        b.command(apply([("shop", shop)])).unwrap();
        let change = b.last_change();
        b.command(Command::Cancel { change }).unwrap();
        b.settle();
    }
}
