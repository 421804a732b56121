//! A service that listens on Unix sockets: requests, WebSockets and TCP connections reach it, through a deploy and while
//! `qd serve` is dead.

use crate::{http::Connection, site::Site, wait::until};
use std::{fs, net::SocketAddr, os::unix::fs::MetadataExt as _};

/// A server on `$SOCKET`. It answers every request with its version, agrees to every switch of protocol and repeats what it hears
/// from then on, as it does with what is no request.
const SERVER: &str = r#"
import os, socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        while (line := self.rfile.readline()):
            if b" HTTP/1.1" not in line:
                self.wfile.write(line)
                continue
            upgrade = False
            while (field := self.rfile.readline().strip()):
                upgrade |= field.lower().startswith(b"upgrade:")
            head = b"101 Switching Protocols\r\nupgrade: echo\r\nconnection: Upgrade" if upgrade else b"200 OK\r\ncontent-length: 0"
            self.wfile.write(b"HTTP/1.1 " + head + b"\r\nx-shop-version: " + VERSION + b"\r\n\r\n")
class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 128
VERSION = open("version", "rb").read()
assert "PORT" not in os.environ
Server(os.environ["SOCKET"], Echo).serve_forever()
"#;

fn release(site: &Site, version: &str) -> String {
    let release = site.path(version);
    fs::create_dir(&release).unwrap();
    fs::write(release.join("server.py"), SERVER).unwrap();
    fs::write(release.join("version"), version).unwrap();
    release.to_str().unwrap().to_owned()
}

/// The sockets of all instances that are there, by their paths.
fn sockets(site: &Site) -> Vec<String> {
    let service = site.service();
    let instances = service["instances"].as_array().unwrap();
    let address = |instance: &serde_json::Value| instance["address"].as_str().unwrap_or_default().to_owned();
    instances.iter().map(address).filter(|address| !address.is_empty()).collect()
}

#[test]
fn a_service_on_sockets_is_reached_deployed_and_adopted_like_any_other() {
    let mut site = Site::new();
    let at = SocketAddr::new(site.address.ip(), site.address.port() + 1);
    site.edit("\"./shop\"", "\"python3 -u server.py\"\nlisten = \"socket\"");
    site.edit("routes = [\"/\"]", &format!("routes = [\"/\"]\ntcp = [\"{at}\"]"));
    site.serve();
    site.apply().expect(0);
    site.qd(&["deploy", "shop", &release(&site, "v1"), "--reason", "first"]).expect(0);
    assert_eq!(site.serving(), "v1");

    let mut tcp = Connection::open(at).unwrap();
    tcp.write(b"hello\n").unwrap();
    assert_eq!(tcp.line().unwrap(), "hello");
    let mut switched = Connection::open(site.address).unwrap();
    switched.write(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n").unwrap();
    assert_eq!(switched.head().unwrap().status, 101);
    switched.write(b"and back\n").unwrap();
    assert_eq!(switched.line().unwrap(), "and back");

    let before = sockets(&site);
    assert_eq!(before.len(), 2, "{before:?}");
    for address in &before {
        let path = address.strip_prefix("unix:").unwrap();
        let run = fs::metadata(std::path::Path::new(path).parent().unwrap()).unwrap();
        assert_eq!(run.mode() & 0o777, 0o700, "{path}");
    }
    site.kill_serve();
    assert_eq!(site.serving(), "v1", "the data plane needs nobody");
    site.serve();
    assert_eq!(sockets(&site), before, "what runs is adopted as it was");

    site.qd(&["deploy", "shop", &release(&site, "v2"), "--strategy", "blue-green", "--reason", "second"]).expect(0);
    assert_eq!(site.serving(), "v2");
    until("the old instances to be gone with their sockets", || {
        before.iter().all(|address| !std::path::Path::new(address.strip_prefix("unix:").unwrap()).exists())
    });
    site.qd(&["status"]).expect(0);
}
