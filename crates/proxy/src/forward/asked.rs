//! A request as hyper has read it: whom it is for, and what assignment and the cache see of it.

use crate::{
    admit::Asked,
    cache::{Asking, Found, Why},
    headers::{is_disguised, is_host},
    lane::Lane,
    origin::Origin,
    refusal::Refusal,
};
use http::{
    HeaderName, HeaderValue, Method, Request, Version,
    header::{HOST, TRANSFER_ENCODING},
    uri::PathAndQuery,
};
use hyper::body::{Body as _, Incoming};
use std::time::Instant;

/// A request whose head hyper has read, and whom it is for.
pub(super) struct Whole<'a> {
    pub(super) request: &'a Request<Incoming>,
    pub(super) host: &'a HeaderValue,
}

impl Asked for Whole<'_> {
    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn method(&self) -> &str {
        self.request.method().as_str()
    }

    fn target(&self) -> &str {
        self.request.uri().path_and_query().map_or("/", PathAndQuery::as_str)
    }

    fn path(&self) -> &str {
        self.request.uri().path()
    }

    fn least_body(&self) -> u64 {
        self.request.body().size_hint().lower()
    }

    fn fields<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.request.headers().get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn look(&self, lane: &Lane, arm: usize, origin: &Origin, rewritten: Option<&str>) -> Option<Found> {
        let kept = lane.service.cache.as_ref()?;
        // What is said to somebody who has shown who they are is for nobody else, and nobody else's is for them. What an instance may
        // take for something else than it is stored under would be given to those who ask for that.
        let is_own = origin.certificate.is_some() || is_disguised(self.request.headers());
        if is_own && self.request.method().is_safe() {
            return Some(Found::Nothing(Why::Bypass));
        }
        let asking = Asking {
            method: self.request.method(),
            headers: self.request.headers(),
            scheme: origin.begins.scheme(),
            host: self.host.as_bytes(),
            target: rewritten.unwrap_or_else(|| self.target()),
            has_body: !self.request.body().is_end_stream(),
        };
        Some(kept.look(&lane.service, arm, &asking, Instant::now()))
    }
}

/// Whom a request is for: the authority of its target when it has one, else its only `Host`.
pub(super) fn host(request: &Request<Incoming>) -> Result<HeaderValue, Refusal> {
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = Some(host).filter(|host| is_host(host.as_bytes()));
        return host.and_then(|host| HeaderValue::from_str(host).ok()).ok_or(Refusal::BadHost);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(host.clone()),
        (None, _) if request.version() < Version::HTTP_11 => Ok(HeaderValue::from_static("")),
        (None, _) | (Some(_), _) => Err(Refusal::BadHost),
    }
}

/// Whether it says what is asked for: a path, a whole address, or `*` where that is all of the server. Not an authority alone, which is
/// for `CONNECT` only (RFC 9112, section 3.2.3): whoever stands before us takes the `Host` for whom it is for.
pub(super) fn has_target(request: &Request<Incoming>) -> bool {
    let uri = request.uri();
    let is_whole = uri.authority().is_none() || uri.scheme().is_some();
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    is_whole && (target.starts_with('/') || target == "*" && *request.method() == Method::OPTIONS)
}

/// Whether a body is encoded in another way than in chunks: an instance would be told of the chunks only.
pub(super) fn has_unknown_coding(request: &Request<Incoming>) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) || codings.next().is_some()
}
