//! Bytes that two readers might take for different requests. Whatever they are, an instance is asked what we have understood and
//! counted, and never what was hidden in it.

use crate::{
    rig::{Rig, running, service},
    upstream::recording,
};

/// What is sent, the statuses of the answers, and what the instance is asked.
struct Case {
    name: &'static str,
    sent: &'static str,
    answers: &'static [&'static str],
    asked: &'static [&'static str],
}

const fn case(
    name: &'static str,
    sent: &'static str,
    answers: &'static [&'static str],
    asked: &'static [&'static str],
) -> Case {
    Case { name, sent, answers, asked }
}

const CASES: &[Case] = &[
    // Where a body ends.
    case(
        "CL.TE: the length is not believed, and nothing is after it",
        "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: h\r\n\r\n",
        &["200"],
        &["POST /a "],
    ),
    case(
        "TE.CL: likewise the other way round",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: h\r\n\r\n",
        &["200"],
        &["POST /a hello"],
    ),
    case(
        "TE.TE: an encoding nobody knows",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "TE.TE: two fields, one of them unknown",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: cow\r\n\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "an encoding below the chunks",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        &["501"],
        &[],
    ),
    case(
        "chunked twice",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        &["501"],
        &[],
    ),
    case(
        "a blank before the colon",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a vertical tab in the encoding",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a folded encoding",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a carriage return alone within a value",
        "GET /a HTTP/1.1\r\nhost: h\r\nx: 1\rtransfer-encoding: chunked\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "chunks in HTTP/1.0",
        "POST /a HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "two lengths",
        "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\ncontent-length: 44\r\n\r\nGET /hidden HTTP/1.1\r\nhost: h\r\n\r\n",
        &["400"],
        &[],
    ),
    case("a list of lengths", "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 5, 5\r\n\r\nhello", &["400"], &[]),
    case("a length with a sign", "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: +5\r\n\r\nhello", &["400"], &[]),
    case("a length in another base", "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 0x5\r\n\r\nhello", &["400"], &[]),
    case(
        "a length beyond all numbers",
        "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 18446744073709551617\r\n\r\nx",
        &["400"],
        &[],
    ),
    case(
        "a GET with a body is a GET with a body",
        "GET /a HTTP/1.1\r\nhost: h\r\ncontent-length: 24\r\nconnection: close\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n",
        &["200"],
        &["GET /a GET /hidden HTTP/1.1\r\n\r\n"],
    ),
    // Chunks.
    case(
        "a size that is none",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a size with a base",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a size beyond all numbers",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a line feed alone after a size",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a line feed within an extension",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5;x\nhello\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a chunk that is longer than it says",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "a line end within quotes in an extension",
        "POST /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5;x=\"\r\nhello\r\n0\r\n\r\n",
        &["200"],
        &["POST /a hello"],
    ),
    case(
        "a carriage return alone within an extension",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5;x=\ry\r\nhello\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    case(
        "no size",
        "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
        &["400"],
        &[],
    ),
    // Heads.
    case("a folded line", "GET /a HTTP/1.1\r\nhost: h\r\nx: 1\r\n\ty: 2\r\n\r\n", &["400"], &[]),
    case("a blank before the first name", "GET /a HTTP/1.1\r\n host: h\r\n\r\n", &["400"], &[]),
    case("a name with a blank", "GET /a HTTP/1.1\r\nho st: h\r\n\r\n", &["400"], &[]),
    case("a field without a name", "GET /a HTTP/1.1\r\nhost: h\r\n: x\r\n\r\n", &["400"], &[]),
    case("a null byte in a value", "GET /a HTTP/1.1\r\nhost: h\r\nx: \0\r\n\r\n", &["400"], &[]),
    case("a null byte in a name", "GET /a HTTP/1.1\r\nhost: h\r\nx\0: 1\r\n\r\n", &["400"], &[]),
    case("a blank in the target", "GET /a HTTP/1.1 HTTP/1.1\r\nhost: h\r\n\r\n", &["400"], &[]),
    case("a tab after the method", "GET\t/a HTTP/1.1\r\nhost: h\r\n\r\n", &["400"], &[]),
    case("a version nobody knows", "GET /a HTTP/1.2\r\nhost: h\r\n\r\n", &["400"], &[]),
    case("no version", "GET /a\r\nhost: h\r\n\r\n", &["400"], &[]),
    case(
        "lines that end with a line feed alone are lines, and end otherwise when they go on",
        "GET /a HTTP/1.1\nhost: h\nconnection: close\n\n",
        &["200"],
        &["GET /a "],
    ),
    case(
        "empty lines before a request",
        "\r\n\r\nGET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        &["200"],
        &["GET /a "],
    ),
    case("something that is not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", &["400"], &[]),
    case(
        "a connection that wants to forget the length",
        "POST /a HTTP/1.1\r\nhost: h\r\nconnection: content-length, close\r\ncontent-length: 5\r\n\r\nhello",
        &["200"],
        &["POST /a hello"],
    ),
    case(
        "a connection that wants to forget the chunks",
        "POST /a HTTP/1.1\r\nhost: h\r\nconnection: transfer-encoding, close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &["200"],
        &["POST /a hello"],
    ),
    // Targets.
    case(
        "an authority alone, which is for CONNECT only",
        "GET other HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        &["400"],
        &[],
    ),
    case("all of the server, by a GET", "GET * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case(
        "all of the server, by OPTIONS",
        "OPTIONS * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        &["200"],
        &["OPTIONS * "],
    ),
    case("a query alone", "GET ?a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case(
        "a fragment goes no further",
        "GET /a#b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        &["200"],
        &["GET /a "],
    ),
    case("a way back", "GET /a/../b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case(
        "a way back in another spelling, with a body",
        "POST /a/%2e%2e%2fb HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
        &["400"],
        &[],
    ),
    // Hosts.
    case("two hosts", "GET /a HTTP/1.1\r\nhost: h\r\nhost: i\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case("the same host twice", "GET /a HTTP/1.1\r\nhost: h\r\nhost: h\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case("no host", "GET /a HTTP/1.1\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case("a host with a path", "GET /a HTTP/1.1\r\nhost: h/b\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case("a host with a user", "GET /a HTTP/1.1\r\nhost: u@h\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case("a host with a blank", "GET /a HTTP/1.1\r\nhost: h i\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case("a host that is not ASCII", "GET /a HTTP/1.1\r\nhost: h\u{fc}\r\nconnection: close\r\n\r\n", &["400"], &[]),
    case(
        "a whole address wins over the host field",
        "GET http://h/a HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n",
        &["200"],
        &["GET /a "],
    ),
    case(
        "a target that looks like a host",
        "GET //h/a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        &["200"],
        &["GET //h/a "],
    ),
    // Protocols.
    case(
        "HTTP/2 by upgrade would pass requests by us",
        "GET /a HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        &["200"],
        &["GET /a "],
    ),
    case("a tunnel to elsewhere", "CONNECT other:80 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", &["405"], &[]),
    // One after the other.
    case(
        "requests in one go are each answered once, in order",
        "GET /a HTTP/1.1\r\nhost: h\r\n\r\nHEAD /b HTTP/1.1\r\nhost: h\r\n\r\nPOST /c HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhiGET /d HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\nGET /late HTTP/1.1\r\nhost: h\r\n\r\n",
        &["200", "200", "200", "200"],
        &["GET /a ", "HEAD /b ", "POST /c hi", "GET /d "],
    ),
    case(
        "what follows a request that is refused is its body, and then the next one",
        "POST /a HTTP/1.1\r\nhost: u@h\r\ncontent-length: 33\r\n\r\nGET /hidden HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        &["400", "200"],
        &["GET /b "],
    ),
    case(
        "likewise where it was to be told to go on",
        "POST /a HTTP/1.1\r\nhost: u@h\r\nexpect: 100-continue\r\ncontent-length: 33\r\n\r\nGET /hidden HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        &["400", "200"],
        &["GET /b "],
    ),
    case(
        "what is wrong ends the connection, and what came before is answered",
        "GET /a HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost : h\r\n\r\nGET /hidden HTTP/1.1\r\nhost: h\r\n\r\n",
        &["200", "400"],
        &["GET /a "],
    ),
];

#[tokio::test]
async fn an_instance_is_asked_what_was_understood_and_nothing_else() {
    let (instance, record) = recording().await;
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[instance])])]).await;
    let mut wrong = String::new();
    for Case { name, sent, answers, asked } in CASES {
        record.lock().unwrap().clear();
        let said = rig.raw(sent.as_bytes()).await;
        let statuses: Vec<_> =
            said.match_indices("HTTP/1.1 ").filter_map(|(at, _)| said.get(at + 9..at + 12)).collect();
        let seen = record.lock().unwrap().clone();
        if statuses != *answers || seen != *asked {
            wrong.push_str(&format!("{name}: answered {statuses:?}, not {answers:?}; asked {seen:?}, not {asked:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    rig.stop().await;
}
