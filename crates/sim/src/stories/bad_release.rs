//! Releases that never get as far as serving requests.

use crate::story::{Story, deploy_by};
use expect_test::expect;
use model::{Span, Strategy};

#[test]
fn a_release_that_is_never_ready_is_undone_and_nobody_notices() {
    let mut s = Story::with_shop_running();
    s.version("v2").is_never_ready();
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +30.100 s  REL-2 gets no requests any more: INS-3 was not ready within 30 s: connection refused
        +30.100 s  CHG-3 was rolled back: INS-3 was not ready within 30 s: connection refused
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_release_that_is_never_ready_is_undone_when_nothing_else_runs_too() {
    let mut s = Story::with_shop_running();
    s.version("v2").is_never_ready();
    s.command(deploy_by(Strategy::Recreate, "shop", "v2"));
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (recreate)
        +30.400 s  REL-2 gets no requests any more: INS-3 was not ready within 30 s: connection refused
        +31.700 s  INS-5 is ready
        +31.700 s  INS-6 is ready
        +31.700 s  CHG-3 was rolled back: INS-3 was not ready within 30 s: connection refused
    "#]]);
}

#[test]
fn a_crash_loop_is_a_verdict() {
    let mut s = Story::with_shop_running();
    s.version("v2").is_ready_after(Span(500)).dies_after(Span(400));
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +0.400 s  INS-3 exited with status 1
        +0.400 s  INS-4 exited with status 1
        +0.900 s  INS-3 is started again (run 2)
        +0.900 s  INS-4 is started again (run 2)
        +1.300 s  INS-3 exited with status 1
        +1.300 s  INS-4 exited with status 1
        +2.300 s  INS-3 is started again (run 3)
        +2.300 s  INS-4 is started again (run 3)
        +2.700 s  INS-3 exited with status 1
        +2.700 s  INS-4 exited with status 1
        +2.700 s  REL-2 gets no requests any more: INS-3 ended 3 times; the last time it exited with status 1
        +2.700 s  CHG-3 was rolled back: INS-3 ended 3 times; the last time it exited with status 1
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_release_that_dies_while_it_takes_over_is_undone() {
    let mut s = Story::with_shop_running();
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
        +1.000 s  the new release gets 10 % of the requests
        +4.000 s  INS-3 exited with status 1
        +4.000 s  INS-4 exited with status 1
        +4.500 s  INS-3 is started again (run 2)
        +4.500 s  INS-4 is started again (run 2)
        +5.500 s  INS-3 is ready
        +5.500 s  INS-4 is ready
        +8.500 s  INS-3 exited with status 1
        +8.500 s  INS-4 exited with status 1
        +9.500 s  INS-3 is started again (run 3)
        +9.500 s  INS-4 is started again (run 3)
        +10.500 s  INS-3 is ready
        +10.500 s  INS-4 is ready
        +13.500 s  INS-3 exited with status 1
        +13.500 s  INS-4 exited with status 1
        +13.500 s  REL-2 gets no requests any more: INS-3 ended 3 times; the last time it exited with status 1
        +13.500 s  CHG-3 was rolled back: INS-3 ended 3 times; the last time it exited with status 1
    "#]]);
}

#[test]
fn a_release_that_cannot_be_started_is_undone_at_once() {
    let mut s = Story::with_shop_running();
    s.version("v2").cannot_start("bin/shop is not executable");
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +0.100 s  INS-3 could not be started: bin/shop is not executable
        +0.100 s  INS-4 could not be started: bin/shop is not executable
        +0.100 s  REL-2 gets no requests any more: INS-3 could not be started: bin/shop is not executable
        +0.100 s  CHG-3 was rolled back: INS-3 could not be started: bin/shop is not executable
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_first_release_that_cannot_be_started_leaves_nothing_behind() {
    let mut s = Story::new();
    s.apply([("shop", crate::story::spec("shop"))]);
    s.version("v1").cannot_start("bin/shop is not executable");
    s.deploy("shop", "v1");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-2: deploy shop (plan …) — “because”
        +0.000 s  CHG-2 started
        +0.000 s  REL-1 “v1” of shop: artifact …, configuration …
        +0.000 s  REL-1 begins; nothing ran before
        +0.200 s  INS-1 could not be started: bin/shop is not executable
        +0.200 s  INS-2 could not be started: bin/shop is not executable
        +0.200 s  REL-1 gets no requests any more: INS-1 could not be started: bin/shop is not executable
        +0.200 s  CHG-2 failed: INS-1 could not be started: bin/shop is not executable
    "#]]);
    assert_eq!((s.state().instances.len(), s.world.driver.processes.len()), (0, 0));
}

#[test]
fn a_release_that_breaks_in_its_hold_back_is_undone_in_a_moment() {
    let mut s = Story::with_shop_running();
    s.version("v2").dies_after(Span::seconds(16));
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
        +16.000 s  INS-3 exited with status 1
        +16.000 s  INS-4 exited with status 1
        +16.000 s  REL-2 gets no requests any more: none of its instances answers any more: INS-3 exited with status 1
        +16.000 s  CHG-3 was rolled back: none of its instances answers any more: INS-3 exited with status 1
    "#]]);
}
