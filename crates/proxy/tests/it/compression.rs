//! Responses that go out compressed.

use crate::{
    rig::{Rig, running, service, soon},
    upstream::{read_head, rude},
};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use std::{io::Read as _, sync::Arc};
use tokio::{io::AsyncWriteExt as _, sync::Notify};

/// A proxy before a service that sends the first half of a text, and the other half when it is told.
async fn halves() -> (Rig, Arc<Notify>) {
    let mut rig = Rig::start().await;
    let go_on = Arc::new(Notify::new());
    let told = Arc::clone(&go_on);
    let instance = rude(move |mut stream, _| {
        let told = Arc::clone(&told);
        async move {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}6\r\nhello \r\n").as_bytes()).await.unwrap();
            told.notified().await;
            stream.write_all(b"5\r\nworld\r\n0\r\n\r\n").await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    let mut shop = service(vec![running(&[instance])]);
    shop.traffic.compress = true;
    rig.serve(vec![shop]).await;
    (rig, go_on)
}

#[tokio::test]
async fn a_text_is_compressed_and_comes_as_it_is_sent() {
    let (mut rig, go_on) = halves().await;
    let request = Request::get("/").header("accept-encoding", "gzip");
    let response = rig.open(request, Empty::new().map_err(|never| match never {}).boxed()).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "accept-encoding");
    let mut body = response.into_body();
    let mut all = Vec::new();
    let first = loop {
        let frame = soon("the first half", body.frame()).await.unwrap().unwrap();
        all.extend(frame.into_data().unwrap());
        let mut text = [0; 6];
        if flate2::read::GzDecoder::new(&all[..]).read_exact(&mut text).is_ok() {
            break text;
        }
    };
    assert_eq!(&first, b"hello ", "what was sent is there before the rest is");
    go_on.notify_one();
    all.extend(soon("the rest", body.collect()).await.unwrap().to_bytes());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&all[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello world");
    rig.tally(1, |tally| tally.answered == 1 && tally.total() == 1).await;
}

#[tokio::test]
async fn a_client_that_takes_no_coding_gets_the_text_as_it_is() {
    let (rig, go_on) = halves().await;
    go_on.notify_one();
    let response = rig.open(Request::get("/"), Empty::new().map_err(|never| match never {}).boxed()).await;
    assert!(!response.headers().contains_key("content-encoding"));
    assert_eq!(response.headers()["vary"], "accept-encoding");
    let text = soon("the text", response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(text, "hello world");
}

#[tokio::test]
async fn a_compressed_body_that_breaks_off_does_not_look_whole() {
    let mut rig = Rig::start().await;
    let breaks = rude(|mut stream, _| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9000\r\n\r\nhalf of it";
        stream.write_all(head.as_bytes()).await.unwrap();
    })
    .await;
    let mut shop = service(vec![running(&[breaks])]);
    shop.traffic.compress = true;
    rig.serve(vec![shop]).await;
    let request = Request::get("/").header("accept-encoding", "zstd, br");
    let response = rig.open(request, Empty::new().map_err(|never| match never {}).boxed()).await;
    assert_eq!(response.headers()["content-encoding"], "zstd");
    assert!(soon("the end", response.into_body().collect()).await.is_err());
    rig.tally(1, |tally| tally.reset == 1).await;
}
