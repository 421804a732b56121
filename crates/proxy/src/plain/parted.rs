//! Plain requests whose heads hyper has read: those that come over HTTP/2, or on a connection that has carried something else
//! before. What hyper would do towards the instance is done here as for all plain requests, at their cost.

use super::{
    body::Body,
    field::{self, is_hop_by_hop},
    instance::{Question, ask},
    request,
    response::Answer,
};
use crate::{
    body::Content,
    edits::Edits,
    headers::{is_claim, is_said_by_us, traceparent},
    lane::Lane,
    origin::Origin,
    patience::Patience,
    refusal::Refusal,
    ticket::Ticket,
    worker::Worker,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};
use hyper::body::{Body as _, Incoming};
use std::rc::Rc;

/// What in a head takes the longer way.
const UNUSUAL: [&HeaderName; 6] = [&CONNECTION, &CONTENT_LENGTH, &EXPECT, &TE, &TRANSFER_ENCODING, &UPGRADE];

/// A plain request in parts, and whom it is for.
pub(crate) struct Parted<'a> {
    pub(crate) request: &'a Request<Incoming>,
    pub(crate) host: &'a HeaderValue,
    pub(crate) origin: &'a Origin,
    /// The path and query that an instance is asked for instead of the client's.
    pub(crate) rewritten: Option<&'a str>,
}

impl Parted<'_> {
    /// Whether it is plain.
    pub(crate) fn is_plain(request: &Request<Incoming>) -> bool {
        let is_usual = |headers: &HeaderMap| !UNUSUAL.iter().any(|name| headers.contains_key(*name));
        request.body().is_end_stream() && request::is_plain(request.method().as_str()) && is_usual(request.headers())
    }

    /// The head as an instance is sent it.
    fn forwarded(&self, lane: &Lane, worker: &Worker) -> Vec<u8> {
        let Parted { request, host, origin, rewritten } = self;
        let (edits, headers) = (&lane.service.request_edits, request.headers());
        let asked = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let room = headers.len() * 64;
        let mut out = request::begin(request.method().as_str(), rewritten.unwrap_or(asked), host.as_bytes(), room);
        let is_told = |name: &str| !is_said_by_us(name) && (origin.is_believed || !is_claim(name));
        let goes_on = |name: &str| !is_hop_by_hop(name) && is_told(name) && !edits.concern(name);
        for (name, value) in headers.iter().filter(|(name, _)| **name != HOST && **name != COOKIE) {
            if goes_on(name.as_str()) {
                field::write(&mut out, name.as_str(), value.as_bytes());
            }
        }
        write_cookies(&mut out, headers, edits);
        let is_traced = headers.contains_key("traceparent");
        let trace = if is_traced { None } else { Some(traceparent(&worker.random)) };
        request::end(&mut out, host.as_bytes(), origin, trace, edits);
        out
    }
}

/// In HTTP/2 each cookie may be a field of its own; elsewhere there is one field for all (RFC 9113, section 8.2.3).
fn write_cookies(out: &mut Vec<u8>, headers: &HeaderMap, edits: &Edits) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let Some(first) = cookies.next().filter(|_| !edits.concern(COOKIE.as_str())) else { return };
    out.extend_from_slice(b"cookie: ");
    out.extend_from_slice(first.as_bytes());
    for cookie in cookies {
        out.extend_from_slice(b"; ");
        out.extend_from_slice(cookie.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Lets an instance answer. The request belongs to a service whose requests may be plain.
///
/// # Errors
/// When no response begins.
pub(crate) async fn answer(
    worker: &Rc<Worker>,
    lane: &Rc<Lane>,
    to: (usize, Option<u64>),
    mut ticket: Ticket,
    asked: &Parted<'_>,
) -> Result<Response<Content>, Refusal> {
    let edits = &lane.service.response_edits;
    let question = Question {
        head: asked.forwarded(lane, worker),
        to_head: *asked.request.method() == Method::HEAD,
        pass_on: |answer: &Answer<'_>| parted(answer, edits),
    };
    let mut patience = Patience::new();
    let begun = ask(worker, lane, to, &mut ticket, &mut patience, &question).await?;
    let (mut response, body) = Body::new(worker, begun, ticket);
    if let Some(body) = body {
        *response.body_mut() = Content::Plain(Box::new(body));
    }
    Ok(response)
}

/// A head in the parts that hyper sends.
fn parted(answer: &Answer<'_>, edits: &Edits) -> Response<Content> {
    let mut response = Response::new(Content::Empty);
    *response.status_mut() = StatusCode::from_u16(answer.head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    for field in answer.kept(edits) {
        // What was understood as a field is one.
        let name = HeaderName::from_bytes(field.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            headers.append(name, value);
        }
    }
    if let Some(length) = answer.length() {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    edits.apply(headers);
    response
}
