//! The head of a request, understood where it lies. Pure.
//!
//! What is plain is narrow on purpose: HTTP/1.1, a well-known method, a path, exactly one host, no body, no change of
//! protocol, and nothing that could be understood in two ways. Everything else, and all that is wrong, is for hyper to
//! answer. A field is copied to the instance byte for byte, under a name that has been checked, in a line that we end.

use super::field::{self, is, is_hop_by_hop};
use crate::{
    admit::Asked,
    assign::Random,
    edits::Edits,
    headers::{is_claim, is_host, is_said_by_us, traceparent},
    origin::Origin,
};
use http::HeaderName;
use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// The most fields that a plain request has.
const MOST_FIELDS: usize = 64;

/// A request without a body.
pub(crate) struct Plain<'b> {
    method: &'b str,
    /// The path and what follows it.
    pub(crate) target: &'b str,
    host: &'b [u8],
    /// Those that an instance is sent as they are, if it may be told them at all.
    fields: Vec<Header<'b>>,
    /// What it says about who forwarded it.
    forwarding: Vec<Header<'b>>,
    traced: bool,
    /// Whether the client wants no further answer on this connection.
    pub(crate) closes: bool,
    /// How many bytes the head has.
    pub(crate) length: usize,
}

impl<'b> Plain<'b> {
    /// Reads a head. `None`: it is not there as a whole, or it is not plain.
    pub(crate) fn read(bytes: &'b [u8]) -> Option<Plain<'b>> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
        let Ok(Status::Complete(length)) = parsed else { return None };
        let (method, target) = (request.method?, request.path?);
        if request.version != Some(1) || !is_plain(method) || !target.starts_with('/') || !target.bytes().all(is_shown)
        {
            return None;
        }
        let fields = Vec::with_capacity(request.headers.len());
        let forwarding = Vec::new();
        let mut plain = Plain { method, target, host: b"", fields, forwarding, traced: false, closes: false, length };
        let mut hosts = 0;
        for &field in request.headers.iter() {
            let Header { name, value } = field;
            match name.len() {
                2 if is(name, "te") => return None,
                4 if is(name, "host") => {
                    hosts += 1;
                    plain.host = value;
                }
                6 if is(name, "expect") => return None,
                7 if is(name, "upgrade") => return None,
                10 if is(name, "connection") => {
                    if is(value, "close") {
                        plain.closes = true;
                    } else if !is(value, "keep-alive") {
                        return None;
                    }
                }
                11 if is(name, "traceparent") => {
                    plain.traced = true;
                    plain.fields.push(field);
                }
                14 if is(name, "content-length") => return None,
                17 if is(name, "transfer-encoding") => return None,
                _ if is_said_by_us(name) => plain.forwarding.push(field),
                _ if is_hop_by_hop(name) => {}
                _ => plain.fields.push(field),
            }
        }
        (hosts == 1 && is_host(plain.host)).then_some(plain)
    }

    /// Whether the answer has no body whatever it says.
    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The head as an instance is sent it, for this path and query.
    pub(crate) fn forwarded(&self, target: &str, origin: &Origin, random: &Random, edits: &Edits) -> Vec<u8> {
        let mut head = begin(self.method, target, self.host, self.length);
        let goes_on = |name: &str| (origin.is_believed || !is_claim(name)) && !edits.concern(name);
        let kept = self.fields.iter().filter(|field| goes_on(field.name));
        kept.for_each(|field| field::write(&mut head, field.name, field.value));
        let trace = if self.traced { None } else { Some(traceparent(random)) };
        end(&mut head, self.host, origin, trace, edits);
        head
    }
}

/// The beginning of a head that an instance is sent, with room for as much as a client has sent.
pub(super) fn begin(method: &str, target: &str, host: &[u8], room: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(room + 256);
    head.extend_from_slice(method.as_bytes());
    head.push(b' ');
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    field::write(&mut head, "host", host);
    head
}

/// What stands behind the fields of the client. `trace`: the beginning of a trace, where the client has begun none.
pub(super) fn end(head: &mut Vec<u8>, host: &[u8], origin: &Origin, trace: Option<[u8; 55]>, edits: &Edits) {
    field::write(head, "x-forwarded-for", origin.address().as_bytes());
    field::write(head, "x-forwarded-proto", origin.begins.scheme().as_bytes());
    field::write(head, "x-forwarded-host", host);
    if let Some(certificate) = &origin.certificate {
        field::write(head, "client-cert", certificate.as_bytes());
    }
    if let Some(trace) = trace {
        field::write(head, "traceparent", &trace);
    }
    edits.write(head);
    head.extend_from_slice(b"\r\n");
}

impl Asked for Plain<'_> {
    fn host(&self) -> &[u8] {
        self.host
    }

    fn method(&self) -> &str {
        self.method
    }

    fn target(&self) -> &str {
        self.target
    }

    fn least_body(&self) -> u64 {
        0
    }

    fn fields<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let all = self.fields.iter().chain(&self.forwarding);
        all.filter(|field| is(field.name, name.as_str())).map(|field| field.value)
    }
}

/// Those that may be sent again when nothing has come of them, and that seldom have a body.
pub(super) fn is_plain(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE")
}

/// What a target may consist of without a doubt (RFC 3986).
fn is_shown(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*'
        | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?' | b'%' | b'[' | b']' | b'|')
}

#[cfg(test)]
mod tests;
