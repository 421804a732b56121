//! Tiny upstreams: one that behaves, and some that do not.

use bytes::Bytes;
use endless::Chunks;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::Protocol;
use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedRwLockWriteGuard, RwLock, watch},
};

type Body = BoxBody<Bytes, hyper::Error>;

/// An upstream that says its name, and does by path what tests ask for.
pub(crate) async fn good(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(name, Protocol::Http1, stream));
        }
    });
    address
}

/// What such an upstream does with one connection.
pub(crate) async fn serve(
    name: &'static str,
    protocol: Protocol,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let (io, service) = (TokioIo::new(stream), service_fn(move |request| answer(name, request)));
    // How a connection ends is not what its upstream is asked about.
    let _ = match protocol {
        Protocol::Http1 => http1::Builder::new().serve_connection(io, service).with_upgrades().await,
        Protocol::Http2 => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
    };
}

/// Likewise, in HTTP/2. Counts the connections it was given.
pub(crate) async fn framed(name: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(name, Protocol::Http2, stream));
        }
    });
    (address, connections)
}

/// An upstream that behaves, and keeps what it was asked: method, target, body.
pub(crate) async fn recording() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let record = Arc::clone(&record);
            let service = service_fn(move |request: Request<Incoming>| {
                let record = Arc::clone(&record);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let body = String::from_utf8_lossy(&body).into_owned();
                    record.lock().unwrap().push(format!("{} {} {body}", head.method, head.uri));
                    Ok::<_, hyper::Error>(status(StatusCode::OK, "ok"))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, asked)
}

/// An upstream that numbers what it sends, and sends it as it is told.
pub(crate) struct Kitchen {
    pub(crate) address: SocketAddr,
    orders: Arc<Mutex<Orders>>,
    asked: Arc<watch::Sender<usize>>,
    gate: Arc<RwLock<()>>,
}

#[derive(Clone, Default)]
struct Orders {
    fields: Vec<(&'static str, &'static str)>,
    status: u16,
    known: Option<(&'static str, Vec<(&'static str, &'static str)>)>,
    filling: usize,
}

pub(crate) async fn kitchen(name: &'static str) -> Kitchen {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kitchen = Kitchen {
        address: listener.local_addr().unwrap(),
        orders: Arc::new(Mutex::new(Orders { status: 200, ..Orders::default() })),
        asked: Arc::new(watch::Sender::new(0)),
        gate: Arc::default(),
    };
    let (orders, asked, gate) = (kitchen.orders.clone(), kitchen.asked.clone(), kitchen.gate.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (orders, asked, gate) = (orders.clone(), asked.clone(), gate.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (orders, asked, gate) = (orders.clone(), asked.clone(), gate.clone());
                async move {
                    let mut number = 0;
                    asked.send_modify(|asked| {
                        *asked += 1;
                        number = *asked;
                    });
                    drop(gate.read().await);
                    let orders = orders.lock().unwrap().clone();
                    Ok::<_, Infallible>(orders.serve(&request, &format!("{name} {number}")))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    kitchen
}

impl Orders {
    fn serve(&self, request: &Request<Incoming>, text: &str) -> Response<Body> {
        let asked = request.headers().get("if-none-match").map(|tag| tag.to_str().unwrap());
        let known = self.known.as_ref().filter(|(tag, _)| asked == Some(tag));
        let text = format!("{text}{}", ".".repeat(self.filling));
        let mut response = match known {
            Some(_) => status(StatusCode::NOT_MODIFIED, ""),
            None => status(StatusCode::from_u16(self.status).unwrap(), text),
        };
        for (name, value) in known.map_or(&self.fields, |(_, fields)| fields) {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    }
}

impl Kitchen {
    /// Sends these fields from now on.
    pub(crate) fn serves(&self, fields: &[(&'static str, &'static str)]) {
        self.orders.lock().unwrap().fields = fields.to_vec();
    }

    /// Sends this status from now on.
    pub(crate) fn fails(&self, status: u16) {
        self.orders.lock().unwrap().status = status;
    }

    /// Says of this entity tag that it still holds.
    pub(crate) fn knows(&self, tag: &'static str, fields: &[(&'static str, &'static str)]) {
        self.orders.lock().unwrap().known = Some((tag, fields.to_vec()));
    }

    /// Sends so many bytes more.
    pub(crate) fn fills(&self, bytes: usize) {
        self.orders.lock().unwrap().filling = bytes;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Lets it answer nobody until this is dropped.
    pub(crate) fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).try_write_owned().unwrap()
    }

    /// Lets it answer when it has been asked so often.
    pub(crate) async fn until_asked(&self, times: usize, hold: OwnedRwLockWriteGuard<()>) {
        self.was_asked(times).await;
        drop(hold);
    }

    /// Waits until it has been asked so often.
    pub(crate) async fn was_asked(&self, times: usize) {
        self.asked.subscribe().wait_for(|asked| *asked >= times).await.unwrap();
    }
}

async fn answer(name: &'static str, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(match request.uri().path() {
        "/hang" => pending().await,
        "/fail" => status(StatusCode::INTERNAL_SERVER_ERROR, name),
        "/head" => {
            let fields = request.headers().iter().map(|(k, v)| format!("{k}: {}\n", v.to_str().unwrap_or("?")));
            let text = format!(
                "{} {} {:?}\n{}",
                request.method(),
                request.uri(),
                request.version(),
                fields.collect::<String>()
            );
            status(StatusCode::OK, text)
        }
        "/echo" => Response::new(request.into_body().boxed()),
        "/count" => match request.into_body().collect().await {
            Ok(body) => status(StatusCode::OK, body.to_bytes().len().to_string()),
            Err(_) => pending().await,
        },
        "/trailers" => {
            let mut sums = http::HeaderMap::new();
            sums.insert("grpc-status", "0".parse().unwrap());
            let body = Full::new(Bytes::from("a message")).with_trailers(std::future::ready(Some(Ok(sums))));
            let mut response = Response::new(body.map_err(|never: Infallible| match never {}).boxed());
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            response
        }
        "/events" => {
            let mut response = Response::new(Chunks::begun_with("data: 1\n\n").boxed());
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            response
        }
        "/download" => Response::new(Chunks::begun_with("half of it").boxed()),
        "/switch" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut chunk = [0; 1024];
                while let Ok(n @ 1..) = io.read(&mut chunk).await {
                    io.write_all(&chunk[..n].to_ascii_uppercase()).await.unwrap();
                }
            });
            let mut response = status(StatusCode::SWITCHING_PROTOCOLS, "");
            response.headers_mut().insert("connection", "upgrade".parse().unwrap());
            response.headers_mut().insert("upgrade", "shouting".parse().unwrap());
            response
        }
        _ => status(StatusCode::OK, name),
    })
}

fn status(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let text = text.into();
    let body = if text.is_empty() {
        Empty::new().map_err(|never| match never {}).boxed()
    } else {
        Full::new(text).map_err(|never| match never {}).boxed()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// An upstream that reads a head on each connection and then does as told.
pub(crate) async fn rude<F: Future<Output = ()> + Send + 'static>(
    then: impl Fn(TcpStream, u32) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut connections = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections += 1;
            read_head(&mut stream).await;
            tokio::spawn(then(stream, connections));
        }
    });
    address
}

/// An upstream that does as told with each connection, whatever is said on it.
pub(crate) async fn raw<F: Future<Output = ()> + Send + 'static>(
    then: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(then(stream));
        }
    });
    address
}

/// An upstream that says its name first, then repeats what it hears until there is no more.
pub(crate) async fn greeting(name: &'static str) -> SocketAddr {
    raw(move |mut stream| async move {
        let _ = stream.write_all(format!("{name}\n").as_bytes()).await;
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
    .await
}

/// Reads a request head without a body. Whether there was one.
pub(crate) async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// An address that refuses connections. It is taken all the same: nobody else begins to listen there.
pub(crate) async fn nobody() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Box::leak(Box::new(socket)).local_addr().unwrap()
}

/// An address to listen on. It is none that the system gives to whoever wants any.
pub(crate) fn vacant() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16;
    let mut ports = (0..20_000)
        .map(|_| 10_000 + first.wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ([127, 0, 0, 1], ports.find(is_free).unwrap()).into()
}

mod endless {
    //! A body that begins and never ends.

    use bytes::Bytes;
    use hyper::body::{Body, Frame};
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    pub(crate) struct Chunks(Option<Bytes>);

    impl Chunks {
        pub(crate) fn begun_with(text: &'static str) -> Chunks {
            Chunks(Some(Bytes::from_static(text.as_bytes())))
        }
    }

    impl Body for Chunks {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            match self.0.take() {
                Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                None => Poll::Pending,
            }
        }
    }
}
