//! A service that nobody asks for rests, and is there again when somebody does.

use crate::story::{Story, key};
use control::{change::Phase, sleep::Rest};
use expect_test::expect;
use model::Span;

/// `shop` is asked for until now, and may sleep after a minute.
fn tired() -> Story {
    Story::with_shop(|shop| shop.sleep_after = Some(Span::minutes(1)))
}

fn is_asleep(s: &Story) -> bool {
    matches!(s.state().services[&key("shop")].rest, Some(Rest::Asleep { .. }))
}

fn asleep() -> Story {
    let mut s = tired();
    s.traffic("shop", 0);
    s.run_until("it sleeps", |s| is_asleep(s) && s.state().instances.is_empty());
    s
}

/// How often it fell asleep or woke up.
fn turns(s: &Story) -> usize {
    let tale = s.tale_of_service("shop");
    tale.lines().filter(|line| line.contains("falls asleep") || line.contains("wakes up")).count()
}

#[test]
fn a_service_sleeps_when_nobody_asks_and_wakes_for_a_request_that_is_held() {
    let mut s = asleep();
    s.run(Span::minutes(10));
    assert_eq!(turns(&s), 1);
    s.traffic("shop", 10);
    s.run(Span::minutes(5));
    expect![[r#"
        +0.000 s  ann proposed CHG-1: config shop (plan …) — “because”
        +0.000 s  CHG-1 started
        +0.000 s  shop shall run 2 × on shop.example/
        +0.000 s  ann proposed CHG-2: deploy shop (plan …) — “because”
        +0.000 s  CHG-2 started
        +0.000 s  REL-1 “v1” of shop: artifact …, configuration …
        +0.000 s  REL-1 begins; nothing ran before
        +0.100 s  CHG-1 succeeded: it will run with its first deploy
        +1.100 s  INS-1 is ready
        +1.100 s  INS-2 is ready
        +1.100 s  REL-1 gets all requests: 2 of 2 instances are ready
        +1.100 s  CHG-2 succeeded: REL-1 has all requests
        +66.200 s  shop falls asleep: nobody has asked for it for 1m
        +666.800 s  shop wakes up: a request waits for it
        +667.800 s  INS-3 is ready
        +667.800 s  INS-4 is ready
    "#]]
    .assert_eq(&s.tale_of_service("shop"));
    assert_eq!(s.lost(), 0, "nobody is turned away");
}

#[test]
fn a_service_that_is_asked_now_and_then_stays_awake() {
    let mut s = tired();
    s.traffic("shop", 0);
    for _ in 0..5 {
        s.run(Span::seconds(50));
        s.traffic("shop", 10);
        s.run(Span::seconds(1));
        s.traffic("shop", 0);
    }
    assert_eq!((turns(&s), s.lost()), (0, 0));
}

#[test]
fn a_service_does_not_sleep_while_it_changes_and_wakes_for_a_change() {
    let mut s = asleep();
    let change = s.deploy("shop", "v2");
    assert!(!is_asleep(&s));
    // Nobody asks, so nothing is proven, and the rollout waits until its deadline.
    s.run(Span::minutes(4));
    assert_eq!((s.state().changes[&change].phase, turns(&s)), (Phase::Running, 2));
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  INS-5 is ready
        +1.000 s  INS-6 is ready
        +1.000 s  the new release gets 10 % of the requests
        +301.000 s  REL-2 gets no requests any more: undecided at its deadline: nothing was observed
        +301.000 s  CHG-3 was rolled back: undecided at its deadline: nothing was observed
    "#]]);
    s.run_until("it sleeps again", |s| is_asleep(s) && s.state().instances.is_empty());
    assert_eq!(turns(&s), 3);
}

#[test]
fn a_change_that_needs_no_instance_does_not_send_it_back_to_sleep_at_once() {
    let mut s = asleep();
    s.scale("shop", 1);
    s.run(Span::seconds(55));
    assert!(!is_asleep(&s));
    s.run_until("it sleeps again", is_asleep);
    assert_eq!(turns(&s), 3);
}

#[test]
fn what_is_not_known_is_not_idleness() {
    let mut s = tired();
    s.traffic("shop", 0);
    s.world.kill_proxy();
    s.run(Span::minutes(10));
    s.world.start_proxy();
    s.run(Span::seconds(50));
    assert_eq!(turns(&s), 0, "silence says nothing");
    // A control plane that begins anew knows nothing of before.
    s.world.kill_control();
    s.world.start_control(None);
    s.run(Span::seconds(50));
    assert_eq!(turns(&s), 0);
    s.run_until("it sleeps", is_asleep);
}

#[test]
fn sleep_outlives_both_processes_and_a_request_that_waits_is_seen_afterwards() {
    let mut s = asleep();
    s.world.kill_proxy();
    s.world.start_proxy();
    s.world.kill_control();
    s.traffic("shop", 10);
    s.run(Span::seconds(5));
    s.world.start_control(None);
    s.run(Span::seconds(5));
    assert!(!is_asleep(&s));
    assert_eq!((turns(&s), s.lost()), (2, 0));
}

#[test]
fn requests_are_held_no_longer_than_elsewhere_once_an_instance_has_failed_to_wake_up() {
    let mut s = asleep();
    s.version("v1").dies_after(Span::seconds(2)).is_ready_after(Span::minutes(2));
    s.traffic("shop", 1);
    s.run(Span::seconds(1));
    let hold = |s: &Story| s.state().routes.services[&key("shop")].hold;
    assert_eq!(hold(&s), Some(Span::seconds(30)));
    s.run(Span::seconds(5));
    assert_eq!(hold(&s), None);
    assert!(s.lost() > 0);
}
