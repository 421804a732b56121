//! One request's way to an instance and back, whole, and what happens when it breaks.

use crate::{
    rig::{Rig, full, running, service, soon, whole},
    upstream::{self, good, nobody, read_head, rude},
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty, combinators::BoxBody};
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::Span;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Notify, mpsc},
};

fn empty() -> BoxBody<Bytes, std::io::Error> {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body fed by the test.
struct Fed(mpsc::Receiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[tokio::test]
async fn a_request_reaches_the_instance_with_what_it_needs_to_know() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let (status, seen) =
        rig.send(Request::get("/head?q=1").header("x-forwarded-for", "6.6.6.6").header("te", "gzip")).await;
    assert_eq!(status, 200);
    assert!(seen.starts_with("GET /head?q=1 HTTP/1.1\n"), "{seen}");
    for field in ["host: shop.test\n", "x-forwarded-for: 127.0.0.1\n", "x-forwarded-proto: http\n", "traceparent: 00-"]
    {
        assert!(seen.contains(field), "{field} is missing in {seen}");
    }
    assert!(!seen.contains("6.6.6.6") && !seen.contains("te:"), "{seen}");
    rig.tally(1, |tally| tally.answered == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn bodies_stream_in_both_directions_at_once() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let (feed, fed) = mpsc::channel(1);
    let response = rig.open(Request::post("/echo"), Fed(fed).boxed()).await;
    let mut body = response.into_body();
    // Each chunk comes back before the next one is sent: nothing waits for the whole.
    for chunk in ["first", "second", "third"] {
        feed.send(Bytes::from(chunk)).await.unwrap();
        let frame = soon("the echo", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), chunk);
    }
    drop(feed);
    assert!(soon("the end", body.frame()).await.is_none());
    rig.tally(1, |tally| tally.answered == 1).await;
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let sent: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    let response = rig.open(Request::post("/echo"), full(sent.clone())).await;
    let received = soon("the body", response.into_body().collect()).await.unwrap().to_bytes();
    assert!(received == sent, "{} of {} bytes, or others", received.len(), sent.len());
}

#[tokio::test]
async fn trailers_are_carried() {
    let mut rig = Rig::start().await;
    let sums = rude(|mut stream, _| async move {
        let answer =
            "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 42\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        read_head(&mut stream).await;
    });
    rig.serve(vec![service(vec![running(&[sums.await])])]).await;
    let answer = rig.raw(b"GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("trailer: x-sum") && answer.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_expects_to_be_told_to_continue_is_told() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut stream = rig.connect().await;
    let head =
        "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    soon("100 Continue", stream.read_exact(&mut go_on)).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn other_protocols_are_tunnelled_after_an_upgrade() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let request = Request::get("/switch").header("connection", "upgrade").header("upgrade", "shouting");
    let response = rig.open(request, empty()).await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "shouting");
    let mut io = TokioIo::new(soon("the switch", hyper::upgrade::on(response)).await.unwrap());
    for _ in 0..3 {
        io.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        soon("the echo", io.read_exact(&mut echo)).await.unwrap();
        assert_eq!(&echo, b"HELLO");
    }
    rig.control.until("the tunnel in flight", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    drop(io);
    rig.control.until("the tunnel gone", |r| r.instances.iter().all(|i| i.in_flight == 0) && r.connections == 0).await;
}

#[tokio::test]
async fn a_tunnel_is_not_mistaken_for_a_slow_or_idle_client() {
    let patience = std::time::Duration::from_millis(100);
    let mut rig = Rig::with(|config| {
        config.limits.head_time = patience;
        config.limits.keep_alive = patience;
    })
    .await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let request = Request::get("/switch").header("connection", "upgrade").header("upgrade", "shouting");
    let response = rig.open(request, empty()).await;
    let mut io = TokioIo::new(soon("the switch", hyper::upgrade::on(response)).await.unwrap());
    let began = std::time::Instant::now();
    while began.elapsed() < 5 * patience {
        io.write_all(b"a").await.unwrap();
        assert_eq!(soon("the echo", io.read_u8()).await.unwrap(), b'A');
        // A report comes each second at least, so that the tunnel is silent for longer than a client may be.
        rig.control.until("a report", |_| true).await;
    }
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let response = rig.open(Request::get("/events"), empty()).await;
    let event = soon("an event", response.into_body().frame()).await.unwrap().unwrap();
    assert_eq!(event.into_data().unwrap(), "data: 1\n\n");
    rig.tally(1, |tally| tally.answered == 1).await;
}

#[tokio::test]
async fn http2_clients_are_served_side_by_side() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let io = TokioIo::new(rig.connect().await);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut hanging = sender.clone();
    let hang = tokio::spawn(async move {
        hanging.send_request(Request::get("http://shop.test/hang").body(empty()).unwrap()).await
    });
    for _ in 0..10 {
        let request = Request::post("http://shop.test/head").body(full("payload")).unwrap();
        let (status, seen) = whole(soon("a response", sender.clone().send_request(request)).await.unwrap()).await;
        assert_eq!(status, 200);
        assert!(seen.starts_with("POST /head HTTP/1.1\n") && seen.contains("host: shop.test\n"), "{seen}");
    }
    assert!(!hang.is_finished());
    rig.tally(1, |tally| tally.answered == 10).await;
}

#[tokio::test]
async fn an_instance_that_refuses_is_passed_over() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[nobody().await, good("two").await])])]).await;
    for _ in 0..50 {
        assert_eq!(rig.get("/").await, (200, "two".into()));
    }
    let tally = rig.tally(1, |tally| tally.answered == 50).await;
    assert_eq!(tally.failed(), 0);
    assert!((1..=25).contains(&tally.retried), "{} tries at the instance that refuses", tally.retried);
}

#[tokio::test]
async fn when_all_instances_refuse_the_client_is_told() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[nobody().await])])]).await;
    let (status, text) = rig.get("/").await;
    assert_eq!(status, 502);
    assert!(text.contains("shop could not be reached"), "{text}");
    rig.tally(1, |tally| tally.refused == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn a_kept_connection_that_turns_out_closed_is_replaced() {
    let mut rig = Rig::start().await;
    // Answers once on each connection, and closes it when the second request has arrived.
    let once = rude(|mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        read_head(&mut stream).await;
    });
    rig.serve(vec![service(vec![running(&[once.await])])]).await;
    for _ in 0..5 {
        assert_eq!(rig.get("/").await, (200, "ok".into()));
    }
    let tally = rig.tally(1, |tally| tally.answered == 5).await;
    assert_eq!(tally.failed(), 0);
    assert!(tally.retried >= 1);
}

#[tokio::test]
async fn what_may_have_happened_is_not_tried_again() {
    let mut rig = Rig::start().await;
    let closes = rude(|stream, _| async move { drop(stream) }).await;
    rig.serve(vec![service(vec![running(&[closes, closes])])]).await;
    let (status, text) = whole(rig.open(Request::post("/"), empty()).await).await;
    assert_eq!(status, 502);
    assert!(text.contains("closed the connection before it had answered"), "{text}");
    let tally = rig.tally(1, |tally| tally.reset == 1).await;
    assert_eq!((tally.retried, tally.total()), (0, 1));
}

#[tokio::test]
async fn an_instance_that_does_not_answer_in_time_is_given_up() {
    let mut rig = Rig::start().await;
    let mut slow = service(vec![running(&[good("one").await])]);
    slow.traffic.response_timeout = Span(150);
    rig.serve(vec![slow]).await;
    let (status, text) = rig.get("/hang").await;
    assert_eq!(status, 504);
    assert!(text.contains("within 150 ms"), "{text}");
    rig.tally(1, |tally| tally.timeout == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_made_to_look_whole() {
    let mut rig = Rig::start().await;
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let breaks = rude(move |mut stream, _| async move {
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        rig.serve(vec![service(vec![running(&[breaks.await])])]).await;
        let response = rig.open(Request::get("/"), empty()).await;
        assert_eq!(response.status(), 200);
        assert!(soon("the end", response.into_body().collect()).await.is_err(), "{head}: looks whole");
    }
    rig.tally(1, |tally| tally.reset == 2 && tally.total() == 2).await;
}

#[tokio::test]
async fn a_body_without_a_length_is_whole_when_its_connection_closes_and_not_when_it_breaks() {
    for breaks in [false, true] {
        let taken = Arc::new(Notify::new());
        let told = Arc::clone(&taken);
        let instance = rude(move |mut stream, _| {
            let told = Arc::clone(&told);
            async move {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
                told.notified().await;
                if breaks {
                    stream.set_zero_linger().unwrap();
                }
            }
        });
        let mut rig = Rig::start().await;
        rig.serve(vec![service(vec![running(&[instance.await])])]).await;
        let mut stream = rig.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"half\r\n") {
            assert!(soon("the half", stream.read_buf(&mut answer)).await.unwrap() > 0);
        }
        taken.notify_one();
        let _ = soon("the end", stream.read_to_end(&mut answer)).await;
        assert_eq!(answer.ends_with(b"0\r\n\r\n"), !breaks, "{}", String::from_utf8_lossy(&answer));
        rig.tally(1, |tally| (tally.answered, tally.reset) == (u64::from(!breaks), u64::from(breaks))).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_neither_success_nor_failure() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut stream = rig.connect().await;
    stream.write_all(b"GET /hang HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    rig.control.until("the request in flight", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    drop(stream);
    let tally = rig.tally(1, |tally| tally.cancelled == 1).await;
    assert_eq!(tally.total(), 0);
    rig.control.until("nothing in flight", |r| r.instances.iter().all(|i| i.in_flight == 0)).await;
}

#[tokio::test]
async fn what_matches_nothing_is_told_what_was_sought() {
    let mut rig = Rig::start().await;
    let (status, text) = rig.get("/").await;
    assert_eq!((status, text.contains("No service is set up here yet")), (503, true), "{text}");
    let mut api = service(vec![running(&[good("one").await])]);
    api.routes[0].path = "/api".into();
    rig.serve(vec![api]).await;
    let (status, text) = rig.get("/other").await;
    assert_eq!(status, 404);
    assert!(text.contains("host `shop.test` and path `/other`"), "{text}");
    rig.control.until("both counted", |report| report.unrouted == 2).await;
}

#[tokio::test]
async fn requests_wait_a_little_for_an_instance() {
    let mut rig = Rig::with(|config| config.limits.hold = crate::rig::DEADLINE).await;
    rig.serve(vec![service(vec![running(&[])])]).await;
    let mut stream = rig.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    rig.control.until("the connection", |report| report.connections == 1).await;
    rig.serve(vec![service(vec![running(&[upstream::good("late").await])])]).await;
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("late"), "{answer}");
    let tally = rig.tally(1, |tally| tally.answered == 1).await;
    assert_eq!(tally.failed(), 0);
}

#[tokio::test]
async fn when_no_instance_comes_the_client_is_told_to_come_back() {
    let mut rig = Rig::with(|config| config.limits.hold = std::time::Duration::from_millis(50)).await;
    rig.serve(vec![service(vec![running(&[])])]).await;
    let answer = rig.raw(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 2"), "{answer}");
    rig.tally(1, |tally| tally.no_instance == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn a_service_changes_fields_in_both_directions_whichever_way_a_request_goes() {
    let mut rig = Rig::start().await;
    let mut service = service(vec![running(&[good("one").await])]);
    let traffic = &mut service.traffic;
    traffic.request_headers.put("X-Environment", Some("test")).unwrap();
    traffic.request_headers.put("x-debug", None).unwrap();
    traffic.response_headers.put("x-frame-options", Some("DENY")).unwrap();
    traffic.response_headers.put("date", None).unwrap_err();
    rig.serve(vec![service]).await;
    // Without a body, and with one.
    for request in [Request::get("/head"), Request::post("/head")] {
        let body = if request.method_ref() == Some(&http::Method::POST) { "x" } else { "" };
        let request = request.header("x-debug", "1").header("x-environment", "mine");
        let response = rig.open(request, full(body)).await;
        assert_eq!(response.headers()["x-frame-options"], "DENY");
        let seen = whole(response).await.1;
        assert!(
            seen.contains("x-environment: test\n") && !seen.contains("x-debug") && !seen.contains("mine"),
            "{seen}"
        );
    }
    let refused = rig.raw(b"GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n").await;
    assert!(!refused.contains("x-frame-options"), "{refused}");
}
