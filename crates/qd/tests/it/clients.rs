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
fn a_body_larger_than_allowed_is_refused_and_a_long_one_passes() {
    let mut site = Site::new();
    site.edit("drain_deadline = \"3s\"", "drain_deadline = \"3s\"\nmax_body = \"1 MiB\"");
    site.open_shop();
    let large = "x".repeat(2 << 20);
    let sent = Connection::open(site.address).unwrap().send("POST", "/api/cart", &[], &large);
    match sent {
        Ok(answer) => assert_eq!(answer.status, 413),
        Err(error) => assert!(is_closed(&error), "{error}"),
    }
    // The shop reads 64 KiB of it and answers that this is no cart: it has arrived.
    let sent = Connection::open(site.address).unwrap().send("POST", "/api/cart", &[], &"x".repeat(32 << 10));
    assert_eq!(sent.unwrap().status, 422);
}

#[test]
fn old_and_odd_requests_are_answered() {
    let site = Site::open();
    let ask = |request: &str| {
        let mut connection = Connection::open(site.address).unwrap();
        connection.write(request.as_bytes()).unwrap();
        connection.head().unwrap()
    };
    // The shop answers GET only.
    assert_eq!(ask("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").status, 405);
    assert_eq!(ask("OPTIONS / HTTP/1.1\r\nhost: a\r\n\r\n").status, 405);
    assert_eq!(ask("GET http://a/healthz HTTP/1.1\r\nhost: a\r\n\r\n").status, 200);
    assert_eq!(ask("GET /healthz?q=%20&x=\u{e4} HTTP/1.1\r\nhost: a\r\n\r\n").status, 200);
    let waits = "POST /api/checkout HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let told = ask(waits).status;
    assert!(told == 100 || told == 422, "{told}");
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
