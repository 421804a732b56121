//! What is changed in heads on their way. Pure.
//!
//! Fields that concern one connection only are taken out; how a body is framed is decided anew for the next connection
//! from what was understood here, never copied. What a client says about who forwarded its request is replaced by what is
//! known of its [`Origin`].

use crate::{
    assign::Random,
    origin::{CLIENT_CERT, CLIENT_CERT_CHAIN, FORWARDED_FOR, FORWARDED_PROTO, Origin},
    plain::field::{self, is},
    shadow::X_SHADOW,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
};
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The protocol that a request asks to switch to, if it does so properly. HTTP/2 by upgrade is not offered: a tunnel
/// carrying it would pass requests by the routes.
pub(crate) fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked =
        headers.get_all(CONNECTION).iter().any(|value| tokens(value).any(|t| t.eq_ignore_ascii_case(b"upgrade")));
    let protocol = headers.get(UPGRADE).filter(|_| asked)?;
    (!tokens(protocol).any(|t| t.eq_ignore_ascii_case(b"h2c"))).then(|| protocol.clone())
}

/// Makes the fields of a request those of a request of ours to an instance.
pub(crate) fn forward_request(
    headers: &mut HeaderMap,
    host: HeaderValue,
    origin: &Origin,
    upgrade: Option<HeaderValue>,
    random: &Random,
) {
    let trailers = headers.get(TE).is_some_and(|te| tokens(te).any(|t| t.eq_ignore_ascii_case(b"trailers")));
    remove_hop_by_hop(headers);
    // Answered by us: the client is told to go on when its body is first asked for.
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(length) = headers.get(CONTENT_LENGTH).cloned()
    {
        // They are all the same; whoever counts them may take it for something else.
        headers.insert(CONTENT_LENGTH, length);
    }
    remove(headers, |name| is_said_by_us(name) || !origin.is_believed && is_claim(name));
    let address = HeaderValue::from_bytes(origin.address().as_bytes());
    headers.insert(&FORWARDED_FOR, address.unwrap_or(HeaderValue::from_static("unknown")));
    headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(origin.begins.scheme()));
    if let Some(certificate) = &origin.certificate {
        headers.insert(&CLIENT_CERT, HeaderValue::clone(certificate));
    }
    headers.insert(&FORWARDED_HOST, host.clone());
    headers.insert(HOST, host);
    if !headers.contains_key(TRACEPARENT)
        && let Ok(value) = HeaderValue::from_bytes(&traceparent(random))
    {
        headers.insert(TRACEPARENT, value);
    }
}

/// Makes the fields behind the body of a request, which some instances take for fields of its head, those of a request of ours.
pub(crate) fn forward_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    remove(trailers, |name| is_said_by_us(name) || is_claim(name) || name == HOST || name == CONTENT_LENGTH);
}

fn remove(headers: &mut HeaderMap, gone: impl Fn(&str) -> bool) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| gone(name.as_str())).cloned().collect();
    gone.iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether a field says where a request came from in other words than ours. From clients it is not passed on: many instances believe
/// it, some more than ours (`forwarded`, RFC 7239), and what a cache stores does not depend on it. From a proxy that is believed it is.
pub(crate) fn is_claim(name: &str) -> bool {
    const BEGINNING: &str = "x-forwarded-";
    match name.len() {
        9 => is_same(name, "forwarded") || is_same(name, "x-real-ip"),
        13.. => name.get(..BEGINNING.len()).is_some_and(|beginning| is_same(beginning, BEGINNING)),
        _ => false,
    }
}

/// Whether a name is this one in any case, also where what reads requests as CGI does takes it for it: `_` is `-` there.
fn is_same(name: &str, known: &str) -> bool {
    let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a, *b) == (b'_', b'-');
    name.len() == known.len() && name.as_bytes().iter().zip(known.as_bytes()).all(same)
}

/// Fields by which many frameworks take a request for one of another method or address.
const DISGUISES: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];

/// Whether an instance may see another request than a client's fields show: some of them are taken out on the way because `connection`
/// names them, or one is to stand in the place of its method or address.
pub(crate) fn is_disguised(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(CONNECTION).iter().flat_map(tokens);
    let is_usual = |token: &[u8]| ["keep-alive", "close", "te", "upgrade"].iter().any(|usual| is(token, usual));
    let is_disguise = |name: &HeaderName| DISGUISES.iter().any(|disguise| is_same(name.as_str(), disguise));
    named.any(|token| !is_usual(token)) || headers.keys().any(is_disguise)
}

/// Whether a field is one that instances are told by us, whatever clients say. Written with `_` it is the same one: what reads requests
/// as CGI does cannot tell them apart. So are, written so, those that say where a request ends and whom it is for.
pub(crate) fn is_said_by_us(name: &str) -> bool {
    let is = |known: &HeaderName| is_same(name, known.as_str());
    // Most names are told by their length.
    matches!(name.len(), 8 | 11 | 14..=17)
        && ([&FORWARDED_FOR, &FORWARDED_PROTO, &FORWARDED_HOST, &CLIENT_CERT, &CLIENT_CERT_CHAIN, &X_SHADOW]
            .into_iter()
            .any(is)
            || name.contains('_') && [&CONTENT_LENGTH, &TRANSFER_ENCODING].into_iter().any(is))
}

/// Makes one field of all cookies: in HTTP/2 each may be a field of its own, and nowhere else (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// It is not clear where a response ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unclear;

/// Makes what an instance says of where its response ends one thing said once, as it was understood. Chunks go before a length
/// (RFC 9112, section 6.3), and another coding than chunks was not understood.
///
/// # Errors
/// When it says several things.
pub(crate) fn frame_response(version: Version, headers: &mut HeaderMap) -> Result<(), Unclear> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if is(coding.as_bytes(), "chunked") && version == Version::HTTP_11 => {
            headers.remove(CONTENT_LENGTH);
            return Ok(());
        }
        (Some(_), _) => return Err(Unclear),
        (None, _) => {}
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next().cloned() else { return Ok(()) };
    let is_number = !first.is_empty() && first.as_bytes().iter().all(u8::is_ascii_digit);
    let mut is_told_again = false;
    for other in lengths {
        is_told_again = true;
        if *other != first {
            return Err(Unclear);
        }
    }
    if is_told_again {
        headers.insert(CONTENT_LENGTH, first);
    }
    if is_number { Ok(()) } else { Err(Unclear) }
}

/// Makes the fields of an instance's response those of a response of ours.
pub(crate) fn forward_response(headers: &mut HeaderMap, switched: Option<HeaderValue>) {
    remove_hop_by_hop(headers);
    if let Some(protocol) = switched {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// The value of a cookie, the first of its name.
pub(crate) fn cookie<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    let mut pairs = fields.flat_map(|value| value.split(|b| *b == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        (!value.is_empty()).then_some(value)
    })
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(tokens)
            .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close"))
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            // These say what the message is; a client that names them wants to confuse somebody.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            .collect();
        named.iter().for_each(|name| drop(headers.remove(name)));
        headers.remove(CONNECTION);
    }
    for name in
        [&KEEP_ALIVE, &PROXY_CONNECTION, &PROXY_AUTHENTICATE, &PROXY_AUTHORIZATION, &TE, &TRANSFER_ENCODING, &UPGRADE]
    {
        headers.remove(name);
    }
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    field::tokens(value.as_bytes())
}

/// The beginning of a trace, by the W3C's format.
pub(crate) fn traceparent(random: &Random) -> [u8; 55] {
    let mut text = *b"00-................................-................-01";
    // An all-zero id means none.
    for (at, number) in [(3, random.next()), (19, random.next()), (36, random.next() | 1)] {
        for (place, digit) in text[at..at + 16].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (60 - 4 * place) & 15) as usize];
        }
    }
    text
}

/// Whether something may be a host, with or without a port: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::Begins;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn forwarded(pairs: &[(&str, &str)]) -> HeaderMap {
        forwarded_from(Begins::InClear, pairs)
    }

    fn forwarded_from(begins: Begins, pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = map(pairs);
        let upgrade = wanted_upgrade(&headers);
        let host = HeaderValue::from_static("shop.test");
        let origin = Origin::new("10.0.0.9".parse().unwrap(), begins);
        forward_request(&mut headers, host, &origin, upgrade, &Random::new(Some(1)));
        headers
    }

    #[test]
    fn fields_of_one_connection_go_no_further() {
        let headers = forwarded(&[
            ("connection", "keep-alive, X-Secret, Host, content-length"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("content-length", "5"),
            ("content-length", "5"),
            ("accept", "*/*"),
        ]);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "content-length",
                "host",
                "te",
                "traceparent",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers.get_all("content-length").iter().count(), 1);
    }

    #[test]
    fn what_a_client_claims_about_itself_is_replaced() {
        let headers = forwarded(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x_forwarded_for", "127.0.0.1"),
            ("client_cert", ":AA==:"),
            ("content_length", "5"),
            ("host", "evil"),
            ("x-forwarded-proto", "https"),
            ("x-shadow", "1"),
        ]);
        assert!(!headers.contains_key("x_forwarded_for") && !headers.contains_key("client_cert"));
        assert!(!headers.contains_key("content_length") && !headers.contains_key("x-shadow"));
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["host"], "shop.test");
        let secured = forwarded_from(Begins::WithTls, &[("x-forwarded-proto", "http")]);
        assert_eq!(secured["x-forwarded-proto"], "https");
    }

    #[test]
    fn what_a_client_claims_in_other_words_goes_no_further_unless_it_is_believed() {
        let claims = [
            ("forwarded", "for=6.6.6.6;host=evil"),
            ("x-real-ip", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("x-forwarded-port", "1"),
            ("x_forwarded-scheme", "https"),
            ("x-forwarded-user", "root"),
        ];
        let headers = forwarded(&claims);
        assert!(claims.iter().all(|(name, _)| !headers.contains_key(*name)), "{headers:?}");
        let mut headers = map(&claims);
        let origin = Origin { is_believed: true, ..Origin::new("10.0.0.9".parse().unwrap(), Begins::InClear) };
        forward_request(&mut headers, HeaderValue::from_static("h"), &origin, None, &Random::new(Some(1)));
        assert!(claims.iter().all(|(name, _)| headers.contains_key(*name)), "{headers:?}");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        for name in ["x-forwarded", "forwarded-for", "x-real-ips", "x-forwards-to-x", "forwarder"] {
            assert!(!is_claim(name), "{name}");
        }
    }

    #[test]
    fn trailers_say_nothing_that_only_a_head_says() {
        let mut trailers = map(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("client-cert", ":AA==:"),
            ("forwarded", "for=6.6.6.6"),
            ("host", "evil"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("x-sum", "42"),
        ]);
        forward_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("x-sum", "42")]));
    }

    #[test]
    fn where_a_response_ends_is_said_once() {
        let framed = |pairs: &[(&str, &str)]| {
            let mut headers = map(pairs);
            frame_response(Version::HTTP_11, &mut headers).map(|()| headers)
        };
        let (five, six, chunked) = (("content-length", "5"), ("content-length", "6"), ("transfer-encoding", "Chunked"));
        assert_eq!(framed(&[five, five]), Ok(map(&[five])));
        assert_eq!(framed(&[five, chunked, six]), Ok(map(&[chunked])));
        assert_eq!(framed(&[("x", "1")]), Ok(map(&[("x", "1")])));
        for unclear in [&[five, six][..], &[("content-length", "5, 5")], &[("content-length", "")], &[chunked, chunked]]
        {
            assert_eq!(framed(unclear), Err(Unclear), "{unclear:?}");
        }
        assert_eq!(framed(&[("transfer-encoding", "gzip, chunked")]), Err(Unclear));
        assert_eq!(frame_response(Version::HTTP_10, &mut map(&[chunked])), Err(Unclear));
    }

    #[test]
    fn a_trace_is_continued_or_begun() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(forwarded(&[("traceparent", given)])["traceparent"], given);
        assert_eq!(forwarded(&[])["traceparent"].len(), given.len());
    }

    #[test]
    fn only_a_proper_upgrade_is_one() {
        let upgrade = |pairs| wanted_upgrade(&map(pairs));
        assert_eq!(upgrade(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]).unwrap(), "websocket");
        assert_eq!(upgrade(&[("upgrade", "websocket")]), None);
        assert_eq!(upgrade(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")]), None);
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let fields = || [&b"a=1; qd_user=; xqd_user=2"[..], b" qd_user=42;b=3"].into_iter();
        assert_eq!(cookie(fields(), "qd_user"), Some(&b"42"[..]));
        assert_eq!(cookie(fields(), "qd"), None);
    }
}
