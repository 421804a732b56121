//! One client connection, from its first byte to its last: HTTP/1.1, or HTTP/2 when both sides have agreed on it by TLS, or
//! when it begins with that protocol's preface.

use crate::{
    client_io::{ClientIo, Pace, Times},
    forward,
    listen::Begins,
    stream::{Agreed, Stream},
    tls,
    worker::{Open, Worker},
};
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use hyper::{
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioTimer;
use std::{cell::Cell, io, net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read to tell the protocol: enough for most request heads to arrive with it.
const FIRST_READ: usize = 2048;

/// After a refusal, how long and how much of what the client still sends is read and thrown away. Closing at once would
/// reset the connection, and the client would lose the answer that is on its way.
const LINGER: (Duration, usize) = (Duration::from_secs(2), 16 << 20);

/// How often an HTTP/2 client is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// HTTP/2 flow-control windows: what one request, and one connection, may have sent that was not forwarded yet.
const WINDOW: (u32, u32) = (256 << 10, 1 << 20);

/// What the requests of one connection have in common.
pub(crate) struct Client {
    /// The thread it is on.
    pub(crate) worker: Rc<Worker>,
    /// Its address, as forwarded to instances.
    pub(crate) address: HeaderValue,
    /// How it began.
    pub(crate) begins: Begins,
    /// Whether it keeps up.
    pub(crate) pace: Arc<Pace>,
    /// Whether it was answered before it had sent everything.
    pub(crate) answered_early: Cell<bool>,
    _open: Open,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, begins: Begins) {
    let open = worker.open();
    let limits = &worker.shared.limits;
    let times = Times { head: limits.head_time, keep_alive: limits.keep_alive, write_stall: limits.write_stall };
    let pace = Pace::new();
    // Without it, small responses may wait for an acknowledgement. A socket that refuses it works all the same.
    let _ = stream.set_nodelay(true);
    let met = match (begins, &worker.shared.tls) {
        (Begins::WithTls, Some(plane)) => tokio::select! {
            met = tls::meet(&worker, plane, stream) => met,
            () = worker.parting() => None,
        },
        (Begins::InClear, _) | (Begins::WithTls, None) => Some(Stream::Clear(stream)),
    };
    let Some(mut stream) = met else { return };
    let first = tokio::select! {
        first = timeout(times.head, first_bytes(&mut stream)) => first,
        () = worker.parting() => return,
    };
    let prefix = match first {
        Ok(Ok(prefix)) if !prefix.is_empty() => prefix,
        // Gone, or silent for too long; browsers open connections that they never use.
        Ok(Ok(_) | Err(_)) | Err(_) => return,
    };
    let address = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
    let client = Rc::new(Client {
        worker: Rc::clone(&worker),
        address: address.unwrap_or(HeaderValue::from_static("unknown")),
        begins,
        pace: Arc::clone(&pace),
        answered_early: Cell::new(false),
        _open: open,
    });
    let is_http2 = match stream.agreed() {
        Agreed::Http2 => true,
        Agreed::Http1 => false,
        Agreed::Open => prefix.starts_with(PREFACE),
    };
    if is_http2 {
        pace.set_framed();
        http2(client, ClientIo::new(stream, prefix, pace, times)).await;
    } else {
        http1(client, ClientIo::new(stream, prefix, pace, times)).await;
    }
}

/// Reads until it is clear whether the preface is there. Empty: the client has closed.
async fn first_bytes(stream: &mut Stream) -> io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    loop {
        let read = stream.read_buf(&mut bytes).await?;
        if read == 0 || bytes.len() >= PREFACE.len() || !PREFACE.starts_with(&bytes) {
            return Ok(bytes.freeze());
        }
    }
}

async fn http1(client: Rc<Client>, io: ClientIo) {
    let worker = Rc::clone(&client.worker);
    let service = service_fn({
        let client = Rc::clone(&client);
        move |request| forward::serve(Rc::clone(&client), request)
    });
    let mut builder = http1::Builder::new();
    // The client's pace is watched by its socket.
    builder.header_read_timeout(None).max_header_size(worker.shared.limits.head_bytes);
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
    if malformed || client.pace.was_too_slow() {
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
    let service = service_fn(move |request| forward::serve(Rc::clone(&client), request));
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW.0)
        .initial_connection_window_size(WINDOW.1)
        .keep_alive_interval(PING);
    let mut connection = pin!(builder.serve_connection(io, service));
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

/// Runs the streams of an HTTP/2 connection as tasks of the thread the connection is on.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F> Executor<F> for OnThisThread
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
