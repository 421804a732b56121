//! The event stream: nothing missed, nothing twice, and nobody kept who does not listen.

use super::world::*;
use crate::{Bounds, client::Events, message::Line};
use model::Seq;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

async fn next(events: &mut Events) -> Line {
    timeout(SOON, events.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn what_is_recorded_is_heard_once_in_order_and_from_anywhere() {
    let world = World::start().await;
    world.record(5).await;
    let mut all = world.client.events(Some(Seq(0)), None).await.unwrap();
    let mut late = world.client.events(Some(Seq(3)), None).await.unwrap();
    let mut live = world.client.events(None, None).await.unwrap();
    world.record(2).await;
    for (events, first) in [(&mut all, 0), (&mut late, 3), (&mut live, 5)] {
        for seq in first..7 {
            let line = next(events).await;
            assert_eq!((line.seq, line.kind.as_str()), (Seq(seq), "clock.stepped"));
        }
        assert_eq!(events.next_seq(), Some(Seq(7)));
    }
}

#[tokio::test]
async fn many_pages_of_events_arrive_whole() {
    let world = World::start().await;
    world.record(2_500).await;
    let mut events = world.client.events(Some(Seq(0)), None).await.unwrap();
    for seq in 0..2_500 {
        assert_eq!(next(&mut events).await.seq, Seq(seq));
    }
}

#[tokio::test]
async fn a_browser_that_comes_back_goes_on_after_the_last_event_it_had() {
    let world = World::start().await;
    world.record(4).await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let request = "GET /v1/events?from=0 HTTP/1.1\r\nhost: localhost\r\nlast-event-id: 2\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("sentence") {
        let mut part = [0; 4096];
        let n = timeout(SOON, stream.read(&mut part)).await.unwrap().unwrap();
        assert_ne!(n, 0, "{text}");
        text += std::str::from_utf8(&part[..n]).unwrap();
    }
    assert!(text.contains("content-type: text/event-stream\r\n"), "{text}");
    assert!(text.contains("event: entry\nid: 3\ndata: {\"seq\":3,"), "{text}");
    assert!(!text.contains("id: 2\n"), "{text}");
}

#[tokio::test]
async fn events_can_be_about_one_thing() {
    let world = World::start().await;
    world.with_service("shop").await;
    world.record(3).await;
    let deploy = world.with_service("other").await;
    let change = world.client.service(&deploy).await.unwrap().change.unwrap();
    let mut events = world.client.events(Some(Seq(0)), Some(&change.to_string())).await.unwrap();
    let first = next(&mut events).await;
    assert_eq!((first.stream, first.kind.as_str()), (format!("change/{change}"), "change.proposed"));
    let mut events = world.client.events(Some(Seq(0)), Some("other")).await.unwrap();
    assert_eq!(next(&mut events).await.at.as_deref(), Some("other"));
}

#[tokio::test]
async fn resuming_beyond_the_end_is_refused_instead_of_silent() {
    let world = World::start().await;
    world.record(2).await;
    let error = world.client.events(Some(Seq(9)), None).await.unwrap_err();
    assert!(error.to_string().contains("the ledger has 2 entries"), "{error}");
    let answer = world.raw("GET /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlast-event-id: x\r\n\r\n").await;
    assert_eq!(status_and_body(&answer).0, 400);
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_still_there() {
    let bounds = Bounds { keep_alive: Duration::from_millis(5), ..Bounds::default() };
    let world = World::with(Setup { bounds, ..Setup::default() }).await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut text = String::new();
    while text.matches(": still here\n\n").count() < 3 {
        let mut part = [0; 4096];
        let n = timeout(SOON, stream.read(&mut part)).await.unwrap().unwrap();
        assert_ne!(n, 0, "{text}");
        text += std::str::from_utf8(&part[..n]).unwrap();
    }
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_to_another() {
    let world = World::with(Setup { bounds: Bounds { streams: 1, ..Bounds::default() }, ..Setup::default() }).await;
    let first = world.client.events(None, None).await.unwrap();
    let error = world.client.events(None, None).await.unwrap_err();
    assert!(error.to_string().contains("too many event and log streams"), "{error}");
    drop(first);
    a_place_is_free(&world).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    for path in ["/v1/events?from=0", "/v1/story"] {
        let bounds = Bounds { connections: 1, stall: Duration::from_millis(50), ..Bounds::default() };
        let world = World::with(Setup { bounds, ..Setup::default() }).await;
        // More than the buffers of any socket take.
        world.record(20_000).await;
        let mut stream = UnixStream::connect(&world.socket).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        timeout(SOON, world.client.whoami()).await.expect("the only connection becomes free").unwrap();
        drop(stream);
    }
}

async fn a_place_is_free(world: &World) {
    let asking = async { while world.client.events(None, None).await.is_err() {} };
    timeout(SOON, asking).await.expect("a place becomes free");
}

#[tokio::test]
async fn streams_end_when_the_server_stops_and_its_socket_goes() {
    let world = World::start().await;
    let mut events = world.client.events(None, None).await.unwrap();
    let (client, socket) = (world.client.clone(), world.socket.clone());
    world.stop().await;
    assert!(timeout(SOON, events.next()).await.unwrap().is_none());
    assert!(!socket.exists());
    let error = client.status().await.unwrap_err();
    assert!(error.to_string().starts_with("Quarterdeck is not running: nothing listens at /"), "{error}");
    assert_eq!(error.hint(), "start it with `qd serve`");
}
