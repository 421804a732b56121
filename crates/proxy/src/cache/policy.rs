//! What a cache for many may store and give again, by RFC 9111 and RFC 5861. Pure: time is an argument.
//!
//! Stricter than it has to be in two places: what does not say itself how long it is fresh is not stored, and `no-cache` and
//! `private` hold for the whole response, also where they name fields.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        LAST_MODIFIED, RANGE, SET_COOKIE,
    },
};
use std::time::{Duration, Instant, SystemTime};

/// The longest time that is believed: a year, as clocks and counters bear.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What `cache-control` says, of a request or a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Directives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    private: bool,
    public: bool,
    must_revalidate: bool,
    max_age: Option<Duration>,
    s_maxage: Option<Duration>,
    min_fresh: Option<Duration>,
    while_revalidating: Option<Duration>,
    on_error: Option<Duration>,
}

impl Directives {
    /// Of these fields.
    pub(crate) fn of(headers: &HeaderMap) -> Directives {
        let mut found = Directives::default();
        for value in headers.get_all(CACHE_CONTROL) {
            members(value.as_bytes()).for_each(|member| found.add(member));
        }
        found
    }

    /// Whether a request asks for something newer than what is stored may be.
    pub(crate) fn is_particular(&self) -> bool {
        self.no_cache || self.max_age.is_some() || self.min_fresh.is_some()
    }

    fn add(&mut self, member: &[u8]) {
        let (name, value) = match member.iter().position(|byte| *byte == b'=') {
            Some(at) => (&member[..at], &member[at + 1..]),
            None => (member, &[][..]),
        };
        // What is said twice, or makes no sense, is taken for the shorter time.
        let shorter = |before: &mut Option<Duration>| {
            let time = seconds(value);
            *before = Some(before.map_or(time, |before| before.min(time)));
        };
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
            b"max-age" => shorter(&mut self.max_age),
            b"s-maxage" => shorter(&mut self.s_maxage),
            b"min-fresh" => shorter(&mut self.min_fresh),
            b"stale-while-revalidate" => shorter(&mut self.while_revalidating),
            b"stale-if-error" => shorter(&mut self.on_error),
            _ => {}
        }
    }
}

/// The members of a list, parted by commas that are not quoted.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let parts = value.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    parts.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

fn seconds(value: &[u8]) -> Duration {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
    number.map_or(LONGEST, |number| Duration::from_secs(number).min(LONGEST))
}

/// How a stored response may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// As it is.
    Fresh,
    /// As it is, while somebody asks whether it still holds.
    Meanwhile,
    /// Only after asking.
    Ask,
}

/// How long a stored response may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    received: Instant,
    /// How old it was then.
    age: Duration,
    lifetime: Duration,
    always_ask: bool,
    while_revalidating: Duration,
    on_error: Duration,
}

/// When a request was sent, and when the head of its response was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moments {
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    /// The latter, by the wall clock.
    pub(crate) wall: SystemTime,
}

impl Terms {
    /// Of a response that may be stored. `None`: it may not.
    pub(crate) fn of(request: &HeaderMap, status: StatusCode, response: &HeaderMap, at: Moments) -> Option<Terms> {
        let (asked, said) = (Directives::of(request), Directives::of(response));
        let is_known = matches!(status.as_u16(), 200 | 203 | 204 | 301 | 308 | 404 | 410);
        if !is_known || asked.no_store || said.no_store || said.private {
            return None;
        }
        if response.contains_key(SET_COOKIE) || response.contains_key(CONTENT_RANGE) || request.contains_key(RANGE) {
            return None;
        }
        let for_all = said.public || said.must_revalidate || said.s_maxage.is_some();
        if request.contains_key(AUTHORIZATION) && !for_all {
            return None;
        }
        let terms = Terms::said(&said, response, at)?;
        let is_of_use = terms.lifetime > terms.age && !terms.always_ask
            || terms.while_revalidating + terms.on_error > Duration::ZERO
            || has_validator(response);
        is_of_use.then_some(terms)
    }

    /// Of a stored response that still holds: by these fields, which are its own with those that were sent anew.
    pub(crate) fn anew(response: &HeaderMap, at: Moments) -> Option<Terms> {
        let said = Directives::of(response);
        if said.no_store || said.private { None } else { Terms::said(&said, response, at) }
    }

    fn said(said: &Directives, response: &HeaderMap, at: Moments) -> Option<Terms> {
        let date = date(response, &DATE).unwrap_or(at.wall);
        let until = response.contains_key(EXPIRES).then(|| {
            // What is no date, such as 0, has expired.
            let expires = self::date(response, &EXPIRES).unwrap_or(date);
            expires.duration_since(date).unwrap_or_default()
        });
        let lifetime = said.s_maxage.or(said.max_age).or(until)?.min(LONGEST);
        let apparent = at.wall.duration_since(date).unwrap_or_default();
        let told = response.get(AGE).map_or(Duration::ZERO, |age| seconds(age.as_bytes()));
        let told = told + at.received.saturating_duration_since(at.sent);
        let if_allowed = |time: Option<Duration>| time.filter(|_| !said.must_revalidate).unwrap_or_default();
        Some(Terms {
            received: at.received,
            // A clock that goes wrong makes nothing older than anything can be.
            age: apparent.max(told).min(LONGEST),
            lifetime,
            always_ask: said.no_cache,
            while_revalidating: if_allowed(said.while_revalidating),
            on_error: if_allowed(said.on_error),
        })
    }

    /// How old the response is.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.age + now.saturating_duration_since(self.received)
    }

    /// For how many seconds more it is fresh; negative: since how many it is not.
    pub(crate) fn ttl(&self, now: Instant) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime).saturating_sub(seconds(self.age(now)))
    }

    /// How it may be used for somebody who asks with these directives.
    pub(crate) fn usable(&self, asked: &Directives, now: Instant) -> Use {
        let age = self.age(now);
        if self.always_ask || asked.no_cache || asked.max_age.is_some_and(|most| age > most) {
            return Use::Ask;
        }
        let least = asked.min_fresh.unwrap_or_default();
        match age + least < self.lifetime {
            true => Use::Fresh,
            false if least.is_zero() && age < self.lifetime + self.while_revalidating => Use::Meanwhile,
            false => Use::Ask,
        }
    }

    /// Whether it may be used as it is for anybody who asks for nothing in particular.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.usable(&Directives::default(), now) == Use::Fresh
    }

    /// Whether it may be used when an instance fails, for somebody who asks with these directives.
    pub(crate) fn serves_on_error(&self, asked: &Directives, now: Instant) -> bool {
        !self.always_ask && !asked.is_particular() && self.age(now) < self.lifetime + self.on_error
    }
}

/// Whether one can ask whether it still holds.
pub(crate) fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED)
}

/// Whether a client has what is stored already, by what it says itself.
pub(crate) fn is_known_to(client: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut tags = client.get_all(IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        // Compared weakly: equal in meaning is enough for a GET.
        let own = stored.get(ETAG).map(|tag| weak(tag.as_bytes()));
        return tags
            .flat_map(|value| members(value.as_bytes()))
            .any(|tag| tag == b"*" || own.is_some_and(|own| own == weak(tag)));
    }
    let since = date(client, &IF_MODIFIED_SINCE);
    let modified = date(stored, &LAST_MODIFIED);
    matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
}

fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())?;
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests;
