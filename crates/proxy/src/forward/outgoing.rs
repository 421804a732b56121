//! A request's head as an instance is to see it.

use crate::{connection::Client, headers, lane::Lane, origin::Origin};
use http::{
    HeaderValue, Uri, Version,
    header::HOST,
    request,
    uri::{Authority, Scheme},
};
use model::Protocol;
use std::mem;

/// Makes a head that of a request of ours to an instance.
pub(super) fn outgoing(
    client: &Client,
    lane: &Lane,
    head: &mut request::Parts,
    host: &HeaderValue,
    origin: &Origin,
    upgrade: Option<HeaderValue>,
    rewritten: Option<String>,
) {
    let is_framed = upgrade.is_none() && lane.service.traffic.protocol == Protocol::Http2;
    headers::forward_request(&mut head.headers, host.clone(), origin, upgrade, &client.worker.random);
    lane.service.request_edits.apply(&mut head.headers);
    origin_form(head, rewritten);
    match is_framed {
        true => framed_form(head, host),
        false => headers::join_cookies(&mut head.headers),
    }
}

/// Instances are sent paths, not whole addresses, in HTTP/1.1.
fn origin_form(head: &mut request::Parts, rewritten: Option<String>) {
    head.version = Version::HTTP_11;
    if let Some(uri) = rewritten.and_then(|target| Uri::try_from(target).ok()) {
        head.uri = uri;
    } else if head.uri.authority().is_some() {
        // A path of which nothing is left but its fragment is the root.
        let path = head.uri.path_and_query().filter(|path| path.as_str() != "/").cloned();
        head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
}

/// Instances that speak HTTP/2 are told whom a request is for by its address, and need no field for it.
fn framed_form(head: &mut request::Parts, host: &HeaderValue) {
    head.version = Version::HTTP_2;
    head.headers.remove(HOST);
    let mut parts = mem::take(&mut head.uri).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    let authority = Authority::try_from(host.as_bytes());
    parts.authority = Some(authority.unwrap_or_else(|_| Authority::from_static("localhost")));
    head.uri = Uri::from_parts(parts).unwrap_or_default();
}
