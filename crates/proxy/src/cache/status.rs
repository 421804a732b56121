//! What a client is told of the cache: `cache-status` (RFC 9211). Pure.

use http::{HeaderMap, HeaderName, HeaderValue};

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// By its method.
    Method,
    /// It is of a kind for which nothing is stored.
    Bypass,
    /// It wants to be answered anew.
    Request,
    /// Nothing was stored for it.
    Miss,
    /// What was stored is not fresh any more.
    Stale,
}

impl Why {
    fn name(self) -> &'static str {
        match self {
            Why::Method => "method",
            Why::Bypass => "bypass",
            Why::Request => "request",
            Why::Miss => "miss",
            Why::Stale => "stale",
        }
    }
}

/// What the cache had to do with a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// It gave it; fresh for so many seconds more.
    Hit(i64),
    /// Likewise, from disk.
    HitOnDisk(i64),
    /// It gave it, after somebody else's request had brought it.
    Collapsed,
    /// An instance gave it.
    Forwarded(Why),
    /// It gave it after the instance had said this: that it still holds, or that it failed.
    After(u16),
    /// It gave it because no instance could.
    Unreachable,
}

impl Status {
    /// Tells it.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let said = match self {
            Status::Hit(ttl) => format!("hit; ttl={ttl}"),
            Status::HitOnDisk(ttl) => format!("hit; ttl={ttl}; detail=disk"),
            Status::Collapsed => "fwd=miss; collapsed".to_owned(),
            Status::Forwarded(why) => format!("fwd={}", why.name()),
            Status::After(status) => format!("fwd=stale; fwd-status={status}"),
            Status::Unreachable => "fwd=stale; detail=unreachable".to_owned(),
        };
        if let Ok(value) = HeaderValue::from_str(&format!("quarterdeck; {said}")) {
            headers.append(&CACHE_STATUS, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_can_see_where_a_response_comes_from() {
        let written = |status: Status| {
            let mut headers = HeaderMap::new();
            status.write(&mut headers);
            headers["cache-status"].to_str().unwrap().to_owned()
        };
        assert_eq!(written(Status::Hit(42)), "quarterdeck; hit; ttl=42");
        assert_eq!(written(Status::Hit(-3)), "quarterdeck; hit; ttl=-3");
        assert_eq!(written(Status::HitOnDisk(7)), "quarterdeck; hit; ttl=7; detail=disk");
        assert_eq!(written(Status::Collapsed), "quarterdeck; fwd=miss; collapsed");
        assert_eq!(written(Status::Forwarded(Why::Request)), "quarterdeck; fwd=request");
        assert_eq!(written(Status::After(304)), "quarterdeck; fwd=stale; fwd-status=304");
        assert_eq!(written(Status::Unreachable), "quarterdeck; fwd=stale; detail=unreachable");
    }
}
