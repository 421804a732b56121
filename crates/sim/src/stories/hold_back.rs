//! After the promotion: a release that turns bad while the old one is still warm, and one that everybody is sent to at
//! once.

use crate::story::{Story, deploy_by};
use control::change::Phase;
use expect_test::expect;
use model::{Span, Strategy};

#[test]
fn a_promoted_release_that_turns_bad_is_undone_while_the_old_one_is_warm() {
    let mut s = Story::with_shop_running();
    let change = s.deploy("shop", "v2");
    s.run_until_phase(change, Phase::HoldingBack);
    s.run(Span::seconds(2));
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
        +6.000 s  the new release gets 50 % of the requests
        +11.000 s  judged: REL-2 is not worse (e-value 142, 20 needed); REL-2 2 of 571 failed (0.35 %, likely 0.01 % to 2.1 %), p99 29.2 ms; REL-1 5 of 1329 failed (0.38 %, likely 0.04 % to 1.4 %), p99 30.2 ms
        +11.000 s  REL-2 gets all requests: it is not worse than REL-1
        +13.500 s  judged: REL-2 is worse by its failures (e-value 6820, 2000 needed); REL-2 18 of 488 failed (3.69 %, likely 1.4 % to 7.5 %), p99 30.2 ms; REL-1 5 of 1329 failed (0.38 %), p99 30.2 ms
        +13.500 s  REL-2 gets no requests any more: it fails more often than REL-1 did
        +13.500 s  CHG-3 was rolled back: it fails more often than REL-1 did
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_bad_release_that_got_all_requests_at_once_is_found_by_what_was_usual_before() {
    let mut s = Story::with_shop_running();
    s.version("v2").fails(0.2);
    s.run(Span::seconds(20));
    s.command(deploy_by(Strategy::BlueGreen, "shop", "v2"));
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (blue-green)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets all requests: 2 of 2 instances are ready
        +1.200 s  judged: REL-2 is worse by its failures (e-value 8036, 2000 needed); REL-2 5 of 11 failed (45.45 %, likely 10 % to 84 %), p99 27.1 ms; REL-1 12 of 5100 failed (0.24 %), p99 30.2 ms
        +1.200 s  REL-2 gets no requests any more: it fails more often than REL-1 did
        +1.200 s  CHG-3 was rolled back: it fails more often than REL-1 did
    "#]]);
}

#[test]
fn a_good_release_that_got_all_requests_at_once_is_left_alone() {
    let mut s = Story::with_shop_running();
    s.run(Span::seconds(20));
    s.command(deploy_by(Strategy::BlueGreen, "shop", "v2"));
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (blue-green)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets all requests: 2 of 2 instances are ready
        +21.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}
