//! One question to an authority and its answer, over TLS: bounded in time and in size, on a connection of its own.
//!
//! An order takes a dozen of them in a minute and then none for two months, so that no connection is kept.

use super::error::{Error, Problem};
use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use serde::de::DeserializeOwned;
use std::{
    future::pending,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// How long one question may take, from the look-up of the name to the last byte of the answer.
pub(super) const TIME: Duration = Duration::from_secs(30);

/// The largest answer, in bytes: a chain of certificates has some 10 KiB.
pub(super) const MAX_BODY: usize = 256 << 10;

/// What we are called; authorities ask for that.
const AGENT: &str = concat!("quarterdeck/", env!("CARGO_PKG_VERSION"));

/// The port that `https://` means without one.
const HTTPS: u16 = 443;

/// The status of an answer.
pub(super) type Status = StatusCode;

/// Who asks.
pub(super) struct Http {
    tls: TlsConnector,
}

/// An answer.
pub(super) struct Answer {
    /// From where.
    url: String,
    /// How it went.
    pub(super) status: Status,
    headers: HeaderMap,
    /// What it is.
    pub(super) body: Bytes,
}

impl Http {
    /// One that trusts the certificates in this file, or else what this machine trusts.
    ///
    /// # Errors
    /// When there is nothing to trust.
    pub(super) fn new(roots: Option<&Path>) -> Result<Http, Error> {
        let mut trusted = RootCertStore::empty();
        match roots {
            Some(path) => {
                let unusable = |error| Error::NoRoots(format!("{}: {error}", path.display()));
                let found = CertificateDer::pem_file_iter(path).map_err(unusable)?;
                trusted.add_parsable_certificates(found.collect::<Result<Vec<_>, _>>().map_err(unusable)?);
                if trusted.is_empty() {
                    return Err(Error::NoRoots(format!("{} contains no certificate", path.display())));
                }
            }
            None => {
                trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if trusted.is_empty() {
                    let what =
                        "this machine has none: install its package `ca-certificates`, or name a file as `roots`";
                    return Err(Error::NoRoots(what.to_owned()));
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]);
        let builder = builder.map_err(|error| Error::Crypto(error.to_string()))?;
        let config = builder.with_root_certificates(trusted).with_no_client_auth();
        Ok(Http { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Asks, with a body that is signed or with none.
    ///
    /// # Errors
    /// When there is no answer. One that says no is one.
    pub(super) async fn ask(&self, method: Method, url: &str, body: Option<Vec<u8>>) -> Result<Answer, Error> {
        match timeout(TIME, self.exchange(method, url, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Silent { url: url.to_owned() }),
        }
    }

    async fn exchange(&self, method: Method, url: &str, body: Option<Vec<u8>>) -> Result<Answer, Error> {
        let bad = || Error::BadAddress(url.to_owned());
        let unreachable = |source| Error::Unreachable { url: url.to_owned(), source };
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(bad)?;
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| bad())?;

        let port = authority.port_u16().unwrap_or(HTTPS);
        let stream = TcpStream::connect((host, port)).await.map_err(|error| unreachable(error.into()))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| unreachable(error.into()))?;
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|error| unreachable(error.into()))?;

        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder().method(method).uri(target).header(HOST, authority.as_str());
        request = request.header(USER_AGENT, AGENT);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/jose+json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(|_| bad())?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| unreachable(error.into()))?;
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, MAX_BODY).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
                    true => Error::TooLarge { url: url.to_owned() },
                    false => unreachable(error),
                })?;
            Ok(Answer { url: url.to_owned(), status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        // Whatever ends the connection is told to whoever waits for the answer.
        let driven = async {
            let _ = connection.await;
            pending().await
        };
        tokio::select! {
            answer = answered => answer,
            () = driven => Err(Error::Silent { url: url.to_owned() }),
        }
    }
}

impl Answer {
    /// Unless the authority says no.
    ///
    /// # Errors
    /// With what it says.
    pub(super) fn accepted(self) -> Result<Answer, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let problem = self.problem();
        let retry_after = self.retry_after();
        Err(Error::Refused { url: self.url, status: self.status, problem, retry_after })
    }

    /// What it says is wrong.
    pub(super) fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What it holds.
    ///
    /// # Errors
    /// When it holds something else.
    pub(super) fn read<T: DeserializeOwned>(&self, missing: &'static str) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| self.without(missing))
    }

    /// A header field that must be there.
    pub(super) fn field(&self, name: &'static str) -> Result<String, Error> {
        self.header(name).map(str::to_owned).ok_or_else(|| self.without(name))
    }

    /// A header field.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// When to come back.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.headers.get(RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
    }

    /// Something is not there.
    pub(super) fn without(&self, missing: &'static str) -> Error {
        Error::Unexpected { url: self.url.clone(), missing }
    }
}

/// Seconds, or a date of HTTP.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_is_said_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(retry_after(" 120 ", now), seconds(120));
        assert_eq!(retry_after("Tue, 14 Nov 2023 22:14:20 GMT", now), seconds(60));
        assert_eq!(retry_after("Tue, 14 Nov 2023 22:00:00 GMT", now), seconds(0), "gone by");
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
