//! A service that speaks no HTTP: its connections are carried, live through a deploy, and judge a release.

use crate::{http::Connection, site::Site, wait::until};
use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A server that says its version first and then repeats what it hears; one that is broken hangs up without a word.
const ECHO: &str = r#"
import os, socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        if VERSION.startswith(b"broken"):
            return
        self.request.sendall(VERSION + b"\n")
        while (data := self.request.recv(4096)):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
VERSION = open("version", "rb").read()
Server(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"#;

/// A site whose shop is reached at this address only, and by no request.
fn site() -> (Site, SocketAddr) {
    let mut site = Site::new();
    let at = SocketAddr::new(site.address.ip(), site.address.port() + 1);
    site.edit("\"./shop\"", "\"python3 -u echo.py\"");
    site.edit("routes = [\"/\"]", &format!("tcp = [\"{at}\"]"));
    site.edit("ready = \"/healthz\"", "ready = \"tcp\"");
    site.serve();
    site.apply().expect(0).telling(&format!("tcp://{at}"));
    (site, at)
}

fn release(site: &Site, version: &str) -> String {
    let release = site.path(version);
    fs::create_dir(&release).unwrap();
    fs::write(release.join("echo.py"), ECHO).unwrap();
    fs::write(release.join("version"), version).unwrap();
    release.to_str().unwrap().to_owned()
}

/// What the service says first.
fn version(at: SocketAddr) -> std::io::Result<String> {
    Connection::open(at)?.line()
}

#[test]
fn a_connection_lives_through_a_deploy_until_its_drain_deadline() {
    let (site, at) = site();
    let deploy = |version: &str| {
        let release = release(&site, version);
        site.qd(&["deploy", "shop", &release, "--strategy", "blue-green", "--reason", version]).expect(0);
    };
    deploy("v1");
    let mut connection = Connection::open(at).unwrap();
    assert_eq!(connection.line().unwrap(), "v1");
    deploy("v2");
    assert_eq!(version(at).unwrap(), "v2");
    connection.write(b"still there").unwrap();
    assert_eq!(connection.bytes(11).unwrap(), b"still there");
    until("the old release to be gone", || connection.is_over());
    assert_eq!(site.service()["tcp"][0], at.to_string());
    site.qd(&["status"]).expect(0).telling(&format!("tcp://{at}"));
}

#[test]
fn a_release_that_hangs_up_is_undone_on_the_evidence_of_connections() {
    let (site, at) = site();
    site.qd(&["deploy", "shop", &release(&site, "v1"), "--reason", "first"]).expect(0);
    let ends = Arc::new(AtomicBool::new(false));
    let customer = thread::spawn({
        let ends = Arc::clone(&ends);
        move || {
            while !ends.load(Ordering::Relaxed) {
                let _ = version(at);
            }
        }
    });
    let undone = site.qd(&["deploy", "shop", &release(&site, "broken"), "--reason", "broken"]);
    ends.store(true, Ordering::Relaxed);
    customer.join().unwrap();
    undone.expect(3);
    for _ in 0..10 {
        assert_eq!(version(at).unwrap(), "v1");
    }
}
