//! Certificates of clients: which authorities are believed about who a client is, and how instances are told.

use super::{
    keeper::Watch,
    stamp::{self, Stamp},
};
use crate::config::{Clients, Wanted};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use std::{io, mem, path::Path, sync::Arc};

/// The most authorities in one file.
const MOST: usize = 1000;

/// The longest certificate that instances are told of, in bytes: fields have their limits everywhere.
const LONGEST: usize = 8 << 10;

/// Keeps the authorities.
#[derive(Default)]
pub(super) struct Believed {
    terms: Option<Clients>,
    watch: Watch,
    roots: Option<Arc<RootCertStore>>,
}

impl Believed {
    /// Whether there are other authorities than before, or other terms.
    pub(super) fn keep(&mut self, terms: Option<&Clients>) -> bool {
        let mut anew = false;
        if self.terms.as_ref() != terms {
            *self = Believed { terms: terms.cloned(), ..mem::take(self) };
            self.watch = Watch::default();
            anew = true;
        }
        let Some(terms) = &self.terms else {
            self.roots = None;
            return anew;
        };
        if !self.watch.is_due([Stamp::of(&terms.authorities), None]) {
            return anew;
        }
        let path = terms.authorities.display();
        match authorities(&terms.authorities) {
            Ok(roots) => {
                tracing::info!(%path, authorities = roots.len(), "certificates of clients are checked");
                self.roots = Some(Arc::new(roots));
            }
            Err(error) => {
                let instead = match self.roots {
                    Some(_) => "those before stay in force",
                    None => "no client is believed",
                };
                tracing::error!(%path, %error, "the authorities of clients cannot be read; {instead}");
            }
        }
        true
    }

    /// What checks clients. `None`: nobody is asked for a certificate.
    ///
    /// # Errors
    /// When clients are to be checked and there is nothing to check them by: nobody is let in then.
    pub(super) fn verifier(&self) -> io::Result<Option<Arc<dyn ClientCertVerifier>>> {
        let Some(terms) = &self.terms else { return Ok(None) };
        let roots = self.roots.clone().ok_or_else(|| io::Error::other("no authority of clients could be read"))?;
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(ring::default_provider()));
        let builder = match terms.wanted {
            Wanted::Always => builder,
            Wanted::WhereAsked => builder.allow_unauthenticated(),
        };
        builder.build().map(Some).map_err(io::Error::other)
    }
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path) -> io::Result<RootCertStore> {
    let bytes = stamp::read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes).take(MOST) {
        let certificate = certificate.map_err(|_| io::Error::other("it is not a PEM file, or is damaged"))?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("it contains no certificate"));
    }
    Ok(roots)
}

/// A client's certificate as instances are told it: the value of `client-cert` (RFC 9440).
pub(crate) fn told(certificate: &[u8]) -> Option<HeaderValue> {
    let fits = certificate.len() <= LONGEST;
    fits.then(|| HeaderValue::try_from(format!(":{}:", STANDARD.encode(certificate))).ok()).flatten()
}
