//! The head of a response, understood where it lies and made anew for the client. Pure.

use super::field::{self, is, is_hop_by_hop, tokens};
use crate::{dates::Dates, edits::Edits};
use http::HeaderValue;
use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// The most fields that a response may have.
const MOST_FIELDS: usize = 100;

/// What tells browsers to stay with TLS.
const HSTS: &str = "strict-transport-security";

/// How the end of a response's body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// It has none.
    Empty,
    /// It has so many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunked,
    /// It ends with its connection.
    UntilClose,
}

/// What the head of a response says to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// How many bytes it has.
    pub(crate) size: usize,
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// Whether the connection can carry another request afterwards.
    pub(crate) keeps: bool,
    /// Whether it is a stream of events.
    pub(crate) events: bool,
}

/// What there is at the beginning of some bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found<T> {
    /// A part of a head.
    Part,
    /// A whole head of so many bytes that a final one follows.
    Interim(usize),
    /// A whole head, and what was made of it.
    Final(Head, T),
}

/// It is not the head of a response to a request of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// What we add to a head.
#[derive(Clone, Copy)]
pub(crate) struct Added<'a> {
    /// What the service has changed.
    pub(crate) edits: &'a Edits,
    /// What makes a new user known next time.
    pub(crate) cookie: Option<&'a HeaderValue>,
    /// That it is to use TLS from now on.
    pub(crate) hsts: Option<&'a HeaderValue>,
    /// Whether the client is to send no further request on its connection.
    pub(crate) closes: bool,
    /// What day it is, for what has no clock.
    pub(crate) dates: &'a Dates,
}

/// What a head says already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Has {
    date: bool,
    hsts: bool,
}

impl Added<'_> {
    /// Adds what is to be added to a head, and ends it.
    pub(crate) fn end(&self, head: &mut Vec<u8>, has: Has) {
        self.edits.write(head);
        if let Some(cookie) = self.cookie {
            field::write(head, "set-cookie", cookie.as_bytes());
        }
        if !has.date {
            field::write(head, "date", &self.dates.now());
        }
        let knows_better = has.hsts || self.edits.concern(HSTS);
        if let Some(hsts) = self.hsts.filter(|_| !knows_better) {
            field::write(head, HSTS, hsts.as_bytes());
        }
        if self.closes {
            field::write(head, "connection", b"close");
        }
        head.extend_from_slice(b"\r\n");
    }
}

/// A head that was understood.
pub(crate) struct Answer<'b> {
    pub(crate) head: Head,
    /// How many bytes its body has, or would have.
    length: Option<u64>,
    reason: &'b str,
    fields: &'b [Header<'b>],
    said: &'b Said<'b>,
}

impl<'b> Answer<'b> {
    /// The fields that a client is sent as they are, but for those that `edits` concern. How the body is framed is not among them.
    pub(crate) fn kept(&self, edits: &Edits) -> impl Iterator<Item = &Header<'b>> {
        let stays = move |name: &str| match name.len() {
            14 if is(name, "content-length") => false,
            17 if is(name, "transfer-encoding") => false,
            _ => !is_hop_by_hop(name) && !self.said.named.iter().any(|named| is(named, name)) && !edits.concern(name),
        };
        self.fields.iter().filter(move |field| stays(field.name))
    }

    /// How many bytes its body has, or would have, where a client is told.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.head.framing {
            Framing::Chunked | Framing::UntilClose => None,
            Framing::Length(_) | Framing::Empty => self.length.filter(|_| self.head.status != 204),
        }
    }

    /// It, written anew.
    pub(crate) fn write(&self, added: &Added<'_>) -> Vec<u8> {
        let Head { size, status, .. } = self.head;
        let mut out = Vec::with_capacity(size + 192);
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend([status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + (digit % 10) as u8));
        out.push(b' ');
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        for Header { name, value } in self.kept(added.edits) {
            field::write(&mut out, name, value);
        }
        match self.head.framing {
            Framing::Chunked | Framing::UntilClose => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Length(_) | Framing::Empty => {
                if let Some(length) = self.length() {
                    field::write_number(&mut out, "content-length", length);
                }
            }
        }
        added.end(&mut out, self.said.has);
        out
    }
}

/// Reads a head, and makes something of it when it is there as a whole. `to_head`: it answers a HEAD request.
///
/// # Errors
/// When it is none, or could be understood in two ways.
pub(crate) fn understand<T>(
    bytes: &[u8],
    to_head: bool,
    make: impl FnOnce(&Answer<'_>) -> T,
) -> Result<Found<T>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(Found::Part),
        Err(_) => return Err(Malformed),
    };
    let (Some(status), Some(version)) = (response.code, response.version) else { return Err(Malformed) };
    match status {
        // Nobody has asked to switch protocols.
        ..100 | 101 => return Err(Malformed),
        102..200 | 100 => return Ok(Found::Interim(length)),
        _ => {}
    }
    let said = Said::of(response.headers, version)?;
    let framing = match (status, said.chunked, said.length) {
        (204 | 304, _, _) => Framing::Empty,
        _ if to_head => Framing::Empty,
        (_, true, _) => Framing::Chunked,
        (_, false, Some(0)) => Framing::Empty,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::UntilClose,
    };
    let head = Head {
        size: length,
        status,
        framing,
        keeps: said.keeps && framing != Framing::UntilClose,
        events: said.events,
    };
    let reason = response.reason.unwrap_or_default();
    let made = make(&Answer { head, length: said.length, reason, fields: response.headers, said: &said });
    Ok(Found::Final(head, made))
}

/// What fields say that we must know.
struct Said<'b> {
    length: Option<u64>,
    chunked: bool,
    keeps: bool,
    events: bool,
    has: Has,
    /// Fields that concern this connection only, by what it says itself.
    named: Vec<&'b [u8]>,
}

impl<'b> Said<'b> {
    fn of(fields: &[Header<'b>], version: u8) -> Result<Said<'b>, Malformed> {
        let mut said = Said {
            length: None,
            chunked: false,
            keeps: version == 1,
            events: false,
            has: Has::default(),
            named: Vec::new(),
        };
        for &Header { name, value } in fields {
            match name.len() {
                4 if is(name, "date") => said.has.date = true,
                10 if is(name, "connection") => tokens(value).for_each(|token| said.connection(token)),
                12 if is(name, "content-type") => {
                    said.events = value.get(..17).is_some_and(|kind| is(kind, "text/event-stream"));
                }
                14 if is(name, "content-length") => {
                    let length = number(value).ok_or(Malformed)?;
                    if said.length.replace(length).is_some_and(|before| before != length) {
                        return Err(Malformed);
                    }
                }
                // Other encodings of a transfer are none that we have asked for.
                17 if is(name, "transfer-encoding") => match is(value, "chunked") && version == 1 && !said.chunked {
                    true => said.chunked = true,
                    false => return Err(Malformed),
                },
                25 if is(name, HSTS) => said.has.hsts = true,
                _ => {}
            }
        }
        // Where both are there, somebody has confused them; what follows on the connection is not to be believed.
        if said.chunked && said.length.take().is_some() {
            said.keeps = false;
        }
        Ok(said)
    }

    fn connection(&mut self, token: &'b [u8]) {
        if is(token, "close") {
            self.keeps = false;
        } else if is(token, "keep-alive") {
            self.keeps |= true;
        } else {
            self.named.push(token);
        }
    }
}

/// Digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.len() < 20 && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| all)?.parse().ok()
}

#[cfg(test)]
mod tests;
