use super::*;
use crate::testing::{Bench, NOW, apply, deploy, key, spec};
use expect_test::expect;
use model::{InstanceTraffic, ProxyReport, ReleaseTraffic, Tally};

const AFTER: Span = Span::minutes(1);

/// `shop` runs and may sleep.
fn tired() -> Bench {
    let mut b = Bench::new();
    b.command(apply([("shop", ServiceSpec { sleep_after: Some(AFTER), ..spec("shop") })])).unwrap();
    b.command(deploy("shop", "v1")).unwrap();
    b.settle();
    b.all_ready();
    b.settle();
    b
}

/// What the data plane says of `shop`.
#[derive(Clone, Copy)]
struct Said {
    answered: u64,
    waiting: u64,
    in_vain: u64,
    in_flight: u64,
}

const NOTHING: Said = Said { answered: 7, waiting: 0, in_vain: 0, in_flight: 0 };

/// The data plane says this every second, for so long.
fn said(b: &mut Bench, said: Said, span: Span) {
    for _ in 0..span.0 / 1_000 {
        b.now = b.now + Span::seconds(1);
        let instances = b.state.instances.keys();
        let instances = instances.map(|id| InstanceTraffic { instance: *id, in_flight: said.in_flight }).collect();
        let tally = Tally { answered: said.answered, no_instance: said.in_vain, ..Tally::default() };
        let release = b.state.services[&key("shop")].running.unwrap();
        let traffic = ReleaseTraffic {
            service: key("shop"),
            release,
            tally,
            latencies: Default::default(),
            waiting: said.waiting,
        };
        b.observed.take_report(ProxyReport {
            started: NOW,
            at: b.now,
            generation: b.state.routes.generation,
            releases: vec![traffic],
            instances,
            ..ProxyReport::default()
        });
        b.settle();
    }
}

fn rest(b: &Bench) -> &'static str {
    match b.state.services[&key("shop")].rest {
        Some(Rest::Asleep { .. }) => "asleep",
        Some(Rest::Waking { .. }) => "waking",
        None => "awake",
    }
}

#[test]
fn a_service_is_idle_when_all_that_is_known_says_so() {
    let check = |what: &str, say: fn(&mut Bench), expected: &str| {
        let mut b = tired();
        say(&mut b);
        assert_eq!(rest(&b), expected, "{what}");
    };
    let almost = Span(AFTER.0 - 1_000);
    check("for long enough", |b| said(b, NOTHING, AFTER + Span::seconds(2)), "asleep");
    check("not for long enough", |b| said(b, NOTHING, Span(AFTER.0 - 1_000)), "awake");
    check("a request is under way", |b| said(b, Said { in_flight: 1, ..NOTHING }, Span::minutes(5)), "awake");
    check("a request waits", |b| said(b, Said { waiting: 1, ..NOTHING }, Span::minutes(5)), "awake");
    check(
        "one was answered meanwhile",
        |b| {
            said(b, NOTHING, Span::seconds(40));
            said(b, Said { answered: 8, ..NOTHING }, Span::seconds(40));
        },
        "awake",
    );
    check(
        "the data plane is silent",
        |b| {
            said(b, NOTHING, Span::seconds(40));
            b.observed.lose_proxy();
            b.now = b.now + Span::minutes(10);
            b.settle();
            said(b, NOTHING, Span::seconds(10));
        },
        "awake",
    );
    let mut b = tired();
    said(&mut b, NOTHING, almost);
    b.command(crate::Command::Scale { service: key("shop"), replicas: 3 }).unwrap();
    said(&mut b, NOTHING, Span::seconds(20));
    assert_eq!(rest(&b), "awake", "an instance is missing");
}

#[test]
fn the_table_keeps_the_routes_of_who_sleeps_and_says_for_how_long_requests_are_held() {
    let mut b = tired();
    let table = |b: &Bench| {
        let shop = b.state.routes.services[&key("shop")].clone();
        (shop.routes.len(), shop.arms[0].endpoints.len(), shop.hold)
    };
    assert_eq!(table(&b), (1, 2, None));
    said(&mut b, NOTHING, AFTER + Span::seconds(2));
    assert_eq!(table(&b), (1, 0, Some(Span::seconds(30))));
    assert!(b.state.instances.values().all(|i| i.retired.is_some()));
    b.observed.take_instances([]);
    b.settle();
    // Somebody asks.
    said(&mut b, Said { waiting: 1, ..NOTHING }, Span::seconds(1));
    assert_eq!((rest(&b), table(&b)), ("waking", (1, 0, Some(Span::seconds(30)))));
    b.all_ready();
    b.settle();
    assert_eq!((rest(&b), table(&b)), ("awake", (1, 2, None)));
    let told: Vec<String> =
        b.entries.iter().filter(|e| matches!(e.what, crate::Fact::Sleep(_))).map(|e| e.what.sentence()).collect();
    expect![[r#"
        shop falls asleep: nobody has asked for it for 1m
        shop wakes up: a request waits for it"#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn one_who_finds_no_place_to_wait_wakes_it_too() {
    let mut b = tired();
    said(&mut b, NOTHING, AFTER + Span::seconds(2));
    b.observed.take_instances([]);
    b.settle();
    said(&mut b, Said { in_vain: 1, ..NOTHING }, Span::seconds(1));
    assert_eq!(rest(&b), "waking");
}

#[test]
fn what_could_never_wake_up_or_never_rest_is_refused() {
    let mut b = Bench::new();
    let mut refused = |after, routed: bool| {
        let mut spec = ServiceSpec { sleep_after: Some(after), ..spec("shop") };
        if !routed {
            spec.routes.clear();
        }
        b.refusal(apply([("shop", spec)]))
    };
    expect!["Invalid: shop: with sleep_after = 9 s it would do little else than start and stop; use 10s or more; minutes, where it takes a while to start"].assert_eq(&refused(Span::seconds(9), true));
    expect!["Invalid: shop: nothing would wake it up, because no request reaches it; give it routes or tcp, or take sleep_after out"].assert_eq(&refused(Span::minutes(9), false));
}
