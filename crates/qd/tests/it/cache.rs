//! Stored responses are purged on command, by every data plane, also by one that did not listen at the time.

use crate::{http, processes::signal, site::Site, wait::until};
use rustix::process::Signal;
use std::fs;

const FILES: &str = r#"[proxy]
listen = ["{address}"]
threads = 1

[services.site]
files = "."
routes = ["/"]
start_deadline = "3s"
stop_deadline = "2s"
traffic = { cache = "8 MiB" }
rollout = { hold_back = "0s" }
"#;

/// Names that say what is in the file: it may be kept for a year.
const SCRIPT: &str = "/code/app.3f9a1c2b.js";
const STYLE: &str = "/style.3f9a1c2b.css";

/// A site whose files are stored.
fn open() -> Site {
    let mut site = Site::empty();
    site.configure(FILES);
    for path in [SCRIPT, STYLE] {
        let path = site.path(&format!("v1{path}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "1").unwrap();
    }
    site.serve();
    site.apply().expect(0);
    site.qd(&["deploy", "site", "v1", "--reason", "first"]).expect(0);
    for path in [SCRIPT, STYLE] {
        // The data plane may ask twice at first: once while the release was judged.
        until("it is stored", || is_stored(&site, path));
    }
    site
}

/// Whether this is answered without an instance.
fn is_stored(site: &Site, path: &str) -> bool {
    let answer = site.get(path);
    assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    answer.header("cache-status").unwrap().starts_with("quarterdeck; hit")
}

#[test]
fn what_is_purged_is_asked_for_anew_when_the_command_has_ended() {
    let site = open();
    let dry = site.qd(&["cache", "purge", "site", "--path", "/code", "--dry-run"]).expect(0);
    dry.telling("What is stored of site at /code and below would be forgotten");
    site.qd(&["cache", "purge", "site", "--path", "/code"]).expect(4).telling("no reason was given");
    site.qd(&["cache", "purge", "site", "--path", "code", "-m", "x"]).expect(4).telling("begin with `/`");
    site.qd(&["cache", "purge", "sitee", "-m", "x"]).expect(4).telling("did you mean `site`?");
    assert!(is_stored(&site, SCRIPT) && is_stored(&site, STYLE));
    let said = site.qd(&["cache", "purge", "site", "--path", "/code/", "-m", "the wrong build"]).expect(0);
    said.telling("What is stored of site at /code/ and below is forgotten")
        .telling("the data plane asks instances anew");
    assert!(!is_stored(&site, SCRIPT) && is_stored(&site, SCRIPT) && is_stored(&site, STYLE));
    let said = site.qd(&["cache", "purge", "site", "-m", "all of it", "--json"]).expect(0).json();
    assert_eq!((&said["purged"]["service"], &said["purged"]["obeyed"]), (&"site".into(), &true.into()));
    assert!(said["purged"]["seq"][0].is_u64());
    assert!(!is_stored(&site, SCRIPT) && !is_stored(&site, STYLE));
    let why = site.why("site");
    assert!(why.contains("purged the cache of site at /code and below — “the wrong build”"), "{why}");
    assert!(why.contains("purged the cache of site — “all of it”"), "{why}");
    // A declaration without a cache has nothing to purge.
    site.edit("traffic = { cache = \"8 MiB\" }", "");
    site.apply().expect(0);
    site.qd(&["cache", "purge", "site", "-m", "x"]).expect(4).telling("site has no cache");
}

#[test]
fn a_data_plane_that_could_not_listen_purges_when_it_can() {
    let mut site = open();
    let proxy = site.processes("proxy")[0].pid;
    signal(proxy, Signal::STOP);
    site.qd(&["cache", "purge", "site", "-m", "while it is away", "--detach"]).expect(0).telling("is being forgotten");
    // Whether it was still told or not by the one that ends here.
    site.kill_serve();
    signal(proxy, Signal::CONT);
    site.serve();
    until("it is purged", || !is_stored(&site, SCRIPT));
    assert_eq!(site.processes("proxy")[0].pid, proxy);
    // Another data plane has nothing of it, and stores what comes after the purge.
    site.processes("proxy")[0].kill();
    until("another one answers", || {
        let other = site.processes("proxy").iter().any(|other| other.pid != proxy);
        other && http::get(site.address, STYLE).is_ok_and(|answer| answer.status == 200)
    });
    assert!(!is_stored(&site, SCRIPT) && is_stored(&site, SCRIPT));
    assert!(fs::read_to_string(site.data().join("routes.json")).unwrap().contains("\"purges\""));
}
