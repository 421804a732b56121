//! What the client makes of servers that are not as they should be.

use crate::{Client, client::Error};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

/// What asking for the status comes to when the server answers with these bytes and closes.
async fn answered(answer: &'static str) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let error = Client::unix(&socket).status().await.unwrap_err();
    server.await.unwrap();
    error
}

#[tokio::test]
async fn nobody_there_is_said_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    let missing = Client::unix(&socket).status().await.unwrap_err();
    drop(UnixListener::bind(&socket).unwrap());
    let dead = Client::unix(&socket).status().await.unwrap_err();
    for error in [missing, dead] {
        assert_eq!(error.to_string(), format!("Quarterdeck is not running: nothing listens at {}", socket.display()));
        assert_eq!(error.hint(), "start it with `qd serve`");
    }
}

#[tokio::test]
async fn something_else_that_answers_is_not_taken_for_quarterdeck() {
    for answer in [
        "HTTP/1.1 200 OK\r\nserver: nginx\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 Oh\r\nserver: quarterdeck/0.1.0\r\ncontent-length: 4\r\n\r\noops",
    ] {
        let error = answered(answer).await;
        assert!(matches!(error, Error::NotQuarterdeck { .. }), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn another_version_is_named_when_the_two_do_not_understand_each_other() {
    let nothing_there = r#"{"code":"not_found","message":"there is nothing at this path","hint":""}"#;
    for answer in [
        "HTTP/1.1 200 OK\r\nserver: quarterdeck/9.0.0\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        format!(
            "HTTP/1.1 404 Not Found\r\nserver: quarterdeck/9.0.0\r\ncontent-length: {}\r\n\r\n{nothing_there}",
            nothing_there.len()
        ),
    ] {
        let error = answered(answer.leak()).await;
        assert!(matches!(&error, Error::Version { theirs, .. } if theirs == "9.0.0"), "{error:?}");
        assert!(error.hint().contains("restart `qd serve`"));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_makes_no_sense_is_said() {
    let error = answered("HTTP/1.1 200 OK\r\nserver: quarterdeck/0.1.0\r\ncontent-length: 99\r\n\r\n{").await;
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    let error = answered("").await;
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    let body = concat!(
        "HTTP/1.1 200 OK\r\nserver: quarterdeck/",
        env!("CARGO_PKG_VERSION"),
        "\r\ncontent-length: 2\r\n\r\n{}"
    );
    let error = answered(body).await;
    assert!(matches!(error, Error::Answer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_code_of_a_later_version_is_still_a_refusal() {
    let body = concat!(
        "HTTP/1.1 409 Conflict\r\nserver: quarterdeck/9.0.0\r\ncontent-length: 49\r\n\r\n",
        r#"{"code":"frozen","message":"a freeze is on here"}"#
    );
    let error = answered(body).await;
    assert!(matches!(&error, Error::Problem(_)), "{error:?}");
    assert_eq!(error.to_string(), "a freeze is on here");
}
