//! TLS and nothing else: requests in clear are sent there, browsers are told to stay, and development has it, too.

use crate::{
    pki::{self, Authority, Files},
    rig::{running, service},
    tls::{get, open},
    upstream,
};
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{RouteMatch, Span};
use proxy::Terms;
use rustls::{
    DEFAULT_VERSIONS,
    pki_types::{CertificateDer, pem::PemObject as _},
};

#[tokio::test]
async fn requests_in_clear_are_sent_to_https_with_their_method_and_body() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let terms = Terms { redirect: Some(443), ..files.terms(&["shop"]) };
    let (mut rig, address) = open(&files, &terms, |_| {}).await;
    let answer = rig.raw(b"POST /buy?n=1 HTTP/1.1\r\nhost: shop.test:80\r\ncontent-length: 9\r\n\r\n123").await;
    assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains("location: https://shop.test/buy?n=1"), "{answer}");
    // What is for this machine itself is carried, as of a health check.
    let own = rig.send(Request::get("/").header("host", "127.0.0.1")).await;
    assert_eq!(own, (200, "v1".to_owned()));
    let stream = pki::connect(address, &authority.client(&[]), "shop.test").await.unwrap();
    assert_eq!(get(stream, "/").await, (200, "v1".to_owned()));
    // In force without a restart, as are all terms.
    files.write_terms(&files.terms(&["shop"]));
    let mut status = 308;
    for _ in 0..1000 {
        rig.control.until("a moment to pass", |_| true).await;
        status = rig.get("/").await.0;
        if status == 200 {
            break;
        }
    }
    assert_eq!(status, 200);
    rig.stop().await;
}

#[tokio::test]
async fn browsers_are_told_to_stay_with_tls_by_every_response() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let hsts = proxy::Hsts { max_age: Span::parse("365d").unwrap(), subdomains: true };
    let (rig, address) = open(&files, &Terms { hsts: Some(hsts), ..files.terms(&["shop"]) }, |_| {}).await;
    let body = Empty::<bytes::Bytes>::new;

    let one = pki::connect(address, &authority.client(&["http/1.1"]), "shop.test").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(one)).await.unwrap();
    tokio::spawn(connection);
    for path in ["/", "/fail"] {
        let request = Request::get(path).header("host", "shop.test").body(body()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000; includeSubDomains", "{path}");
    }
    let two = pki::connect(address, &authority.client(&["h2"]), "shop.test").await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(two)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(Request::get("https://shop.test/").body(body()).unwrap()).await.unwrap();
    assert!(response.headers().contains_key("strict-transport-security"));
    // In clear it would mean nothing, and is not said.
    let response = rig.raw(b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 200 ") && !response.contains("strict-transport"), "{response}");
    rig.stop().await;
}

#[tokio::test]
async fn hosts_below_localhost_have_certificates_of_the_local_authority() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path());
    let (mut rig, address) = open(&files, &Terms { local: true, ..Terms::default() }, |_| {}).await;
    let shop = upstream::good("v1").await;
    let route = |host: &str| RouteMatch::prefix(Some(host), "/");
    let mut routed = service(vec![running(&[shop])]);
    routed.routes = ["api.shop.localhost", "shop.test", "shop.example.com"].map(route).into();
    rig.serve(vec![routed]).await;
    let report = rig.control.until("its certificate", |r| r.certificates.iter().any(|c| c.names.len() == 3)).await;
    let trusted = rig.dir.path().join("tls/local-authority.pem");
    assert_eq!(report.certificates[0].source, trusted.display().to_string());

    let trusted = CertificateDer::from_pem_file(&trusted).unwrap();
    let client = pki::trusting(&trusted, DEFAULT_VERSIONS);
    for host in ["api.shop.localhost", "shop.test", "localhost", "127.0.0.1"] {
        assert!(pki::connect(address, &client, host).await.is_ok(), "{host}");
    }
    // It vouches for no host that could be anybody's.
    let error = pki::connect(address, &client, "shop.example.com").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    // A certificate of one's own comes first.
    let own = Authority::new();
    files.write("own", &own.issue(&["shop.test"], |_| {}));
    files.write_terms(&Terms { local: true, ..files.terms(&["own"]) });
    rig.control.until("the certificate from files", |report| report.certificates.len() == 2).await;
    assert!(pki::connect(address, &own.client(&[]), "shop.test").await.is_ok());
    assert!(pki::connect(address, &client, "api.shop.localhost").await.is_ok());
    rig.stop().await;
}
