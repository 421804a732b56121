//! What is sent: a few requests, each with its weight. The number of a request decides which one it is, so that a run can
//! be repeated whatever the timing was.

use bytes::Bytes;
use hyper::{Method, Uri};

/// A request that is sent over and over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shot {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: Uri,
    /// Sent as JSON when it is not empty.
    pub(crate) body: Bytes,
}

/// Requests and how often each is sent, relative to the others.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    shots: Vec<(u32, Shot)>,
    total: u64,
}

/// What customers of examples/shop do: look, look closer, fill a cart, buy.
const SHOP: &[&str] = &[
    "6 GET /",
    "6 GET /api/goods",
    r#"4 POST /api/cart {"lines":[{"good":"rope","quantity":2}]}"#,
    r#"4 POST /api/checkout {"lines":[{"good":"rope","quantity":2},{"good":"biscuit","quantity":12}]}"#,
];

impl Mix {
    /// The mix for examples/shop.
    pub(crate) fn shop() -> Result<Mix, String> {
        Mix::parse(SHOP)
    }

    /// Reads lines of the form `[WEIGHT] METHOD PATH [BODY]`; at least one.
    pub(crate) fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Mix, String> {
        let shots: Vec<(u32, Shot)> = lines.iter().map(|line| shot(line.as_ref())).collect::<Result<_, _>>()?;
        let total = shots.iter().map(|(weight, _)| u64::from(*weight)).sum();
        if total == 0 { Err("nothing to send: every weight is zero".into()) } else { Ok(Mix { shots, total }) }
    }

    /// The request with this number.
    pub(crate) fn pick(&self, seed: u64, number: u64) -> &Shot {
        let mut place = scramble(seed ^ scramble(number)) % self.total;
        for (weight, shot) in &self.shots {
            match place.checked_sub(u64::from(*weight)) {
                Some(rest) => place = rest,
                None => return shot,
            }
        }
        // Not reached: `place` began below the sum of all weights.
        &self.shots[0].1
    }
}

fn shot(line: &str) -> Result<(u32, Shot), String> {
    let wrong = |why: &str| format!("`{line}` is not `[WEIGHT] METHOD PATH [BODY]`: {why}");
    let (first, rest) = line.trim().split_once(' ').ok_or_else(|| wrong("there is no path"))?;
    let (weight, rest) = match first.parse() {
        Ok(weight) => (weight, rest),
        Err(_) => (1, line.trim()),
    };
    let (method, rest) = rest.trim().split_once(' ').ok_or_else(|| wrong("there is no path"))?;
    let (path, body) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
    let method: Method = method.parse().map_err(|_| wrong("the method is none"))?;
    let path: Uri = path.parse().map_err(|_| wrong("the path is none"))?;
    if !path.path().starts_with('/') || path.authority().is_some() || method.as_str() != method.as_str().to_uppercase()
    {
        return Err(wrong("write METHOD in capitals and a PATH that begins with `/`"));
    }
    Ok((weight, Shot { method, path, body: Bytes::copy_from_slice(body.as_bytes()) }))
}

/// Spreads neighbouring numbers evenly (the finisher of splitmix64).
fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_weight_method_path_and_body() {
        let (weight, shot) = shot(r#"4 POST /api/cart?x=1 {"a": 1}"#).unwrap();
        assert_eq!((weight, shot.method, shot.path.to_string()), (4, Method::POST, "/api/cart?x=1".into()));
        assert_eq!(shot.body, r#"{"a": 1}"#);
        let (weight, shot) = super::shot("GET /").unwrap();
        assert_eq!((weight, shot.method, shot.body.len()), (1, Method::GET, 0));
    }

    #[test]
    fn a_line_that_is_none_says_why() {
        for line in ["GET", "4 GET", "get /", "GET http://a/b", "GET b"] {
            assert!(shot(line).unwrap_err().contains(line));
        }
        assert!(Mix::parse::<&str>(&[]).is_err());
        assert!(Mix::parse(&["0 GET /"]).is_err());
    }

    #[test]
    fn requests_come_by_weight_and_in_the_same_order_each_time() {
        let mix = Mix::parse(&["3 GET /often", "1 GET /seldom", "0 GET /never"]).unwrap();
        let row = |seed| (0..10_000).map(|n| mix.pick(seed, n).path.to_string()).collect::<Vec<_>>();
        let often = row(1).iter().filter(|path| *path == "/often").count();
        assert!((7_300..7_700).contains(&often), "{often}");
        assert!(!row(1).iter().any(|path| path == "/never"));
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
    }

    #[test]
    fn the_mix_of_the_shop_is_one() {
        assert!(Mix::shop().is_ok());
    }
}
