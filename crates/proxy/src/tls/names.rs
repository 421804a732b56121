//! Which certificate a client gets: by the host it names, never changed once made.

use super::{
    acme::{Shown, is_look},
    certificate::Loaded,
};
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

/// Certificates by the hosts they are for.
#[derive(Default)]
pub(super) struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*.`, which stands for one label.
    wild: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For clients that name no host.
    first: Vec<Arc<CertifiedKey>>,
    /// For hosts that have none. Without it they are refused.
    others: Option<Arc<CertifiedKey>>,
    /// For authorities that look for a proof. `None`: there are none.
    proofs: Option<Arc<Shown>>,
}

impl Names {
    /// The earlier a certificate comes, the sooner it is chosen among those for the same host. `others`: the one for hosts
    /// that have none.
    pub(super) fn new<'a>(certificates: impl IntoIterator<Item = &'a Loaded>, others: Option<&Loaded>) -> Names {
        let mut names = Names { others: others.map(|loaded| Arc::clone(&loaded.key)), ..Names::default() };
        for certificate in certificates {
            for name in &certificate.names {
                let (place, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.wild, parent),
                    None => (&mut names.exact, name.as_str()),
                };
                place.entry(name.to_owned()).or_default().push(Arc::clone(&certificate.key));
            }
            names.first.push(Arc::clone(&certificate.key));
        }
        names
    }

    /// Likewise, for authorities that look for a proof, too.
    pub(super) fn with_proofs(self, proofs: Option<Arc<Shown>>) -> Names {
        Names { proofs, ..self }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The certificate for a host in lower case, of a kind that the client can check. `None` for a host: the client names
    /// none, such as one that was told an IP address.
    fn choose(&self, host: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let fitting = match host {
            None => &self.first,
            Some(host) => {
                let parent = || self.wild.get(host.split_once('.')?.1);
                match self.exact.get(host).or_else(parent) {
                    Some(fitting) => fitting,
                    None => return self.others.as_ref(),
                }
            }
        };
        // One that does not fit is better than none: the handshake then fails for a reason that names what is missing.
        fitting.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or(fitting.first())
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(proofs) = self.proofs.as_ref().filter(|_| is_look(&hello)) {
            return proofs.certificate(hello.server_name());
        }
        let found = self.choose(hello.server_name(), hello.signature_schemes());
        if found.is_none() {
            tracing::debug!(host = hello.server_name(), "a client asks for a host that has no certificate");
        }
        found.cloned()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The hosts only, and in order: keys are nobody's business.
        let hosts = self.exact.keys().map(|name| (name.clone(), "")).chain(self.wild.keys().map(|n| (n.clone(), "*.")));
        f.debug_map().entries(hosts.collect::<BTreeMap<_, _>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    fn certificate(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Loaded {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        Loaded::new(chain.as_bytes(), key.serialize_pem().as_bytes(), "chain", "key").unwrap()
    }

    #[test]
    fn a_host_gets_the_certificate_that_names_it() {
        let all = [
            certificate(&["shop.test", "*.Shop.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["api.shop.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["shop.test"], &PKCS_ED25519),
        ];
        let names = Names::new(&all, None);
        let both = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];
        let chosen = |host, schemes: &[SignatureScheme]| {
            let found = names.choose(host, schemes)?;
            all.iter().position(|loaded| Arc::ptr_eq(&loaded.key, found))
        };
        assert_eq!(chosen(Some("shop.test"), &both), Some(0), "the first of two");
        assert_eq!(chosen(Some("shop.test"), &both[1..]), Some(2), "the one that the client can check");
        assert_eq!(chosen(Some("api.shop.test"), &both), Some(1), "an exact name before a wildcard");
        assert_eq!(chosen(Some("www.shop.test"), &both), Some(0));
        assert_eq!(chosen(Some("a.www.shop.test"), &both), None, "a wildcard is one label");
        assert_eq!(chosen(Some("test"), &both), None);
        assert_eq!(chosen(None, &both), Some(0), "no host: the first of all");
        let names = Names::new(&all, Some(&all[1]));
        assert!(names.choose(Some("other.test"), &both).is_some_and(|key| Arc::ptr_eq(key, &all[1].key)));
        assert_eq!(Names::default().choose(None, &both).map(|_| ()), None);
    }
}
