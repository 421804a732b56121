//! People at the wheel: scale, pause, resume, promote, cancel, roll back.

use crate::{site::Site, traffic::Traffic, wait::until};

#[test]
fn a_rollout_is_paused_resumed_and_promoted_by_hand() {
    let site = Site::open();
    let change = site.deploy_detached("canary", "v2", "");
    site.gets_requests(&change);
    site.qd(&["pause", &change, "--reason", "lunch"]).expect(0);
    assert_eq!(site.change(&change)["phase"], "paused");
    site.qd(&["pause", &change, "--reason", "again"]).expect(4);
    site.qd(&["resume", &change, "--reason", "back"]).expect(0);
    assert_eq!(site.change(&change)["phase"], "running");
    site.qd(&["promote", &change, "--reason", "seen enough"]).expect(0);
    assert_eq!(site.outcome(&change), "succeeded");
    assert_eq!(site.serving(), "v2");
    site.qd(&["cancel", &change, "--reason", "too late"]).expect(4);
    let why = site.why(&change);
    assert!(["lunch", "back", "seen enough"].iter().all(|reason| why.contains(reason)), "{why}");
}

#[test]
fn a_cancelled_rollout_returns_to_where_it_was() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    // Good, but never convincing at this speed of steps.
    site.edit("step_time = \"200ms\"", "step_time = \"30s\"");
    site.apply().expect(0);
    let change = site.deploy_detached("canary", "v2", "");
    site.gets_requests(&change);
    site.qd(&["cancel", &change, "--reason", "not today"]).expect(0);
    assert_eq!(site.outcome(&change), "cancelled");
    assert_eq!(site.service()["running"]["label"], "v1");
    traffic.stop().assert_harmed_only_by(&[]);
    until("the canary's instances to be gone", || site.shops().len() == 2);
}

#[test]
fn a_rollback_returns_to_the_proven_release_before_and_can_be_rolled_back_itself() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    site.deploy("v2", "").expect(0);
    site.qd(&["rollback", "shop", "--reason", "complaints"]).expect(0);
    assert_eq!(site.serving(), "v1");
    site.qd(&["rollback", "shop", "--reason", "they were mistaken"]).expect(0);
    assert_eq!(site.serving(), "v2");
    site.qd(&["rollback", "shop", "--to", "REL-77", "--reason", "no such"]).expect(4);
    traffic.stop().assert_harmed_only_by(&[]);
}

#[test]
fn scaling_up_and_down_fails_no_request() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    site.qd(&["scale", "shop", "4", "--reason", "rush hour"]).expect(0);
    assert_eq!(site.shops().len(), 4);
    site.qd(&["scale", "shop", "1", "--reason", "night"]).expect(0);
    until("three instances to be gone", || site.shops().len() == 1);
    traffic.goes_on();
    traffic.stop().assert_harmed_only_by(&[]);
    site.qd(&["scale", "shop", "1", "--reason", "as it is"]).telling("");
}

#[test]
fn a_service_that_the_configuration_names_no_more_is_removed_when_asked_to() {
    let site = Site::open();
    let text = "[proxy]\nlisten = [\"{address}\"]\n";
    site.configure(text);
    site.apply().telling("");
    assert_eq!(site.serving(), "v1");
    site.qd(&["apply", "--prune", "--yes", "--reason", "closed"]).expect(0);
    until("the shop to be closed", || site.shops().is_empty());
    let nobody = site.get("/");
    assert!(nobody.status == 503 && nobody.text().contains("No service is set up here"), "{nobody:?}");
}
