//! WebSockets over HTTP/2 (RFC 8441): asked for by `CONNECT` with a protocol, carried to instances as the upgrade of HTTP/1.1 that
//! they know.

use crate::{assign::Random, body::Content};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::ext::Protocol;

/// The one protocol that is offered so.
const WEBSOCKET: &str = "websocket";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether a `CONNECT` asks for a WebSocket.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == WEBSOCKET)
}

/// Makes it the request that HTTP/1.1 has for it; gives the protocol to switch to.
pub(crate) fn asked<B>(request: &mut Request<B>, random: &Random) -> Option<HeaderValue> {
    *request.method_mut() = Method::GET;
    request.headers_mut().insert(SEC_WEBSOCKET_KEY, key(random)?);
    Some(HeaderValue::from_static(WEBSOCKET))
}

/// What proves to a client of HTTP/1.1 that it was understood; the instance answers it, and nobody looks at the answer here:
/// 16 bytes in base64.
fn key(random: &Random) -> Option<HeaderValue> {
    let bits = u128::from(random.next()) << 64 | u128::from(random.next());
    let digit = |at: u32| ALPHABET[(bits >> (122 - 6 * at)) as usize & 63];
    // 21 digits of six bits, then the last two bits and padding.
    let mut text: Vec<u8> = (0..21).map(digit).collect();
    text.extend([ALPHABET[(bits as usize & 3) << 4], b'=', b'=']);
    HeaderValue::from_bytes(&text).ok()
}

/// Makes an agreement to switch what HTTP/2 has for it. Any other answer stays as it is.
pub(crate) fn accept(response: &mut Response<Content>) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        let gone: [HeaderName; 3] = [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT];
        gone.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let key = key(&Random::new(Some(1))).unwrap();
        assert_eq!(key.len(), 24);
        assert!(key.to_str().unwrap().ends_with("=="));
        let last = key.as_bytes()[21];
        assert!(b"AQgw".contains(&last), "the last digit has two bits: {key:?}");
    }
}
