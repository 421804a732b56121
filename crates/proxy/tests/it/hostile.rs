//! Clients that send too much, too slowly, or half of something.

use crate::{
    rig::{Rig, full, running, service, soon, whole},
    upstream::good,
};
use http::Request;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn serving(adjust: impl FnOnce(&mut proxy::Config)) -> Rig {
    let mut rig = Rig::with(adjust).await;
    let mut service = service(vec![running(&[good("one").await])]);
    service.traffic.max_body = model::Bytes(1_000);
    rig.serve(vec![service]).await;
    rig
}

#[tokio::test]
async fn half_a_request_is_not_waited_for_forever() {
    let mut rig = serving(|config| config.limits.head_time = Duration::from_millis(200)).await;
    assert_eq!(rig.raw(b"GET / HTTP/1.1\r\nhost: h\r\nx: ").await, "");
    assert_eq!(rig.raw(b"").await, "", "a connection on which nothing ever comes is closed, too");
    rig.control.until("the slow one counted", |report| report.refused == 1).await;
}

#[tokio::test]
async fn half_a_second_request_is_not_waited_for_either() {
    let mut rig = serving(|config| config.limits.head_time = Duration::from_millis(200)).await;
    let mut stream = rig.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    rig.tally(1, |tally| tally.answered == 1).await;
    stream.write_all(b"GET / HT").await.unwrap();
    let mut answer = String::new();
    soon("the end of the connection", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("one"), "{answer}");
    rig.control.until("the slow one counted", |report| report.refused == 1).await;
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let rig = serving(|config| config.limits.keep_alive = Duration::from_millis(200)).await;
    let answer = rig.raw(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(answer.ends_with("one"), "{answer}");
}

#[tokio::test]
async fn a_huge_head_is_refused_and_the_refusal_arrives() {
    let mut rig = serving(|_| {}).await;
    let mut request = b"GET / HTTP/1.1\r\nhost: h\r\nx: ".to_vec();
    request.resize(10 << 20, b'a');
    let answer = rig.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
    rig.control.until("it counted", |report| report.refused == 1).await;
}

#[tokio::test]
async fn too_many_fields_are_refused() {
    let rig = serving(|_| {}).await;
    let fields: String = (0..200).map(|i| format!("x-{i}: 1\r\n")).collect();
    let answer = rig.raw(format!("GET / HTTP/1.1\r\nhost: h\r\n{fields}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let mut rig = serving(|_| {}).await;
    let head = "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 1001\r\nexpect: 100-continue\r\n\r\n";
    let answer = rig.raw(head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("larger than the 1000 B that shop accepts"),
        "{answer}"
    );
    let (status, _) = whole(rig.open(Request::post("/echo"), full(vec![0; 1_000])).await).await;
    assert_eq!(status, 200, "the largest that is accepted is accepted");
    rig.control.until("it counted", |report| report.refused == 1).await;
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_broken_off() {
    let mut rig = serving(|_| {}).await;
    let mut request = b"POST /count HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n".to_vec();
    request.resize(request.len() + 0xfff, b'a');
    let answer = rig.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let tally = rig.tally(1, |tally| tally.cancelled == 1).await;
    assert_eq!(tally.total(), 0);
}

#[tokio::test]
async fn a_request_for_no_or_two_hosts_is_refused() {
    let mut rig = serving(|_| {}).await;
    for hosts in ["", "host: a\r\nhost: b\r\n"] {
        let answer = rig.raw(format!("GET / HTTP/1.1\r\n{hosts}connection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{hosts:?}: {answer}");
    }
    rig.control.until("both counted", |report| report.refused == 2).await;
}

#[tokio::test]
async fn requests_that_could_be_understood_in_two_ways_are_refused() {
    let rig = serving(|_| {}).await;
    for fields in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: +5\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "content-length : 5\r\n",
    ] {
        let answer = rig.raw(format!("POST /echo HTTP/1.1\r\nhost: h\r\n{fields}\r\nhello").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{fields:?}: {answer}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = serving(|_| {}).await;
    let requests = "GET /head HTTP/1.1\r\nhost: h\r\n\r\nGET /fail HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = rig.raw(requests.as_bytes()).await;
    let statuses: Vec<_> = answer.match_indices("HTTP/1.1 ").map(|(i, _)| answer[i + 9..].get(..3)).collect();
    assert_eq!(statuses.first(), Some(&Some("200")));
    assert!(answer.contains("HTTP/1.1 500") && answer.ends_with("one"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_not_waited_for_forever() {
    let mut rig = Rig::with(|config| config.limits.write_stall = Duration::from_millis(200)).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut stream = rig.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    // What is sent comes back and is not read, until there is no room for it anywhere and nothing moves any more.
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    let send = async { while stream.write_all(chunk.as_bytes()).await.is_ok() {} };
    soon("the proxy giving up", send).await;
    let tally = rig.tally(1, |tally| tally.cancelled == 1).await;
    assert_eq!(tally.failed(), 0);
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_given_up() {
    let mut rig = Rig::start().await;
    let mut service = service(vec![running(&[good("one").await])]);
    service.traffic.idle_timeout = model::Span(200);
    rig.serve(vec![service]).await;
    let answer = rig.raw(b"POST /count HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    rig.control.until("nothing in flight", |r| r.instances.iter().all(|i| i.in_flight == 0)).await;
}
