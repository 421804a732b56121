//! Other numbers of instances, and what keeps them running.

use crate::story::{Story, key};
use control::Command;
use expect_test::expect;
use model::Span;

#[test]
fn scaling_up_is_done_when_all_are_ready() {
    let mut s = Story::with_shop_running();
    s.scale("shop", 4);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: scale shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  shop shall run 4 × on shop.example/
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  CHG-3 succeeded: 4 of 4 instances are ready
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn scaling_down_drains_what_is_too_much() {
    let mut s = Story::with_shop(|shop| shop.replicas = 4);
    s.scale("shop", 1);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: scale shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  shop shall run 1 × on shop.example/
        +0.000 s  CHG-3 succeeded: it is in force
    "#]]);
    assert_eq!((s.state().instances.len(), s.lost()), (1, 0));
}

#[test]
fn scaling_up_that_fails_is_taken_back() {
    let mut s = Story::with_shop_running();
    s.version("v1").dies_after(Span::minutes(1)).is_ready_after(Span::minutes(2));
    // The instances that run were started before it broke; they are still well.
    for process in s.world.driver.processes.clone().into_keys() {
        s.world.driver.keep_well(process);
    }
    s.scale("shop", 3);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: scale shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  shop shall run 3 × on shop.example/
        +30.100 s  INS-3 shall be restarted: it was not ready within 30 s: connection refused
        +30.100 s  CHG-3 failed: 2 of 3 instances were ready within 30 s: it was not ready within 30 s: connection refused
    "#]]);
    assert_eq!((s.state().services[&key("shop")].spec.replicas, s.lost()), (2, 0));
}

#[test]
fn a_scale_to_what_is_there_or_impossible_is_refused() {
    let mut s = Story::with_shop_running();
    expect!["NothingToDo: shop already has 2 replicas"]
        .assert_eq(&s.refused(Command::Scale { service: key("shop"), replicas: 2 }));
    expect!["Invalid: shop cannot have 0 replicas; use 1 to 1000; to stop a service, remove it from the configuration and apply with --prune"].assert_eq(&s.refused(Command::Scale { service: key("shop"), replicas: 0 }));
    expect!["UnknownService: there is no service shup; known: shop; declare a new one in quarterdeck.toml and run `qd apply`"].assert_eq(&s.refused(Command::Scale { service: key("shup"), replicas: 3 }));
}

#[test]
fn an_instance_that_hangs_is_restarted_and_waits_longer_each_time() {
    let mut s = Story::with_shop(|shop| shop.replicas = 1);
    s.version("v1").hangs_after(Span::seconds(3));
    s.run(Span::seconds(60));
    let ins = s.state().instances.keys().next().copied().unwrap();
    expect![[r#"
        +0.000 s  INS-1 of REL-1 shall run
        +1.000 s  INS-1 is ready
        +6.100 s  INS-1 shall be restarted: no answer within 1 s
        +6.300 s  INS-1 was ended by SIGTERM
        +6.800 s  INS-1 is started again (run 2)
        +7.800 s  INS-1 is ready
        +9.800 s  INS-1 shall be restarted: no answer within 1 s
        +10.000 s  INS-1 was ended by SIGTERM
        +11.000 s  INS-1 is started again (run 3)
        +12.000 s  INS-1 is ready
        +14.000 s  INS-1 shall be restarted: no answer within 1 s
        +14.200 s  INS-1 was ended by SIGTERM
        +16.200 s  INS-1 is started again (run 4)
        +17.200 s  INS-1 is ready
        +19.200 s  INS-1 shall be restarted: no answer within 1 s
        +19.400 s  INS-1 was ended by SIGTERM
        +23.400 s  INS-1 is started again (run 5)
        +24.400 s  INS-1 is ready
        +26.400 s  INS-1 shall be restarted: no answer within 1 s
        +26.600 s  INS-1 was ended by SIGTERM
        +34.600 s  INS-1 is started again (run 6)
        +35.600 s  INS-1 is ready
        +37.600 s  INS-1 shall be restarted: no answer within 1 s
        +37.800 s  INS-1 was ended by SIGTERM
        +53.800 s  INS-1 is started again (run 7)
        +54.800 s  INS-1 is ready
        +56.800 s  INS-1 shall be restarted: no answer within 1 s
        +57.000 s  INS-1 was ended by SIGTERM
    "#]]
    .assert_eq(&s.tale_of_instance(ins));
}

#[test]
fn an_instance_that_is_lost_is_started_again() {
    let mut s = Story::with_shop_running();
    let ins = *s.state().instances.keys().next().unwrap();
    s.world.driver.lose(ins);
    s.run(Span::seconds(5));
    expect![[r#"
        +0.000 s  INS-1 of REL-1 shall run
        +1.000 s  INS-1 is ready
        +6.100 s  INS-1 was lost together with its shim
        +6.600 s  INS-1 is started again (run 2)
        +7.600 s  INS-1 is ready
    "#]]
    .assert_eq(&s.tale_of_instance(ins));
    assert_eq!(s.state().instances.values().filter(|i| i.is_ready()).count(), 2);
}
