//! What a client is told when its request could not be answered by an instance: what happened and what to do, in plain
//! text, without addresses or names of what runs inside.

use crate::{body::Content, table::By};
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use model::{Bytes, RouteName, ServiceKey, Span};
use std::fmt;

/// Why a request was not answered by an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("This request has no single, valid host. Send one Host header.")]
    BadHost,
    #[error(
        "This request names nothing that can be asked for: neither a path that begins with /, nor a whole address."
    )]
    BadTarget,
    #[error(
        "The path of this request has a segment that is `.` or `..`, in whatever spelling. Send the path that it leads to."
    )]
    BadPath,
    #[error("CONNECT is not offered here: this server answers requests for its own services only.")]
    Connect,
    #[error("This request body has a transfer coding that is not known here. Send it in chunks, or with its length.")]
    Coding,
    #[error("The request body is larger than the {0} that {1} accepts{2}.")]
    TooLarge(Bytes, ServiceKey, On),
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
    #[error("You have sent as many requests as {0} takes from one client{1}. Try again in {2} s.")]
    TooMany(ServiceKey, On, u64),
    #[error("{0} has as much to do{1} as it can. Try again in a moment.")]
    Busy(ServiceKey, On),
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
    #[error("{0} did not answer{1} within {2}.")]
    Timeout(ServiceKey, On, Span),
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

/// Where the bound holds that a request has met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum On {
    /// On all of a service.
    Service,
    /// On one route of it, or on those of this name.
    Route(Option<RouteName>),
}

impl On {
    fn by(&self) -> By {
        match self {
            On::Service => By::Service,
            On::Route(_) => By::Route,
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Service => Ok(()),
            On::Route(None) => f.write_str(" on this route"),
            On::Route(Some(name)) => write!(f, " on its route {name}"),
        }
    }
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

    /// Which bound was met, as it is written in the configuration, and who has set it.
    pub(crate) fn bound(&self) -> Option<(&'static str, &'static str)> {
        let (bound, on) = match self {
            Refusal::TooLarge(_, _, on) => ("max_body", on),
            Refusal::TooMany(_, on, _) => ("client_rate", on),
            Refusal::Busy(_, on) => ("concurrency", on),
            Refusal::Timeout(_, on, _) => ("response_timeout", on),
            Refusal::BadHost
            | Refusal::BadTarget
            | Refusal::BadPath
            | Refusal::Connect
            | Refusal::Coding
            | Refusal::TooSlow
            | Refusal::BadBody
            | Refusal::NoRoute { .. }
            | Refusal::NoTable
            | Refusal::NoRelease(_)
            | Refusal::NoInstance(_)
            | Refusal::Unreachable(_)
            | Refusal::Reset(_)
            | Refusal::Drained(_)
            | Refusal::Stranger(_)
            | Refusal::NotStored
            | Refusal::Moved(..)
            | Refusal::Maintenance(_) => return None,
        };
        Some((bound, on.by().name()))
    }

    fn status(&self) -> StatusCode {
        match self {
            Refusal::BadHost | Refusal::BadTarget | Refusal::BadPath | Refusal::BadBody => StatusCode::BAD_REQUEST,
            Refusal::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Coding => StatusCode::NOT_IMPLEMENTED,
            Refusal::TooLarge(..) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::NoRoute { .. } => StatusCode::NOT_FOUND,
            Refusal::TooMany(..) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::NoTable
            | Refusal::NoRelease(_)
            | Refusal::NoInstance(_)
            | Refusal::Busy(..)
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
        if let Refusal::TooMany(_, _, seconds) = self {
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
