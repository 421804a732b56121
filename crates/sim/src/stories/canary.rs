//! Canary rollouts, judged on requests.

use crate::story::{Story, spec};
use expect_test::expect;
use model::Span;

#[test]
fn the_first_deploy_runs_once_it_is_ready() {
    let mut s = Story::new();
    s.apply([("shop", spec("shop"))]);
    s.deploy("shop", "v1");
    s.run_until_settled();
    s.expect(expect![[r#"
            +0.000 s  ann proposed CHG-2: deploy shop (plan …) — “because”
            +0.000 s  CHG-2 started
            +0.000 s  REL-1 “v1” of shop: artifact …, configuration …
            +0.000 s  REL-1 begins; nothing ran before
            +1.100 s  INS-1 is ready
            +1.100 s  INS-2 is ready
            +1.100 s  REL-1 gets all requests: 2 of 2 instances are ready
            +1.100 s  CHG-2 succeeded: REL-1 has all requests
    "#]]);
}

#[test]
fn a_good_canary_is_promoted_by_evidence() {
    let mut s = Story::with_shop_running();
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
        +11.000 s  judged: REL-2 is not worse (e-value 142, 20 needed); REL-2 2 of 571 failed (0.35 %, likely 0.01 % to 2.1 %), p99 29.2 ms; REL-1 5 of 1329 failed (0.38 %, likely 0.04 % to 1.4 %), p99 30.2 ms
        +11.000 s  REL-2 gets all requests: it is not worse than REL-1
        +31.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_failing_canary_is_rolled_back() {
    let mut s = Story::with_shop_running();
    s.version("v2").fails(0.10);
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
        +3.300 s  judged: REL-2 is worse by its failures (e-value 2752, 1500 needed); REL-2 4 of 52 failed (7.69 %, likely 0.89 % to 25 %), p99 30.2 ms; REL-1 0 of 372 failed (0.00 %, likely at most 1.7 %), p99 30.2 ms
        +3.300 s  REL-2 gets no requests any more: it fails more often than REL-1
        +3.300 s  CHG-3 was rolled back: it fails more often than REL-1
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_slow_canary_is_rolled_back() {
    let mut s = Story::with_shop_running();
    s.version("v2").takes(Span(45));
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
        +1.600 s  judged: REL-2 is worse by its latency (e-value 20388, 3000 needed); REL-2 0 of 10 failed (0.00 %, likely at most 38 %), p99 67.6 ms; REL-1 0 of 76 failed (0.00 %, likely at most 7.3 %), p99 30.2 ms
        +1.600 s  REL-2 gets no requests any more: it is slower than REL-1
        +1.600 s  CHG-3 was rolled back: it is slower than REL-1
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn an_outage_of_both_releases_holds_the_rollout_and_blames_nobody() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 10);
    s.run(Span::seconds(3));
    s.outage("shop", 0.6);
    s.run(Span::seconds(60));
    s.outage("shop", 0.0);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +4.600 s  held: REL-1 and REL-2 got worse together, so something they share is failing
        +64.600 s  goes on
        +69.600 s  the new release gets 50 % of the requests
        +74.600 s  judged: REL-2 is not worse (e-value 298, 20 needed); REL-2 668 of 1744 failed (38.30 %, likely 34 % to 43 %), p99 30.2 ms; REL-1 6547 of 12876 failed (50.85 %, likely 49 % to 53 %), p99 30.2 ms
        +74.600 s  REL-2 gets all requests: it is not worse than REL-1
        +94.600 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}
