//! What the data plane has stored is purged, whatever else is under way and whoever is away.

use crate::story::{Story, key};
use control::Command;
use expect_test::expect;
use model::{Bytes, Purge};

fn caching() -> Story {
    Story::with_shop(|shop| shop.traffic.cache = Some(Bytes::mib(8)))
}

fn purge(path: Option<&str>) -> Command {
    Command::PurgeCache { service: key("shop"), path: path.map(str::to_owned) }
}

/// What the data plane, as it runs, is told to give to nobody.
fn obeyed(s: &Story) -> Vec<Purge> {
    let table = &s.world.proxy.as_ref().unwrap().saved.table;
    table.services.iter().find(|service| service.service == key("shop")).unwrap().purges.clone()
}

#[test]
fn a_purge_reaches_the_data_plane_and_leaves_a_rollout_alone() {
    let mut s = caching();
    let change = s.deploy("shop", "v2");
    s.run_until_weight(change, 10);
    let guard = |s: &Story| s.world.proxy.as_ref().unwrap().saved.table.services[0].guard.clone().unwrap();
    let watched = guard(&s);
    s.run(model::Span::seconds(1));
    s.try_command(purge(Some("/img"))).unwrap();
    assert_eq!((obeyed(&s)[0].path.as_deref(), guard(&s)), (Some("/img"), watched));
    s.run_until_settled();
    s.try_command(purge(None)).unwrap();
    assert_eq!(obeyed(&s).len(), 1);
    expect![[r#"
        +0.000 s  ann proposed CHG-1: config shop (plan …) — “because”
        +0.000 s  CHG-1 started
        +0.000 s  shop shall run 2 × on shop.example/
        +0.000 s  ann proposed CHG-2: deploy shop (plan …) — “because”
        +0.000 s  CHG-2 started
        +0.000 s  REL-1 “v1” of shop: artifact …, configuration …
        +0.000 s  REL-1 begins; nothing ran before
        +0.100 s  CHG-1 succeeded: it will run with its first deploy
        +1.100 s  INS-1 is ready
        +1.100 s  INS-2 is ready
        +1.100 s  REL-1 gets all requests: 2 of 2 instances are ready
        +1.100 s  CHG-2 succeeded: REL-1 has all requests
        +6.100 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +6.100 s  CHG-3 started
        +6.100 s  REL-2 “v2” of shop: artifact …, configuration …
        +6.100 s  REL-2 begins to take over from REL-1 (canary)
        +7.100 s  INS-3 is ready
        +7.100 s  INS-4 is ready
        +7.100 s  the new release gets 10 % of the requests
        +8.100 s  ann purged the cache of shop at /img and below — “because”
        +12.100 s  the new release gets 50 % of the requests
        +17.100 s  judged: REL-2 is not worse (e-value 142, 20 needed); REL-2 2 of 571 failed (0.35 %, likely 0.01 % to 2.1 %), p99 29.2 ms; REL-1 5 of 1329 failed (0.38 %, likely 0.04 % to 1.4 %), p99 30.2 ms
        +17.100 s  REL-2 gets all requests: it is not worse than REL-1
        +37.100 s  CHG-3 succeeded: REL-2 has all requests
        +37.400 s  ann purged the cache of shop — “because”
    "#]].assert_eq(&s.tale_of_service("shop"));
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_data_plane_that_was_away_purges_when_it_is_back() {
    let mut s = caching();
    s.world.kill_proxy();
    s.try_command(purge(None)).unwrap();
    s.run(model::Span::seconds(5));
    // It begins with the table that it had.
    s.world.start_proxy();
    assert_eq!(obeyed(&s), []);
    s.run(model::Span::seconds(1));
    assert_eq!(obeyed(&s), s.state().services[&key("shop")].purges);
    // So does one that ran while the control plane was away, and what was purged is known after a restart of both.
    s.world.kill_control();
    s.world.start_control(None);
    s.world.kill_proxy();
    s.world.start_proxy();
    s.run(model::Span::seconds(1));
    assert_eq!(obeyed(&s).len(), 1);
}

#[test]
fn a_purge_of_what_is_not_there_is_refused() {
    let mut s = Story::with_shop_running();
    expect!["Invalid: shop has no cache; `cache = \"64 MiB\"` under its `traffic` would give it one"]
        .assert_eq(&s.refused(purge(None)));
}
