//! One proxy takes over from another while clients of every kind go on.

use crate::{
    rig::{Rig, canary, running, service, soon, whole},
    upstream::{good, nobody, read_head},
};
use http::{Request, Version};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::{ChangeId, Guard, Judgement};
use std::{
    error::Error as _,
    io::Write as _,
    net::SocketAddr,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

type Body = Empty<bytes::Bytes>;

/// Clients that ask again and again, each request of which must be answered.
struct Clients {
    running: JoinSet<()>,
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    fn start(address: SocketAddr) -> Clients {
        let mut clients = Clients { running: JoinSet::new(), answered: Arc::default(), stop: Arc::default() };
        for n in 0..10 {
            let (answered, stop) = (Arc::clone(&clients.answered), Arc::clone(&clients.stop));
            clients.running.spawn(async move {
                while !stop.load(Relaxed) {
                    match n % 5 {
                        0 => connection(address, 1, &answered, &stop).await,
                        1 => connection(address, u64::MAX, &answered, &stop).await,
                        2 => streams(address, &answered, &stop).await,
                        3 => events(address, &answered, &stop).await,
                        _ => tunnel(address, &answered, &stop).await,
                    }
                }
            });
        }
        clients
    }

    async fn stop(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
        self.answered.load(Relaxed)
    }
}

/// HTTP/1.1: requests on one connection, until the server says that it closes it.
async fn connection(address: SocketAddr, most: u64, answered: &AtomicU64, stop: &AtomicBool) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http1::handshake::<_, Body>(io).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..most {
        let request = Request::get("/").header("host", "shop.test").body(Body::new()).unwrap();
        let response = soon("a response", sender.send_request(request)).await.unwrap();
        let closes = response.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!(whole(response).await.0, 200);
        answered.fetch_add(1, Relaxed);
        if closes || stop.load(Relaxed) {
            return;
        }
    }
}

/// HTTP/2: one stream after the other, until the server wants no more. One that it refused was not looked at.
async fn streams(address: SocketAddr, answered: &AtomicU64, stop: &AtomicBool) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.timer(TokioTimer::new()).handshake::<_, Body>(io).await.unwrap();
    tokio::spawn(connection);
    while !stop.load(Relaxed) {
        if sender.ready().await.is_err() {
            return;
        }
        let request = Request::get("http://shop.test/").version(Version::HTTP_2).body(Body::new()).unwrap();
        match soon("a response", sender.send_request(request)).await {
            Ok(response) => assert_eq!(whole(response).await.0, 200),
            Err(error) if error.is_canceled() || was_refused(&error) => return,
            Err(error) => panic!("{error:?}"),
        }
        answered.fetch_add(1, Relaxed);
    }
}

/// An event stream, listened to while twenty other requests are answered: it is not broken off meanwhile.
async fn events(address: SocketAddr, answered: &AtomicU64, stop: &AtomicBool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: shop.test\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: 1\n\n\r\n") {
        assert!(soon("the first event", stream.read_buf(&mut seen)).await.unwrap() > 0, "{seen:?}");
    }
    let until = answered.fetch_add(1, Relaxed) + 20;
    let listened = async {
        while answered.load(Relaxed) < until && !stop.load(Relaxed) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        more = stream.read_u8() => panic!("the stream went on with {more:?}"),
        () = soon("other requests", listened) => {}
    }
}

/// A connection that has switched to another protocol, used again and again until the end: over all handovers.
async fn tunnel(address: SocketAddr, answered: &AtomicU64, stop: &AtomicBool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"GET /switch HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: shouting\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert!(read_head(&mut stream).await);
    while !stop.load(Relaxed) {
        stream.write_all(b"hello").await.unwrap();
        let mut said = [0; 5];
        soon("an echo", stream.read_exact(&mut said)).await.unwrap();
        assert_eq!(&said, b"HELLO");
        answered.fetch_add(1, Relaxed);
    }
}

/// Whether the server had said that it takes no more streams, before it saw this one: it may be asked again elsewhere.
fn was_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_proxies_take_over_from_each_other_and_no_request_is_lost() {
    let mut rig = Rig::with(|config| config.threads = 2).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let clients = Clients::start(rig.address);
    let mut before = Vec::new();
    for round in 0..20 {
        // More threads, fewer threads: every socket is somebody's.
        before.push(rig.hand_over(1 + round % 3).await);
        let seen = clients.answered.load(Relaxed);
        soon("further requests", async {
            while clients.answered.load(Relaxed) < seen + 20 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let answered = clients.stop().await;
    assert!(answered > 400, "{answered}");
    for thread in before {
        soon("the end of a proxy", tokio::task::spawn_blocking(|| thread.join())).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(rig.get("/").await, (200, "one".into()));
    rig.stop().await;
}

#[tokio::test]
async fn a_guard_that_has_tripped_stays_tripped_in_the_next_proxy() {
    let mut rig = Rig::start().await;
    let guard = Guard { change: ChangeId(7), judgement: Judgement::default(), baseline: None };
    rig.serve(vec![canary(50, &[good("one").await], &[nobody().await], Some(guard))]).await;
    while rig.control.until("a report", |_| true).await.tripped.is_empty() {
        rig.get("/").await;
    }
    rig.hand_over(1).await;
    assert_eq!(rig.control.until("a report", |_| true).await.tripped, [ChangeId(7)]);
    for _ in 0..30 {
        assert_eq!(rig.get("/").await, (200, "one".into()));
    }
}

#[tokio::test]
async fn newcomers_that_fail_change_nothing() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    for said in [&b""[..], b"nonsense", b"\0\0\0\x0d{\"version\":1}"] {
        let mut stream = UnixStream::connect(rig.dir.path().join("proxy.handover")).unwrap();
        stream.write_all(said).unwrap();
        drop(stream);
        assert_eq!(rig.get("/").await, (200, "one".into()));
    }
    // Nobody is taken over from without being asked for.
    let config = proxy::Config::new(vec![rig.address], rig.dir.path());
    assert!(matches!(proxy::run(config), Err(proxy::Error::AlreadyRunning { .. })));
    assert_eq!(rig.get("/").await, (200, "one".into()));
    rig.hand_over(1).await;
    assert_eq!(rig.get("/").await, (200, "one".into()));
}
