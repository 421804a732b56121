use super::*;
use crate::testing::{Bench, apply, deploy, key, seen, spec};
use model::{Actor, InstanceId, Phase, Span};

#[test]
fn a_reason_is_required_and_bounded() {
    let mut b = Bench::with_shop();
    for (reason, code) in [(" ", Code::ReasonRequired), (&*"x".repeat(2_001), Code::Invalid)] {
        let request = Request { reason: reason.to_owned(), ..b.request(deploy("shop", "v2")) };
        assert_eq!(b.ask(request).unwrap_err().code, code);
    }
}

#[test]
fn whoever_has_no_role_is_denied_before_anything_else() {
    let mut b = Bench::with_shop();
    let request = Request { actor: Actor::person("eve"), reason: String::new(), ..b.request(deploy("nothing", "v2")) };
    assert_eq!(b.ask(request).unwrap_err().code, Code::Denied);
}

#[test]
fn the_reason_is_recorded_once_for_each_change() {
    let mut b = Bench::new();
    let entries = b.command(apply([("shop", spec("shop")), ("cart", spec("cart"))])).unwrap();
    assert_eq!(entries.iter().filter(|e| e.why.is_some()).count(), 2);
    assert!(entries.iter().all(|e| e.actor == Actor::person("ann")));
    assert!(b.state.changes.values().all(|c| c.reason == "a reason"));
    assert_eq!(changes_of(&entries), [ChangeId(1), ChangeId(2)]);
}

#[test]
fn a_command_that_takes_a_place_is_about_the_change_it_made() {
    let mut b = Bench::with_shop();
    b.command(deploy("shop", "v2")).unwrap();
    let Command::Deploy { service, artifact, label, strategy, .. } = deploy("shop", "v3") else { unreachable!() };
    let entries = b.command(Command::Deploy { service, artifact, label, strategy, supersede: true }).unwrap();
    assert_eq!(changes_of(&entries), [ChangeId(4)]);
    let entries = b.command(Command::Pause { change: ChangeId(4) }).unwrap();
    assert_eq!(changes_of(&entries), [ChangeId(4)]);
}

#[test]
fn a_change_is_never_split_between_two_appends() {
    let mut b = Bench::new();
    let request = b.request(apply([("shop", spec("shop")), ("cart", spec("cart"))]));
    let input = Input::Command(Box::new(request));
    let drafts = decide(&b.state, &b.observed, &b.policy, b.now, &input).unwrap();
    assert_eq!(batches(drafts).iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    // What follows from an observation follows again, so it may be split anywhere.
    b.command(apply([("shop", spec("shop"))])).unwrap();
    b.command(deploy("shop", "v1")).unwrap();
    let drafts = decide(&b.state, &b.observed, &b.policy, b.now, &Input::Observed).unwrap();
    assert!(batches(drafts).iter().all(|group| group.len() == 1));
}

#[test]
fn nothing_follows_before_the_driver_has_reported() {
    let mut b = Bench::with_shop();
    b.command(deploy("shop", "v2")).unwrap();
    b.settle();
    b.observed = Observed::default();
    b.now = b.now + Span::minutes(60);
    b.settle();
    assert!(b.state.changes[&ChangeId(3)].phase.is_open(), "its deadline has passed, and nothing is known");
    assert!(plan(&b.state, &b.observed, b.now).is_empty());
}

#[test]
fn what_nothing_wants_is_stopped_and_then_forgotten() {
    let mut b = Bench::with_shop();
    let stray = InstanceId(99);
    let mut actions = |phase| {
        b.all_ready();
        let mut all: Vec<_> = b.observed.instances.clone().unwrap().into_values().collect();
        all.push(seen(stray, 1, phase));
        b.observed.take_instances(all);
        plan(&b.state, &b.observed, b.now).into_iter().map(|p| p.action).collect::<Vec<_>>()
    };
    assert!(actions(Phase::Ready).contains(&Action::StopInstance(stray)));
    assert!(actions(Phase::Failed("no".to_owned())).contains(&Action::ForgetInstance(stray)));
}

#[test]
fn a_driver_that_is_ahead_of_an_older_ledger_is_followed() {
    let mut b = Bench::with_shop();
    let id = *b.state.instances.keys().next().unwrap();
    let mut all: Vec<_> = b.observed.instances.clone().unwrap().into_values().collect();
    all.iter_mut().filter(|i| i.id == id).for_each(|i| i.attempt = 4);
    b.observed.take_instances(all);
    b.settle();
    assert_eq!(b.state.instances[&id].attempt, 4);
    assert_eq!(b.state.ready(b.state.services[&key("shop")].running.unwrap()), 2);
}
