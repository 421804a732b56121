//! Plain requests whose heads hyper has read: over HTTP/2, and over HTTP/1.1 behind one that had a body.

use crate::{
    http2::{ask, client},
    rig::{Rig, canary, full, running, service, soon, whole},
    upstream::{good, raw, read_head, rude},
};
use http::Request;
use http_body_util::BodyExt as _;
use model::{Span, Sticky};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn get(path: &str) -> http::request::Builder {
    Request::get(format!("http://shop.test{path}"))
}

#[tokio::test]
async fn an_instance_sees_the_same_request_over_http2_as_over_http1() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut sender = client(&rig).await;
    let asked =
        get("/head?q=1").header("x-mine", "1").header("x-forwarded-for", "6.6.6.6").header("x_forwarded_for", "6");
    let (status, seen) = whole(ask(&mut sender, asked, "").await).await;
    assert_eq!(status, 200);
    let mut lines: Vec<&str> = seen.lines().collect();
    let trace = lines.iter().position(|line| line.starts_with("traceparent: 00-")).expect("a trace");
    lines.remove(trace);
    assert_eq!(
        lines,
        [
            "GET /head?q=1 HTTP/1.1",
            "host: shop.test",
            "x-mine: 1",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: shop.test"
        ]
    );
    rig.tally(1, |tally| tally.answered == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn cookies_that_http2_sends_one_by_one_are_one_field_for_an_instance() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut sender = client(&rig).await;
    for (builder, body) in [(get("/head"), ""), (Request::post("http://shop.test/head"), "a body")] {
        let asked = builder.header("cookie", "a=1").header("cookie", "b=2; c=3");
        let (_, seen) = whole(ask(&mut sender, asked, body).await).await;
        assert!(seen.contains("cookie: a=1; b=2; c=3\n") && seen.matches("cookie").count() == 1, "{seen}");
    }
}

#[tokio::test]
async fn every_kind_of_body_arrives_as_what_it_is() {
    let large = "x".repeat(300_000);
    let kinds = [
        ("content-length: 5\r\n\r\nhello".to_owned(), "hello".to_owned()),
        ("content-length: 0\r\n\r\n".to_owned(), String::new()),
        (
            "transfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nt: 1\r\n\r\n".to_owned(),
            "hello!".to_owned(),
        ),
        ("connection: close\r\n\r\nuntil the end".to_owned(), "until the end".to_owned()),
        (format!("content-length: {}\r\n\r\n{large}", large.len()), large.clone()),
        (format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len()), large),
    ];
    let mut rig = Rig::start().await;
    for (answered, (said, expected)) in (1..).zip(kinds) {
        let said = format!("HTTP/1.1 200 OK\r\nx-kept: 1\r\n{said}");
        let instance = rude(move |mut stream, _| {
            let said = said.clone();
            async move { stream.write_all(said.as_bytes()).await.unwrap() }
        });
        rig.serve(vec![service(vec![running(&[instance.await])])]).await;
        let response = ask(&mut client(&rig).await, get("/"), "").await;
        assert_eq!(response.headers()["x-kept"], "1");
        assert!(response.headers().get("transfer-encoding").is_none());
        assert!(whole(response).await == (200, expected), "kind {answered}");
        rig.tally(1, |tally| tally.answered == answered && tally.total() == answered).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_whole() {
    let mut rig = Rig::start().await;
    for said in [
        "content-length: 100\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
    ] {
        let said = format!("HTTP/1.1 200 OK\r\n{said}");
        let instance = rude(move |mut stream, _| {
            let said = said.clone();
            async move { stream.write_all(said.as_bytes()).await.unwrap() }
        });
        rig.serve(vec![service(vec![running(&[instance.await])])]).await;
        // The break may overtake the head.
        let sent = client(&rig).await.send_request(get("/").body(full("")).unwrap()).await;
        if let Ok(response) = sent {
            assert!(soon("the end", response.into_body().collect()).await.is_err(), "it looks whole");
        }
    }
    rig.tally(1, |tally| tally.reset == 3 && tally.total() == 3).await;
}

#[tokio::test]
async fn one_that_is_silent_in_the_middle_is_given_up_in_time() {
    let mut rig = Rig::start().await;
    let mut silent = service(vec![running(&[good("one").await])]);
    silent.traffic.idle_timeout = Span(150);
    rig.serve(vec![silent]).await;
    let response = ask(&mut client(&rig).await, get("/download"), "").await;
    assert!(soon("the end", response.into_body().collect()).await.is_err(), "it looks whole");
    rig.tally(1, |tally| tally.timeout == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn a_head_is_answered_without_a_body_and_says_its_length() {
    let mut rig = Rig::start().await;
    let instance = rude(|mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    });
    rig.serve(vec![service(vec![running(&[instance.await])])]).await;
    let response = ask(&mut client(&rig).await, Request::head("http://shop.test/"), "").await;
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(whole(response).await, (200, String::new()));
    rig.tally(1, |tally| tally.answered == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn a_client_that_gives_up_is_neither_success_nor_failure() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut sender = client(&rig).await;
    let mut hanging = sender.clone();
    let hanging = tokio::spawn(async move { ask(&mut hanging, get("/hang"), "").await });
    rig.control.until("the request in flight", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    hanging.abort();
    rig.tally(1, |tally| tally.cancelled == 1 && tally.total() == 0).await;
    let response = ask(&mut sender, get("/download"), "").await;
    drop(response);
    rig.tally(1, |tally| tally.cancelled == 2 && tally.total() == 0).await;
    rig.control.until("nothing in flight", |r| r.instances.iter().all(|i| i.in_flight == 0)).await;
}

#[tokio::test]
async fn events_end_in_order_when_their_instance_drains() {
    let mut rig = Rig::start().await;
    let mut first = service(vec![running(&[good("one").await])]);
    first.traffic.drain_deadline = Span(200);
    rig.serve(vec![first]).await;
    let mut response = ask(&mut client(&rig).await, get("/events"), "").await.into_body();
    let event = soon("an event", response.frame()).await.unwrap().unwrap();
    assert_eq!(event.into_data().unwrap(), "data: 1\n\n");
    rig.serve(vec![service(vec![running(&[good("two").await])])]).await;
    assert!(soon("the end", response.frame()).await.is_none_or(|frame| frame.is_ok()), "it ends, and does not break");
    rig.tally(1, |tally| tally.answered == 1 && tally.cut == 1).await;
}

#[tokio::test]
async fn a_new_user_is_given_a_cookie_and_kept_by_it() {
    let mut rig = Rig::start().await;
    let mut shop = canary(50, &[good("one").await], &[good("two").await], None);
    shop.traffic.sticky = Some(Sticky::Cookie("qd_user".to_owned()));
    rig.serve(vec![shop]).await;
    let mut sender = client(&rig).await;
    let first = ask(&mut sender, get("/"), "").await;
    let cookie = first.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (_, name) = whole(first).await;
    for _ in 0..10 {
        let again = ask(&mut sender, get("/").header("cookie", &cookie), "").await;
        assert!(again.headers().get("set-cookie").is_none());
        assert_eq!(whole(again).await.1, name);
    }
}

#[tokio::test]
async fn a_closed_connection_is_replaced_and_a_refusal_is_told() {
    let mut rig = Rig::start().await;
    // Answers once on each connection, and closes it when the second request has arrived.
    let once = raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        read_head(&mut stream).await;
    });
    rig.serve(vec![service(vec![running(&[once.await])])]).await;
    let mut sender = client(&rig).await;
    for _ in 0..5 {
        assert_eq!(whole(ask(&mut sender, get("/"), "").await).await, (200, "ok".into()));
    }
    let tally = rig.tally(1, |tally| tally.answered == 5).await;
    assert!(tally.failed() == 0 && tally.retried >= 1, "{tally:?}");

    let silent = rude(|mut stream, _| async move {
        let _ = stream.read_u8().await;
    });
    let mut slow = service(vec![running(&[silent.await])]);
    slow.traffic.response_timeout = Span(150);
    rig.serve(vec![slow]).await;
    assert_eq!(whole(ask(&mut sender, get("/"), "").await).await.0, 504);
    rig.tally(1, |tally| tally.timeout == 1).await;
}

#[tokio::test]
async fn behind_a_request_with_a_body_a_plain_one_is_answered_on_the_same_connection() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let post = "POST /echo HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 4\r\n\r\nbody";
    let get = "GET /head HTTP/1.1\r\nhost: shop.test\r\nx-mine: 1\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";
    let answer = rig.raw(format!("{post}{get}{get}{last}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4, "{answer}");
    assert_eq!(answer.matches("x-mine: 1\n").count(), 2, "{answer}");
    rig.tally(1, |tally| tally.answered == 4 && tally.total() == 4).await;
}
