use super::*;
use http::header::COOKIE;
use proptest::prelude::*;

fn is_plain_request(head: &str) -> bool {
    Plain::read(head.as_bytes()).is_some()
}

fn origin() -> Origin {
    Origin::new("10.0.0.9".parse().unwrap(), crate::listen::Begins::InClear)
}

fn forwarded(head: &str) -> String {
    let plain = Plain::read(head.as_bytes()).unwrap();
    String::from_utf8(plain.forwarded(plain.target, &origin(), &Random::new(Some(1)), &crate::edits::NONE)).unwrap()
}

#[test]
fn what_most_clients_send_is_plain() {
    for head in [
        "GET / HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
        "HEAD /a/b?c=d&e=%20 HTTP/1.1\r\nhost: shop.test:8080\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\nCookie: a=1; b=2\r\nConnection: close\r\n\r\n",
        "DELETE /cart/1 HTTP/1.1\r\nHost: \r\n\r\n",
        // Another request that follows is not part of it.
        "GET / HTTP/1.1\r\nHost: h\r\n\r\nPOST / HTTP/1.1\r\n",
    ] {
        assert!(is_plain_request(head), "{head:?}");
    }
}

#[test]
fn whatever_could_mean_something_else_is_not() {
    for head in [
        "GET / HTTP/1.1\r\nHost: h\r\n",
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nx: 1\r\n 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: x-secret\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
        "get / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\"<> HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\u{fc} HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert!(!is_plain_request(head), "{head:?}");
    }
    let fields = |count| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "x: 1\r\n".repeat(count));
    assert!(is_plain_request(&fields(MOST_FIELDS - 1)) && !is_plain_request(&fields(MOST_FIELDS)));
}

#[test]
fn an_instance_is_sent_what_concerns_it_and_what_we_know() {
    let head = forwarded(
        "GET /a?b HTTP/1.1\nhost: Shop.test\r\nKeep-Alive: 5\r\nX-Forwarded-For: 127.0.0.1\r\nx-forwarded-proto: https\r\n\
         X-Forwarded-Host: evil\r\nX-Forwarded-Other: evil\r\nForwarded: host=evil\r\nX-Forward: kept\r\nProxy-Connection: close\r\nProxy-Authorization: secret\r\n\
         Accept: \t */* \r\nX-Empty:\r\nConnection: close\r\n\r\n",
    );
    let (ours, trace) = head.split_once("traceparent: 00-").unwrap();
    expect_test::expect![[r#"
        GET /a?b HTTP/1.1
        host: Shop.test
        X-Forward: kept
        Accept: */*
        X-Empty: 
        x-forwarded-for: 10.0.0.9
        x-forwarded-proto: http
        x-forwarded-host: Shop.test
    "#]]
    .assert_eq(&ours.replace("\r\n", "\n"));
    assert_eq!(trace.len(), "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n".len());
    // Every line has an end of ours, whatever end it had.
    assert_eq!(head.matches('\n').count(), head.matches("\r\n").count());
    let given = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let head = forwarded(&format!("GET / HTTP/1.1\r\nHost: h\r\n{given}\r\n"));
    assert_eq!(head.matches("traceparent").count(), 1);
    assert!(head.contains(given));
}

#[test]
fn assignment_sees_path_host_and_cookies() {
    let head = "GET /a/b?c HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n";
    let plain = Plain::read(head.as_bytes()).unwrap();
    assert_eq!((plain.path(), plain.host(), plain.least_body()), ("/a/b", &b"h"[..], 0));
    assert_eq!(plain.fields(&COOKIE).collect::<Vec<_>>(), [b"a=1", b"b=2"]);
    assert_eq!(plain.length, head.len());
    assert!(!plain.closes && !plain.is_head());
}

proptest! {
    #[test]
    fn nothing_that_arrives_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Plain::read(&bytes);
    }

    /// The next reader must see one request, with the same fields, whatever was in it.
    #[test]
    fn what_is_sent_is_one_head_again(
        path in "/[ -~]{0,20}",
        fields in prop::collection::vec(("[a-zA-Z-]{1,20}", "[\\x00-\\xff]{0,20}"), 0..8),
    ) {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        if let Some(plain) = Plain::read(head.as_bytes()) {
            let sent = plain.forwarded(plain.target, &origin(), &Random::new(Some(1)), &crate::edits::NONE);
            let again = Plain::read(&sent);
            prop_assert!(again.is_some_and(|again| again.length == sent.len()));
        }
    }
}
