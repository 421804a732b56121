//! People who promote, pause, resume, cancel and supersede, and deadlines when they do not.

use crate::story::{Story, artifact, deploy, key};
use control::{Command, change::Phase};
use expect_test::expect;
use model::{OnDeadline, Span};

#[test]
fn a_person_may_promote_before_the_evidence_does() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    expect!["WrongPhase: 0 of 2 instances of REL-2 are ready; wait until all are, or cancel it"]
        .assert_eq(&s.refused(Command::Promote { change }));
    s.run_until_weight(change, 10);
    s.command(Command::Promote { change });
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +1.000 s  REL-2 gets all requests: ann: because
        +21.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_paused_rollout_stays_where_it_is_and_loses_nothing_of_its_deadline() {
    let mut s = Story::with_shop(|shop| {
        shop.rollout.deadline = Span::seconds(60);
        // So strict that nothing is ever shown.
        shop.rollout.judgement.tolerance = model::Ratio::from_ppm(10).unwrap();
    });
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 10);
    s.run(Span::seconds(2));
    s.command(Command::Pause { change });
    s.run(Span::seconds(90));
    s.command(Command::Resume { change });
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +3.000 s  ann paused CHG-3 — “because”
        +93.000 s  ann resumed CHG-3 — “because”
        +93.000 s  the new release gets 50 % of the requests
        +151.000 s  REL-2 gets no requests any more: undecided at its deadline: REL-2 14 of 7411 failed (0.19 %, likely 0.05 % to 0.46 %), p99 30.2 ms; REL-1 45 of 22489 failed (0.20 %, likely 0.10 % to 0.35 %), p99 30.2 ms
        +151.000 s  CHG-3 was rolled back: undecided at its deadline: REL-2 14 of 7411 failed (0.19 %, likely 0.05 % to 0.46 %), p99 30.2 ms; REL-1 45 of 22489 failed (0.20 %, likely 0.10 % to 0.35 %), p99 30.2 ms
    "#]]);
}

#[test]
fn the_guard_goes_on_watching_a_paused_rollout() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 10);
    s.command(Command::Pause { change });
    s.version("v2").fails(0.2);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +1.000 s  ann paused CHG-3 — “because”
        +2.000 s  judged: REL-2 is worse by its failures (e-value 2715, 1500 needed); REL-2 4 of 19 failed (21.05 %, likely 3.0 % to 55 %), p99 29.2 ms; REL-1 0 of 147 failed (0.00 %, likely at most 4.0 %), p99 30.2 ms
        +2.000 s  REL-2 gets no requests any more: it fails more often than REL-1
        +2.000 s  CHG-3 was rolled back: it fails more often than REL-1
    "#]]);
}

#[test]
fn a_cancelled_rollout_is_undone() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 50);
    s.command(Command::Cancel { change });
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
        +6.000 s  CHG-3 was cancelled: ann: because
    "#]]);
    expect!["WrongPhase: CHG-3 is cancelled; nothing can be done to it any more"]
        .assert_eq(&s.refused(Command::Cancel { change }));
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_second_deploy_is_refused_or_takes_the_place_of_the_first() {
    let mut s = Story::with_shop_running();
    let first = s.deploy("shop", "v2");
    s.run_until_weight(first, 10);
    expect!["ChangeUnderWay: CHG-3 of shop is running; wait for it, `qd cancel CHG-3`, or deploy with --supersede to take its place"].assert_eq(&s.refused(deploy("shop", "v3")));
    let Command::Deploy { service, artifact, label, strategy, .. } = deploy("shop", "v3") else { unreachable!() };
    s.command(Command::Deploy { service, artifact, label, strategy, supersede: true });
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-4: deploy shop (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  REL-3 “v3” of shop: artifact …, configuration …
        +0.000 s  REL-3 begins to take over from REL-1 (canary)
        +1.000 s  INS-5 is ready
        +1.000 s  INS-6 is ready
        +1.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 50 % of the requests
        +11.000 s  judged: REL-3 is not worse (e-value 235, 20 needed); REL-3 1 of 574 failed (0.17 %, likely at most 1.7 %), p99 29.2 ms; REL-1 6 of 1326 failed (0.45 %, likely 0.06 % to 1.5 %), p99 30.2 ms
        +11.000 s  REL-3 gets all requests: it is not worse than REL-1
        +31.000 s  CHG-4 succeeded: REL-3 has all requests
    "#]]);
    expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +1.000 s  CHG-3 was superseded: CHG-4 took its place
    "#]]
    .assert_eq(&s.tale_of(first));
    assert_eq!(s.lost(), 0);
}

#[test]
fn the_next_deploy_ends_a_hold_back() {
    let mut s = Story::with_shop_running();
    let first = s.deploy("shop", "v2");
    s.run_until_phase(first, Phase::HoldingBack);
    s.deploy("shop", "v3");
    s.run_until_settled();
    expect![[r#"
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
        +11.000 s  CHG-3 succeeded: CHG-4 took its place
    "#]].assert_eq(&s.tale_of(first));
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-4: deploy shop (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  REL-3 “v3” of shop: artifact …, configuration …
        +0.000 s  REL-3 begins to take over from REL-2 (canary)
        +1.000 s  INS-5 is ready
        +1.000 s  INS-6 is ready
        +1.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 50 % of the requests
        +11.000 s  judged: REL-3 is not worse (e-value 298, 20 needed); REL-3 0 of 550 failed (0.00 %, likely at most 1.2 %), p99 30.2 ms; REL-2 3 of 1350 failed (0.22 %, likely 0.01 % to 1.1 %), p99 30.2 ms
        +11.000 s  REL-3 gets all requests: it is not worse than REL-2
        +31.000 s  CHG-4 succeeded: REL-3 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}

/// A shop whose canary has a minute and can never be shown to be good enough.
fn undecidable(on_deadline: OnDeadline) -> Story {
    Story::with_shop(|shop| {
        shop.rollout.deadline = Span::seconds(60);
        shop.rollout.on_deadline = on_deadline;
        shop.rollout.judgement.tolerance = model::Ratio::from_ppm(10).unwrap();
    })
}

#[test]
fn what_is_undecided_at_its_deadline_is_rolled_back() {
    let mut s = undecidable(OnDeadline::Rollback);
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
        +61.000 s  REL-2 gets no requests any more: undecided at its deadline: REL-2 10 of 5521 failed (0.18 %, likely 0.04 % to 0.50 %), p99 30.2 ms; REL-1 17 of 6379 failed (0.27 %, likely 0.09 % to 0.60 %), p99 30.2 ms
        +61.000 s  CHG-3 was rolled back: undecided at its deadline: REL-2 10 of 5521 failed (0.18 %, likely 0.04 % to 0.50 %), p99 30.2 ms; REL-1 17 of 6379 failed (0.27 %, likely 0.09 % to 0.60 %), p99 30.2 ms
    "#]]);
}

#[test]
fn what_is_undecided_at_its_deadline_is_promoted_where_that_was_asked_for() {
    let mut s = undecidable(OnDeadline::Promote);
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
        +61.000 s  REL-2 gets all requests: undecided at its deadline: REL-2 10 of 5521 failed (0.18 %, likely 0.04 % to 0.50 %), p99 30.2 ms; REL-1 17 of 6379 failed (0.27 %, likely 0.09 % to 0.60 %), p99 30.2 ms
        +81.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn what_is_undecided_at_its_deadline_is_held_for_a_person_where_that_was_asked_for() {
    let mut s = undecidable(OnDeadline::Hold);
    let change = s.deploy("shop", "v2");
    s.run(Span::seconds(75));
    assert!(s.state().changes[&change].phase.is_open());
    s.command(Command::Promote { change });
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
        +61.000 s  held: undecided at its deadline: REL-2 10 of 5521 failed (0.18 %, likely 0.04 % to 0.50 %), p99 30.2 ms; REL-1 17 of 6379 failed (0.27 %, likely 0.09 % to 0.60 %), p99 30.2 ms
        +75.000 s  REL-2 gets all requests: ann: because
        +95.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn nothing_is_promoted_on_no_requests_even_where_a_deadline_promotes() {
    let mut s = undecidable(OnDeadline::Promote);
    s.traffic("shop", 0);
    let change = s.deploy("shop", "v2");
    s.run(Span::seconds(75));
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +61.000 s  held: undecided at its deadline: nothing was observed
    "#]]);
    s.command(Command::Cancel { change });
    s.run_until_settled();
    assert_eq!(s.state().releases[&s.state().services[&key("shop")].running.unwrap()].artifact, artifact("v1"));
}
