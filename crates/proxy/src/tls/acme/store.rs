//! What is kept of an authority, in a directory of its own: the account with its key, and for each host a file with its
//! certificate and its key. Each file is replaced as a whole and is its owner's only.

use super::{account::Key, error::Error};
use crate::tls::{
    certificate::{Loaded, Unusable},
    local::keep,
    stamp,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// The permissions of every file here.
const OWNERS: u32 = 0o600;

/// What the files of hosts end with.
const ENDING: &str = ".pem";

/// What is kept of one authority.
#[derive(Clone)]
pub(super) struct Store {
    at: PathBuf,
}

/// An account that the authority knows.
#[derive(Serialize, Deserialize)]
pub(super) struct Registered {
    /// Its address.
    pub(super) account: String,
    /// Whom the authority may write to.
    pub(super) contact: Option<String>,
}

impl Store {
    /// Of the authority with this address, below a directory that has them all.
    pub(super) fn new(all: &Path, directory: &str) -> Store {
        // For people the name, and what tells addresses apart that look alike.
        let name = directory.trim_start_matches("https://").chars().map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => c,
            _ => '_',
        });
        let name: String = name.take(80).collect();
        let hash = digest(&SHA256, directory.as_bytes());
        let hash: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Store { at: all.join(format!("{}-{hash}", name.trim_matches('.'))) }
    }

    /// The hosts that have a file.
    pub(super) fn hosts(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.at).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(ENDING).map(str::to_owned)).collect()
    }

    /// The certificate of a host. `None`: there is none yet.
    pub(super) fn certificate(&self, host: &str) -> Result<Option<Loaded>, Unusable> {
        let path = self.path_of(host);
        let shown = path.display().to_string();
        match stamp::read(&path) {
            Ok(pem) => Loaded::new(&pem, &pem, &shown, &shown).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Unusable::Unreadable { path: shown, source }),
        }
    }

    /// Keeps what was issued, with its key in the same file: neither is of use without the other.
    pub(super) fn keep_certificate(&self, host: &str, chain: &str, key: &str) -> Result<(), Error> {
        self.write(&self.path_of(host), &format!("{key}\n{chain}"))
    }

    /// The key of the account, made when there is none.
    pub(super) fn key(&self) -> Result<Key, Error> {
        let path = self.at.join("account.key");
        let pem = match stamp::read(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = rcgen::KeyPair::generate()?.serialize_pem();
                self.write(&path, &pem)?;
                pem.into_bytes()
            }
            Err(source) => return Err(Error::File { path, source }),
        };
        let key = PrivateKeyDer::from_pem_slice(&pem).ok().and_then(|der| Key::new(der.secret_der()));
        key.ok_or(Error::DamagedKey(path))
    }

    /// The account, if it was made. What cannot be read is asked for again: the authority knows the key.
    pub(super) fn registered(&self) -> Option<Registered> {
        serde_json::from_slice(&stamp::read(&self.account()).ok()?).ok()
    }

    /// Keeps the account.
    pub(super) fn register(&self, account: &Registered) -> Result<(), Error> {
        let path = self.account();
        let text =
            serde_json::to_string(account).map_err(|error| Error::File { path: path.clone(), source: error.into() })?;
        self.write(&path, &text)
    }

    /// Forgets the account, which the authority does not know any more. Its key stays.
    pub(super) fn forget(&self) {
        // One that is still there is found unknown once more.
        let _ = fs::remove_file(self.account());
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Error> {
        let kept = fs::create_dir_all(&self.at).and_then(|()| keep(path, OWNERS, text));
        kept.map_err(|source| Error::File { path: path.to_owned(), source })
    }

    fn account(&self) -> PathBuf {
        self.at.join("account.json")
    }

    fn path_of(&self, host: &str) -> PathBuf {
        self.at.join(format!("{host}{ENDING}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_kept_is_its_owners_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), "https://ca.example:14000/dir");
        assert!(store.certificate("shop.example").unwrap().is_none() && store.hosts().is_empty());
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        store.keep_certificate("shop.example", &chain.pem(), &key.serialize_pem()).unwrap();
        assert_eq!(store.certificate("shop.example").unwrap().unwrap().names, ["shop.example"]);
        assert_eq!(store.hosts(), BTreeSet::from(["shop.example".to_owned()]));
        store.key().unwrap();
        store.register(&Registered { account: "https://ca.example/1".to_owned(), contact: None }).unwrap();
        assert_eq!(store.registered().unwrap().account, "https://ca.example/1");
        for entry in fs::read_dir(&store.at).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, OWNERS, "{:?}", entry.path());
        }
        store.forget();
        assert!(store.registered().is_none());
    }

    #[test]
    fn each_authority_has_a_directory_of_its_own() {
        let at = |directory| Store::new(Path::new("/d"), directory).at;
        assert_ne!(at("https://ca.example/a"), at("https://ca.example/b"));
        assert_ne!(at("https://ca.example/a/b"), at("https://ca.example/a_b"));
        for hostile in ["https://../../etc", "https://..", "", &"x".repeat(5000)] {
            let found = at(hostile);
            assert_eq!(found.parent(), Some(Path::new("/d")), "{hostile}");
            assert!(found.file_name().is_some_and(|name| name.len() < 100), "{found:?}");
        }
    }
}
