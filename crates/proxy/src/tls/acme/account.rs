//! The account at an authority, and how what it asks is signed (RFC 8555, section 6; RFC 7515 with ES256).

use super::{
    error::Error,
    exchange::{Answer, Http},
    store::{Registered, Store},
};
use crate::config::Acme;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use http::Method;
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// How often one question is signed anew because its nonce was not taken: enough for an authority that takes every second one.
const MAX_NONCES: u32 = 10;

/// The header field with the next nonce.
const REPLAY_NONCE: &str = "replay-nonce";

/// Where an authority is asked what.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
    new_account: String,
    new_order: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    external_account_required: bool,
}

/// An account, ready to ask.
pub(super) struct Session {
    http: Http,
    directory: Directory,
    key: Key,
    /// The address of the account, by which the authority knows the key.
    account: String,
    nonce: Option<String>,
}

impl Session {
    /// With the account that is kept, or a new one.
    pub(super) async fn open(terms: &Acme, store: &Store) -> Result<Session, Error> {
        let http = Http::new(terms.roots.as_deref())?;
        let found = http.ask(Method::GET, &terms.directory, None).await?.accepted()?;
        let directory: Directory = found.read("a directory")?;
        let mut session = Session { http, directory, key: store.key()?, account: String::new(), nonce: None };
        let contact = terms.contact.as_deref();
        let contacts: Vec<String> = contact.iter().map(|address| format!("mailto:{address}")).collect();
        let account = match store.registered() {
            Some(known) => {
                session.account = known.account;
                if known.contact.as_deref() == contact {
                    return Ok(session);
                }
                let account = session.account.clone();
                session.post(&account, Some(&json!({ "contact": contacts }))).await?;
                account
            }
            None if session.directory.meta.external_account_required => return Err(Error::NeedsBinding),
            None => {
                let url = session.directory.new_account.clone();
                let payload = json!({ "termsOfServiceAgreed": true, "contact": contacts });
                let answer = session.post(&url, Some(&payload)).await?;
                tracing::info!(authority = %terms.directory, "an account was made");
                answer.field("location")?
            }
        };
        session.account.clone_from(&account);
        store.register(&Registered { account, contact: contact.map(str::to_owned) })?;
        Ok(session)
    }

    /// Orders a certificate; the answer is the order.
    pub(super) async fn order(&mut self, host: &str) -> Result<Answer, Error> {
        let url = self.directory.new_order.clone();
        self.post(&url, Some(&json!({ "identifiers": [{ "type": "dns", "value": host }] }))).await
    }

    /// Reads what is for this account only.
    pub(super) async fn get(&mut self, url: &str) -> Result<Answer, Error> {
        self.post(url, None).await
    }

    /// Asks, signed.
    ///
    /// # Errors
    /// When there is no answer, or it is no.
    pub(super) async fn post(&mut self, url: &str, payload: Option<&Value>) -> Result<Answer, Error> {
        let mut tries = MAX_NONCES;
        loop {
            tries -= 1;
            let nonce = match self.nonce.take() {
                Some(nonce) => nonce,
                None => {
                    let answer = self.http.ask(Method::HEAD, &self.directory.new_nonce, None).await?;
                    answer.accepted()?.field(REPLAY_NONCE)?
                }
            };
            let body = self.key.signed(&self.account, url, &nonce, payload)?;
            let answer = self.http.ask(Method::POST, url, Some(body)).await?;
            self.nonce = answer.header(REPLAY_NONCE).map(str::to_owned);
            // Nonces end when the authority likes; it gives a fresh one with the refusal.
            if tries > 0 && answer.status.is_client_error() && answer.problem().is("badNonce") {
                continue;
            }
            return answer.accepted();
        }
    }

    /// What is to be shown to the authority for a token.
    pub(super) fn proof(&self, token: &str) -> String {
        format!("{token}.{}", self.key.thumbprint())
    }
}

/// The key of an account.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    /// From PKCS #8; `None`: it is no such key.
    pub(super) fn new(pkcs8: &[u8]) -> Option<Key> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
        key.ok().map(Key)
    }

    /// The body of a question to this address. Before there is an account, the key itself says who asks.
    fn signed(&self, account: &str, url: &str, nonce: &str, payload: Option<&Value>) -> Result<Vec<u8>, Error> {
        let protected = match account {
            "" => json!({ "alg": "ES256", "nonce": nonce, "url": url, "jwk": self.public() }),
            account => json!({ "alg": "ES256", "nonce": nonce, "url": url, "kid": account }),
        };
        let protected = BASE64.encode(protected.to_string());
        // A question without anything to say reads.
        let payload = payload.map_or(String::new(), |payload| BASE64.encode(payload.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes());
        let signature = signature.map_err(|_| Error::Crypto("no signature".to_owned()))?;
        let signature = BASE64.encode(signature);
        Ok(json!({ "protected": protected, "payload": payload, "signature": signature }).to_string().into_bytes())
    }

    /// The half that everybody may know, its fields in the order of their names (RFC 7638 hashes them so).
    fn public(&self) -> Value {
        // An uncompressed point: the byte 4, x and y.
        let (x, y) = self.0.public_key().as_ref().get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        json!({ "crv": "P-256", "kty": "EC", "x": BASE64.encode(x), "y": BASE64.encode(y) })
    }

    fn thumbprint(&self) -> String {
        BASE64.encode(digest(&SHA256, self.public().to_string().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    #[test]
    fn what_is_asked_is_signed_and_names_its_address_and_who_asks() {
        let made = rcgen::KeyPair::generate().unwrap();
        let key = Key::new(&made.serialize_der()).unwrap();
        for (account, named, other) in [("", "jwk", "kid"), ("https://ca.example/1", "kid", "jwk")] {
            let body = key.signed(account, "https://ca.example/order", "n-1", None).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let text = |name: &str| body[name].as_str().unwrap().to_owned();
            let signed = format!("{}.{}", text("protected"), text("payload"));
            let signature = BASE64.decode(text("signature")).unwrap();
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, made.public_key_raw());
            public.verify(signed.as_bytes(), &signature).unwrap();
            let protected: Value = serde_json::from_slice(&BASE64.decode(text("protected")).unwrap()).unwrap();
            assert_eq!((&protected["url"], &protected["nonce"]), (&json!("https://ca.example/order"), &json!("n-1")));
            assert!(protected.get(named).is_some() && protected.get(other).is_none(), "{protected}");
        }
    }

    #[test]
    fn a_thumbprint_is_of_the_fields_in_their_order_without_blanks() {
        let key = Key::new(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap();
        let public = key.public();
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, public["x"], public["y"]);
        assert_eq!(key.thumbprint(), BASE64.encode(digest(&SHA256, text.as_bytes())));
        assert!(Key::new(b"nothing").is_none());
    }
}
