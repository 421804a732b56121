//! What is intended changes.

use crate::story::{Story, apply, key, spec};
use control::{Command, change::Phase};
use expect_test::expect;
use model::Span;

#[test]
fn what_does_not_alter_how_it_runs_is_in_force_at_once() {
    let mut s = Story::with_shop_running();
    let mut shop = spec("shop");
    shop.routes[0].path = "/shop".to_owned();
    shop.traffic.response_timeout = Span::seconds(5);
    s.apply([("shop", shop.clone())]);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: config shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  shop shall run 2 × on shop.example/shop
        +0.000 s  CHG-3 succeeded: it is in force
    "#]]);
    expect!["NothingToDo: everything is already as the configuration says"]
        .assert_eq(&s.refused(apply([("shop", shop)], false)));
    assert_eq!(s.lost(), 0);
}

#[test]
fn another_way_of_running_is_another_release() {
    let mut s = Story::with_shop_running();
    let mut shop = spec("shop");
    shop.run.env.insert("GREETING".to_owned(), "hello".to_owned());
    s.apply([("shop", shop)]);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: config shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  shop shall run 2 × on shop.example/
        +0.000 s  REL-2 “v1” of shop: artifact …, configuration …
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
fn a_bad_configuration_is_undone_and_the_old_one_is_intended_again() {
    let mut s = Story::with_shop_running();
    s.version("broken").fails(0.2);
    let mut shop = spec("shop");
    shop.run.command = vec!["broken".to_owned()];
    shop.routes[0].path = "/shop".to_owned();
    shop.replicas = 3;
    s.apply([("shop", shop)]);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: config shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  shop shall run 3 × on shop.example/shop
        +0.000 s  REL-2 “v1” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  INS-5 is ready
        +1.000 s  the new release gets 10 % of the requests
        +2.000 s  judged: REL-2 is worse by its failures (e-value 2715, 1500 needed); REL-2 4 of 19 failed (21.05 %, likely 3.0 % to 55 %), p99 29.2 ms; REL-1 0 of 147 failed (0.00 %, likely at most 4.0 %), p99 30.2 ms
        +2.000 s  REL-2 gets no requests any more: it fails more often than REL-1
        +2.000 s  CHG-3 was rolled back: it fails more often than REL-1
    "#]]);
    assert_eq!((*s.state().services[&key("shop")].spec).clone(), spec("shop"));
    assert_eq!((s.state().instances.len(), s.lost()), (2, 0));
}

#[test]
fn a_rollback_returns_to_the_configuration_too() {
    let mut s = Story::with_shop_running();
    let mut shop = spec("shop");
    shop.run.env.insert("GREETING".to_owned(), "hello".to_owned());
    s.apply([("shop", shop.clone())]);
    s.run_until_settled();
    s.rollback("shop");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-4: rollback shop (plan …) — “because”
        +0.000 s  CHG-4 started
        +0.000 s  shop shall run 2 × on shop.example/
        +0.000 s  REL-1 begins to take over from REL-2 (blue-green)
        +1.000 s  INS-5 is ready
        +1.000 s  INS-6 is ready
        +1.000 s  REL-1 gets all requests: 2 of 2 instances are ready
        +1.000 s  CHG-4 succeeded: REL-1 has all requests
    "#]]);
    assert_eq!(s.state().services[&key("shop")].spec.run, spec("shop").run);
    // What the file says differs again, and applying it is a rollout again.
    let change = s.apply([("shop", shop)]);
    s.run_until_phase(change, Phase::HoldingBack);
}

#[test]
fn a_service_that_is_not_named_any_more_is_drained_and_removed() {
    let mut s = Story::with_shop_running();
    s.command(apply([("cart", spec("cart"))], true));
    s.run_until_settled();
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
        +6.100 s  ann proposed CHG-3: remove shop (plan …) — “because”
        +6.100 s  CHG-3 started
        +6.100 s  shop shall not run any more
        +6.400 s  CHG-3 succeeded: nothing of it runs any more
    "#]]
    .assert_eq(&s.tale_of_service("shop"));
    assert!(s.state().services.get(&key("shop")).is_none() && s.state().instances.is_empty());
    assert_eq!(s.state().releases.len(), 0, "nothing of it is kept");
}

#[test]
fn a_service_that_is_named_again_while_it_is_removed_stays() {
    let mut s = Story::with_shop_running();
    s.version("v1").stops_in = Span::seconds(3);
    s.command(apply([], true));
    s.run(Span::seconds(1));
    s.apply([("shop", spec("shop"))]);
    s.run_until_settled();
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
        +6.100 s  ann proposed CHG-3: remove shop (plan …) — “because”
        +6.100 s  CHG-3 started
        +6.100 s  shop shall not run any more
        +7.100 s  ann proposed CHG-4: config shop (plan …) — “because”
        +7.100 s  CHG-3 was superseded: CHG-4 took its place
        +7.100 s  CHG-4 started
        +7.100 s  shop shall run 2 × on shop.example/
        +7.100 s  CHG-4 succeeded: it is in force
        +8.100 s  INS-3 is ready
        +8.100 s  INS-4 is ready
    "#]]
    .assert_eq(&s.tale_of_service("shop"));
    assert_eq!(s.state().instances.values().filter(|i| i.is_ready()).count(), 2);
}

#[test]
fn two_services_on_one_route_are_refused() {
    let mut s = Story::with_shop_running();
    expect!["RouteTaken: cart and shop both want shop.example/; give one of them another host or path"]
        .assert_eq(&s.refused(apply([("cart", spec("shop"))], false)));
    expect!["RouteTaken: till and cart both want cart.example/; give one of them another host or path"]
        .assert_eq(&s.refused(apply([("cart", spec("cart")), ("till", spec("cart"))], false)));
    // A rename is no conflict.
    s.command(apply([("store", spec("shop"))], true));
}

#[test]
fn two_services_on_one_address_are_refused_and_one_may_take_over_from_the_other() {
    let mut s = Story::with_shop_running();
    let on = |name: &str, addresses: &[&str]| {
        let mut spec = spec(name);
        spec.tcp = addresses.iter().map(|address| address.parse().unwrap()).collect();
        spec
    };
    s.apply([("shop", on("shop", &["127.0.0.1:5432"]))]);
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: config shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  shop shall run 2 × on shop.example/, tcp://127.0.0.1:5432
        +0.000 s  CHG-3 succeeded: it is in force
    "#]]);
    expect!["RouteTaken: cart and shop both want tcp://127.0.0.1:5432; give one of them another port"]
        .assert_eq(&s.refused(apply([("cart", on("cart", &["127.0.0.1:5432"]))], false)));
    // All addresses of this machine are that one, too.
    expect!["RouteTaken: cart and shop both want tcp://0.0.0.0:5432; give one of them another port"]
        .assert_eq(&s.refused(apply([("cart", on("cart", &["0.0.0.0:5432"]))], false)));
    let table = control::route::table(s.state());
    assert_eq!(table.services[0].tcp, ["127.0.0.1:5432".parse().unwrap()]);
    // Who gives it up comes first, whatever their names are.
    let both = [("cart", on("cart", &["0.0.0.0:5432"])), ("shop", on("shop", &["127.0.0.1:5433"]))];
    let entries = s.try_command(apply(both, false)).unwrap();
    let order = control::changes_of(&entries).into_iter().map(|id| s.state().changes[&id].service.clone());
    assert_eq!(order.collect::<Vec<_>>(), [key("shop"), key("cart")]);
}

#[test]
fn a_removal_is_not_cancelled_once_another_service_has_the_route() {
    let mut s = Story::with_shop_running();
    s.version("v1").stops_in = Span::seconds(3);
    let entries = s.try_command(apply([("store", spec("shop"))], true)).unwrap();
    let changes = control::changes_of(&entries);
    let change = *changes.iter().find(|id| s.state().changes[*id].service == key("shop")).unwrap();
    expect!["RouteTaken: CHG-3 cannot be undone: store has shop.example/ now; give store another route first"]
        .assert_eq(&s.refused(Command::Cancel { change }));
    s.run_until_settled();
}

#[test]
fn a_route_that_a_failing_change_would_need_again_is_not_given_away() {
    let mut s = Story::with_shop_running();
    let mut shop = spec("shop");
    shop.run.env.insert("GREETING".to_owned(), "hello".to_owned());
    shop.routes[0].path = "/shop".to_owned();
    expect!["RouteTaken: cart and shop both want shop.example/; shop gives it up when its change has succeeded; apply cart after that"].assert_eq(&s.refused(apply([("shop", shop.clone()), ("cart", spec("shop"))], false)));
    let change = s.apply([("shop", shop)]);
    expect!["RouteTaken: cart and shop both want shop.example/; shop gives it up when its change has succeeded; apply cart after that"].assert_eq(&s.refused(apply([("cart", spec("shop"))], false)));
    s.run_until_phase(change, Phase::Succeeded);
    s.apply([("cart", spec("shop"))]);
}
