//! Changes that others must agree to.

use crate::story::{Story, apply, deploy, spec};
use control::{Command, change::Phase};
use expect_test::expect;
use model::{Actor, EnvironmentName, Span};

/// A shop in an environment where somebody else must approve.
fn watched() -> Story {
    let mut s = Story::with_shop_running();
    s.world.policy.approvals.insert(EnvironmentName::default(), 1);
    s
}

#[test]
fn a_change_waits_until_somebody_else_approves_what_it_will_do() {
    let mut s = watched();
    let change = s.deploy("shop", "v2");
    s.run(Span::seconds(40));
    assert_eq!(s.state().changes[&change].phase, Phase::WaitingApproval);
    let digest = s.state().changes[&change].plan.digest;
    expect!["OwnApproval: ann proposed CHG-3 and cannot approve it; ask someone else"]
        .assert_eq(&s.refused(Command::Approve { change, digest }));
    s.who = Actor::person("vic");
    expect!["Denied: vic is a viewer here and may not approve"]
        .assert_eq(&s.refused(Command::Approve { change, digest }));
    s.who = Actor::person("bob");
    expect!["PlanChanged: what CHG-3 would do is not what was read; look at it with `qd change CHG-3`; if the service has moved on, cancel it and propose it again"].assert_eq(&s.refused(Command::Approve { change, digest: model::Digest::of(b"another plan") }));
    s.command(Command::Approve { change, digest });
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …), waiting for 1 approval — “because”
        +40.000 s  bob approved CHG-3 (plan …) — “because”
        +40.000 s  CHG-3 started
        +40.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +40.000 s  REL-2 begins to take over from REL-1 (canary)
        +41.000 s  INS-3 is ready
        +41.000 s  INS-4 is ready
        +41.000 s  the new release gets 10 % of the requests
        +46.000 s  the new release gets 50 % of the requests
        +51.000 s  judged: REL-2 is not worse (e-value 252, 20 needed); REL-2 0 of 524 failed (0.00 %, likely at most 1.3 %), p99 30.2 ms; REL-1 4 of 1376 failed (0.29 %, likely 0.02 % to 1.2 %), p99 30.2 ms
        +51.000 s  REL-2 gets all requests: it is not worse than REL-1
        +71.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn an_approval_is_for_the_service_as_it_was() {
    let mut s = watched();
    let change = s.deploy("shop", "v2");
    let digest = s.state().changes[&change].plan.digest;
    s.world.policy.approvals.clear();
    s.scale("shop", 3);
    s.run_until_settled();
    s.who = Actor::person("bob");
    expect!["PlanChanged: what CHG-3 would do is not what was proposed; look at it with `qd change CHG-3`; if the service has moved on, cancel it and propose it again"].assert_eq(&s.refused(Command::Approve { change, digest }));
    s.command(Command::Cancel { change });
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …), waiting for 1 approval — “because”
        +1.000 s  CHG-3 was cancelled: bob: because
    "#]]);
}

#[test]
fn an_approved_change_does_not_push_another_aside() {
    let mut s = watched();
    let waiting = s.deploy("shop", "v2");
    let digest = s.state().changes[&waiting].plan.digest;
    s.world.policy.approvals.clear();
    let under_way = s.deploy("shop", "v3");
    s.run_until_weight(under_way, 10);
    s.who = Actor::person("bob");
    expect!["ChangeUnderWay: CHG-4 of shop is running; wait for it, `qd cancel CHG-4`, or deploy with --supersede to take its place"].assert_eq(&s.refused(Command::Approve { change: waiting, digest }));
    s.version("v3").fails(0.5);
    s.run_until_settled();
    s.command(Command::Approve { change: waiting, digest });
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …), waiting for 1 approval — “because”
        +1.800 s  bob approved CHG-3 (plan …) — “because”
        +1.800 s  CHG-3 started
        +1.800 s  REL-3 “v2” of shop: artifact …, configuration …
        +1.800 s  REL-3 begins to take over from REL-1 (canary)
        +2.800 s  INS-5 is ready
        +2.800 s  INS-6 is ready
        +2.800 s  the new release gets 10 % of the requests
        +7.800 s  the new release gets 50 % of the requests
        +12.800 s  judged: REL-3 is not worse (e-value 221, 20 needed); REL-3 1 of 577 failed (0.17 %, likely at most 1.7 %), p99 30.2 ms; REL-1 4 of 1323 failed (0.30 %, likely 0.02 % to 1.2 %), p99 30.2 ms
        +12.800 s  REL-3 gets all requests: it is not worse than REL-1
        +32.800 s  CHG-3 succeeded: REL-3 has all requests
    "#]]);
}

#[test]
fn a_waiting_change_of_a_service_that_is_gone_can_only_be_withdrawn() {
    let mut s = watched();
    let change = s.deploy("shop", "v2");
    let digest = s.state().changes[&change].plan.digest;
    s.world.policy.approvals.clear();
    s.command(apply([], true));
    s.run_until_settled();
    s.who = Actor::person("bob");
    expect!["UnknownService: there is no service shop; declare it in quarterdeck.toml and run `qd apply`"]
        .assert_eq(&s.refused(Command::Approve { change, digest }));
    assert_eq!(s.command(Command::Cancel { change }), change);
}

#[test]
fn a_rollback_waits_for_nobody() {
    let mut s = Story::with_shop_running();
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.world.policy.approvals.insert(EnvironmentName::default(), 2);
    let change = s.rollback("shop");
    s.run_until_phase(change, Phase::Succeeded);
}

#[test]
fn strangers_and_viewers_change_nothing() {
    let mut s = Story::with_shop_running();
    s.who = Actor::person("vic");
    expect!["Denied: vic is a viewer here and may not deploy"].assert_eq(&s.refused(deploy("shop", "v2")));
    s.who = Actor::program("ci");
    expect!["Denied: program ci has no role here; an owner can name them under [access] in quarterdeck.toml"]
        .assert_eq(&s.refused(apply([("cart", spec("cart"))], false)));
}
