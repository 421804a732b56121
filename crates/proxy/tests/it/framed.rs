//! What can be done to an HTTP/2 connection by a client that means harm. Frames are written by hand: no client library would.

use crate::{
    rig::{Rig, running, service, soon},
    upstream::{good, recording},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const FLOW_CONTROL_ERROR: u32 = 3;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A client that writes and reads frames.
struct Framed(TcpStream);

impl Framed {
    async fn open(rig: &Rig, settings: &[u8]) -> Framed {
        let mut framed = Framed(rig.connect().await);
        framed.0.write_all(PREFACE).await.unwrap();
        framed.0.write_all(&frame(SETTINGS, 0, 0, settings)).await.unwrap();
        framed
    }

    /// Writes as far as the proxy reads.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        soon("the proxy reading, or closing", self.0.write_all(bytes)).await.is_ok()
    }

    /// The next frame: its kind, its stream, what it holds. `None`: the connection is over.
    async fn read(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.0.read_exact(&mut payload).await?;
            std::io::Result::Ok((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
        };
        soon("a frame, or the end", read).await.ok()
    }

    /// Reads to the end; the reason it was given for it.
    async fn reason(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some((kind, _, payload)) = self.read().await {
            if kind == GO_AWAY {
                reason = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
            }
        }
        reason
    }

    /// Reads until a frame of this kind on this stream.
    async fn until(&mut self, kind: u8, stream: u32) -> Vec<u8> {
        loop {
            let (found, of, payload) = self.read().await.unwrap();
            if (found, of) == (kind, stream) {
                return payload;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The block of a GET of `/` or another path.
fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(0x44, path), (0x41, "shop.test")] {
        block.extend([name, u8::try_from(value.len()).unwrap()]);
        block.extend(value.bytes());
    }
    block
}

/// What is sent on a stream, and what an instance is asked then: nothing, where the request is refused.
struct Case {
    name: &'static str,
    /// Method and path.
    line: (&'static str, &'static str),
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
    asked: Option<&'static str>,
}

const fn case(
    name: &'static str,
    line: (&'static str, &'static str),
    fields: &'static [(&'static str, &'static str)],
    body: &'static str,
    asked: Option<&'static str>,
) -> Case {
    Case { name, line, fields, body, asked }
}

/// What HTTP/2 can say and HTTP/1.1 cannot, or says otherwise.
const CASES: &[Case] = &[
    case("a length that is right", ("POST", "/a"), &[("content-length", "5")], "hello", Some("POST /a hello")),
    case("a length that is too short", ("POST", "/a"), &[("content-length", "3")], "hello", None),
    case("a length that is too long", ("POST", "/a"), &[("content-length", "9")], "hello", None),
    case("a length and nothing", ("POST", "/a"), &[("content-length", "5")], "", None),
    case("two lengths", ("POST", "/a"), &[("content-length", "5"), ("content-length", "6")], "hello", None),
    case(
        "one length twice",
        ("POST", "/a"),
        &[("content-length", "5"), ("content-length", "5")],
        "hello",
        Some("POST /a hello"),
    ),
    case("a length with a sign", ("POST", "/a"), &[("content-length", "+5")], "hello", None),
    case("chunks", ("POST", "/a"), &[("transfer-encoding", "chunked")], "0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n", None),
    case("a field of a connection", ("GET", "/a"), &[("connection", "close")], "", None),
    case("another protocol", ("GET", "/a"), &[("upgrade", "websocket")], "", None),
    case("a line end in a value", ("GET", "/a"), &[("x", "1\r\nhidden: 1")], "", None),
    case("a line feed in a value", ("GET", "/a"), &[("x", "1\nhidden: 1")], "", None),
    case("a null byte in a value", ("GET", "/a"), &[("x", "\0")], "", None),
    case("a line end in a name", ("GET", "/a"), &[("x\r\ny", "1")], "", None),
    case("a colon in a name", ("GET", "/a"), &[("x:y", "1")], "", None),
    case("capitals in a name", ("GET", "/a"), &[("X", "1")], "", None),
    case("another host in a field is not the host", ("GET", "/a"), &[("host", "other")], "", Some("GET /a ")),
    case("a request behind the method", ("GET /hidden HTTP/1.1\r\n\r\nGET", "/a"), &[], "", None),
    case("a request behind the path", ("GET", "/a HTTP/1.1\r\n\r\nGET /hidden"), &[], "", None),
    case("a second path", ("GET", "/a"), &[(":path", "/hidden")], "", None),
    case("no path", ("GET", ""), &[], "", None),
    case("a path that begins with no slash", ("GET", "a"), &[], "", None),
    case("a whole address in the place of a path", ("GET", "http://other/"), &[], "", None),
    case("a query alone", ("GET", "?a"), &[], "", None),
    case("a fragment alone", ("GET", "#a"), &[], "", Some("GET / ")),
    case("a fragment alone, and a body", ("PUT", "#a"), &[], "hello", Some("PUT / hello")),
    case("all of the server, by a GET", ("GET", "*"), &[], "", None),
    case("a way back", ("GET", "/a/../hidden"), &[], "", None),
];

#[tokio::test]
async fn what_only_http2_can_say_is_no_other_request_to_an_instance() {
    let (instance, record) = recording().await;
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[instance])])]).await;
    let mut wrong = String::new();
    for Case { name, line: (method, path), fields, body, asked } in CASES {
        record.lock().unwrap().clear();
        let mut block = Vec::new();
        let pseudo = [(":method", *method), (":scheme", "http"), (":authority", "shop.test"), (":path", *path)];
        for (name, value) in pseudo.iter().chain(*fields) {
            // A literal that is not remembered.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.bytes());
            }
        }
        let mut framed = Framed::open(&rig, &[]).await;
        let ends = if body.is_empty() { END_STREAM } else { 0 };
        let mut sent = frame(HEADERS, END_HEADERS | ends, 1, &block);
        if !body.is_empty() {
            sent.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        framed.write(&sent).await;
        let answered = loop {
            match framed.read().await {
                // The status 200 is the eighth entry of the static table.
                Some((HEADERS, 1, head)) => break head.first() == Some(&0x88),
                Some((RESET, 1, _) | (GO_AWAY, ..)) | None => break false,
                Some(_) => {}
            }
        };
        let seen = record.lock().unwrap().clone();
        if answered != asked.is_some() || seen != asked.iter().copied().collect::<Vec<_>>() {
            wrong.push_str(&format!("{name}: answered {answered}, asked {seen:?}, not {asked:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    still_serves(&rig).await;
}

async fn still_serves(rig: &Rig) {
    assert_eq!(rig.get("/").await.0, 200);
    let mut another = Framed::open(rig, &[]).await;
    assert!(another.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/"))).await);
    another.until(DATA, 1).await;
}

async fn serving(adjust: impl FnOnce(&mut proxy::Config)) -> Rig {
    let mut rig = Rig::with(adjust).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    rig
}

#[tokio::test]
async fn streams_that_are_begun_and_reset_at_once_reach_an_instance_a_few_times_only() {
    let (instance, asked) = recording().await;
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[instance])])]).await;
    let mut framed = Framed::open(&rig, &[]).await;
    let flood: Vec<u8> = (0..5_000)
        .flat_map(|n| {
            let stream = 2 * n + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/")), frame(RESET, 0, stream, &[0, 0, 0, 8])]
                .concat()
        })
        .collect();
    framed.write(&flood).await;
    assert_eq!(framed.reason().await, Some(ENHANCE_YOUR_CALM));
    let reached = asked.lock().unwrap().len();
    assert!(reached < 200, "{reached} requests");
    still_serves(&rig).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_broken_off() {
    let rig = serving(|_| {}).await;
    let mut framed = Framed::open(&rig, &[]).await;
    assert!(framed.write(&frame(HEADERS, END_STREAM, 1, &get("/"))).await);
    // A literal field of 8 KiB that is not remembered, again and again.
    let mut field = vec![0x00, 1, b'x', 0x7f, 0x81, 0x3f];
    field.resize(field.len() + 0x2000, b'a');
    let more = frame(CONTINUATION, 0, 1, &field);
    let mut written = 0;
    while written < 100 << 20 && framed.write(&more).await {
        written += more.len();
    }
    assert!(written < 10 << 20, "{written} bytes were taken");
    still_serves(&rig).await;
}

#[tokio::test]
async fn a_window_beyond_all_numbers_ends_the_connection() {
    let rig = serving(|_| {}).await;
    let mut framed = Framed::open(&rig, &[]).await;
    framed.write(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())).await;
    assert_eq!(framed.reason().await, Some(FLOW_CONTROL_ERROR));
    still_serves(&rig).await;
}

#[tokio::test]
async fn a_window_that_is_never_opened_holds_nothing_for_long() {
    let mut rig = serving(|config| config.limits.write_stall = Duration::from_millis(200)).await;
    // The initial window is zero.
    let mut framed = Framed::open(&rig, &[0, 4, 0, 0, 0, 0]).await;
    framed.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/download"))).await;
    framed.until(HEADERS, 1).await;
    framed.until(RESET, 1).await;
    let tally = rig.tally(1, |tally| tally.cancelled == 1).await;
    assert_eq!(tally.failed(), 0);
    rig.control.until("nothing in flight", |r| r.instances.iter().all(|i| i.in_flight == 0)).await;
}

#[tokio::test]
async fn pings_and_settings_without_end_are_answered_at_the_pace_they_are_read() {
    let rig = serving(|_| {}).await;
    let mut framed = Framed::open(&rig, &[]).await;
    let flood = [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat().repeat(20_000);
    // No answer is read: what waits to be answered must not pile up, so that sooner or later nothing more is taken.
    let mut taken = 0;
    while taken < 64 << 20
        && tokio::time::timeout(Duration::from_secs(1), framed.0.write_all(&flood)).await.is_ok_and(|sent| sent.is_ok())
    {
        taken += flood.len();
    }
    assert!(taken < 64 << 20, "{taken} bytes were taken");
    still_serves(&rig).await;
}
