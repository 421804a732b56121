//! The server: accepts connections, learns who is at the other end, and answers until it is told to stop.
//!
//! Every wait and every number is bounded by [`Bounds`] or a constant here. A connection that sends half a request is
//! closed; a handler that panics is a 500 for that request and nothing else.

use crate::{
    Access, Backend, Listener, Loop,
    access::Peer,
    endpoints,
    impatient::Impatient,
    listen::Kind,
    problem::{Fault, Problem},
    served::Served,
};
use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Request, header};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use model::Bytes;
use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// How long requests may go on once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait before accepting again when the system cannot give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds on what the server takes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Open connections; more wait to be accepted.
    pub connections: u32,
    /// Requests being answered; more are told to come back. Streams count only until they begin.
    pub requests: usize,
    /// Event and log streams.
    pub streams: usize,
    /// The largest artifact.
    pub artifact: Bytes,
    /// How long a request's head may take, which is also how long a connection may be idle.
    pub head: Duration,
    /// How long a body may stand still, either way.
    pub stall: Duration,
    /// How often a silent event stream says that it is still there.
    pub keep_alive: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 512,
            requests: 128,
            streams: 128,
            artifact: Bytes::mib(2048),
            head: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// Answers on these listeners until `stop` is ready. Streams end then, other requests get five seconds to be answered.
pub async fn serve(
    listeners: Vec<Listener>,
    control: Loop,
    backend: Arc<dyn Backend>,
    access: Access,
    bounds: Bounds,
    stop: impl Future<Output = ()> + Send,
) {
    let (stopping, stopped) = watch::channel(false);
    let server = Server {
        router: TowerToHyperService::new(endpoints::router(Served::new(
            control,
            backend,
            access,
            bounds,
            stopped.clone(),
        ))),
        requests: Arc::new(Semaphore::new(bounds.requests)),
        connections: Arc::new(Semaphore::new(bounds.connections as usize)),
        bounds,
        stopped,
    };
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(server.clone().accept(listener));
    }
    stop.await;
    accepting.shutdown().await;
    let _ = stopping.send(true);
    // All connections have ended when all of their permits are back; those that last too long end with the process.
    let _ = timeout(DRAIN, server.connections.acquire_many(bounds.connections)).await;
}

/// What every connection needs.
#[derive(Clone)]
struct Server {
    router: TowerToHyperService<Router>,
    requests: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    bounds: Bounds,
    stopped: watch::Receiver<bool>,
}

impl Server {
    async fn accept(self, listener: Listener) {
        loop {
            let accepted = match &listener.0 {
                Kind::Unix { listener, .. } => match accept_user(listener).await {
                    Ok((stream, peer)) => self.spawn(stream, peer).await,
                    Err(error) => Err(error),
                },
                Kind::Tcp(listener) => match listener.accept().await {
                    Ok((stream, _)) => self.spawn(stream, Peer::Network).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = accepted {
                tracing::warn!(%error, "cannot accept a connection to the API");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Begins to answer a connection, when there is a place for it; until then no other is accepted.
    async fn spawn<S>(&self, stream: S, peer: Peer) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let place = self.connections.clone().acquire_owned().await.map_err(io::Error::other)?;
        let server = self.clone();
        tokio::spawn(async move {
            server.converse(stream, peer).await;
            drop(place);
        });
        Ok(())
    }

    /// Answers the requests of one connection.
    async fn converse<S>(mut self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = self.clone();
        let service = service_fn(move |request| {
            let (server, peer) = (server.clone(), peer.clone());
            async move { Ok::<_, Infallible>(server.answer(request, peer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.head)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(Impatient::new(stream, self.bounds.stall)), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = async { drop(self.stopped.wait_for(|stopped| *stopped).await) } => {
                connection.as_mut().graceful_shutdown();
                timeout(DRAIN, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the API ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response {
        let mut response = match self.requests.clone().try_acquire_owned() {
            Ok(place) => match peer.check_host(request.headers()) {
                Ok(()) => {
                    let answer = self.router.call(with_peer(request, peer));
                    // On a task of its own: a panic stays there, and a client that leaves does not leave half a command.
                    let answered = tokio::spawn(async move {
                        let _place = place;
                        answer.await.into_response()
                    });
                    answered.await.unwrap_or_else(|error| {
                        tracing::error!(%error, "a request to the API panicked");
                        Problem::internal("Quarterdeck failed while it answered this request").into_response()
                    })
                }
                Err(problem) => problem.into_response(),
            },
            Err(_) => Problem::new(Fault::Busy, "too many requests are being answered", "ask again in a second")
                .into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static(concat!("quarterdeck/", env!("CARGO_PKG_VERSION"))));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

async fn accept_user(listener: &UnixListener) -> io::Result<(UnixStream, Peer)> {
    let (stream, _) = listener.accept().await?;
    let peer = Peer::user(stream.peer_cred()?.uid());
    Ok((stream, peer))
}

fn with_peer(request: Request<Incoming>, peer: Peer) -> Request<Body> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    request
}
