//! What a client is told when its request could not be answered by an instance: what happened and what to do, in plain
//! text, without addresses or names of what runs inside.

use crate::body::Content;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use model::{Bytes, ServiceKey, Span};

/// Why a request was not answered by an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("This request has no single, valid host. Send one Host header.")]
    BadHost,
    #[error("CONNECT is not offered here: this server answers requests for its own services only.")]
    Connect,
    #[error("This request body has a transfer coding that is not known here. Send it in chunks, or with its length.")]
    Coding,
    #[error("The request body is larger than the {0} that {1} accepts.")]
    TooLarge(Bytes, ServiceKey),
    #[error("The request body stopped arriving. Send it again.")]
    TooSlow,
    #[error("The request body could not be read.")]
    BadBody,
    #[error("No service has a route for host `{host}` and path `{path}`.")]
    NoRoute {
        /// As the client sent it, shortened.
        host: String,
        /// Likewise.
        path: String,
    },
    #[error("No service is set up here yet.")]
    NoTable,
    #[error("You have sent as many requests as {0} takes from one client. Try again in {1} s.")]
    TooMany(ServiceKey, u64),
    #[error("{0} has as much to do as it can. Try again in a moment.")]
    Busy(ServiceKey),
    #[error("{0} has no release yet. Deploy one.")]
    NoRelease(ServiceKey),
    #[error("{0} has no instance that is ready. Try again in a moment.")]
    NoInstance(ServiceKey),
    #[error("{0} could not be reached: its instance refused the connection. Try again in a moment.")]
    Unreachable(ServiceKey),
    #[error("{0} closed the connection before it had answered.")]
    Reset(ServiceKey),
    #[error("{0} had not answered when its instance had to be left. Try again in a moment.")]
    Drained(ServiceKey),
    #[error("{0} did not answer within {1}.")]
    Timeout(ServiceKey, Span),
    #[error("{0} answers only clients with a certificate that it knows the authority of.")]
    Stranger(ServiceKey),
    #[error("Nothing is stored that answers this request, and it wants nothing else (only-if-cached).")]
    NotStored,
    #[error("This is found elsewhere.")]
    Moved(HeaderValue, StatusCode),
    /// With what the service says itself.
    #[error("{0}")]
    Maintenance(String),
}

/// How much of what a client sent is repeated to it.
const SHOWN: usize = 120;

impl Refusal {
    /// For a host and path that match nothing.
    pub(crate) fn no_route(host: &[u8], path: &str) -> Refusal {
        Refusal::NoRoute {
            host: String::from_utf8_lossy(host).chars().take(SHOWN).collect(),
            path: path.chars().take(SHOWN).collect(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Refusal::BadHost | Refusal::BadBody => StatusCode::BAD_REQUEST,
            Refusal::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Coding => StatusCode::NOT_IMPLEMENTED,
            Refusal::TooLarge(..) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::NoRoute { .. } => StatusCode::NOT_FOUND,
            Refusal::TooMany(..) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NoTable
            | Refusal::NoRelease(_)
            | Refusal::NoInstance(_)
            | Refusal::Busy(_)
            | Refusal::Drained(_)
            | Refusal::Maintenance(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Moved(_, status) => *status,
            Refusal::Stranger(_) => StatusCode::FORBIDDEN,
            Refusal::Unreachable(_) | Refusal::Reset(_) => StatusCode::BAD_GATEWAY,
            Refusal::Timeout(..) | Refusal::NotStored => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// As the response.
    pub(crate) fn response(&self) -> Response<Content> {
        let status = self.status();
        let is_page = matches!(self, Refusal::Maintenance(notice) if notice.starts_with('<'));
        let text = match is_page {
            true => self.to_string(),
            false => format!("{} {}\n\n{self}\n", status.as_u16(), status.canonical_reason().unwrap_or_default()),
        };
        let mut response = Response::new(Content::Text(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let kind = if is_page { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Refusal::TooMany(_, seconds) = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        }
        if let Refusal::Moved(to, _) = self {
            headers.insert(LOCATION, to.clone());
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = if matches!(self, Refusal::Maintenance(_)) { "60" } else { "2" };
            headers.insert(RETRY_AFTER, HeaderValue::from_static(soon));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"));
        }
        response
    }
}
