//! Another build of the program takes over from the one that runs, under traffic.

use crate::{site::Site, traffic::Traffic, wait::until};
use std::{fs, process::Command};

/// The process ids of the data plane.
fn proxies(site: &Site) -> Vec<u32> {
    site.processes("proxy").into_iter().map(|process| process.pid).collect()
}

#[test]
fn an_upgrade_of_the_program_replaces_the_data_plane_and_loses_no_request() {
    let mut site = Site::open();
    let traffic = Traffic::start(site.address);
    traffic.goes_on();
    for turn in 0..3 {
        let before = proxies(&site);
        assert_eq!(before.len(), 1);
        // What an upgrade does: another file in the place of the old one.
        let (path, new) = (site.path("qd-installed"), site.path("qd-new"));
        fs::copy(env!("CARGO_BIN_EXE_qd"), &new).unwrap();
        fs::rename(&new, &path).unwrap();
        site.qd(&["down", "--yes", "--keep-services"]).expect(0);
        assert_eq!(site.serve_ends(), Some(0));
        traffic.goes_on();
        let command = site.clean(Command::new(&path), &["serve"]);
        site.serve_with(command);
        until("the old data plane to be gone", || {
            let now = proxies(&site);
            now.len() == 1 && now != before
        });
        traffic.goes_on();
        assert_eq!(site.log().matches("another data plane has taken over").count(), turn + 1, "{}", site.log());
    }
    traffic.stop().assert_harmed_only_by(&[]);

    // The same build again: it is adopted.
    let before = proxies(&site);
    site.kill_serve();
    let command = site.clean(Command::new(site.path("qd-installed")), &["serve"]);
    site.serve_with(command);
    site.deploy("v2", "").expect(0);
    assert_eq!(proxies(&site), before);
}
