//! Clients and upstreams that behave badly.

use crate::{http::Connection, site::Site, traffic::Traffic};
use std::io;

#[test]
fn clients_that_send_half_a_request_and_wait_keep_nobody_waiting() {
    let mut site = Site::open();
    let half = |_| {
        let mut connection = Connection::open(site.address).unwrap();
        connection.write(b"GET / HTTP/1.1\r\nhost: shop.localhost\r\nx-half: ").unwrap();
        connection
    };
    let waiting: Vec<Connection> = (0..200).map(half).collect();
    let traffic = Traffic::start(site.address);
    site.deploy("v2", "").expect(0);
    traffic.goes_on();
    traffic.stop().assert_harmed_only_by(&[]);
    // Nor do they keep Quarterdeck from ending.
    site.qd(&["down", "--yes"]).expect(0);
    assert_eq!(site.serve_ends(), Some(0));
    drop(waiting);
}

#[test]
fn a_header_of_ten_megabytes_is_refused_without_being_kept() {
    let site = Site::open();
    let before = site.processes("proxy")[0].memory_kib();
    let traffic = Traffic::start(site.address);
    let mut connection = Connection::open(site.address).unwrap();
    let piece = vec![b'a'; 64 << 10];
    let sent = connection
        .write(b"GET / HTTP/1.1\r\nhost: shop.localhost\r\nx-large: ")
        .and_then(|()| (0..160).try_for_each(|_| connection.write(&piece)));
    // It is told, or the connection ends while it still sends.
    match sent.and_then(|()| connection.answer()) {
        Ok(answer) => assert_eq!(answer.status, 431),
        Err(error) => assert!(is_closed(&error), "{error}"),
    }
    let after = site.processes("proxy")[0].memory_kib();
    assert!(after < before + (8 << 10), "{before} KiB became {after} KiB");
    traffic.goes_on();
    traffic.stop().assert_harmed_only_by(&[]);
}

#[test]
fn a_body_that_breaks_off_is_seen_as_broken() {
    let site = Site::open();
    let mut connection = Connection::open(site.address).unwrap();
    assert_eq!(connection.send("GET", "/", &[], "").unwrap().version(), "v1");
    site.deploy("v2", "truncate_share = 1.0").expect(0);
    let broken = Connection::open(site.address).unwrap().send("GET", "/", &[], "");
    assert!(broken.as_ref().is_err_and(is_closed), "{broken:?}");
    assert_eq!(site.get("/healthz").status, 200);
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let site = Site::open();
    let ambiguous = [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n",
    ];
    for request in ambiguous {
        let mut connection = Connection::open(site.address).unwrap();
        connection.write(request.as_bytes()).unwrap();
        match connection.answer() {
            Ok(answer) => assert_eq!(answer.status, 400, "{request:?}"),
            Err(error) => assert!(is_closed(&error), "{request:?}: {error}"),
        }
    }
    assert_eq!(site.serving(), "v1");
}

#[test]
fn a_request_for_nobody_is_told_so() {
    let mut site = Site::new();
    site.edit("routes = [\"/\"]", "routes = [\"shop.example\"]");
    site.open_shop();
    let mut connection = Connection::open(site.address).unwrap();
    assert_eq!(connection.send("GET", "/", &[("host", "other.example")], "").unwrap().status, 404);
    assert_eq!(connection.send("GET", "/", &[("host", "SHOP.example:80")], "").unwrap().version(), "v1");
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}
