//! Returning to what was good.

use crate::story::{Story, artifact, key, spec};
use control::{Command, change::Phase};
use expect_test::expect;
use model::{ReleaseId, Span};

/// A shop whose `v2` has replaced its `v1`.
fn after_two() -> Story {
    let mut s = Story::with_shop_running();
    s.deploy("shop", "v2");
    s.run_until_settled();
    s
}

fn running(s: &Story) -> model::Digest {
    s.state().releases[&s.state().services[&key("shop")].running.unwrap()].artifact
}

#[test]
fn a_rollback_returns_to_the_proven_release_before() {
    let mut s = after_two();
    s.rollback("shop");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-4: rollback shop (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  REL-1 begins to take over from REL-2 (blue-green)
        +1.000 s  INS-5 is ready
        +1.000 s  INS-6 is ready
        +1.000 s  REL-1 gets all requests: 2 of 2 instances are ready
        +1.000 s  CHG-4 succeeded: REL-1 has all requests
    "#]]);
    assert_eq!(running(&s), artifact("v1"));
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_rollback_of_a_rollback_returns_to_the_newer_release() {
    let mut s = after_two();
    s.rollback("shop");
    s.run_until_settled();
    s.rollback("shop");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-5: rollback shop (plan …) — “because”
        +0.000 s  CHG-5 started
        +0.000 s  REL-2 begins to take over from REL-1 (blue-green)
        +1.000 s  INS-7 is ready
        +1.000 s  INS-8 is ready
        +1.000 s  REL-2 gets all requests: 2 of 2 instances are ready
        +1.000 s  CHG-5 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(running(&s), artifact("v2"));
    s.rollback("shop");
    s.run_until_settled();
    assert_eq!(running(&s), artifact("v1"), "and back again");
}

#[test]
fn a_rollback_while_a_rollout_runs_undoes_it() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 50);
    assert_eq!(s.rollback("shop"), change);
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
        +6.000 s  REL-2 gets no requests any more: ann: because
        +6.000 s  CHG-3 was rolled back: ann: because
    "#]]);
    assert_eq!((running(&s), s.lost()), (artifact("v1"), 0));
}

#[test]
fn a_rollback_in_the_hold_back_is_a_matter_of_a_moment() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    s.run_until_phase(change, Phase::HoldingBack);
    s.run(Span::seconds(3));
    assert_eq!(s.rollback("shop"), change);
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
        +11.000 s  judged: REL-2 is not worse (e-value 142, 20 needed); REL-2 2 of 571 failed (0.35 %, likely 0.01 % to 2.1 %), p99 29.2 ms; REL-1 5 of 1329 failed (0.38 %, likely 0.04 % to 1.4 %), p99 30.2 ms
        +11.000 s  REL-2 gets all requests: it is not worse than REL-1
        +14.000 s  REL-2 gets no requests any more: ann: because
        +14.000 s  CHG-3 was rolled back: ann: because
    "#]]);
    assert_eq!((running(&s), s.lost()), (artifact("v1"), 0));
}

#[test]
fn a_rollback_past_the_release_before_takes_the_place_of_what_runs() {
    let mut s = after_two();
    let change = s.deploy("shop", "v3");
    s.run_until_weight(change, 10);
    s.command(Command::Rollback { service: key("shop"), to: Some(ReleaseId(1)) });
    s.run_until_settled();
    expect![[r#"
        +0.000 s  ann proposed CHG-4: deploy shop (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  REL-3 “v3” of shop: artifact …, configuration …
        +0.000 s  REL-3 begins to take over from REL-2 (canary)
        +1.000 s  INS-5 is ready
        +1.000 s  INS-6 is ready
        +1.000 s  the new release gets 10 % of the requests
        +1.000 s  CHG-4 was superseded: CHG-5 took its place
    "#]]
    .assert_eq(&s.tale_of(change));
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-5: rollback shop (plan …) — “because”
        +0.000 s  CHG-5 started
        +0.000 s  REL-1 begins to take over from REL-2 (blue-green)
        +1.000 s  INS-7 is ready
        +1.000 s  INS-8 is ready
        +1.000 s  REL-1 gets all requests: 2 of 2 instances are ready
        +1.000 s  CHG-5 succeeded: REL-1 has all requests
    "#]]);
    assert_eq!((running(&s), s.lost()), (artifact("v1"), 0));
}

#[test]
fn a_rollback_that_cannot_start_leaves_what_runs() {
    let mut s = after_two();
    s.version("v1").cannot_start("its artifact is damaged");
    s.rollback("shop");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-4: rollback shop (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  REL-1 begins to take over from REL-2 (blue-green)
        +0.100 s  INS-5 could not be started: its artifact is damaged
        +0.100 s  INS-6 could not be started: its artifact is damaged
        +0.100 s  REL-1 gets no requests any more: INS-5 could not be started: its artifact is damaged
        +0.100 s  CHG-4 failed: INS-5 could not be started: its artifact is damaged
    "#]]);
    assert_eq!((running(&s), s.lost()), (artifact("v2"), 0));
}

#[test]
fn a_rollback_needs_neither_data_plane_nor_requests() {
    let mut s = after_two();
    s.world.kill_proxy();
    s.rollback("shop");
    s.run(Span::seconds(10));
    s.world.start_proxy();
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-4: rollback shop (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  REL-1 begins to take over from REL-2 (blue-green)
        +1.000 s  INS-5 is ready
        +1.000 s  INS-6 is ready
        +1.000 s  REL-1 gets all requests: 2 of 2 instances are ready
        +1.000 s  CHG-4 succeeded: REL-1 has all requests
    "#]]);
    assert_eq!(running(&s), artifact("v1"));
}

#[test]
fn there_must_be_something_proven_to_return_to() {
    let mut s = Story::new();
    s.apply([("shop", spec("shop"))]);
    expect![
        "NoRollbackTarget: shop has no earlier release that was proven healthy; deploy a good one with `qd deploy`"
    ]
    .assert_eq(&s.refused(Command::Rollback { service: key("shop"), to: None }));
    let change = s.deploy("shop", "v1");
    expect!["NoRollbackTarget: shop has no earlier release that was proven healthy; withdraw what is under way with `qd cancel CHG-2`"].assert_eq(&s.refused(Command::Rollback { service: key("shop"), to: None }));
    s.run_until_phase(change, Phase::Succeeded);
    s.version("v2").fails(0.5);
    s.traffic("shop", 200);
    s.deploy("shop", "v2");
    s.run_until_settled();
    let to = Some(ReleaseId(2));
    expect![
        "NoRollbackTarget: REL-2 was never proven healthy; a rollback takes no risks; deploy it anew to have it judged"
    ]
    .assert_eq(&s.refused(Command::Rollback { service: key("shop"), to }));
    expect!["UnknownRelease: shop has no REL-9; see `qd status shop`"]
        .assert_eq(&s.refused(Command::Rollback { service: key("shop"), to: Some(ReleaseId(9)) }));
}
