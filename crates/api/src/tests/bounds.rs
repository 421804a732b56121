//! Clients that send too much, too slowly, too often, or half of it.

use super::world::*;
use crate::{Bounds, Client};
use std::time::Duration;
use tokio::{io::AsyncWriteExt, net::UnixStream, time::timeout};

async fn with(bounds: Bounds) -> World {
    World::with(Setup { bounds, ..Setup::default() }).await
}

#[tokio::test]
async fn half_a_head_is_not_waited_for_for_ever() {
    let world = with(Bounds { head: Duration::from_millis(50), ..Bounds::default() }).await;
    let answer = world.raw("GET /v1/status HTTP/1.1\r\nhost: loc").await;
    assert!(answer.is_empty() || status_and_body(&answer).0 == 408, "{answer}");
    assert!(world.raw("").await.is_empty(), "nor is a connection that says nothing");
}

#[tokio::test]
async fn half_a_body_is_too_slow() {
    let world = with(Bounds { stall: Duration::from_millis(50), ..Bounds::default() }).await;
    let half = "POST /v1/commands HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 99\r\n\r\n{";
    let (status, body) = status_and_body(&world.raw(half).await);
    assert_eq!(status, 408);
    assert!(body.contains("stood still"), "{body}");
}

#[tokio::test]
async fn a_body_or_a_head_that_is_too_long_is_refused() {
    let world = World::start().await;
    let (status, body) = world.ask("POST", "/v1/commands", &" ".repeat((1 << 20) + 1)).await;
    assert_eq!(status, 413);
    assert!(body.contains("larger than the 1 MiB allowed"), "{body}");
    let huge = format!("GET /v1/status HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(10 << 20));
    assert_eq!(status_and_body(&world.raw(&huge).await).0, 431);
    assert_eq!(world.ask("GET", "/v1/status", "").await.0, 200);
}

#[tokio::test]
async fn too_many_requests_are_told_to_come_back() {
    let world = with(Bounds { requests: 1, ..Bounds::default() }).await;
    let mut first = UnixStream::connect(&world.socket).await.unwrap();
    let half = "POST /v1/commands HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{";
    first.write_all(half.as_bytes()).await.unwrap();
    let busy = async {
        loop {
            let answer = world.raw("GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
            if status_and_body(&answer).0 == 503 {
                break answer;
            }
        }
    };
    let answer = timeout(SOON, busy).await.unwrap();
    assert!(answer.contains("retry-after: 1\r\n") && answer.contains(r#""code":"busy""#), "{answer}");
    drop(first);
    let free = async { while world.client.status().await.is_err() {} };
    timeout(SOON, free).await.expect("a place becomes free");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let world = with(Bounds { connections: 1, ..Bounds::default() }).await;
    let events = world.client.events(None, None).await.unwrap();
    let client = Client::unix(&world.socket);
    let waiting = tokio::spawn(async move { client.whoami().await });
    assert!(
        timeout(Duration::from_millis(100), async {
            while !waiting.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await
        .is_err()
    );
    drop(events);
    timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_defect_ends_one_request_and_nothing_else() {
    let world = World::start().await;
    let (status, body) = world.ask("PUT", "/v1/secrets/panic", "{}").await;
    assert_eq!(status, 500);
    assert!(body.contains(r#""code":"internal""#), "{body}");
    assert_eq!(world.ask("GET", "/v1/status", "").await.0, 200);
}

#[tokio::test]
async fn every_answer_says_what_it_comes_from_and_is_not_kept() {
    let world = World::start().await;
    for path in ["/v1/status", "/nowhere"] {
        let answer = world.raw(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        for header in ["server: quarterdeck/", "cache-control: no-store", "x-content-type-options: nosniff"] {
            assert!(answer.contains(header), "{answer}");
        }
    }
}
