//! A certificate from its files: read, checked against its key, and told in words when it cannot be used.

use super::{dates, stamp};
use crate::config::CertificateFiles;
use model::{Certificate, Validity};
use rustls::{
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

/// The most certificates in one chain.
const MAX_CHAIN: usize = 16;

/// Permission to read for everybody.
const READABLE_BY_ALL: u32 = 0o004;

/// What is in the files of a certificate, as the data plane would take it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspected {
    /// The certificate, or what is wrong with it.
    pub certificate: Certificate,
    /// A warning when everybody on this machine can read its key.
    pub exposed: Option<String>,
}

/// Looks at a certificate without using it.
pub fn inspect(files: &CertificateFiles) -> Inspected {
    let loaded = Loaded::read(files);
    let certificate =
        describe(&shown(&files.chain), loaded.as_ref().ok(), loaded.as_ref().err().map(ToString::to_string));
    Inspected { certificate, exposed: exposed(&files.key) }
}

/// A certificate for reports.
pub(super) fn describe(source: &str, loaded: Option<&Loaded>, problem: Option<String>) -> Certificate {
    Certificate {
        source: source.to_owned(),
        names: loaded.map(|loaded| loaded.names.clone()).unwrap_or_default(),
        validity: loaded.map(|loaded| loaded.validity),
        problem,
        next_try: None,
    }
}

/// A certificate that can be presented.
#[derive(Clone)]
pub(crate) struct Loaded {
    /// What rustls needs, the key included.
    pub(crate) key: Arc<CertifiedKey>,
    /// The hosts it is for, in lower case; some may begin with `*.`.
    pub(crate) names: Vec<String>,
    /// When it is valid.
    pub(crate) validity: Validity,
}

/// Why a certificate cannot be used. No text shows any part of a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM, or is damaged.
    #[error("{0} is not a PEM file, or is damaged")]
    NotPem(String),
    /// There is no certificate where one should be.
    #[error("{0} contains no certificate")]
    NoCertificate(String),
    /// The chain is too long to be one.
    #[error("{0} contains more than {MAX_CHAIN} certificates: give the chain of one certificate only")]
    TooMany(String),
    /// There is no key where one should be.
    #[error("{0} contains no private key")]
    NoKey(String),
    /// The key needs a passphrase.
    #[error(
        "the key in {0} is encrypted; the data plane has no passphrase: decrypt it (`openssl pkey`) into a file with mode 0600"
    )]
    Encrypted(String),
    /// The key is of a kind that is not supported.
    #[error(
        "the key in {0} is of no kind that is supported: use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits"
    )]
    UnknownKey(String),
    /// Both are well, but not for each other.
    #[error("the key in {key} does not belong to the certificate in {chain}")]
    Mismatch {
        /// The certificate's file.
        chain: String,
        /// The key's file.
        key: String,
    },
    /// The certificate itself is damaged.
    #[error("the certificate in {0} is damaged, or not of version 3")]
    Malformed(String),
    /// It says of no host that it is for it.
    #[error("the certificate in {0} names no host (as a DNS name among its subject alternative names)")]
    NoNames(String),
}

impl Loaded {
    /// Reads a certificate and its key.
    pub(crate) fn read(files: &CertificateFiles) -> Result<Loaded, Unusable> {
        let (chain_at, key_at) = (shown(&files.chain), shown(&files.key));
        let unreadable = |path: &str| {
            let path = path.to_owned();
            move |source| Unusable::Unreadable { path, source }
        };
        let chain = stamp::read(&files.chain).map_err(unreadable(&chain_at))?;
        let key = stamp::read(&files.key).map_err(unreadable(&key_at))?;
        Loaded::new(&chain, &key, &chain_at, &key_at)
    }

    /// Whether it is for this host, by name or by wildcard. `host`: in lower case.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let below = |name: &str| Some(name.strip_prefix("*.")? == host.split_once('.')?.1);
        self.names.iter().any(|name| name == host || below(name) == Some(true))
    }

    /// Takes a certificate and its key, both in PEM. The last two say where they come from.
    pub(super) fn new(chain: &[u8], key: &[u8], chain_at: &str, key_at: &str) -> Result<Loaded, Unusable> {
        let loaded = Loaded::of_anybody(chain, key, chain_at, key_at)?;
        if loaded.names.is_empty() {
            return Err(Unusable::NoNames(chain_at.to_owned()));
        }
        Ok(loaded)
    }

    /// Likewise, though it may name no host but addresses.
    pub(super) fn of_anybody(chain: &[u8], key: &[u8], chain_at: &str, key_at: &str) -> Result<Loaded, Unusable> {
        let chain_at = || chain_at.to_owned();
        let certificates = CertificateDer::pem_slice_iter(chain).take(MAX_CHAIN + 1).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|_| Unusable::NotPem(chain_at()))?;
        if certificates.len() > MAX_CHAIN {
            return Err(Unusable::TooMany(chain_at()));
        }
        let first = certificates.first().ok_or_else(|| Unusable::NoCertificate(chain_at()))?;
        let validity = dates::validity(first).ok_or_else(|| Unusable::Malformed(chain_at()))?;
        let names = names(first).ok_or_else(|| Unusable::Malformed(chain_at()))?;
        let key = private_key(key, key_at)?;
        let signing = ring::sign::any_supported_type(&key).map_err(|_| Unusable::UnknownKey(key_at.to_owned()))?;
        let key = CertifiedKey::new(certificates, signing);
        match key.keys_match() {
            Ok(()) => Ok(Loaded { key: Arc::new(key), names, validity }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(Unusable::Mismatch { chain: chain_at(), key: key_at.to_owned() })
            }
            Err(_) => Err(Unusable::Malformed(chain_at())),
        }
    }
}

fn private_key(text: &[u8], at: &str) -> Result<PrivateKeyDer<'static>, Unusable> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => {
            let encrypted = b"ENCRYPTED";
            let is_encrypted = text.windows(encrypted.len()).any(|window| window == encrypted);
            Err(if is_encrypted { Unusable::Encrypted(at.to_owned()) } else { Unusable::NoKey(at.to_owned()) })
        }
        Err(_) => Err(Unusable::NotPem(at.to_owned())),
    }
}

/// The hosts that a certificate is for. `None`: it cannot be understood.
fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// A warning when everybody on this machine can read a key.
pub(crate) fn exposed(key: &Path) -> Option<String> {
    let mode = fs::metadata(key).ok()?.mode();
    (mode & READABLE_BY_ALL != 0)
        .then(|| format!("the private key {} can be read by every user of this machine: `chmod o-r` it", shown(key)))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::os::unix::fs::PermissionsExt as _;

    /// What is wrong with this chain and this key, in words.
    fn wrong(chain: &str, key: &str) -> String {
        match Loaded::new(chain.as_bytes(), key.as_bytes(), "shop.pem", "shop.key") {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_in_words_and_never_with_the_key() {
        let key = KeyPair::generate().unwrap();
        let issue = |names: &[&str], key: &KeyPair| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            CertificateParams::new(names).unwrap().self_signed(key).unwrap().pem()
        };
        let (good, secret) = (issue(&["shop.test"], &key), key.serialize_pem());
        assert_eq!(wrong(&good, &secret), "nothing");
        let other = KeyPair::generate().unwrap().serialize_pem();
        assert_eq!(wrong(&good, &other), "the key in shop.key does not belong to the certificate in shop.pem");
        assert_eq!(wrong("", &secret), "shop.pem contains no certificate");
        assert_eq!(wrong(&secret, &secret), "shop.pem contains no certificate");
        assert_eq!(wrong(&good, &good), "shop.key contains no private key");
        assert_eq!(
            wrong(&good.repeat(17), &secret),
            "shop.pem contains more than 16 certificates: give the chain of one certificate only"
        );
        assert!(wrong(&issue(&[], &key), &secret).starts_with("the certificate in shop.pem names no host"));
        let damaged = good.replacen("MII", "MIJ", 1);
        assert!(wrong(&damaged, &secret).contains("shop.pem"), "{}", wrong(&damaged, &secret));
        let encrypted = secret.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert!(wrong(&good, &encrypted).starts_with("the key in shop.key is encrypted"));
        let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(wrong(&good, nonsense).starts_with("the key in shop.key is of no kind that is supported"));
        let body: Vec<&str> = secret.lines().filter(|line| !line.starts_with('-')).collect();
        for said in [wrong(&good, &other), wrong(&good, &encrypted), wrong(&secret, &secret)] {
            assert!(!body.iter().any(|line| said.contains(line)), "{said}");
        }
    }

    #[test]
    fn a_key_that_everybody_can_read_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.key");
        fs::write(&path, "").unwrap();
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(exposed(&path).is_some(), warned, "{mode:o}");
        }
    }
}
