//! Which requests in clear are answered here: those of an authority that looks for a proof, and those that are to be sent
//! again with TLS.

use crate::{body::Content, listen::Begins, origin::Origin, refusal::Refusal, worker::Worker};
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION},
    uri::Authority,
};
use std::net::IpAddr;

/// The port that `https://` means without one.
const HTTPS: u16 = 443;

/// What becomes of a request in clear.
#[derive(Clone, PartialEq, Eq, Debug)]
enum InClear {
    /// It is carried: it is for this machine itself and from it, as health checks are.
    Carried,
    /// It is to be sent again, there.
    Elsewhere(HeaderValue),
    /// It names no host that it could be sent to.
    Nowhere,
}

/// The answer to a request that came in clear and is not for any service: it looks for a proof, or is to be sent again with
/// TLS. `None`: it is carried.
///
/// # Errors
/// When it names no host that it could be sent to.
pub(crate) fn elsewhere(
    worker: &Worker,
    origin: &Origin,
    host: &[u8],
    target: &str,
) -> Result<Option<Response<Content>>, Refusal> {
    let Some(plane) = worker.shared.tls.as_ref().filter(|_| origin.begins == Begins::InClear) else {
        return Ok(None);
    };
    if let Some(proof) = plane.shown.answer(target) {
        return Ok(Some(proof));
    }
    let Some(port) = plane.now().redirect else { return Ok(None) };
    match redirected(host, target, origin.ip, port) {
        InClear::Carried => Ok(None),
        InClear::Elsewhere(location) => Ok(Some(sent_to(location))),
        InClear::Nowhere => Err(Refusal::BadHost),
    }
}

/// Decides by the host that a request is for, with or without a port, its path with what follows it, and the address it came
/// from. `port`: where clients reach us with TLS. Pure.
fn redirected(host: &[u8], target: &str, client: IpAddr, port: u16) -> InClear {
    let Ok(authority) = Authority::try_from(host) else { return InClear::Nowhere };
    let name = authority.host();
    if is_this_machine(name) && client.to_canonical().is_loopback() {
        return InClear::Carried;
    }
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    let target = if target.starts_with('/') { target } else { "/" };
    HeaderValue::try_from(format!("https://{name}{port}{target}")).map_or(InClear::Nowhere, InClear::Elsewhere)
}

/// Whether this is a loopback address, or the name of one. Names below `localhost` are those of services.
fn is_this_machine(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// The answer that sends a client elsewhere, with its method and its body. Not to be remembered: whoever turns TLS off again
/// must be reachable.
fn sent_to(location: HeaderValue) -> Response<Content> {
    let text = "308 Permanent Redirect\n\nThis service is reached with https:// only.\n";
    let mut response = Response::new(Content::Text(text.into()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn check(host: &str, path: &str, client: &str, port: u16, expected: Option<&str>) {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let found = redirected(host.as_bytes(), path, client.parse().unwrap(), port);
        let expected = expected.map_or(InClear::Carried, |to| InClear::Elsewhere(value(to)));
        assert_eq!(found, expected, "{host} {path} from {client}");
    }

    #[test]
    fn requests_are_sent_to_the_same_address_with_tls() {
        check("shop.test", "/a?b=1&c", "10.0.0.9", 443, Some("https://shop.test/a?b=1&c"));
        check("shop.test:80", "/", "10.0.0.9", 8443, Some("https://shop.test:8443/"));
        check("shop.test", "*", "10.0.0.9", 443, Some("https://shop.test/"));
        check("user@shop.test", "//evil.test", "10.0.0.9", 443, Some("https://shop.test//evil.test"));
        check("shop.localhost:8080", "/", "127.0.0.1", 8443, Some("https://shop.localhost:8443/"));
    }

    #[test]
    fn only_this_machine_itself_is_answered_in_clear() {
        for host in ["127.0.0.1:8080", "localhost", "LocalHost:80", "[::1]:80", "127.9.9.9"] {
            check(host, "/healthz", "127.0.0.1", 443, None);
        }
        check("127.0.0.1", "/", "10.0.0.9", 443, Some("https://127.0.0.1/"));
        check("localhost", "/", "10.0.0.9", 443, Some("https://localhost/"));
        check("192.0.2.1", "/", "127.0.0.1", 443, Some("https://192.0.2.1/"));
    }

    #[test]
    fn what_is_no_host_is_sent_nowhere() {
        for host in ["", "a b", "a/b", "[::1"] {
            let found = redirected(host.as_bytes(), "/", Ipv6Addr::LOCALHOST.into(), 443);
            assert_eq!(found, InClear::Nowhere, "{host:?}");
        }
    }
}
