//! A service that is down is repaired by a deploy that waits for no evidence.

use crate::story::Story;
use expect_test::expect;
use model::Span;

#[test]
fn a_release_that_replaces_one_that_is_down_gets_all_requests_as_soon_as_it_is_ready() {
    let mut s = Story::with_shop_running();
    s.version("v1").dies_after(Span::seconds(1));
    [1, 2].into_iter().for_each(|i| s.world.hit(model::InstanceId(i)));
    s.run(Span::seconds(20));
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (blue-green)
        +0.600 s  INS-1 exited with status 1
        +0.600 s  INS-2 exited with status 1
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets all requests: 2 of 2 instances are ready
        +1.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}
