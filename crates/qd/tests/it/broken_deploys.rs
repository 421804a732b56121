//! What cannot run is said clearly, and what ran before serves every request.

use crate::{release::executable, site::Site, traffic::Traffic};
use std::fs;

/// Deploys a release of the shop with a fault. It must be undone while `v1` serves, and this must be said.
fn check(faults: &str, said: &str) {
    check_harming(faults, said, &["v2"]);
}

/// As [`check`], where these fail requests.
fn check_harming(faults: &str, said: &str, bad: &[&str]) {
    let mut site = Site::new();
    // Long enough for a release that dies again and again to be told from one that died once.
    site.edit("step_time = \"200ms\"", "step_time = \"3s\"");
    site.open_shop();
    let traffic = Traffic::start(site.address);
    site.deploy_by("canary", "v2", faults).expect(3).telling(said);
    assert_eq!(site.serving(), "v1");
    traffic.goes_on();
    traffic.stop().assert_harmed_only_by(bad);
    assert!(site.shops().len() >= 2, "{:?}", site.shops());
}

#[test]
fn one_that_is_never_ready_is_undone() {
    check("never_ready = true", "503");
}

#[test]
fn one_that_ignores_port_is_undone_with_a_hint() {
    check("ignore_port = true", "PORT");
}

#[test]
fn one_that_forks_away_is_undone() {
    check("fork_away = true", "it put itself in the background");
}

#[test]
fn one_that_crashes_after_it_was_ready_is_undone() {
    // Requests that it was answering when it died are answered by nobody.
    check_harming("crash_after_ms = 300", "70", &["v2", "nobody"]);
}

#[test]
fn one_that_crashes_at_once_is_undone() {
    check("version_typo = 1", "exit");
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is_touched() {
    let site = Site::open();
    let before = site.qd(&["ledger", "show", "--json", "-n", "1"]).expect(0).out;
    let refused = |path: &str, said: &str| {
        site.qd(&["deploy", "shop", path, "--reason", "try"]).expect(1).telling(said);
    };
    refused("nowhere", "nowhere");
    fs::create_dir(site.path("empty")).unwrap();
    refused("empty", "empty");
    fs::write(site.path("zero"), "").unwrap();
    refused("zero", "an empty file");
    fs::write(site.path("notes.txt"), "just words").unwrap();
    refused("notes.txt", "notes.txt");
    fs::copy(site.path("v1/shop"), site.path("plain")).unwrap();
    let mut shop = fs::read(site.path("v1/shop")).unwrap();
    // e_machine: a mainframe.
    shop[18..20].copy_from_slice(&22u16.to_le_bytes());
    executable(&site.path("mainframe"), &shop);
    refused("mainframe", "this machine is");
    fs::set_permissions(site.path("plain"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    refused("plain", "chmod +x");
    assert_eq!(site.qd(&["ledger", "show", "--json", "-n", "1"]).expect(0).out, before);
    assert_eq!(site.serving(), "v1");
}

#[test]
fn a_program_that_is_not_there_or_not_executable_inside_a_release_is_named() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    for (name, said) in [("missing", "shop"), ("plain", "executable")] {
        let release = site.path(name);
        fs::create_dir(&release).unwrap();
        fs::write(release.join("README"), "no program here").unwrap();
        if name == "plain" {
            fs::write(release.join("shop"), "#!/bin/sh\nexit 0\n").unwrap();
        }
        let deployed = site.qd(&["deploy", "shop", release.to_str().unwrap(), "--reason", "try"]);
        assert!(matches!(deployed.code, Some(1 | 3 | 4)), "{deployed:?}");
        deployed.telling(said);
        assert_eq!(site.serving(), "v1");
    }
    traffic.stop().assert_harmed_only_by(&[]);
}

#[test]
fn a_single_executable_and_an_archive_are_releases_too() {
    let site = Site::open();
    let release = site.release("v2", "");
    let packed = site.path("v2.tar");
    let mut tar = std::process::Command::new("tar");
    tar.args(["-cf", packed.to_str().unwrap(), "-C", &release, "."]);
    assert!(tar.status().unwrap().success());
    site.qd(&["deploy", "shop", "v2.tar", "--strategy", "blue-green", "--reason", "an archive"]).expect(0);
    assert_eq!(site.serving(), "v2");
    site.qd(&["deploy", "shop", "v1/shop", "--strategy", "blue-green", "--reason", "one file"]).expect(0);
    assert_eq!(site.service()["running"]["id"], "REL-3");
    assert_eq!(site.get("/healthz").status, 200);
}
