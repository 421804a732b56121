//! Where a request came from: the client's address, and how it reached the first of us.
//!
//! That is what its connection says, unless the connection comes from a proxy that is believed. Then it is what that one says: the
//! last address in `x-forwarded-for` that is not one of a proxy that is believed, too. Whatever stands before it was written by the
//! client, or by somebody of whom nothing is known.

use crate::{admit::Asked, connection::Client, listen::Begins, settings::Settings};
use http::{HeaderName, HeaderValue};
use std::{
    borrow::Cow,
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

pub(crate) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
pub(crate) static CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
pub(crate) static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The most hops that are looked at.
const MOST_HOPS: usize = 32;

/// How long an address is at most, as text: IPv6 whose last part is written as IPv4.
const LONGEST: usize = 45;

/// Where a request came from. Small, because every connection has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// The client's address.
    pub(crate) ip: IpAddr,
    /// How its connection to the first of us began.
    pub(crate) begins: Begins,
    /// Whether a proxy that is believed says so: what else it says about where a request came from is passed on.
    pub(crate) is_believed: bool,
    /// The certificate that it has shown, as instances are told it.
    pub(crate) certificate: Option<Box<HeaderValue>>,
}

/// An address as instances are told it.
pub(crate) struct Address {
    text: [u8; LONGEST],
    length: usize,
}

impl Address {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// Written by hand: it is done for each request, and what formats anything costs ten times as much.
    fn dotted(octets: [u8; 4]) -> Address {
        let mut address = Address { text: [0; LONGEST], length: 0 };
        for (place, octet) in octets.into_iter().enumerate() {
            if place > 0 {
                address.push(b'.');
            }
            if octet >= 100 {
                address.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                address.push(b'0' + octet / 10 % 10);
            }
            address.push(b'0' + octet % 10);
        }
        address
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }
}

impl Origin {
    /// Of whatever comes on a connection.
    pub(crate) fn new(ip: IpAddr, begins: Begins) -> Origin {
        Origin { ip, begins, is_believed: false, certificate: None }
    }

    /// The client's address as instances are told it.
    pub(crate) fn address(&self) -> Address {
        match self.ip.to_canonical() {
            IpAddr::V4(ip) => Address::dotted(ip.octets()),
            IpAddr::V6(ip) => {
                let mut text = [0; LONGEST];
                let mut rest = &mut text[..];
                // No address is longer than there is room for.
                let _ = write!(rest, "{ip}");
                let length = LONGEST - rest.len();
                Address { text, length }
            }
        }
    }

    /// Of a request.
    pub(crate) fn of<'a>(client: &'a Client, request: &impl Asked) -> Cow<'a, Origin> {
        if !client.is_believed {
            return Cow::Borrowed(&client.origin);
        }
        let settings = client.worker.shared.settings.load();
        let begins = match request.fields(&FORWARDED_PROTO).last() {
            Some(b"https") => Begins::WithTls,
            Some(b"http") => Begins::InClear,
            Some(_) | None => client.origin.begins,
        };
        let said: Vec<&[u8]> = request.fields(&FORWARDED_FOR).collect();
        let ip = believed(&said, &settings).unwrap_or(client.origin.ip);
        Cow::Owned(Origin { is_believed: true, ..Origin::new(ip, begins) })
    }
}

/// The client, by the values of `x-forwarded-for` in their order. `None`: they do not say.
pub(crate) fn believed(said: &[&[u8]], settings: &Settings) -> Option<IpAddr> {
    let hops = said.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    let mut found = None;
    for hop in hops.take(MOST_HOPS) {
        // Beyond what is no address, nothing is to be believed.
        let Some(ip) = str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else { break };
        found = Some(ip);
        if !settings.believes(ip) {
            break;
        }
    }
    found
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(said: &[&str]) -> Option<String> {
        let forwarded_by = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let settings = Settings { forwarded_by, ..Settings::default() };
        let said: Vec<&[u8]> = said.iter().map(|value| value.as_bytes()).collect();
        believed(&said, &settings).map(|ip| ip.to_string())
    }

    #[test]
    fn an_address_is_told_as_people_write_it() {
        for (ip, told) in [
            ("192.168.100.200", "192.168.100.200"),
            ("0.9.10.255", "0.9.10.255"),
            ("101.99.109.1", "101.99.109.1"),
            ("::ffff:10.0.0.9", "10.0.0.9"),
            ("::1", "::1"),
            ("1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888"),
        ] {
            let address = Origin::new(ip.parse().unwrap(), Begins::InClear).address();
            assert_eq!(address.as_bytes(), told.as_bytes());
        }
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        let is = |said: &[&str], expected: &str| assert_eq!(client(said).as_deref(), Some(expected), "{said:?}");
        is(&["1.2.3.4"], "1.2.3.4");
        is(&["6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4");
        is(&["6.6.6.6, 1.2.3.4", "10.0.0.2"], "1.2.3.4");
        is(&["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        is(&["1.2.3.4:5678"], "1.2.3.4");
        is(&["[2001:db8::1]:80, fd00::1"], "2001:db8::1");
        is(&["6.6.6.6, garbage, 10.0.0.2"], "10.0.0.2");
        assert_eq!(client(&[]), None);
        assert_eq!(client(&["unknown"]), None);
        assert_eq!(client(&["1.2.3.4,"]), None);
    }
}
