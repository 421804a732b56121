//! A stored response, given to a client. Pure.

use super::{Status, Usable, policy::is_known_to, store::Entry};
use crate::body::Content;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE},
};
use std::{ops::Range, time::Instant};

/// What describes a body that a client has already.
const OF_THE_BODY: [HeaderName; 4] = [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

/// Whether a body is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// By a GET.
    Whole,
    /// Not by a HEAD.
    Head,
}

impl Usable {
    /// Answers a request with these fields.
    pub(crate) fn answer(&self, request: &HeaderMap, wanted: Wanted, now: Instant) -> Response<Content> {
        let mut response = self.entry.answer(request, wanted, self.status, now);
        if let (Some(bytes), Wanted::Whole, StatusCode::OK) = (&self.part, wanted, response.status()) {
            self.entry.narrow(&mut response, bytes);
        }
        response
    }
}

impl Entry {
    /// As an answer to a request with these fields: without what its client has already.
    pub(super) fn answer(
        &self,
        request: &HeaderMap,
        wanted: Wanted,
        status: Status,
        now: Instant,
    ) -> Response<Content> {
        let is_known = self.status == StatusCode::OK && is_known_to(request, &self.headers);
        let content = match wanted {
            Wanted::Whole if !is_known && self.body.len() > 0 => Content::Stored(self.body.send(0..self.body.len())),
            Wanted::Whole | Wanted::Head => Content::Empty,
        };
        let mut response = Response::new(content);
        *response.status_mut() = if is_known { StatusCode::NOT_MODIFIED } else { self.status };
        *response.headers_mut() = self.headers.clone();
        let headers = response.headers_mut();
        if is_known {
            OF_THE_BODY.iter().for_each(|name| drop(headers.remove(name)));
        }
        headers.insert(AGE, HeaderValue::from(self.terms.age(now).as_secs()));
        status.write(headers);
        response
    }

    /// Makes of an answer one with these bytes only.
    fn narrow(&self, answer: &mut Response<Content>, bytes: &Range<u64>) {
        let said = format!("bytes {}-{}/{}", bytes.start, bytes.end.saturating_sub(1), self.body.len());
        let Ok(said) = HeaderValue::from_str(&said) else { return };
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        answer.headers_mut().insert(CONTENT_RANGE, said);
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
        *answer.body_mut() = Content::Stored(self.body.send(bytes.clone()));
    }
}
