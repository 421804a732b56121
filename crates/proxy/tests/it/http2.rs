//! HTTP/2 on both sides: to instances that speak it, as gRPC servers do, and WebSockets over it from clients.

use crate::{
    rig::{Rig, full, running, service, soon, whole},
    upstream::{framed, good},
};
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, combinators::BoxBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{Protocol, ProxyReport, ServiceRoutes};
use std::sync::atomic::Ordering;

fn speaking_http2(address: std::net::SocketAddr) -> ServiceRoutes {
    let mut service = service(vec![running(&[address])]);
    service.traffic.protocol = Protocol::Http2;
    service
}

pub(crate) type Sender = http2::SendRequest<BoxBody<Bytes, std::io::Error>>;

pub(crate) async fn client(rig: &Rig) -> Sender {
    let io = TokioIo::new(rig.connect().await);
    let (sender, connection) = soon("HTTP/2", http2::handshake(TokioExecutor::new(), io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn ask(
    sender: &mut Sender,
    request: http::request::Builder,
    body: &'static str,
) -> Response<hyper::body::Incoming> {
    let body = if body.is_empty() { Empty::new().map_err(|never| match never {}).boxed() } else { full(body) };
    soon("a response", sender.send_request(request.body(body).unwrap())).await.unwrap()
}

#[tokio::test]
async fn an_instance_that_speaks_http2_is_reached_by_clients_of_either() {
    let mut rig = Rig::start().await;
    let (address, connections) = framed("one").await;
    rig.serve(vec![speaking_http2(address)]).await;
    let (status, seen) = rig.send(Request::get("/head?q=1").header("connection", "keep-alive")).await;
    assert_eq!(status, 200);
    assert!(seen.starts_with("GET http://shop.test/head?q=1 HTTP/2.0\n"), "{seen}");
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\n") && !seen.contains("connection:"), "{seen}");
    let response = rig.open(Request::post("/echo"), full("from HTTP/1.1")).await;
    assert_eq!(whole(response).await, (200, "from HTTP/1.1".to_owned()));

    let mut sender = client(&rig).await;
    let response = ask(&mut sender, Request::post("http://shop.test/echo"), "from HTTP/2").await;
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(whole(response).await, (200, "from HTTP/2".to_owned()));
    rig.tally(1, |tally| tally.answered == 3 && tally.total() == 3).await;
    assert_eq!(connections.load(Ordering::SeqCst), 1, "one connection carries them all");
}

#[tokio::test]
async fn trailers_come_through_as_grpc_needs_them() {
    let mut rig = Rig::start().await;
    rig.serve(vec![speaking_http2(framed("one").await.0)]).await;
    let mut sender = client(&rig).await;
    let request = Request::post("http://shop.test/trailers").header("te", "trailers");
    let response = ask(&mut sender, request.header("content-type", "application/grpc"), "a message").await;
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let collected = soon("the body", response.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), "a message");
}

#[tokio::test]
async fn very_many_requests_at_once_share_few_connections() {
    let mut rig = Rig::start().await;
    let (address, connections) = framed("one").await;
    rig.serve(vec![speaking_http2(address)]).await;
    assert_eq!(rig.get("/").await.0, 200);
    let mut senders = Vec::new();
    for _ in 0..3 {
        let mut sender = client(&rig).await;
        for _ in 0..100 {
            let hanging = sender.send_request(Request::get("http://shop.test/hang").body(full("")).unwrap());
            tokio::spawn(hanging);
            soon("room", sender.ready()).await.unwrap();
        }
        senders.push(sender);
    }
    // Whoever is under way may still be on the way to a connection.
    let count = || connections.load(Ordering::SeqCst);
    let all = |report: &ProxyReport| report.instances.iter().any(|seen| seen.in_flight == 300) && count() >= 3;
    rig.control.until("all at once", all).await;
    assert_eq!(rig.get("/").await.0, 200, "there is always room on a connection");
    assert!((3..=6).contains(&count()), "{} connections", count());
}

#[tokio::test]
async fn a_release_that_ends_lets_what_it_was_asked_end() {
    let mut rig = Rig::start().await;
    let mut first = speaking_http2(framed("one").await.0);
    first.traffic.drain_deadline = model::Span::seconds(1);
    rig.serve(vec![first]).await;
    let response = rig.open(Request::post("/events"), full("x")).await;
    let mut events = response.into_body();
    assert!(soon("an event", events.frame()).await.unwrap().unwrap().is_data());
    let mut next = speaking_http2(framed("two").await.0);
    next.arms[0].release = model::ReleaseId(2);
    rig.serve(vec![next]).await;
    assert_eq!(rig.get("/name").await, (200, "two".to_owned()));
    while let Some(Ok(_)) = soon("the end of the stream", events.frame()).await {}
    rig.tally(1, |tally| tally.cut == 1).await;
}

#[tokio::test]
async fn a_web_socket_over_http2_is_the_upgrade_that_an_instance_knows() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let io = rig.connect().await;
    let (mut sender, mut connection) = soon("HTTP/2", h2::client::handshake(io)).await.unwrap();
    // What is offered is known once the first settings are there.
    let offered = std::future::poll_fn(|cx| {
        let _ = std::pin::Pin::new(&mut connection).poll(cx);
        if sender.is_extended_connect_protocol_enabled() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    });
    soon("an offer of RFC 8441", offered).await;
    tokio::spawn(connection);
    let connect = |protocol: &'static str| {
        let request = Request::connect("http://shop.test/switch").header("sec-websocket-version", "13");
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
        request
    };
    let (response, mut sent) = sender.send_request(connect("websocket"), false).unwrap();
    let response = soon("an answer", response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("upgrade") && !response.headers().contains_key("connection"));
    sent.send_data(Bytes::from("hello"), false).unwrap();
    let mut heard = response.into_body();
    assert_eq!(soon("shouting", heard.data()).await.unwrap().unwrap(), "HELLO");
    sent.send_data(Bytes::new(), true).unwrap();
    while let Some(rest) = soon("the end", heard.data()).await {
        assert_eq!(rest.unwrap(), "", "nothing but the end comes");
    }
    rig.tally(1, |tally| tally.answered == 1 && tally.total() == 1).await;

    let (response, _) = sender.send_request(connect("other"), false).unwrap();
    assert_eq!(soon("an answer", response).await.unwrap().status(), 405);
}
