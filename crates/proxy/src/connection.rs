//! One client connection, from its first byte to its last: HTTP/1.1, or HTTP/2 when both sides have agreed on it by TLS, or
//! when it begins with that protocol's preface.

use crate::{
    buffers::{self, Buffer},
    client_io::{ClientIo, Pace, Times},
    forward,
    gathering::Gathering,
    listen::Begins,
    origin::Origin,
    plain, proxy_header,
    stream::{Agreed, Stream},
    streams::Streams,
    tls,
    worker::{Open, Worker},
};
use bytes::Bytes;
use http::HeaderValue;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioTimer;
use std::{
    cell::{Cell, OnceCell},
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// After a refusal, how long and how much of what the client still sends is read and thrown away. Closing at once would
/// reset the connection, and the client would lose the answer that is on its way.
const LINGER: (Duration, usize) = (Duration::from_secs(2), 16 << 20);

/// How often an HTTP/2 client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// HTTP/2 flow-control windows: what one request, and one connection, may have sent that was not forwarded yet.
const WINDOW: (u32, u32) = (256 << 10, 1 << 20);

/// How much of one response may wait for an HTTP/2 client to open its window.
const SEND_BUFFER: usize = 64 << 10;

/// What the requests of one connection have in common. Small: every connection has one, and most do nothing.
pub(crate) struct Client {
    /// The thread it is on.
    pub(crate) worker: Rc<Worker>,
    /// Where it comes from, as far as the connection says.
    pub(crate) origin: Origin,
    /// Whether it is a proxy that is believed about where its requests come from.
    pub(crate) is_believed: bool,
    /// What it is told about TLS with every response.
    pub(crate) hsts: Option<Box<HeaderValue>>,
    /// Whether it was answered before it had sent everything.
    pub(crate) answered_early: Cell<bool>,
    by_hyper: OnceCell<Box<ByHyper>>,
    _open: Open,
}

/// What is known of a client that hyper speaks with. Others do without.
struct ByHyper {
    pace: Arc<Pace>,
    streams: Streams,
}

impl Client {
    /// Whether it keeps up.
    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.by_hyper().pace
    }

    /// Its requests, when it speaks HTTP/2.
    pub(crate) fn streams(&self) -> &Streams {
        &self.by_hyper().streams
    }

    fn by_hyper(&self) -> &ByHyper {
        self.by_hyper.get_or_init(|| {
            let streams = Streams::new(self.worker.shared.limits.write_stall);
            Box::new(ByHyper { pace: Pace::new(), streams })
        })
    }
}

/// A client that has arrived.
struct Arrival {
    worker: Rc<Worker>,
    open: Open,
    peer: IpAddr,
    begins: Begins,
    is_believed: bool,
}

/// Begins to serve a connection: a task does so until it ends.
pub(crate) fn begin(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, begins: Begins) {
    let (open, peer) = (worker.open(), peer.ip());
    let (is_believed, is_announced) = {
        let settings = worker.shared.settings.load();
        (settings.believes(peer), settings.announces(peer))
    };
    let arrival = Arrival { worker, open, peer, begins, is_believed };
    match (begins, is_announced) {
        (Begins::InClear, false) => serve(arrival.client(None, None, None), Stream::Clear(stream)),
        (Begins::InClear, true) | (Begins::WithTls, _) => {
            tokio::task::spawn_local(async move {
                if let Some((client, stream)) = arrival.meet(stream, is_announced).await {
                    serve(client, stream);
                }
            });
        }
    }
}

/// Serves a client whose requests come next. A task of its own for each stage, so that a connection is as large as what it
/// does, and small while it does nothing.
fn serve(client: Rc<Client>, stream: Stream) {
    match stream.agreed() {
        Agreed::Http2 => tokio::task::spawn_local(by_hyper(client, stream, None)),
        Agreed::Http1 | Agreed::Open => tokio::task::spawn_local(plain::serve(client, stream)),
    };
}

impl Arrival {
    /// What has to be said before the first request: whose connection it is, and a handshake. `None`: that came to nothing.
    async fn meet(self, mut stream: TcpStream, is_announced: bool) -> Option<(Rc<Client>, Stream)> {
        let worker = Rc::clone(&self.worker);
        let announced = if is_announced { announced(&worker, &mut stream).await? } else { None };
        let (stream, hsts) = match (self.begins, &worker.shared.tls) {
            (Begins::WithTls, Some(plane)) => {
                let met = tokio::select! {
                    met = tls::meet(&worker, plane, stream) => met?,
                    () = worker.parting() => return None,
                };
                (met, plane.hsts())
            }
            (Begins::InClear, _) | (Begins::WithTls, None) => (Stream::Clear(stream), None),
        };
        let certificate = stream.certificate().and_then(tls::told);
        Some((self.client(announced, certificate, hsts), stream))
    }

    fn client(
        self,
        announced: Option<IpAddr>,
        certificate: Option<HeaderValue>,
        hsts: Option<HeaderValue>,
    ) -> Rc<Client> {
        let Arrival { worker, open, peer, begins, is_believed } = self;
        let origin =
            Origin { certificate: certificate.map(Box::new), ..Origin::new(announced.unwrap_or(peer), begins) };
        Rc::new(Client {
            worker,
            origin,
            is_believed,
            hsts: hsts.map(Box::new),
            answered_early: Cell::new(false),
            by_hyper: OnceCell::new(),
            _open: open,
        })
    }
}

/// Whose connection it is, by the balancer that passes it on; `Some(None)`: its own. `None`: it does not say, as it must.
async fn announced(worker: &Worker, stream: &mut TcpStream) -> Option<Option<IpAddr>> {
    tokio::select! {
        read = timeout(worker.shared.limits.head_time, proxy_header::read(stream)) => match read {
            Ok(Ok(announced)) => Some(announced),
            Ok(Err(_)) | Err(_) => {
                worker.counts.refused.increment();
                None
            }
        },
        () = worker.parting() => None,
    }
}

/// Serves the rest of a connection that is not plain. `arrived`: what was read of it already, and is not empty.
pub(crate) async fn by_hyper(client: Rc<Client>, mut stream: Stream, arrived: Option<Buffer>) {
    let worker = Rc::clone(&client.worker);
    let limits = &worker.shared.limits;
    let first = tokio::select! {
        first = timeout(limits.head_time, first_bytes(&worker, &mut stream, arrived)) => first,
        () = worker.parting() => return,
    };
    let arrived = match first {
        Ok(Ok(arrived)) if !arrived.is_empty() => arrived,
        // Gone, or silent for too long.
        Ok(Ok(_) | Err(_)) | Err(_) => return,
    };
    let is_http2 = match stream.agreed() {
        Agreed::Http2 => true,
        Agreed::Http1 => false,
        Agreed::Open => arrived.filled().starts_with(PREFACE),
    };
    let times = Times { head: limits.head_time, keep_alive: limits.keep_alive, write_stall: limits.write_stall };
    let pace = Arc::clone(client.pace());
    if is_http2 {
        pace.set_framed();
    }
    let io = ClientIo::new(stream, Bytes::copy_from_slice(arrived.filled()), pace, times);
    drop(arrived);
    match is_http2 {
        true => Box::pin(http2(client, io)).await,
        false => Box::pin(http1(client, io)).await,
    }
}

/// Reads until it is clear whether the preface is there. Empty: the client has closed.
async fn first_bytes(worker: &Worker, stream: &mut Stream, arrived: Option<Buffer>) -> io::Result<Buffer> {
    let mut begun = arrived;
    loop {
        if let Some(arrived) = begun.take_if(|arrived| {
            let filled = arrived.filled();
            filled.len() >= PREFACE.len() || !PREFACE.starts_with(filled)
        }) {
            return Ok(arrived);
        }
        let (read, buffer) = poll_fn(|cx| {
            let mut buffer = begun.take().unwrap_or_else(|| worker.buffers.take());
            if let Poll::Ready(read) = buffer.poll_fill(cx, Pin::new(stream)) {
                return Poll::Ready((read, buffer));
            }
            begun = Some(buffer).filter(|buffer| !buffer.is_empty());
            Poll::Pending
        })
        .await;
        if read? == 0 {
            return Ok(buffer);
        }
        begun = Some(buffer);
    }
}

async fn http1(client: Rc<Client>, io: ClientIo) {
    let worker = Rc::clone(&client.worker);
    let service = service_fn({
        let client = Rc::clone(&client);
        move |request| Box::pin(forward::serve(Rc::clone(&client), request))
    });
    let mut builder = http1::Builder::new();
    // The client's pace is watched by its socket.
    builder.header_read_timeout(None).max_header_size(worker.shared.limits.head_bytes).max_buf_size(buffers::SIZE);
    let mut connection = builder.serve_connection(io, service).with_upgrades();
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = worker.parting() => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let malformed = ended.is_err_and(|error| error.is_parse());
    if malformed || client.pace().was_too_slow() {
        client.worker.counts.refused.increment();
    }
    if (malformed || client.answered_early.get())
        && let Some(parts) = connection.into_parts()
    {
        linger(parts.io.into_inner()).await;
    }
}

/// Takes what a client that was answered early still sends, so that it can read the answer.
pub(crate) async fn linger(mut stream: Stream) {
    let mut rest = vec![0; 16 << 10];
    let discard = async {
        stream.shutdown().await?;
        let mut discarded = 0;
        while discarded < LINGER.1 {
            match stream.read(&mut rest).await? {
                0 => break,
                n => discarded += n,
            }
        }
        io::Result::Ok(())
    };
    // Whatever comes of it, the connection is closed next.
    let _ = timeout(LINGER.0, discard).await;
}

async fn http2(client: Rc<Client>, io: ClientIo) {
    let worker = Rc::clone(&client.worker);
    let limits = &worker.shared.limits;
    let streams = client.streams().clone();
    // Boxed: hyper moves what answers a request several times.
    let service = service_fn(move |request| Box::pin(forward::serve(Rc::clone(&client), request)));
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW.0)
        .initial_connection_window_size(WINDOW.1)
        .max_send_buf_size(SEND_BUFFER)
        .enable_connect_protocol()
        .keep_alive_interval(PING);
    let mut connection = pin!(builder.serve_connection(Gathering::new(io), service));
    // Malformed frames are answered by the protocol itself; how the connection ended says nothing of any request.
    let _ = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = worker.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}
