//! Releases that take over, and releases that are caught, under traffic.

use crate::{site::Site, traffic::Traffic};

#[test]
fn a_good_canary_is_promoted_by_evidence_and_no_request_fails() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    site.deploy_by("canary", "v2", "").expect(0).telling("REL-2");
    assert_eq!(site.serving(), "v2");
    traffic.goes_on();
    let tally = traffic.stop();
    tally.assert_harmed_only_by(&[]);
    assert!(tally.answered_by("v2") > 40, "{tally:?}");
    let why = site.why("CHG-3");
    for said in ["20 %", "50 %", "not worse", "CHG-3 succeeded"] {
        assert!(why.contains(said), "{said}\n{why}");
    }
    let view = site.change("CHG-3");
    assert_eq!((view["outcome"].as_str(), view["phase"].as_str()), (Some("succeeded"), Some("succeeded")));
}

#[test]
fn a_failing_canary_is_rolled_back_and_the_story_says_why() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    site.deploy_by("canary", "v2", "fail_share = 0.5").expect(3).telling("rolled back");
    traffic.goes_on();
    assert_eq!(site.serving(), "v1");
    let tally = traffic.stop();
    tally.assert_harmed_only_by(&["v2"]);
    assert!(tally.answered_by("v2") > 0, "{tally:?}");
    let why = site.why("CHG-3");
    assert!(why.contains("failures") && why.contains("failed ("), "{why}");
    assert_eq!(site.outcome("CHG-3"), "rolled_back");
    assert_eq!(site.service()["running"]["id"], "REL-1");
}

#[test]
fn a_slow_canary_is_rolled_back_although_nothing_fails() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    site.deploy_by("canary", "v2", "slow_share = 0.6\nslow_ms = 150").expect(3).telling("rolled back");
    assert_eq!(site.serving(), "v1");
    traffic.stop().assert_harmed_only_by(&[]);
    let why = site.why("CHG-3");
    assert!(why.contains("latency") || why.contains("slow"), "{why}");
}

#[test]
fn a_release_gets_copies_first_and_a_failing_one_never_has_a_user() {
    let mut site = Site::new();
    site.edit("hold_back = \"0s\"", "hold_back = \"0s\"\nshadow = \"100 %\"\nshadow_requests = 60");
    site.open_shop();
    let traffic = Traffic::start(site.address);
    site.deploy_by("canary", "v2", "truncate_share = 0.5").expect(3).telling("copies fail more often with it");
    traffic.goes_on();
    let tally = traffic.so_far();
    tally.assert_harmed_only_by(&[]);
    assert_eq!((tally.answered_by("v2"), site.outcome("CHG-3").as_str()), (0, "rolled_back"), "{tally:?}");
    let why = site.why("CHG-3");
    assert!(why.contains("judged by copies: REL-2 fails more often"), "{why}");

    // A good one gets copies, then requests, and nobody notices either.
    site.deploy_by("canary", "v3", "").expect(0);
    assert_eq!(site.serving(), "v3");
    let tally = traffic.stop();
    tally.assert_harmed_only_by(&[]);
    let why = site.why("CHG-4");
    for said in ["copies of 100 % of the safe requests", "only REL-3 failed 0", "20 %", "not worse"] {
        assert!(why.contains(said), "{said}\n{why}");
    }
}

#[test]
fn strategies_that_promise_it_replace_a_release_without_a_failed_request() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    for (version, strategy) in [("v2", "blue-green"), ("v3", "rolling"), ("v4", "blue-green"), ("v5", "rolling")] {
        site.deploy_by(strategy, version, "").expect(0);
        assert_eq!(site.serving(), version);
        traffic.goes_on();
    }
    traffic.stop().assert_harmed_only_by(&[]);
    site.deploy_by("recreate", "v6", "").expect(0);
    assert_eq!(site.serving(), "v6");
}

#[test]
fn a_second_deploy_is_refused_with_a_hint_or_takes_the_place_of_the_first() {
    let site = Site::open();
    let first = site.deploy_detached("canary", "v2", "");
    site.gets_requests(&first);
    site.deploy_by("canary", "v3", "").expect(4).telling(&first).telling("--supersede");
    let v3 = site.release("v3", "");
    let superseding = ["deploy", "shop", &v3, "--strategy", "blue-green", "--supersede", "--reason", "urgent"];
    site.qd(&superseding).expect(0);
    assert_eq!(site.outcome(&first), "superseded");
    assert_eq!(site.serving(), "v3");
}
