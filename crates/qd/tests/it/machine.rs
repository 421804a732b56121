//! A machine that is not as it should be: taken ports, directories that cannot be used, a second control plane, an old
//! or damaged route table.

use crate::{
    processes::{self, Process},
    site::{Site, is_root},
    traffic::{CLIENTS, Traffic},
    wait::until,
};
use rustix::process::Signal;
use std::{fs, net::TcpListener};

#[test]
fn a_second_control_plane_on_one_directory_is_refused_and_disturbs_nobody() {
    let site = Site::open();
    let pid = site.serve_pid().to_string();
    site.qd(&["serve"]).expect(1).telling("in use by").telling(&pid);
    site.qd(&["serve", "--listen", "127.0.0.1:0"]).expect(1).telling("in use by");
    assert_eq!(site.serving(), "v1");
    site.qd(&["scale", "shop", "1", "--reason", "still in charge"]).expect(0);
}

#[test]
fn an_interrupt_drains_and_stops_everything() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut site = Site::open();
        let traffic = Traffic::start(site.address);
        processes::signal(site.serve_pid(), signal);
        assert_eq!(site.serve_ends(), Some(0));
        assert!(processes::of(site.dir()).is_empty(), "{:?}", processes::of(site.dir()));
        // Whoever was being served was served; whoever came later found the door closed.
        let tally = traffic.stop();
        assert_eq!(tally.by_version.len(), 1, "{tally:?}");
        // A client may also send on an idle connection in the moment that it is closed: no server can help that.
        let cut = tally.broken.iter().filter(|(_, why)| !why.contains("refused")).count();
        assert!(cut <= CLIENTS as usize, "{tally:?}");
        assert!(site.log().contains("Everything has stopped"), "{}", site.log());
    }
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let site = Site::new();
    let taken = TcpListener::bind(site.address).unwrap();
    let refused = site.qd(&["serve"]).expect(1);
    refused.telling(&format!("{} is taken by another program", site.address)).telling("[proxy] listen");
    drop(taken);
    assert!(site.processes("proxy").is_empty());
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let mut site = Site::new();
    fs::write(site.path("file"), "").unwrap();
    site.qd(&["serve", "--data", "file/data"]).expect(1).telling("data directory").telling("file/data");
    let long = format!("{}/{}", "a".repeat(60), "b".repeat(60));
    site.qd(&["serve", "--data", &long]).expect(1).telling("too long");
    if is_root("another user's directory") {
        site.qd_as("nobody", &["serve"]).expect(1).telling("data directory").telling(".quarterdeck");
    }
    site.serve();
}

#[test]
fn a_route_table_that_cannot_be_read_or_is_of_another_version_is_made_anew() {
    let mut site = Site::open();
    for content in ["{\"version\":1,\"table\":", "{\"version\":0,\"routes\":[]}", ""] {
        site.kill_serve();
        let proxies = site.processes("proxy");
        proxies.iter().for_each(Process::kill);
        until("the data plane to be gone", || site.processes("proxy").is_empty());
        fs::write(site.data().join("routes.json"), content).unwrap();
        site.serve();
        until("the shop to be open again", || {
            crate::http::get(site.address, "/").is_ok_and(|answer| answer.version() == "v1")
        });
    }
    let log = fs::read_to_string(site.data().join("proxy.log")).unwrap();
    assert!(log.contains("version 0") && log.contains("damaged"), "{log}");
}

#[test]
fn a_data_plane_that_listens_elsewhere_is_replaced() {
    let mut site = Site::open();
    site.kill_serve();
    let elsewhere = std::net::SocketAddr::new(site.address.ip(), site.address.port() + 1);
    site.serve_with(site.command(&["serve", "--listen", &elsewhere.to_string()]));
    until("the shop to be open elsewhere", || {
        crate::http::get(elsewhere, "/").is_ok_and(|answer| answer.version() == "v1")
    });
    until("the old data plane to be gone", || site.processes("proxy").len() == 1);
    assert!(crate::http::get(site.address, "/").is_err());
}
