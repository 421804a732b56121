use super::*;
use proptest::prelude::*;

fn passed(to_head: bool, head: &str) -> Result<Found<String>, Malformed> {
    let dates = Dates::default();
    let added = Added { edits: &crate::edits::NONE, cookie: None, hsts: None, closes: false, dates: &dates };
    passed_with(&added, to_head, head)
}

fn passed_with(added: &Added<'_>, to_head: bool, head: &str) -> Result<Found<String>, Malformed> {
    understand(head.as_bytes(), to_head, |answer| String::from_utf8(answer.write(added)).unwrap())
}

fn text(found: Found<String>) -> (Head, String) {
    match found {
        Found::Final(head, text) => (head, text),
        other @ (Found::Part | Found::Interim(_)) => panic!("{other:?}"),
    }
}

fn understood(to_head: bool, head: &str) -> Result<(Framing, bool), Malformed> {
    let found = text(passed(to_head, head)?).0;
    assert_eq!(found.size, head.len());
    Ok((found.framing, found.keeps))
}

#[test]
fn the_end_of_a_body_is_known_from_its_head() {
    use Framing::{Chunked, Empty, Length, UntilClose};
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (Length(5), true)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", (Length(5), true)),
        ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", (Empty, true)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", (Chunked, true)),
        ("HTTP/1.1 200 OK\r\n\r\n", (UntilClose, false)),
        ("HTTP/1.1 204 No Content\r\n\r\n", (Empty, true)),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", (Empty, true)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: close\r\n\r\n", (Length(5), false)),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", (Length(5), false)),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nConnection: Keep-Alive\r\n\r\n", (Length(5), true)),
        // Both: the length is not believed, nor is what follows.
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", (Chunked, false)),
    ] {
        assert_eq!(understood(false, head), Ok(expected), "{head:?}");
    }
    assert_eq!(understood(true, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"), Ok((Empty, true)));
    assert_eq!(understood(true, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Ok((Empty, true)));
}

#[test]
fn what_could_be_understood_in_two_ways_is_no_response() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 099 What\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: 1\r\n y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : 1\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        assert_eq!(passed(false, head), Err(Malformed), "{head:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(MOST_FIELDS + 1));
    assert_eq!(passed(false, &many), Err(Malformed));
}

#[test]
fn interim_responses_and_parts_are_told_apart() {
    assert_eq!(passed(false, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 2"), Ok(Found::Interim(37)));
    assert_eq!(passed(false, "HTTP/1.1 200 OK\r\nx: "), Ok(Found::Part));
}

#[test]
fn a_client_is_told_what_concerns_it() {
    let head = "HTTP/1.1 404 Not There\r\nServer: x\r\nConnection: keep-alive, X-Hop, content-length\r\nX-Hop: 1\r\n\
                Keep-Alive: timeout=5\r\nProxy-Authenticate: no\r\nUpgrade: h2c\r\nContent-Length: 5\r\nDate: today\r\n\
                Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n";
    let said = text(passed(false, head).unwrap()).1;
    expect_test::expect![[r#"
        HTTP/1.1 404 Not There
        Server: x
        Date: today
        Set-Cookie: a=1
        Set-Cookie: b=2
        content-length: 5

    "#]]
    .assert_eq(&said.replace("\r\n", "\n"));
    let said = text(passed(false, "HTTP/1.1 200 OK\r\n\r\n").unwrap()).1;
    assert!(said.contains("transfer-encoding: chunked\r\n") && said.contains("\r\ndate: "), "{said}");
}

#[test]
fn what_is_ours_to_say_is_said_once_at_the_end() {
    let (dates, cookie) = (Dates::default(), HeaderValue::from_static("qd_user=1"));
    let added = Added { edits: &crate::edits::NONE, cookie: Some(&cookie), hsts: None, closes: true, dates: &dates };
    let head = "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-type: Text/Event-Stream; x\r\nset-cookie: a\r\n\r\n";
    let (found, said) = text(passed_with(&added, false, head).unwrap());
    assert!(found.events);
    assert!(said.ends_with("set-cookie: qd_user=1\r\nconnection: close\r\n\r\n"));
    // An instance may know better about TLS.
    let hsts = HeaderValue::from_static("max-age=1");
    for (said, times) in [("", 1), ("Strict-Transport-Security: max-age=2\r\n", 0)] {
        let added = Added { edits: &crate::edits::NONE, cookie: None, hsts: Some(&hsts), closes: false, dates: &dates };
        let passed = passed_with(&added, false, &format!("HTTP/1.1 200 OK\r\n{said}\r\n"));
        assert_eq!(text(passed.unwrap()).1.matches("max-age=1").count(), times);
    }
}

#[test]
fn a_service_has_the_last_word_about_what_it_may_say() {
    let mut wanted = model::HeaderEdits::default();
    for (name, value) in
        [("server", None), ("x-frame-options", Some("DENY")), ("strict-transport-security", Some("max-age=9"))]
    {
        wanted.put(name, value).unwrap();
    }
    let (dates, edits) = (Dates::default(), Edits::new(&wanted));
    let hsts = HeaderValue::from_static("max-age=1");
    let added = Added { edits: &edits, cookie: None, hsts: Some(&hsts), closes: false, dates: &dates };
    let head =
        "HTTP/1.1 200 OK\r\nServer: x\r\nX-Frame-Options: ALLOW\r\nX-Kept: 1\r\ndate: x\r\ncontent-length: 0\r\n\r\n";
    let said = text(passed_with(&added, false, head).unwrap()).1;
    expect_test::expect![[r#"
        HTTP/1.1 200 OK
        X-Kept: 1
        date: x
        content-length: 0
        strict-transport-security: max-age=9
        x-frame-options: DENY

    "#]]
    .assert_eq(&said.replace("\r\n", "\n"));
}

proptest! {
    #[test]
    fn nothing_that_arrives_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let dates = Dates::default();
        let added = Added { edits: &crate::edits::NONE, cookie: None, hsts: None, closes: false, dates: &dates };
        let _ = understand(&bytes, false, |answer| answer.write(&added));
    }
}
