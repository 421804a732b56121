//! The first five minutes with Quarterdeck, as the manual tells them.

use crate::{processes, release::shop_release, site::Site};
use std::{fs, net::TcpStream};

#[test]
fn the_first_five_minutes_go_as_the_manual_says() {
    let mut site = Site::empty();
    site.qd(&["init", "shop"]).expect(0).telling("qd serve");
    let begun = fs::read_to_string(site.path("quarterdeck.toml")).unwrap();
    // Only what no two tests can share, and what the shop is called with.
    site.configure(&begun.replace("127.0.0.1:8080", "{address}").replace(" --port $PORT", ""));
    site.qd(&["config", "check"]).expect(0).telling("is valid: shop in production");
    site.serve();

    site.qd(&["plan"]).expect(0).telling("declare shop");
    site.apply().expect(0).telling("CHG-1 succeeded");
    let release = shop_release(site.dir(), "v1", "");
    let deployed = site.qd(&["deploy", "shop", release.to_str().unwrap(), "--reason", "first release"]);
    deployed.expect(0).telling("CHG-2 succeeded: REL-1 has all requests");
    assert_eq!(site.serving(), "v1");

    site.qd(&["status"]).expect(0).telling("shop ok · REL-1").telling("2 of 2 ready");
    site.qd(&["why", "CHG-2"]).expect(0).telling("proposed CHG-2: deploy shop").telling("“first release”");
    site.qd(&["logs", "shop"]).expect(0).telling("shop v1 starts on port");
    site.qd(&["changes"]).expect(0).telling("CHG-2").telling("CHG-1");
    site.qd(&["ledger", "verify"]).expect(0).telling("is sound");
    site.qd(&["ledger", "export", "export"]).expect(0);
    site.qd(&["ledger", "verify", "--export", "export"]).expect(0).telling("is sound");
    site.qd(&["doctor"]).expect(0);

    site.qd(&["down", "--yes"]).expect(0).telling("Stopped.");
    assert_eq!(site.serve_ends(), Some(0));
    assert!(processes::of(site.dir()).is_empty(), "{:?}", processes::of(site.dir()));
    assert!(TcpStream::connect(site.address).is_err());
    // The record outlives what it is about.
    site.qd(&["ledger", "verify"]).expect(0).telling("is sound");
    site.qd(&["why", "shop"]).expect(0).telling("this is read from the ledger").telling("REL-1 gets all requests");
}

#[test]
fn without_a_server_every_command_says_how_to_start_one() {
    let site = Site::new();
    for command in [&["status"][..], &["apply", "--yes", "--reason", "x"], &["logs", "shop"], &["scale", "shop", "2"]] {
        site.qd(command).expect(5).telling("Quarterdeck is not running").telling("qd serve");
    }
    let refused = site.qd(&["status", "--json"]).expect(5);
    assert!(refused.err.contains("\"not_running\"") || refused.out.contains("\"not_running\""), "{refused:?}");
    site.qd(&["down", "--keep-services", "--yes"]).expect(1);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let site = Site::open();
    let before = site.qd(&["ledger", "show", "--json", "-n", "1"]).expect(0).out;
    let v2 = site.release("v2", "");
    site.qd(&["deploy", "shop", &v2, "--dry-run"]).expect(0).telling("create a release of shop");
    site.qd(&["scale", "shop", "3", "--dry-run"]).expect(0).telling("plan");
    site.edit("replicas = 2", "replicas = 3");
    site.qd(&["apply", "--dry-run"]).expect(0).telling("plan");
    site.qd(&["plan"]).expect(0);
    site.qd(&["down", "--dry-run"]).expect(0).telling("every instance of shop");
    assert_eq!(site.qd(&["ledger", "show", "--json", "-n", "1"]).expect(0).out, before);
    assert_eq!(site.serving(), "v1");
}

#[test]
fn a_change_without_a_reason_or_with_another_plan_is_refused() {
    let site = Site::open();
    site.qd(&["scale", "shop", "3", "--yes"]).expect(4).telling("reason_required").telling("--reason");
    let other = "0".repeat(64);
    let refused = site.qd(&["scale", "shop", "3", "--reason", "more", "--expect", &other]);
    refused.expect(4).telling("plan_changed");
    site.qd(&["scale", "nothing", "3", "--reason", "more"]).expect(4).telling("nothing");
    site.qd(&["scale", "shop", "0", "--reason", "less"]).expect(2);
    assert_eq!(site.service()["replicas"], 2);
}
