//! Requests that wait for an instance: for a moment anywhere, for longer where one is known to come.

use crate::{
    rig::{DEADLINE, Rig, running, service, soon},
    upstream::good,
};
use model::{ServiceRoutes, Span};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const REQUEST: &[u8] = b"GET /name HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

/// Nothing runs, and requests are held for so long.
fn asleep(hold: Span) -> ServiceRoutes {
    ServiceRoutes { hold: Some(hold), ..service(vec![running(&[])]) }
}

#[tokio::test]
async fn a_request_is_held_for_as_long_as_its_service_may_take_to_wake_up() {
    // Elsewhere nobody would wait at all.
    let mut rig = Rig::with(|config| config.limits.hold = Duration::ZERO).await;
    let hold = Span(DEADLINE.as_millis() as u64);
    rig.serve(vec![asleep(hold)]).await;
    let mut stream = rig.connect().await;
    stream.write_all(REQUEST).await.unwrap();
    rig.control.until("the request that waits", |report| report.releases[0].waiting == 1).await;
    // A table that brings no instance does not end it.
    rig.serve(vec![asleep(hold)]).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("one"), "{answer}");
    let report = rig.control.until("it counted", |report| report.releases[0].tally.answered == 1).await;
    assert_eq!((report.releases[0].waiting, report.releases[0].tally.failed()), (0, 0));
}

#[tokio::test]
async fn a_request_is_held_no_longer_once_nothing_is_known_to_come() {
    let mut rig = Rig::with(|config| config.limits.hold = Duration::ZERO).await;
    rig.serve(vec![asleep(Span(DEADLINE.as_millis() as u64))]).await;
    let mut stream = rig.connect().await;
    stream.write_all(REQUEST).await.unwrap();
    rig.control.until("the request that waits", |report| report.releases[0].waiting == 1).await;
    rig.serve(vec![service(vec![running(&[])])]).await;
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after"), "{answer}");
    let report = rig.control.until("it counted", |report| report.releases[0].tally.no_instance == 1).await;
    assert_eq!(report.releases[0].waiting, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_waits_no_more() {
    let mut rig = Rig::start().await;
    rig.serve(vec![asleep(Span(DEADLINE.as_millis() as u64))]).await;
    let mut stream = rig.connect().await;
    stream.write_all(REQUEST).await.unwrap();
    rig.control.until("the request that waits", |report| report.releases[0].waiting == 1).await;
    drop(stream);
    rig.control.until("nobody who waits", |report| report.releases[0].waiting == 0).await;
}
