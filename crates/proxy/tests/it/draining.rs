//! How requests, streams and tunnels end when their instance leaves or the data plane stops.

use crate::{
    rig::{Rig, running, service, soon},
    upstream::good,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty, combinators::BoxBody};
use hyper_util::rt::TokioIo;
use model::{ServiceRoutes, Span, wire::ToProxy};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn empty() -> BoxBody<Bytes, std::io::Error> {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn draining_within(span: Span, at: SocketAddr) -> ServiceRoutes {
    let mut service = service(vec![running(&[at])]);
    service.traffic.drain_deadline = span;
    service
}

#[tokio::test]
async fn requests_in_flight_end_where_they_began() {
    let mut rig = Rig::start().await;
    rig.serve(vec![draining_within(Span::seconds(60), good("old").await)]).await;
    let mut stream = rig.connect().await;
    let head = b"POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    rig.control.until("the request in flight", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    rig.serve(vec![draining_within(Span::seconds(60), good("new").await)]).await;
    assert_eq!(rig.get("/").await, (200, "new".into()));
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    rig.tally(1, |tally| tally.answered == 2 && tally.cut == 0).await;
}

#[tokio::test]
async fn streams_and_tunnels_leave_by_the_deadline_and_are_counted() {
    let mut rig = Rig::start().await;
    rig.serve(vec![draining_within(Span(200), good("old").await)]).await;
    let events = rig.open(Request::get("/events"), empty()).await;
    let download = rig.open(Request::get("/download"), empty()).await;
    let switch = Request::get("/switch").header("connection", "upgrade").header("upgrade", "shouting");
    let switched = rig.open(switch, empty()).await;
    let mut tunnel = TokioIo::new(soon("the switch", hyper::upgrade::on(switched)).await.unwrap());
    rig.control.until("all three in flight", |r| r.instances.iter().any(|i| i.in_flight == 3)).await;

    rig.serve(vec![draining_within(Span(200), good("new").await)]).await;
    let mut end = Vec::new();
    soon("the end of the tunnel", tunnel.read_to_end(&mut end)).await.ok();
    let events = soon("the end of the events", events.into_body().collect()).await;
    assert!(events.is_ok(), "a client of events connects again; it is told of no error");
    let download = soon("the end of the download", download.into_body().collect()).await;
    assert!(download.is_err(), "half a download must not look whole");
    let tally = rig.tally(1, |tally| tally.cut == 3).await;
    assert_eq!(tally.failed(), 0);
    rig.control.until("nothing in flight", |r| r.instances.iter().all(|i| i.in_flight == 0)).await;
}

#[tokio::test]
async fn a_request_that_is_never_answered_does_not_hold_up_its_instance() {
    let mut rig = Rig::start().await;
    rig.serve(vec![draining_within(Span(200), good("old").await)]).await;
    let mut stream = rig.connect().await;
    stream.write_all(b"GET /hang HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    rig.control.until("the request in flight", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    rig.serve(vec![draining_within(Span(200), good("new").await)]).await;
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("had to be left"), "{answer}");
    let tally = rig.tally(1, |tally| tally.cut == 1).await;
    assert_eq!(tally.total(), 0);
}

#[tokio::test]
async fn a_release_that_has_left_is_reported_while_something_is_in_flight() {
    let mut rig = Rig::start().await;
    rig.serve(vec![draining_within(Span::seconds(60), good("old").await)]).await;
    let mut stream = rig.connect().await;
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    rig.control.until("the request in flight", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    rig.serve(Vec::new()).await;
    let report = rig.control.until("a report", |_| true).await;
    assert_eq!((report.releases.len(), report.instances.len()), (1, 1));
    stream.write_all(b"ok").await.unwrap();
    rig.tally(1, |tally| tally.answered == 1).await;
    rig.control.until("the instance gone", |report| report.instances.is_empty()).await;
}

#[tokio::test]
async fn stopping_lets_requests_end() {
    let mut rig = Rig::start().await;
    rig.serve(vec![draining_within(Span::seconds(60), good("one").await)]).await;
    let mut stream = rig.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    rig.control.until("the request in flight", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    rig.control.say(&ToProxy::Shutdown(Span::seconds(60))).await;
    let refused = async { while tokio::net::TcpStream::connect(rig.address).await.is_ok() {} };
    soon("the end of listening", refused).await;
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}
