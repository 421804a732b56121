//! TLS to clients: which certificate they get, what is refused, and how certificates are replaced while they are served.

use crate::{
    pki::{self, Authority, Files},
    rig::{Rig, running, service, soon, whole},
    upstream,
};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{Standing, Time};
use rustls::{
    HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use std::{fs, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// A proxy with a service, and where it speaks TLS.
pub(crate) async fn open(
    files: &Files,
    terms: &proxy::Terms,
    adjust: impl FnOnce(&mut proxy::Config),
) -> (Rig, SocketAddr) {
    let mut rig = pki::rig(files, terms, adjust).await;
    let address = rig.control.until("the address with TLS", |report| !report.listening_tls.is_empty()).await;
    let shop = upstream::good("v1").await;
    rig.serve(vec![service(vec![running(&[shop])])]).await;
    (rig, address.listening_tls[0])
}

/// A request by HTTP/1.1 on a connection that is there.
pub(crate) async fn get(stream: TlsStream<TcpStream>, path: &str) -> (u16, String) {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(path).header("host", "shop.test").body(Empty::<bytes::Bytes>::new()).unwrap();
    whole(soon("a response", sender.send_request(request)).await.unwrap()).await
}

/// The certificate that the proxy has shown.
fn presented(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_host_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    files.write("wild", &authority.issue(&["*.wild.test"], |_| {}));
    let (rig, address) = open(&files, &files.terms(&["shop", "wild"]), |_| {}).await;
    let client = authority.client(&[]);
    let shop = pki::connect(address, &client, "shop.test").await.unwrap();
    let wild = pki::connect(address, &client, "a.wild.test").await.unwrap();
    assert_ne!(presented(&shop), presented(&wild));
    assert_eq!(shop.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(get(wild, "/").await, (200, "v1".to_owned()));
    for unknown in ["other.test", "wild.test", "a.b.wild.test"] {
        let error = pki::connect(address, &client, unknown).await.unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{unknown}: {error}");
    }
    // No client says an IP address in a handshake; it gets the first certificate, which is not for that address.
    let error = pki::connect(address, &client, "127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    rig.stop().await;
}

#[tokio::test]
async fn instances_see_https_over_both_versions_of_http() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (rig, address) = open(&files, &files.terms(&["shop"]), |_| {}).await;

    let one = pki::connect(address, &authority.client(&["http/1.1"]), "shop.test").await.unwrap();
    assert_eq!(one.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (status, head) = get(one, "/head").await;
    assert!(status == 200 && head.contains("x-forwarded-proto: https"), "{head}");

    let two = pki::connect(address, &authority.client(&["h2", "http/1.1"]), "shop.test").await.unwrap();
    assert_eq!(two.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(two)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://shop.test/head").body(Empty::<bytes::Bytes>::new()).unwrap();
    let (status, head) = whole(soon("a response", sender.send_request(request)).await.unwrap()).await;
    assert!(status == 200 && head.contains("x-forwarded-proto: https"), "{head}");
    assert!(head.starts_with("GET /head HTTP/1.1"), "{head}");

    // Whoever agrees on nothing is understood by how it begins.
    let none = pki::connect(address, &authority.client(&[]), "shop.test").await.unwrap();
    assert_eq!(get(none, "/").await, (200, "v1".to_owned()));
    let other = pki::connect(address, &authority.client(&["smtp"]), "shop.test").await;
    assert!(other.unwrap_err().to_string().contains("NoApplicationProtocol"));
    let (_, head) = rig.get("/head").await;
    assert!(head.contains("x-forwarded-proto: http\n"), "{head}");
    rig.stop().await;
}

#[tokio::test]
async fn a_tunnel_and_a_large_body_pass_with_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (rig, address) = open(&files, &files.terms(&["shop"]), |_| {}).await;
    let client = authority.client(&["http/1.1"]);
    let mut stream = pki::connect(address, &client, "shop.test").await.unwrap();
    let switch = "GET /switch HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: shouting\r\n\r\n";
    stream.write_all(switch.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the head", stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    soon("the answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HELLO");

    let large = vec![7; 3 << 20];
    let stream = pki::connect(address, &client, "shop.test").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = http_body_util::Full::new(bytes::Bytes::from(large.clone()));
    let request = Request::post("/echo").header("host", "shop.test").body(body).unwrap();
    let response = soon("a response", sender.send_request(request)).await.unwrap();
    assert_eq!(soon("the body", response.into_body().collect()).await.unwrap().to_bytes(), large);
    rig.stop().await;
}

#[tokio::test]
async fn a_returning_client_resumes_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (rig, address) = open(&files, &files.terms(&["shop"]), |config| config.threads = 2).await;
    for (version, known) in [(ProtocolVersion::TLSv1_3, &TLS13), (ProtocolVersion::TLSv1_2, &TLS12)] {
        let client = authority.client_of(&[known]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = pki::connect(address, &client, "shop.test").await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version));
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
            // The ticket comes with or after the first bytes.
            stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await.unwrap();
            soon("the end", stream.read_to_end(&mut Vec::new())).await.unwrap();
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (rig, address) = open(&files, &files.terms(&["shop"]), |_| {}).await;
    // The hello of a client that knows TLS 1.1 and one of its cipher suites, and no extensions.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut record = vec![22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    soon("the refusal", stream.read_to_end(&mut answer)).await.unwrap();
    // An alert, fatal: handshake_failure, because such clients do not say which signatures they know.
    assert!(answer.first() == Some(&21) && answer.ends_with(&[2, 40]), "{answer:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_request_in_clear_is_told_to_use_https() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (mut rig, address) = open(&files, &files.terms(&["shop"]), |_| {}).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Use https://"), "{answer}");
    rig.control.until("it counted", |report| report.refused == 1).await;
    rig.stop().await;
}

/// Two connections whose handshakes go no further: one says nothing, the other half a record.
async fn stalled(rig: &mut Rig, address: SocketAddr) -> (TcpStream, TcpStream) {
    let silent = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&[22, 3, 1, 2]).await.unwrap();
    rig.control.until("both connections", |report| report.connections == 2).await;
    (silent, half)
}

fn is_over(read: std::io::Result<usize>) -> bool {
    read.is_err() || matches!(read, Ok(0))
}

#[tokio::test]
async fn a_slow_handshake_is_cut_and_keeps_nobody_from_another() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let adjust = |config: &mut proxy::Config| {
        config.limits.handshake = Duration::from_millis(300);
        config.limits.handshakes = 2;
    };
    let (mut rig, address) = open(&files, &files.terms(&["shop"]), adjust).await;
    let (mut silent, mut half) = stalled(&mut rig, address).await;
    assert!(is_over(soon("the silent one closed", silent.read(&mut [0; 64])).await));
    assert!(is_over(soon("the slow one closed", half.read(&mut [0; 64])).await));
    rig.control.until("all gone", |report| report.connections == 0).await;
    let stream = pki::connect(address, &authority.client(&[]), "shop.test").await.unwrap();
    assert_eq!(get(stream, "/").await, (200, "v1".to_owned()));
    rig.stop().await;
}

#[tokio::test]
async fn a_new_handshake_takes_the_place_of_the_one_that_takes_longest() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let adjust = |config: &mut proxy::Config| {
        // Long enough that only another one can be why a handshake is given up.
        config.limits.handshake = Duration::from_secs(3_600);
        config.limits.handshakes = 2;
    };
    let (mut rig, address) = open(&files, &files.terms(&["shop"]), adjust).await;
    let (mut silent, mut half) = stalled(&mut rig, address).await;
    for _ in 0..3 {
        let stream = pki::connect(address, &authority.client(&[]), "shop.test").await.unwrap();
        assert_eq!(get(stream, "/").await, (200, "v1".to_owned()));
    }
    assert!(is_over(soon("the oldest given up", silent.read(&mut [0; 64])).await));
    // There was room for the others then.
    half.write_all(&[0]).await.unwrap();
    drop(half);
    rig.stop().await;
}

#[tokio::test]
async fn certificates_are_replaced_while_connections_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (mut rig, address) = open(&files, &files.terms(&["shop"]), |_| {}).await;
    let client = authority.client(&["http/1.1"]);
    let before = pki::connect(address, &client, "shop.test").await.unwrap();
    let first = presented(&before);

    // What cannot be used changes nothing but the report.
    fs::write(dir.path().join("shop.pem"), "nothing of use").unwrap();
    let report = rig.control.until("the problem", |report| report.certificates[0].problem.is_some()).await;
    let told = report.certificates[0].clone();
    assert!(told.problem.unwrap().contains("contains no certificate"));
    assert_eq!(told.names, ["shop.test"]);
    let meanwhile = pki::connect(address, &client, "shop.test").await.unwrap();
    assert_eq!(presented(&meanwhile), first);

    files.write("shop", &authority.issue(&["shop.test", "new.test"], |_| {}));
    rig.control.until("the new one", |report| report.certificates[0].names.len() == 2).await;
    // Without resumption: it presents no certificate.
    let after = pki::connect(address, &authority.client(&["http/1.1"]), "new.test").await.unwrap();
    assert_ne!(presented(&after), first);
    for stream in [before, meanwhile, after] {
        assert_eq!(get(stream, "/").await, (200, "v1".to_owned()));
    }

    // So are the terms.
    files.write("more", &authority.issue(&["more.test"], |_| {}));
    files.write_terms(&files.terms(&["shop", "more"]));
    rig.control.until("the second", |report| report.certificates.len() == 2).await;
    assert!(pki::connect(address, &client, "more.test").await.is_ok());
    rig.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_is_presented_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    files.write("shop", &authority.issue(&["shop.test"], expired));
    let (mut rig, address) = open(&files, &files.terms(&["shop", "absent"]), |_| {}).await;
    let error = pki::connect(address, &authority.client(&[]), "shop.test").await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("expired"), "{error}");
    let report = rig.control.until("both", |report| report.certificates.len() == 2).await;
    let [shop, absent] = &report.certificates[..] else { panic!("{report:?}") };
    assert!(matches!(shop.validity.unwrap().standing(Time(1_700_000_000_000)), Standing::Ended(_)));
    assert!(absent.validity.is_none() && absent.problem.as_ref().is_some_and(|p| p.contains("absent.pem")));
    rig.stop().await;
}

#[tokio::test]
async fn without_any_certificate_requests_in_clear_are_carried() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let (rig, address) = open(&files, &files.terms(&["absent"]), |_| {}).await;
    assert!(pki::connect(address, &Authority::new().client(&[]), "shop.test").await.is_err());
    assert_eq!(rig.get("/").await, (200, "v1".to_owned()));
    rig.stop().await;
}
