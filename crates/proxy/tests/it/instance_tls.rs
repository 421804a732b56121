//! Instances that are spoken to with TLS: what is carried to them, and what becomes of requests when one is not who it must be.

use crate::{
    pki::{Authority, Files},
    rig::{Rig, full, running, service, soon, whole},
    upstream::{serve, vacant},
};
use http::Request;
use hyper_util::rt::TokioIo;
use model::{Address, Endpoint, InstanceId, InstanceTls, Protocol, ServiceRoutes, ShownToInstances};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
};
use tokio_rustls::TlsAcceptor;

/// What became of the handshakes with an instance.
type Met = Arc<Mutex<Vec<HandshakeKind>>>;

/// An authority of instances, its file, and what is shown to them.
struct World {
    authority: Authority,
    dir: TempDir,
}

impl World {
    fn new() -> World {
        let world = World { authority: Authority::new(), dir: tempfile::tempdir().unwrap() };
        fs::write(world.path("ca.pem"), world.authority.pem()).unwrap();
        Files::new(world.dir.path()).write("proxy", &world.authority.issue(&["proxy"], |_| {}));
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn terms(&self) -> InstanceTls {
        InstanceTls { ca: self.path("ca.pem"), name: "shop.internal".to_owned(), shown: None }
    }

    /// A service whose instance is reached on these terms.
    fn service(&self, protocol: Protocol, terms: InstanceTls, at: &[SocketAddr]) -> ServiceRoutes {
        let mut service = service(vec![running(at)]);
        (service.traffic.protocol, service.traffic.instance_tls) = (protocol, Some(terms));
        service
    }

    /// How an instance presents itself: with a certificate for a host, to clients of an authority or to anybody.
    fn acceptor(&self, host: &str, protocol: Protocol, clients: Option<&Authority>) -> TlsAcceptor {
        let (chain, key) = self.authority.issue(&[host], |_| {});
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![spoken(protocol).to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// An instance that behaves, behind such a handshake.
    async fn instance(&self, name: &'static str, host: &str, protocol: Protocol) -> (SocketAddr, Met) {
        listen(name, protocol, self.acceptor(host, protocol, None)).await
    }
}

fn spoken(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Http1 => b"http/1.1",
        Protocol::Http2 => b"h2",
    }
}

async fn listen(name: &'static str, protocol: Protocol, acceptor: TlsAcceptor) -> (SocketAddr, Met) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let met = Met::default();
    let record = Arc::clone(&met);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(meet(name, protocol, acceptor.clone(), stream, Arc::clone(&record)));
        }
    });
    (address, met)
}

async fn meet(
    name: &'static str,
    protocol: Protocol,
    acceptor: TlsAcceptor,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    met: Met,
) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(spoken(protocol)));
    met.lock().unwrap().extend(stream.get_ref().1.handshake_kind());
    serve(name, protocol, stream).await;
}

#[tokio::test]
async fn requests_and_web_sockets_are_carried_and_connections_kept() {
    let world = World::new();
    let (address, met) = world.instance("one", "shop.internal", Protocol::Http1).await;
    let mut rig = Rig::start().await;
    rig.serve(vec![world.service(Protocol::Http1, world.terms(), &[address])]).await;
    for _ in 0..3 {
        assert_eq!(rig.get("/name").await, (200, "one".to_owned()));
        let echoed = whole(rig.open(Request::post("/echo"), full("a body")).await).await;
        assert_eq!(echoed, (200, "a body".to_owned()));
    }
    let long = "x".repeat(1 << 20);
    assert_eq!(whole(rig.open(Request::post("/echo"), full(long.clone())).await).await, (200, long));
    assert_eq!(met.lock().unwrap().len(), 1, "one handshake does for all");

    let request = Request::get("/switch").header("connection", "upgrade").header("upgrade", "shouting");
    let response = rig.open(request, full("")).await;
    assert_eq!(response.status(), 101);
    let mut switched = TokioIo::new(soon("the switch", hyper::upgrade::on(response)).await.unwrap());
    switched.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    soon("shouting", switched.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"HELLO");
    rig.tally(1, |tally| tally.answered == 8 && tally.total() == 8).await;
}

#[tokio::test]
async fn http2_is_agreed_on() {
    let world = World::new();
    let (address, met) = world.instance("one", "shop.internal", Protocol::Http2).await;
    let mut rig = Rig::start().await;
    rig.serve(vec![world.service(Protocol::Http2, world.terms(), &[address])]).await;
    let (_, seen) = rig.get("/head").await;
    assert!(seen.starts_with("GET http://shop.test/head HTTP/2.0\n"), "{seen}");
    let echoed = whole(rig.open(Request::post("/echo"), full("a message")).await).await;
    assert_eq!(echoed, (200, "a message".to_owned()));
    assert_eq!(met.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_unix_socket_may_have_tls_too() {
    let world = World::new();
    let path = world.path("1.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let acceptor = world.acceptor("shop.internal", Protocol::Http1, None);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(meet("one", Protocol::Http1, acceptor.clone(), stream, Met::default()));
        }
    });
    let mut rig = Rig::start().await;
    let mut shop = world.service(Protocol::Http1, world.terms(), &[]);
    let address = Address::Unix(path.to_str().unwrap().to_owned());
    shop.arms[0].endpoints = vec![Endpoint { instance: InstanceId(10), address }];
    rig.serve(vec![shop]).await;
    assert_eq!(rig.get("/name").await, (200, "one".to_owned()));
}

#[tokio::test]
async fn another_connection_resumes_what_the_first_has_begun() {
    let world = World::new();
    let (address, met) = world.instance("one", "shop.internal", Protocol::Http1).await;
    let mut rig = Rig::start().await;
    rig.serve(vec![world.service(Protocol::Http1, world.terms(), &[address])]).await;
    assert_eq!(rig.get("/name").await.0, 200);
    // It takes the connection that was kept.
    let mut hangs = rig.connect().await;
    hangs.write_all(b"GET /hang HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    rig.control.until("it is under way", |report| report.instances.iter().any(|i| i.in_flight == 1)).await;
    assert_eq!(rig.get("/name").await.0, 200);
    assert_eq!(*met.lock().unwrap(), [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn an_instance_that_is_not_who_it_must_be_has_refused_and_another_is_tried() {
    let world = World::new();
    let stranger = World::new();
    let (other_name, _) = world.instance("wrong", "other.internal", Protocol::Http1).await;
    let (other_authority, _) = stranger.instance("wrong", "shop.internal", Protocol::Http1).await;
    let (good, _) = world.instance("one", "shop.internal", Protocol::Http1).await;
    let in_clear = crate::upstream::good("wrong").await;
    let mut rig = Rig::start().await;
    for (wrong, refused) in [(other_name, 1), (other_authority, 2), (in_clear, 3)] {
        rig.serve(vec![world.service(Protocol::Http1, world.terms(), &[wrong])]).await;
        assert_eq!(rig.get("/name").await.0, 502);
        rig.tally(1, |tally| tally.refused == refused && tally.answered == 0).await;
    }
    rig.serve(vec![world.service(Protocol::Http1, world.terms(), &[other_name, good])]).await;
    for _ in 0..8 {
        assert_eq!(rig.get("/name").await, (200, "one".to_owned()));
    }
}

#[tokio::test]
async fn an_instance_that_asks_who_we_are_is_shown_it_and_has_refused_without() {
    let world = World::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let acceptor = world.acceptor("shop.internal", protocol, Some(&world.authority));
        let (address, met) = listen("one", protocol, acceptor).await;
        let mut rig = Rig::start().await;
        rig.serve(vec![world.service(protocol, world.terms(), &[address])]).await;
        assert_eq!(rig.get("/name").await.0, 502);
        rig.tally(1, |tally| tally.refused == 1 && tally.total() == 1).await;
        let shown = ShownToInstances { certificate: world.path("proxy.pem"), key: world.path("proxy.key") };
        let terms = InstanceTls { shown: Some(shown), ..world.terms() };
        rig.serve(vec![world.service(protocol, terms, &[address])]).await;
        assert_eq!(rig.get("/name").await, (200, "one".to_owned()), "other terms count at once");
        assert_eq!(met.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_authority_that_is_replaced_counts_for_new_connections() {
    let world = World::new();
    let next = World::new();
    let (address, _) = next.instance("one", "shop.internal", Protocol::Http1).await;
    let mut rig = Rig::with(|config| config.limits.look = Duration::from_millis(10)).await;
    rig.serve(vec![world.service(Protocol::Http1, world.terms(), &[address])]).await;
    assert_eq!(rig.get("/name").await.0, 502);
    replace(&next.path("ca.pem"), &world.path("ca.pem"));
    let taken = async { while rig.get("/name").await.0 != 200 {} };
    soon("the new authority", taken).await;
}

fn replace(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

#[tokio::test]
async fn nothing_is_ever_sent_in_clear_to_a_service_with_tls() {
    let world = World::new();
    let in_clear = crate::upstream::greeting("wrong").await;
    let mut rig = Rig::start().await;
    let at = vacant();
    let shop = world.service(Protocol::Http1, world.terms(), &[in_clear]);
    rig.serve(vec![ServiceRoutes { tcp: vec![at], ..shop }]).await;
    let mut client = soon("connecting", TcpStream::connect(at)).await.unwrap();
    let mut heard = Vec::new();
    let _ = soon("the end", client.read_to_end(&mut heard)).await;
    assert_eq!(heard, b"");
    rig.tally(1, |tally| tally.refused == 1).await;
}
