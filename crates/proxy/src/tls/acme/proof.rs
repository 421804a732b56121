//! What is shown to an authority that looks whether a host is served here: a text by HTTP (RFC 8555, section 8.3), or a
//! certificate by a handshake of its own (RFC 8737).
//!
//! One at a time, as there is one order at a time. The workers read it for requests and handshakes that ask for it only.

use super::error::Error;
use crate::{body::Content, listen::Begins};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::{crypto::ring as provider, pki_types::PrivateKeyDer, server::ClientHello, sign::CertifiedKey};
use std::{fmt, sync::Arc};

/// What paths of challenges begin with; the token follows.
const PATH: &str = "/.well-known/acme-challenge/";

/// What an authority offers by ALPN, and nothing else, when it looks by a handshake.
pub(in crate::tls) const PROTOCOL: &[u8] = b"acme-tls/1";

/// How an authority looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tls) enum Way {
    /// By a request in clear.
    Http,
    /// By a handshake.
    Handshake,
}

impl Way {
    /// The ways that can work with these listeners, the next one to be tried first: a request in clear where there is a
    /// listener for it; after the authority has looked in vain the other way.
    pub(super) fn in_order(listeners: impl Iterator<Item = Begins>, unseen: u32) -> Vec<Way> {
        let (mut clear, mut secured) = (false, false);
        for begins in listeners {
            match begins {
                Begins::InClear => clear = true,
                Begins::WithTls => secured = true,
            }
        }
        let mut ways: Vec<Way> =
            clear.then_some(Way::Http).into_iter().chain(secured.then_some(Way::Handshake)).collect();
        if unseen % 2 == 1 {
            ways.reverse();
        }
        ways
    }

    /// As authorities name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Way::Http => "http-01",
            Way::Handshake => "tls-alpn-01",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is shown now.
#[derive(Default)]
pub(in crate::tls) struct Shown(ArcSwapOption<Proof>);

/// A proof that a host is served here.
pub(super) enum Proof {
    /// This text, to whoever asks for this token.
    Text {
        /// Which.
        token: String,
        /// What.
        text: Bytes,
    },
    /// This certificate, to whoever asks for this host by a handshake of that protocol.
    Certificate {
        /// Which.
        host: String,
        /// With what.
        key: Arc<CertifiedKey>,
    },
}

impl Proof {
    /// What this way needs. `text`: the token with the thumbprint of the account's key.
    pub(super) fn new(way: Way, host: &str, token: &str, text: String) -> Result<Proof, Error> {
        match way {
            Way::Http => Ok(Proof::Text { token: token.to_owned(), text: text.into() }),
            Way::Handshake => {
                let key = KeyPair::generate()?;
                let mut params = CertificateParams::new(vec![host.to_owned()])?;
                let hash = digest(&SHA256, text.as_bytes());
                params.custom_extensions = vec![CustomExtension::new_acme_identifier(hash.as_ref())];
                let certificate = params.self_signed(&key)?.der().clone();
                let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                let signing = provider::sign::any_supported_type(&der);
                let signing = signing.map_err(|error| Error::Crypto(error.to_string()))?;
                let key = Arc::new(CertifiedKey::new(vec![certificate], signing));
                Ok(Proof::Certificate { host: host.to_owned(), key })
            }
        }
    }
}

/// A proof is shown until this is dropped.
pub(super) struct Showing<'a>(&'a Shown);

impl Drop for Showing<'_> {
    fn drop(&mut self) {
        self.0.0.store(None);
    }
}

impl Shown {
    /// Shows a proof.
    pub(super) fn show(&self, proof: Proof) -> Showing<'_> {
        self.0.store(Some(Arc::new(proof)));
        Showing(self)
    }

    /// The answer to a request for this path, if it asks for what is shown. Others may have their own challenges.
    pub(in crate::tls) fn answer(&self, target: &str) -> Option<Response<Content>> {
        let asked = target.strip_prefix(PATH)?;
        match self.0.load().as_deref()? {
            Proof::Text { token, text } if token == asked => {
                let mut response = Response::new(Content::Text(text.clone()));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                Some(response)
            }
            Proof::Text { .. } | Proof::Certificate { .. } => None,
        }
    }

    /// The certificate for a handshake that looks for it.
    pub(in crate::tls) fn certificate(&self, host: Option<&str>) -> Option<Arc<CertifiedKey>> {
        match self.0.load().as_deref()? {
            Proof::Certificate { host: shown, key } if Some(shown.as_str()) == host => Some(Arc::clone(key)),
            Proof::Certificate { .. } | Proof::Text { .. } => None,
        }
    }
}

/// Whether this handshake looks for a proof, and for nothing else.
pub(in crate::tls) fn is_look(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|offered| offered.eq([PROTOCOL]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_clear_comes_first_and_the_other_one_after_a_look_in_vain() {
        let ways = |listeners: &[Begins], unseen| Way::in_order(listeners.iter().copied(), unseen);
        let both = [Begins::WithTls, Begins::InClear];
        assert_eq!(ways(&both, 0), [Way::Http, Way::Handshake]);
        assert_eq!(ways(&both, 1), [Way::Handshake, Way::Http]);
        assert_eq!(ways(&both, 2), [Way::Http, Way::Handshake]);
        for unseen in [0, 1] {
            assert_eq!(ways(&both[..1], unseen), [Way::Handshake]);
        }
    }

    #[test]
    fn a_proof_is_shown_to_whoever_asks_for_it_and_only_for_its_time() {
        let shown = Shown::default();
        let target = format!("{PATH}tok");
        assert!(shown.answer(&target).is_none());
        let showing = shown.show(Proof::new(Way::Http, "shop.com", "tok", "tok.print".to_owned()).unwrap());
        assert!(shown.answer(&target).is_some());
        for other in [PATH, "/tok", "/.well-known/acme-challenge/tok?a", "/.well-known/acme-challenge/token"] {
            assert!(shown.answer(other).is_none(), "{other}");
        }
        assert!(shown.certificate(Some("shop.com")).is_none());
        drop(showing);
        assert!(shown.answer(&target).is_none());

        let _showing = shown.show(Proof::new(Way::Handshake, "shop.com", "tok", "tok.print".to_owned()).unwrap());
        assert!(shown.certificate(Some("shop.com")).is_some() && shown.certificate(Some("a.shop.com")).is_none());
        assert!(shown.certificate(None).is_none() && shown.answer(&target).is_none());
    }
}
