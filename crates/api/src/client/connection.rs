//! One request over one connection, and its answer.

use super::Error;
use crate::{Problem, VERSION, problem};
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// How long connecting may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer that has begun may take to end.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer that is read into memory.
const MAX_ANSWER: usize = 64 << 20;

/// What is sent.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is there already.
pub(super) fn body(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Where Quarterdeck is sought.
#[derive(Clone)]
pub(super) enum Target {
    Unix(PathBuf),
    Tcp { address: SocketAddr, token: String },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "{}", path.display()),
            Target::Tcp { address, .. } => write!(f, "http://{address}"),
        }
    }
}

impl fmt::Debug for Target {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Target {
    /// Asks and waits until the answer begins. An answer that says no is an error.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let address = self.to_string();
        let request = self.request(method, path, content_type, body)?;
        let exchange = async {
            match self {
                Target::Unix(path) => exchange(self.connect(UnixStream::connect(path)).await?, request, &address).await,
                Target::Tcp { address: at, .. } => {
                    exchange(self.connect(TcpStream::connect(at)).await?, request, &address).await
                }
            }
        };
        let response = timeout(patience, exchange)
            .await
            .map_err(|_| Error::Timeout { address: address.clone(), waited: patience })??;
        Answer { response, address }.accepted().await
    }

    async fn connect<S>(&self, connecting: impl Future<Output = io::Result<S>>) -> Result<S, Error> {
        let address = self.to_string();
        let timed_out = |_| Error::Timeout { address: address.clone(), waited: CONNECT_PATIENCE };
        timeout(CONNECT_PATIENCE, connecting).await.map_err(timed_out)?.map_err(|source| {
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
                Error::NotRunning { address, source }
            } else {
                Error::Connect { address, source }
            }
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Result<Request<Body>, Error> {
        let mut request = Request::builder().method(method).uri(path);
        request = match self {
            Target::Unix(_) => request.header(header::HOST, "localhost"),
            Target::Tcp { address, token } => request
                .header(header::HOST, address.to_string())
                .header(header::AUTHORIZATION, format!("Bearer {token}")),
        };
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        // Only a token with characters that no token has can fail here.
        request.body(body).map_err(|source| Error::Source(io::Error::other(source)))
    }
}

async fn exchange<S>(stream: S, request: Request<Body>, address: &str) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lost = |source: hyper::Error| Error::Lost { address: address.to_owned(), source: source.into() };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    // It ends with the answer's body, or when that is dropped; what goes wrong on it is seen there.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(lost)
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response<Incoming>,
    address: String,
}

impl Answer {
    /// The answer, unless it says no.
    async fn accepted(self) -> Result<Answer, Error> {
        let theirs = self.version()?;
        if self.response.status().is_success() {
            return Ok(self);
        }
        let status = self.response.status();
        let address = self.address.clone();
        let body = self.bytes().await?;
        let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
            return Err(Error::NotQuarterdeck { address });
        };
        let unheard_of =
            matches!(problem.code, problem::Code::Fault(problem::Fault::NotFound)) && status == problem.status();
        if unheard_of && theirs != VERSION {
            return Err(Error::Version { address, theirs });
        }
        Err(Error::Problem(problem))
    }

    /// The version that the server says it is.
    fn version(&self) -> Result<String, Error> {
        let server = self.response.headers().get(header::SERVER).and_then(|value| value.to_str().ok());
        match server.and_then(|server| server.strip_prefix("quarterdeck/")) {
            Some(version) => Ok(version.to_owned()),
            None => Err(Error::NotQuarterdeck { address: self.address.clone() }),
        }
    }

    /// The whole answer as what it should be.
    pub(super) async fn decoded<A: DeserializeOwned>(self) -> Result<A, Error> {
        let theirs = self.version()?;
        let address = self.address.clone();
        serde_json::from_slice(&self.bytes().await?).map_err(|source| {
            if theirs == VERSION { Error::Answer { address, source } } else { Error::Version { address, theirs } }
        })
    }

    async fn bytes(self) -> Result<Bytes, Error> {
        let address = self.address;
        let collecting = Limited::new(self.response.into_body(), MAX_ANSWER).collect();
        match timeout(ANSWER_PATIENCE, collecting).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(source)) if source.is::<http_body_util::LengthLimitError>() => {
                Err(Error::TooLong { address, limit: MAX_ANSWER })
            }
            Ok(Err(source)) => Err(Error::Lost { address, source }),
            Err(_) => Err(Error::Timeout { address, waited: ANSWER_PATIENCE }),
        }
    }

    /// The next part of an answer that goes on; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            match self.response.body_mut().frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_trailers) => {}
                },
                Err(source) => {
                    return Some(Err(Error::Lost { address: self.address.clone(), source: source.into() }));
                }
            }
        }
    }

    /// Where the answer comes from.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}
