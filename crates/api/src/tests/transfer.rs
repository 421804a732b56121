//! Artifacts, secrets and logs: whole, or not at all and with a reason.

use super::world::*;
use crate::{
    Bounds, Problem, client,
    message::{LogQuery, Secrets},
};
use bytes::Bytes;
use model::Digest;
use std::{io, time::Duration};
use tokio::{io::AsyncWriteExt, net::UnixStream, time::timeout};

const MIB: usize = 1 << 20;

fn problem(error: client::Error) -> Problem {
    let client::Error::Problem(problem) = error else { panic!("{error:?}") };
    problem
}

#[tokio::test]
async fn an_artifact_arrives_as_it_was_written() {
    let world = World::start().await;
    let content: Vec<u8> = (0..3 * MIB + 17).map(|i| (i % 251) as u8).collect();
    let expected = Digest::of(&content);
    let artifact = world.client.put_artifact(move |to| to.write_all(&content)).await.unwrap();
    assert_eq!((artifact.digest, artifact.size.0), (expected, 3 * MIB as u64 + 17));
    assert_eq!(*world.backend.artifacts.lock().unwrap(), [artifact]);
}

#[tokio::test]
async fn an_artifact_that_is_too_large_is_refused_and_leaves_nothing() {
    let bounds = Bounds { artifact: model::Bytes::mib(1), ..Bounds::default() };
    let world = World::with(Setup { bounds, ..Setup::default() }).await;
    let error = world.client.put_artifact(|to| (0..64).try_for_each(|_| to.write_all(&[7; MIB]))).await.unwrap_err();
    let problem = problem(error);
    assert_eq!(
        (problem.status().as_u16(), problem.message.as_str()),
        (413, "the body of the request is larger than the 1 MiB allowed")
    );
    assert!(world.backend.artifacts.lock().unwrap().is_empty());
    assert_eq!(world.backend.broken_uploads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_artifact_that_the_store_refuses_early_is_refused_with_its_reason() {
    let world = World::start().await;
    let write = |to: &mut dyn io::Write| {
        to.write_all(b"not a tar")?;
        (0..64).try_for_each(|_| to.write_all(&[7; MIB]))
    };
    let problem = problem(world.client.put_artifact(write).await.unwrap_err());
    assert_eq!((problem.status().as_u16(), problem.message.as_str()), (422, "this is not a tar archive"));
}

#[tokio::test]
async fn an_artifact_that_cannot_be_read_is_not_taken_for_a_whole_one() {
    let world = World::start().await;
    let write = |to: &mut dyn io::Write| {
        to.write_all(&[7; MIB])?;
        Err(io::Error::other("./dist/app: permission denied"))
    };
    let error = world.client.put_artifact(write).await.unwrap_err();
    assert!(matches!(&error, client::Error::Source(source) if source.to_string().contains("dist/app")), "{error:?}");
    let broken = async {
        while world.backend.broken_uploads.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, broken).await.unwrap();
    assert!(world.backend.artifacts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up() {
    let bounds = Bounds { stall: Duration::from_millis(50), ..Bounds::default() };
    let world = World::with(Setup { bounds, ..Setup::default() }).await;
    let head = "PUT /v1/artifacts HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 99\r\n\r\nhalf";
    let (status, body) = status_and_body(&world.raw(head).await);
    assert_eq!(status, 408);
    assert!(body.contains("too_slow"), "{body}");
    assert_eq!(world.backend.broken_uploads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_that_is_cut_off_is_broken() {
    let world = World::start().await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let half = "PUT /v1/artifacts HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\nhalf";
    stream.write_all(half.as_bytes()).await.unwrap();
    drop(stream);
    let broken = async {
        while world.backend.broken_uploads.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, broken).await.unwrap();
    assert!(world.backend.artifacts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn secrets_arrive_and_are_never_repeated() {
    let world = World::start().await;
    let secrets = Secrets([("DATABASE_URL".to_owned(), "hunter2".to_owned())].into());
    assert!(!format!("{secrets:?}").contains("hunter2"));
    let shop = "shop".parse().unwrap();
    assert_eq!(world.client.put_secrets(&shop, &secrets).await.unwrap(), Digest::of(b"ciphertext"));
    assert_eq!(*world.backend.secrets.lock().unwrap(), [(shop, secrets)]);
    for wrong in [r#""hunter2""#, r#"["hunter2"]"#, r#"{"KEY": ["hunter2"]}"#, r#"{"KEY": hunter2}"#] {
        let (status, body) = world.ask("PUT", "/v1/secrets/shop", wrong).await;
        assert_eq!(status, 400, "{body}");
        assert!(body.contains("malformed") && !body.contains("hunter2"), "{body}");
    }
}

#[tokio::test]
async fn logs_come_as_they_were_written_and_then_as_they_are() {
    let world = World::start().await;
    let shop = world.with_service("shop").await;
    let mut logs = world.client.logs(&shop, &LogQuery::default()).await.unwrap();
    assert_eq!(timeout(SOON, logs.next()).await.unwrap().unwrap().unwrap(), &b"listening\n\xff\xfe\n"[..]);
    assert!(timeout(SOON, logs.next()).await.unwrap().is_none());
    let query = LogQuery { lines: Some(u32::MAX), follow: true, instance: Some("INS-3".parse().unwrap()) };
    let mut logs = world.client.logs(&shop, &query).await.unwrap();
    timeout(SOON, logs.next()).await.unwrap().unwrap().unwrap();
    let output = world.backend.output.lock().unwrap().clone().unwrap();
    output.send(Ok(Bytes::from_static(b"more\n"))).await.unwrap();
    assert_eq!(timeout(SOON, logs.next()).await.unwrap().unwrap().unwrap(), "more\n");
    assert_eq!(
        *world.backend.log_queries.lock().unwrap(),
        [LogQuery { lines: Some(100), ..LogQuery::default() }, LogQuery { lines: Some(100_000), ..query }]
    );
    drop(logs);
    timeout(SOON, output.closed()).await.expect("the backend hears that the reader has gone");
}
