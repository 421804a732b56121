//! Clients that show certificates of their own, and those that do not.

use crate::{
    pki::{self, Authority, Files},
    rig::{Rig, full, running, service, soon, whole},
    tls,
    upstream::{good, rude},
};
use http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proxy::{Clients, Terms, Wanted};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::{ClientConfig, client::ResolvesClientCert, crypto::ring, sign::CertifiedKey};
use std::{fs, net::SocketAddr, sync::Arc};
use tokio::io::AsyncWriteExt as _;

/// Shows a certificate to whoever asks for one.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client that trusts one authority and shows a certificate of another.
fn showing(trusted: &Authority, by: &Authority) -> (ClientConfig, CertificateDer<'static>) {
    let (chain, key) = by.issue(&["alice"], |_| {});
    let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = CertifiedKey::from_der(vec![certificate.clone()], key, &ring::default_provider()).unwrap();
    let mut config = trusted.client(&[]);
    config.client_auth_cert_resolver = Arc::new(Shows(Arc::new(key)));
    (config, certificate)
}

/// A proxy that believes an authority about its clients.
async fn open(files: &Files, dir: &std::path::Path, believed: &Authority, wanted: Wanted) -> (Rig, SocketAddr) {
    let authorities = dir.join("clients.pem");
    fs::write(&authorities, believed.pem()).unwrap();
    let clients = Some(Clients { authorities, wanted });
    tls::open(files, &Terms { clients, ..files.terms(&["shop"]) }, |_| {}).await
}

/// A request of a method to `/head` on a connection of its own. `None`: the connection did not come about.
async fn ask(address: SocketAddr, client: &ClientConfig, method: &str) -> Option<(u16, String)> {
    let stream = pki::connect(address, client, "shop.test").await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri("/head").header("host", "shop.test");
    let request = request.header("client-cert", ":Zm9yZ2Vk:").header("client-cert-chain", ":Zm9yZ2Vk:");
    let response = soon("an answer", sender.send_request(request.body(full("")).unwrap())).await.ok()?;
    Some(whole(response).await)
}

#[tokio::test]
async fn a_service_answers_those_it_was_told_to_ask_for_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority, people) = (Files::new(dir.path()), Authority::new(), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (mut rig, address) = open(&files, dir.path(), &people, Wanted::WhereAsked).await;
    let (known, certificate) = showing(&authority, &people);
    let (unknown, _) = showing(&authority, &authority);
    let nobody = authority.client(&[]);
    for method in ["GET", "PUT"] {
        let (status, seen) = ask(address, &nobody, method).await.unwrap();
        assert!(status == 200 && !seen.contains("client-cert"), "what a client writes itself is taken out: {seen}");
        let (status, seen) = ask(address, &known, method).await.unwrap();
        let told = seen.lines().find_map(|line| line.strip_prefix("client-cert: ")).unwrap();
        assert_eq!((status, told), (200, format!(":{}:", base64(&certificate)).as_str()));
        assert!(!seen.contains("client-cert-chain"), "{seen}");
        assert_eq!(ask(address, &unknown, method).await, None, "a certificate that nobody knows is worse than none");
    }
    let mut private = service(vec![running(&[good("one").await])]);
    private.traffic.client_certificate = true;
    rig.serve(vec![private]).await;
    for method in ["GET", "PUT"] {
        assert_eq!(ask(address, &nobody, method).await.unwrap().0, 403);
        assert_eq!(ask(address, &known, method).await.unwrap().0, 200);
    }
    assert_eq!(rig.get("/").await.0, 403, "nobody shows a certificate in clear");
}

#[tokio::test]
async fn what_is_said_to_somebody_with_a_certificate_is_not_kept_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority, people) = (Files::new(dir.path()), Authority::new(), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (mut rig, address) = open(&files, dir.path(), &people, Wanted::WhereAsked).await;
    let instance = rude(|mut stream, _| async move {
        let answer =
            "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut shop = service(vec![running(&[instance])]);
    shop.traffic.cache = Some(model::Bytes::mib(1));
    rig.serve(vec![shop]).await;
    let known = showing(&authority, &people).0;
    for _ in 0..2 {
        assert_eq!(ask(address, &known, "GET").await.unwrap().0, 200);
    }
    rig.tally(1, |tally| tally.answered == 2).await;
    for _ in 0..2 {
        assert_eq!(ask(address, &authority.client(&[]), "GET").await.unwrap().0, 200);
    }
    rig.tally(1, |tally| tally.answered == 3).await;
}

#[tokio::test]
async fn where_everybody_must_have_one_there_is_no_connection_without() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority, people) = (Files::new(dir.path()), Authority::new(), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let (_rig, address) = open(&files, dir.path(), &people, Wanted::Always).await;
    assert_eq!(ask(address, &authority.client(&[]), "GET").await, None);
    let (known, _) = showing(&authority, &people);
    assert_eq!(ask(address, &known, "GET").await.unwrap().0, 200);

    // Another authority takes its place: whoever was known is not any more, not even by resuming.
    let others = Authority::new();
    fs::write(dir.path().join("clients.pem"), others.pem()).unwrap();
    let gone = async { while ask(address, &known, "GET").await.is_some() {} };
    soon("the end of being known", gone).await;
    assert_eq!(ask(address, &showing(&authority, &others).0, "GET").await.unwrap().0, 200);
}

#[tokio::test]
async fn without_a_readable_authority_nobody_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let clients = Some(Clients { authorities: dir.path().join("none.pem"), wanted: Wanted::WhereAsked });
    let (_rig, address) = tls::open(&files, &Terms { clients, ..files.terms(&["shop"]) }, |_| {}).await;
    assert_eq!(ask(address, &authority.client(&[]), "GET").await, None);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
