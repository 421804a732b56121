//! A release that gets copies of requests before it gets any.

use crate::story::Story;
use control::change::Phase;
use expect_test::expect;
use model::{OnDeadline, Ratio, ServiceSpec, Span};

fn shadowed(spec: &mut ServiceSpec) {
    spec.rollout.shadow = Ratio::from_percent(50).unwrap();
    spec.rollout.shadow_requests = 200;
}

#[test]
fn a_good_release_gets_copies_and_then_requests() {
    let mut s = Story::with_shop(shadowed);
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets copies of 50 % of the safe requests until 200 are compared, and no request
        +3.600 s  judged by copies: nothing shows that REL-2 fails more often (e-value 1, 2000 needed); 252 copies compared: both fine 252, only REL-2 failed 0, only REL-1 failed 0, both failed 0; statuses differ 0, p99 of the copies 30.2 ms
        +3.600 s  the new release gets 10 % of the requests
        +8.600 s  the new release gets 50 % of the requests
        +13.600 s  judged: REL-2 is not worse (e-value 280, 20 needed); REL-2 0 of 533 failed (0.00 %, likely at most 1.3 %), p99 30.2 ms; REL-1 6 of 1367 failed (0.44 %, likely 0.06 % to 1.5 %), p99 29.2 ms
        +13.600 s  REL-2 gets all requests: it is not worse than REL-1
        +33.600 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_release_whose_copies_fail_is_undone_before_it_had_a_user() {
    let mut s = Story::with_shop(shadowed);
    s.version("v2").fails(0.2);
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets copies of 50 % of the safe requests until 200 are compared, and no request
        +2.100 s  judged by copies: REL-2 fails more often (e-value 2196, 2000 needed); 102 copies compared: both fine 84, only REL-2 failed 17, only REL-1 failed 1, both failed 0; statuses differ 0, p99 of the copies 30.2 ms
        +2.100 s  REL-2 gets no requests any more: copies fail more often with it than the requests themselves with REL-1
        +2.100 s  CHG-3 was rolled back: copies fail more often with it than the requests themselves with REL-1
    "#]]);
    // The same number of requests as if it had never been there.
    assert_eq!(s.requests().lines().last(), Some("REL-2: 0 answered, 0 failed, 0 lost"));
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_release_that_fails_with_the_running_one_is_not_blamed() {
    let mut s = Story::with_shop(shadowed);
    let change = s.deploy("shop", "v2");
    s.run(Span::seconds(1));
    s.outage("shop", 0.4);
    s.run_until("it is a canary", |s| s.state().changes[&change].rollout.as_ref().is_some_and(|r| r.step.is_some()));
    assert_eq!(s.state().changes[&change].phase, Phase::Running);
}

#[test]
fn with_little_traffic_it_is_held_until_the_deadline_and_then_undone() {
    let mut s = Story::with_shop(shadowed);
    s.traffic("shop", 0);
    let change = s.deploy("shop", "v2");
    s.run(Span::minutes(4));
    let phase = |s: &Story| s.state().changes[&change].phase;
    assert_eq!(phase(&s), Phase::Running);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets copies of 50 % of the safe requests until 200 are compared, and no request
        +301.000 s  judged by copies: nothing shows that REL-2 fails more often (e-value 1, 2000 needed); 0 copies compared: both fine 0, only REL-2 failed 0, only REL-1 failed 0, both failed 0; statuses differ 0
        +301.000 s  REL-2 gets no requests any more: undecided at its deadline, before it had a request: 0 of 200 copies were compared
        +301.000 s  CHG-3 was rolled back: undecided at its deadline, before it had a request: 0 of 200 copies were compared
    "#]]);
}

#[test]
fn held_for_a_person_it_goes_on_when_there_are_copies_enough_after_all() {
    let mut s = Story::with_shop(|spec| {
        shadowed(spec);
        spec.rollout.on_deadline = OnDeadline::Hold;
    });
    s.traffic("shop", 0);
    s.deploy("shop", "v2");
    s.run(Span::minutes(6));
    s.traffic("shop", 200);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets copies of 50 % of the safe requests until 200 are compared, and no request
        +301.000 s  held: undecided at its deadline, before it had a request: 0 of 200 copies were compared
        +362.600 s  judged by copies: nothing shows that REL-2 fails more often (e-value 0, 2000 needed); 233 copies compared: both fine 232, only REL-2 failed 0, only REL-1 failed 1, both failed 0; statuses differ 0, p99 of the copies 30.2 ms
        +362.600 s  the new release gets 10 % of the requests
        +367.600 s  the new release gets 50 % of the requests
        +372.600 s  judged: REL-2 is not worse (e-value 191, 20 needed); REL-2 1 of 559 failed (0.18 %, likely at most 1.7 %), p99 30.2 ms; REL-1 6 of 1341 failed (0.45 %, likely 0.06 % to 1.5 %), p99 30.2 ms
        +372.600 s  REL-2 gets all requests: it is not worse than REL-1
        +392.600 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn one_that_is_in_doubt_goes_on_with_copies_until_it_is_decided() {
    let mut s = Story::with_shop(|spec| {
        shadowed(spec);
        spec.rollout.shadow_requests = 60;
    });
    s.version("v2").fails(0.06);
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets copies of 50 % of the safe requests until 60 are compared, and no request
        +4.600 s  judged by copies: REL-2 fails more often (e-value 10753, 2000 needed); 349 copies compared: both fine 334, only REL-2 failed 15, only REL-1 failed 0, both failed 0; statuses differ 0, p99 of the copies 30.2 ms
        +4.600 s  REL-2 gets no requests any more: copies fail more often with it than the requests themselves with REL-1
        +4.600 s  CHG-3 was rolled back: copies fail more often with it than the requests themselves with REL-1
    "#]]);
    assert_eq!(s.requests().lines().last(), Some("REL-2: 0 answered, 0 failed, 0 lost"));
}

#[test]
fn a_release_that_dies_while_it_gets_copies_is_undone() {
    let mut s = Story::with_shop(|spec| {
        shadowed(spec);
        spec.rollout.shadow_requests = 100_000;
    });
    s.version("v2").dies_after(Span::seconds(4));
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets copies of 50 % of the safe requests until 100000 are compared, and no request
        +4.000 s  INS-3 exited with status 1
        +4.000 s  INS-4 exited with status 1
        +4.500 s  INS-3 is started again (run 2)
        +4.500 s  INS-4 is started again (run 2)
        +5.500 s  INS-3 is ready
        +5.500 s  INS-4 is ready
        +8.500 s  INS-3 exited with status 1
        +8.500 s  INS-4 exited with status 1
        +8.600 s  judged by copies: REL-2 fails more often (e-value 299706, 2000 needed); 602 copies compared: both fine 582, only REL-2 failed 20, only REL-1 failed 0, both failed 0; statuses differ 0, p99 of the copies 29.2 ms
        +8.600 s  REL-2 gets no requests any more: copies fail more often with it than the requests themselves with REL-1
        +8.600 s  CHG-3 was rolled back: copies fail more often with it than the requests themselves with REL-1
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_person_can_pause_promote_or_cancel_it() {
    let mut s = Story::with_shop(|spec| {
        shadowed(spec);
        spec.rollout.shadow_requests = 100_000;
    });
    let change = s.deploy("shop", "v2");
    s.run(Span::seconds(3));
    s.command(control::Command::Pause { change });
    s.run(Span::minutes(10));
    assert_eq!(s.state().changes[&change].phase, Phase::Paused);
    s.command(control::Command::Promote { change });
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets copies of 50 % of the safe requests until 100000 are compared, and no request
        +3.000 s  ann paused CHG-3 — “because”
        +603.000 s  REL-2 gets all requests: ann: because
        +623.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}
