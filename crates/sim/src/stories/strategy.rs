//! The other ways in which a release takes over.

use crate::story::{Story, deploy_by, key, spec};
use control::change::Phase;
use expect_test::expect;
use model::{ReleaseId, Span, Strategy};

#[test]
fn blue_green_moves_all_requests_at_once_and_keeps_the_old_release_warm() {
    let mut s = Story::with_shop_running();
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
    assert_eq!(s.lost(), 0);
}

#[test]
fn rolling_replaces_one_instance_after_the_other() {
    let mut s = Story::with_shop(|shop| shop.replicas = 3);
    let change = s.command(deploy_by(Strategy::Rolling, "shop", "v2"));
    let mut fewest = u32::MAX;
    while s.state().changes[&change].phase.is_open() {
        s.run(Span(100));
        let ready = s.state().instances.values().filter(|i| i.is_ready()).count() as u32;
        fewest = fewest.min(ready);
    }
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (rolling)
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 33.3333 % of the requests
        +6.000 s  the new release gets 66.6666 % of the requests
        +7.000 s  INS-5 is ready
        +12.000 s  the new release gets 100 % of the requests
        +13.000 s  INS-6 is ready
        +18.000 s  REL-2 gets all requests: every instance was replaced
        +18.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!((fewest, s.lost()), (3, 0), "never fewer ready than wanted");
}

#[test]
fn rolling_is_undone_when_the_first_instances_are_worse() {
    let mut s = Story::with_shop(|shop| shop.replicas = 3);
    s.version("v2").fails(0.2);
    s.command(deploy_by(Strategy::Rolling, "shop", "v2"));
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (rolling)
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 33.3333 % of the requests
        +1.600 s  judged: REL-2 is worse by its failures (e-value 1522, 1500 needed); REL-2 8 of 30 failed (26.67 %, likely 7.6 % to 55 %), p99 30.2 ms; REL-1 0 of 53 failed (0.00 %, likely at most 10.0 %), p99 29.2 ms
        +1.600 s  REL-2 gets no requests any more: it fails more often than REL-1
        +2.600 s  INS-5 is ready
        +2.600 s  CHG-3 was rolled back: it fails more often than REL-1
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn recreate_never_runs_two_releases_together() {
    let mut s = Story::with_shop_running();
    let change = s.command(deploy_by(Strategy::Recreate, "shop", "v2"));
    while s.state().changes[&change].phase.is_open() {
        s.run(Span(100));
        let mut releases: Vec<_> =
            s.world.driver.processes.values().filter(|p| p.runs()).map(|p| p.spec.release).collect();
        releases.dedup();
        assert!(releases.len() <= 1, "{releases:?}");
    }
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (recreate)
        +1.300 s  INS-3 is ready
        +1.300 s  INS-4 is ready
        +1.300 s  REL-2 gets all requests: 2 of 2 instances are ready
        +1.300 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn a_service_without_routes_is_replaced_when_the_new_release_is_ready() {
    let mut s = Story::new();
    let mut worker = spec("worker");
    worker.routes.clear();
    s.apply([("worker", worker)]);
    s.deploy("worker", "v1");
    s.run_until_settled();
    s.deploy("worker", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy worker (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of worker: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (blue-green)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  REL-2 gets all requests: 2 of 2 instances are ready
        +21.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    s.version("v3").is_never_ready();
    s.deploy("worker", "v3");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-4: deploy worker (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  REL-3 “v3” of worker: artifact …, configuration …
        +0.000 s  REL-3 begins to take over from REL-2 (blue-green)
        +30.100 s  REL-3 gets no requests any more: INS-5 was not ready within 30 s: connection refused
        +30.100 s  CHG-4 was rolled back: INS-5 was not ready within 30 s: connection refused
    "#]]);
    assert_eq!(s.state().services[&key("worker")].history.len(), 2);
}

#[test]
fn an_instance_that_is_lost_speaks_neither_against_its_release_nor_holds_it_up() {
    let mut s = Story::with_shop_running();
    let change = s.command(deploy_by(Strategy::Rolling, "shop", "v2"));
    s.run_until("an instance of v2 is ready", |s| s.state().ready(ReleaseId(2)) == 1);
    let first = s.state().instances_of(ReleaseId(2)).next().unwrap().id;
    s.world.driver.lose(first);
    s.run_until_phase(change, Phase::Succeeded);
    expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (rolling)
        +1.000 s  INS-3 is ready
        +1.000 s  the new release gets 50 % of the requests
        +1.100 s  INS-3 was lost together with its shim
        +1.600 s  INS-3 is started again (run 2)
        +2.100 s  INS-4 is ready
        +2.600 s  INS-3 is ready
        +7.600 s  the new release gets 100 % of the requests
        +8.600 s  INS-5 is ready
        +13.600 s  REL-2 gets all requests: every instance was replaced
        +13.600 s  CHG-3 succeeded: REL-2 has all requests
    "#]]
    .assert_eq(&s.tale_of(change));
}
