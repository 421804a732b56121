//! Instances that listen on a Unix socket: everything that is carried to a port is carried to them.

use crate::{
    rig::{Rig, full, running, service, soon, whole},
    upstream::{good, serve, vacant},
};
use http::Request;
use hyper_util::rt::TokioIo;
use model::{Address, Arm, Endpoint, InstanceId, Protocol, ServiceRoutes};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream},
};

/// A directory for a socket, and where in it that is.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("1.sock");
    (dir, path)
}

/// The running release, whose instance listens there.
fn listening(path: &Path) -> Arm {
    let address = Address::Unix(path.to_str().unwrap().to_owned());
    Arm { endpoints: vec![Endpoint { instance: InstanceId(10), address }], ..running(&[]) }
}

/// An upstream on a socket that behaves. Counts its connections.
fn behaving(path: &Path, protocol: Protocol) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(path).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(serve("one", protocol, stream));
        }
    });
    connections
}

#[tokio::test]
async fn requests_take_the_short_way_and_the_long_one_and_connections_are_kept() {
    let (_dir, path) = place();
    let connections = behaving(&path, Protocol::Http1);
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![listening(&path)])]).await;
    for _ in 0..3 {
        assert_eq!(rig.get("/name").await, (200, "one".to_owned()));
    }
    for _ in 0..3 {
        let echoed = whole(rig.open(Request::post("/echo"), full("a body")).await).await;
        assert_eq!(echoed, (200, "a body".to_owned()));
    }
    assert_eq!(connections.load(SeqCst), 2, "one for each of the two ways");
    rig.tally(1, |tally| tally.answered == 6 && tally.total() == 6).await;
}

#[tokio::test]
async fn web_sockets_are_switched_to() {
    let (_dir, path) = place();
    behaving(&path, Protocol::Http1);
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![listening(&path)])]).await;
    let request = Request::get("/switch").header("connection", "upgrade").header("upgrade", "shouting");
    let response = rig.open(request, full("")).await;
    assert_eq!(response.status(), 101);
    let mut switched = TokioIo::new(soon("the switch", hyper::upgrade::on(response)).await.unwrap());
    switched.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    soon("shouting", switched.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"HELLO");
}

#[tokio::test]
async fn http2_is_spoken_over_one_connection() {
    let (_dir, path) = place();
    let connections = behaving(&path, Protocol::Http2);
    let mut rig = Rig::start().await;
    let mut greeter = service(vec![listening(&path)]);
    greeter.traffic.protocol = Protocol::Http2;
    rig.serve(vec![greeter]).await;
    let (_, seen) = rig.get("/head").await;
    assert!(seen.starts_with("GET http://shop.test/head HTTP/2.0\n"), "{seen}");
    let echoed = whole(rig.open(Request::post("/echo"), full("a message")).await).await;
    assert_eq!(echoed, (200, "a message".to_owned()));
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn connections_are_carried_as_they_are() {
    let (_dir, path) = place();
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello\n").await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    });
    let mut rig = Rig::start().await;
    let at = vacant();
    let database = ServiceRoutes { routes: Vec::new(), tcp: vec![at], ..service(vec![listening(&path)]) };
    rig.serve(vec![database]).await;
    let mut client = soon("connecting", TcpStream::connect(at)).await.unwrap();
    client.write_all(b"and back").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    soon("the end", client.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "hello\nand back");
    rig.tally(1, |tally| tally.answered == 1).await;
}

#[tokio::test]
async fn where_nobody_listens_another_instance_is_tried() {
    let (_dir, path) = place();
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![listening(&path)])]).await;
    assert_eq!(rig.get("/").await.0, 502, "there is no socket");
    drop(UnixListener::bind(&path).unwrap());
    let mut both = listening(&path);
    both.endpoints.extend(running(&[good("two").await]).endpoints);
    both.endpoints[1].instance = InstanceId(11);
    rig.serve(vec![service(vec![both])]).await;
    for _ in 0..8 {
        assert_eq!(rig.get("/").await, (200, "two".to_owned()), "what a process left behind is nobody");
    }
    rig.tally(1, |tally| tally.refused == 1 && tally.answered == 8).await;
}

#[tokio::test]
async fn an_instance_whose_queue_is_full_is_waited_for() {
    let (_dir, path) = place();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![listening(&path)])]).await;
    let mut waiting = Vec::new();
    loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => waiting.push(stream),
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    let mut client = rig.connect().await;
    client.write_all(b"GET /name HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    rig.control.until("it is under way", |report| report.instances.iter().any(|i| i.in_flight == 1)).await;
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve("one", Protocol::Http1, stream));
        }
    });
    let mut answer = String::new();
    soon("an answer", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("one"), "{answer}");
}

#[tokio::test]
async fn a_link_to_somebody_elses_socket_leads_nowhere() {
    // Without root there is nobody else.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (_dir, path) = place();
    let connections = behaving(&path, Protocol::Http1);
    let run = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(run.path(), Some(65534), Some(65534)).unwrap();
    let link = run.path().join("1.sock");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![listening(&link)])]).await;
    assert_eq!(rig.get("/").await.0, 502);
    rig.serve(vec![service(vec![listening(&path)])]).await;
    assert_eq!(rig.get("/").await.0, 200, "the one that is owned by whoever listens does");
    assert_eq!(connections.load(SeqCst), 2);
}
