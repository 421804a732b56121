//! Drivers, disks, data planes and clocks that do not do what they should.

use crate::{
    serve::Answer,
    story::{Story, deploy, key},
    world::Link,
};
use control::Command;
use expect_test::expect;
use ledger::Fault;
use model::Span;

#[test]
fn a_driver_that_is_late_and_repeats_itself_changes_nothing_but_times() {
    let mut s = Story::with_shop_running();
    s.world.driver_link = Link { delay: Span(700), repeats: true, ..Link::default() };
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +2.400 s  INS-3 is ready
        +2.400 s  INS-4 is ready
        +2.400 s  the new release gets 10 % of the requests
        +7.400 s  the new release gets 50 % of the requests
        +12.400 s  judged: REL-2 is not worse (e-value 230, 20 needed); REL-2 1 of 579 failed (0.17 %, likely at most 1.7 %), p99 30.2 ms; REL-1 6 of 1321 failed (0.45 %, likely 0.06 % to 1.5 %), p99 30.2 ms
        +12.400 s  REL-2 gets all requests: it is not worse than REL-1
        +32.400 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_silent_driver_delays_a_rollout_and_stops_no_requests() {
    let mut s = Story::with_shop_running();
    s.world.driver_link.silent = true;
    s.deploy("shop", "v2");
    s.run(Span::seconds(20));
    s.world.driver_link.silent = false;
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +20.100 s  INS-3 is ready
        +20.100 s  INS-4 is ready
        +20.100 s  the new release gets 10 % of the requests
        +25.100 s  the new release gets 50 % of the requests
        +30.100 s  judged: REL-2 is not worse (e-value 297, 20 needed); REL-2 1 of 537 failed (0.19 %, likely at most 1.8 %), p99 29.2 ms; REL-1 3 of 1363 failed (0.22 %, likely 0.01 % to 1.1 %), p99 30.2 ms
        +30.100 s  REL-2 gets all requests: it is not worse than REL-1
        +50.100 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn on_a_full_disk_commands_are_refused_and_requests_go_on() {
    let mut s = Story::with_shop_running();
    s.world.serve.as_mut().unwrap().disk.inject(Fault::DiskFull);
    let Answer::NotRecorded(why) = s.give(deploy("shop", "v2")) else { panic!("it was recorded") };
    expect!["the disk is full, so the ledger takes no entry; nothing recorded is lost. Make room, then repeat what you wanted"].assert_eq(&why);
    // An instance that ends meanwhile is not restarted, because that could not be recorded; the other answers.
    let ins = *s.state().instances.keys().next().unwrap();
    s.world.hit(ins);
    s.run(Span::seconds(10));
    assert!(s.world.driver.processes[&ins].spec.attempt == 1 && s.requests().contains("REL-1"));
    s.world.serve.as_mut().unwrap().disk.heal();
    s.run(Span::seconds(10));
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 50 % of the requests
        +11.000 s  judged: REL-2 is not worse (e-value 144, 20 needed); REL-2 1 of 535 failed (0.19 %, likely at most 1.8 %), p99 29.2 ms; REL-1 2 of 1365 failed (0.15 %, likely at most 0.91 %), p99 30.2 ms
        +11.000 s  REL-2 gets all requests: it is not worse than REL-1
        +31.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn a_failed_sync_stops_the_ledger_until_it_is_opened_again() {
    for (fault, kept) in [(Fault::SyncFailsAndLoses, false), (Fault::SyncFailsAndKeeps, true)] {
        let mut s = Story::with_shop_running();
        s.world.serve.as_mut().unwrap().disk.inject(fault);
        assert!(matches!(s.give(deploy("shop", "v2")), Answer::NotRecorded(_)));
        s.world.serve.as_mut().unwrap().disk.heal();
        assert!(matches!(s.give(deploy("shop", "v2")), Answer::NotRecorded(_)), "it is never retried");
        s.run(Span::seconds(5));
        s.world.kill_control();
        s.world.start_control(None);
        s.run(Span(200));
        assert_eq!(s.state().active_change(&key("shop")).is_some(), kept, "only opening it again tells");
        if !kept {
            s.deploy("shop", "v2");
        }
        s.run_until_settled();
        assert_eq!((s.state().services[&key("shop")].history.len(), s.lost()), (2, 0));
    }
}

#[test]
fn what_one_append_cannot_hold_is_not_half_done() {
    let mut s = Story::with_shop_running();
    let serve = s.world.serve.as_mut().unwrap();
    serve.disk.inject(Fault::DiskFull);
    let requests =
        vec![s.request(deploy("shop", "v2")), s.request(Command::Scale { service: key("shop"), replicas: 3 })];
    let answers = s.world.give(requests);
    assert!(matches!(answers[0], Answer::NotRecorded(_)));
    // The second was decided on knowing the first, so it must not be told anything that rests on it.
    assert!(matches!(answers[1], Answer::NotRecorded(_)), "{:?}", answers[1]);
}

#[test]
fn a_clock_that_jumps_by_an_hour_neither_expires_a_rollout_nor_keeps_it() {
    for by_ms in [3_600_000, -3_600_000] {
        let mut s = Story::with_shop_running();
        let change = s.deploy("shop", "v2");
        s.run_until_weight(change, 10);
        s.run(Span::seconds(2));
        s.world.step_clock(by_ms);
        let age = s.world.age();
        s.run_until_settled();
        assert!(s.world.age().0 - age.0 < 60_000, "as long as without the jump");
        assert_eq!((s.state().services[&key("shop")].history.len(), s.lost()), (2, 0));
        if by_ms > 0 {
            s.expect(expect![[r#"
                +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
                +0.000 s  CHG-3 started
                +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
                +0.000 s  REL-2 begins to take over from REL-1 (canary)
                +1.000 s  INS-3 is ready
                +1.000 s  INS-4 is ready
                +1.000 s  the new release gets 10 % of the requests
                +3606.000 s  the new release gets 50 % of the requests
                +3611.000 s  judged: REL-2 is not worse (e-value 142, 20 needed); REL-2 2 of 571 failed (0.35 %, likely 0.01 % to 2.1 %), p99 29.2 ms; REL-1 5 of 1329 failed (0.38 %, likely 0.04 % to 1.4 %), p99 30.2 ms
                +3611.000 s  REL-2 gets all requests: it is not worse than REL-1
                +3631.000 s  CHG-3 succeeded: REL-2 has all requests
            "#]]);
        }
    }
}

#[test]
fn a_data_plane_killed_in_a_rollout_goes_on_with_its_table_and_new_figures() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 50);
    s.run(Span::seconds(3));
    s.world.kill_proxy();
    s.run(Span::seconds(20));
    s.world.start_proxy();
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 50 % of the requests
        +32.600 s  judged: REL-2 is not worse (e-value 40, 20 needed); REL-2 1 of 370 failed (0.27 %, likely at most 2.5 %), p99 30.2 ms; REL-1 1 of 330 failed (0.30 %, likely at most 2.8 %), p99 30.2 ms
        +32.600 s  REL-2 gets all requests: it is not worse than REL-1
        +52.600 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn a_guard_that_tripped_before_the_data_plane_died_still_undoes_the_rollout() {
    let mut s = Story::with_shop_running();
    s.version("v2").fails(0.3);
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 10);
    // Nobody hears of the trip: the control plane is away when it happens.
    s.world.kill_control();
    s.run_until("it has tripped", |s| !s.world.proxy.as_ref().unwrap().saved.tripped.is_empty());
    s.world.kill_proxy();
    s.world.start_proxy();
    s.world.start_control(None);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +1.600 s  REL-2 gets no requests any more: its guard tripped, and the figures were lost with the data plane that had them
        +1.600 s  CHG-3 was rolled back: its guard tripped, and the figures were lost with the data plane that had them
    "#]]);
}
