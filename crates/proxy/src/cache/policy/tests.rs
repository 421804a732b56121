use super::*;
use std::time::UNIX_EPOCH;

const DATE_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    pairs.iter().map(pair).collect()
}

fn moments(received: Instant) -> Moments {
    Moments { sent: received, received, wall: UNIX_EPOCH + Duration::from_secs(784_111_777) }
}

fn terms_of(status: u16, request: &[(&str, &str)], response: &[(&str, &str)]) -> Option<(Terms, Instant)> {
    let now = Instant::now();
    let status = StatusCode::from_u16(status).unwrap();
    Some((Terms::of(&map(request), status, &map(response), moments(now))?, now))
}

fn said(value: &str) -> Directives {
    Directives::of(&map(&[("cache-control", value)]))
}

#[test]
fn directives_are_read_as_they_may_be_written() {
    let some = |seconds| Some(Duration::from_secs(seconds));
    let all = said("Max-Age=60 , s-maxage=\"120\",NO-CACHE=\"set-cookie, private\",x=\"no-store\",,public");
    assert_eq!((all.max_age, all.s_maxage), (some(60), some(120)));
    assert!(all.no_cache && all.public && !all.private && !all.no_store);
    assert!(said("private=\"x\"").private);
    assert!(said("a, proxy-revalidate").must_revalidate && said("must-revalidate").must_revalidate);
    for (value, expect) in [
        ("max-age=0", 0),
        ("max-age", 0),
        ("max-age=-1", 0),
        ("max-age=+1", 0),
        ("max-age=1.5", 0),
        ("max-age=5, max-age=3", 3),
        ("max-age=99999999999999999999999", LONGEST.as_secs()),
    ] {
        assert_eq!(said(value).max_age, some(expect), "{value}");
    }
}

#[test]
fn only_what_is_for_all_may_be_stored() {
    let check = |status, request: &[(&str, &str)], response: &[(&str, &str)], expect: bool| {
        let stored = terms_of(status, request, response).is_some();
        assert_eq!(stored, expect, "{status} {request:?} {response:?}");
    };
    let fresh = ("cache-control", "max-age=60");
    for status in [200, 203, 204, 301, 308, 404, 410] {
        check(status, &[], &[fresh], true);
    }
    for status in [201, 206, 302, 304, 307, 400, 403, 416, 500, 503] {
        check(status, &[], &[fresh], false);
    }
    check(200, &[], &[], false);
    check(200, &[], &[("last-modified", DATE_TEXT)], false);
    check(200, &[], &[("cache-control", "public")], false);
    check(200, &[], &[("cache-control", "max-age=0")], false);
    check(200, &[], &[("cache-control", "max-age=0"), ("etag", "\"1\"")], true);
    check(200, &[], &[("cache-control", "max-age=0, stale-if-error=9")], true);
    check(200, &[], &[("cache-control", "no-cache, max-age=9")], false);
    check(200, &[], &[("cache-control", "s-maxage=60, max-age=0")], true);
    check(200, &[], &[("cache-control", "s-maxage=0, max-age=60")], false);
    check(200, &[], &[("cache-control", "max-age=60, private")], false);
    check(200, &[], &[("cache-control", "max-age=60"), ("cache-control", "no-store")], false);
    check(200, &[], &[fresh, ("set-cookie", "a=1")], false);
    check(200, &[], &[fresh, ("content-range", "bytes 0-1/2")], false);
    check(200, &[], &[fresh, ("age", "60")], false);
    check(200, &[("range", "bytes=0-1")], &[fresh], false);
    check(200, &[("cache-control", "no-store")], &[fresh], false);
    let known = [("authorization", "Basic eDp5")];
    check(200, &known, &[fresh], false);
    for said in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
        check(200, &known, &[("cache-control", said)], true);
    }
    check(200, &[], &[("date", DATE_TEXT), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], true);
    check(200, &[], &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], true);
    check(200, &[], &[("expires", DATE_TEXT)], false);
    check(200, &[], &[("expires", "0")], false);
}

#[test]
fn a_response_ages_from_where_it_was_made() {
    let age = |response: &[(&str, &str)], later: u64| {
        let fresh = [&[("cache-control", "max-age=1000")], response].concat();
        let (terms, now) = terms_of(200, &[], &fresh).unwrap();
        let now = now + Duration::from_secs(later);
        (terms.age(now).as_secs(), terms.ttl(now))
    };
    assert_eq!(age(&[], 7), (7, 993));
    assert_eq!(age(&[("age", "100")], 7), (107, 893));
    assert_eq!(age(&[("date", "Sun, 06 Nov 1994 08:48:37 GMT")], 7), (67, 933));
    assert_eq!(age(&[("date", "Sun, 06 Nov 1994 08:48:37 GMT"), ("age", "100")], 2000), (2100, -1100));
    // A clock that is ahead of ours makes nothing younger than new.
    assert_eq!(age(&[("date", "Sun, 06 Nov 1994 09:49:37 GMT")], 7), (7, 993));
    // The time on the way counts where somebody has told an age.
    let now = Instant::now();
    let at = Moments { sent: now, ..moments(now + Duration::from_secs(5)) };
    let fresh = map(&[("cache-control", "max-age=60"), ("age", "10")]);
    let terms = Terms::of(&HeaderMap::new(), StatusCode::OK, &fresh, at).unwrap();
    assert_eq!(terms.age(now + Duration::from_secs(6)).as_secs(), 16);
}

#[test]
fn how_a_response_may_be_used_depends_on_its_age_and_on_who_asks() {
    let check = |response: &str, request: &str, age: u64, expect: Use| {
        let fields = [("cache-control", response), ("etag", "\"1\"")];
        let (terms, now) = terms_of(200, &[], &fields).unwrap();
        let usable = terms.usable(&said(request), now + Duration::from_secs(age));
        assert_eq!(usable, expect, "{response} / {request} after {age} s");
    };
    check("max-age=60", "", 59, Use::Fresh);
    check("max-age=60", "", 60, Use::Ask);
    check("max-age=60", "no-cache", 0, Use::Ask);
    check("max-age=60", "max-age=10", 10, Use::Fresh);
    check("max-age=60", "max-age=10", 11, Use::Ask);
    check("max-age=60", "min-fresh=10", 49, Use::Fresh);
    check("max-age=60", "min-fresh=10", 50, Use::Ask);
    check("max-age=60, no-cache", "", 0, Use::Ask);
    check("max-age=60, stale-while-revalidate=30", "", 60, Use::Meanwhile);
    check("max-age=60, stale-while-revalidate=30", "", 89, Use::Meanwhile);
    check("max-age=60, stale-while-revalidate=30", "", 90, Use::Ask);
    check("max-age=60, stale-while-revalidate=30", "max-age=60", 70, Use::Ask);
    check("max-age=60, stale-while-revalidate=30", "min-fresh=1", 70, Use::Ask);
    check("max-age=60, stale-while-revalidate=30, must-revalidate", "", 60, Use::Ask);
}

#[test]
fn what_is_stale_helps_in_need_for_as_long_as_it_is_said() {
    let helps = |response: &str, age: u64| {
        let (terms, now) = terms_of(200, &[], &[("cache-control", response), ("etag", "\"1\"")]).unwrap();
        terms.serves_on_error(&Directives::default(), now + Duration::from_secs(age))
    };
    assert!(helps("max-age=60, stale-if-error=30", 89) && !helps("max-age=60, stale-if-error=30", 90));
    assert!(!helps("max-age=60, no-cache, stale-if-error=30", 0));
    assert!(!helps("max-age=60, stale-if-error=30, must-revalidate", 61) && !helps("max-age=60", 60));
}

#[test]
fn a_client_knows_what_has_the_tag_or_the_date_it_says() {
    let check = |client: &[(&str, &str)], expect: bool| {
        let stored = map(&[("etag", "\"a,b\""), ("last-modified", DATE_TEXT)]);
        assert_eq!(is_known_to(&map(client), &stored), expect, "{client:?}");
    };
    check(&[], false);
    check(&[("if-none-match", "\"x\", \"a,b\"")], true);
    check(&[("if-none-match", "\"x\""), ("if-none-match", "W/\"a,b\"")], true);
    check(&[("if-none-match", "*")], true);
    check(&[("if-none-match", "\"a\"")], false);
    check(&[("if-none-match", "\"x\""), ("if-modified-since", DATE_TEXT)], false);
    check(&[("if-modified-since", DATE_TEXT)], true);
    check(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], false);
    check(&[("if-modified-since", "yesterday")], false);
}
