//! Secrets of services, encrypted at rest with a key of the installation.
//!
//! A set of secrets is stored as one sealed file named by the digest of its ciphertext, which is all that the ledger
//! ever sees. The same set gives the same digest, so that applying an unchanged configuration changes nothing. The key
//! is created on first use; without it nothing can be opened again.

use crate::{Error, layout};
use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use model::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use zeroize::{Zeroize as _, Zeroizing};

const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;
/// Bound to every sealed file, so that it cannot pass for something else.
const PURPOSE: &[u8] = b"quarterdeck secrets 1";

/// Named values. Wiped when dropped; its debug text shows the names only.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Takes named values.
    ///
    /// # Errors
    /// When a name or a value cannot be that of an environment variable.
    pub fn new(values: BTreeMap<String, String>) -> Result<Secrets, Error> {
        let secrets = Secrets(values);
        for (name, value) in &secrets.0 {
            let valid = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !valid {
                return Err(Error::SecretName(name.chars().take(60).collect()));
            }
            if value.contains('\0') {
                return Err(Error::SecretValue(name.clone()));
            }
        }
        Ok(secrets)
    }

    /// The values by name.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.0.values_mut().for_each(|value| value.zeroize());
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The sealed sets of one installation.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens the store in a data directory.
    ///
    /// # Errors
    /// When its directory cannot be created.
    pub fn open(data: &Path) -> Result<Store, Error> {
        let directory = data.join("secrets");
        layout::create_private(&directory)?;
        Ok(Store { directory })
    }

    /// Seals and stores a set, durably. Storing the same set again gives the same digest.
    ///
    /// # Errors
    /// When the key or the file cannot be written.
    pub fn put(&self, secrets: &Secrets) -> Result<Digest, Error> {
        let key = self.key_or_new()?;
        let path = |digest: Digest| self.directory.join(digest.to_string());
        let plain = Zeroizing::new(
            serde_json::to_vec(&secrets.0)
                .map_err(|source| Error::Malformed { path: self.directory.clone(), source })?,
        );
        // Derived from the key and the content: never the same for two contents, always the same for one.
        let nonce = Sha256::new().chain_update(b"nonce").chain_update(*key).chain_update(&*plain).finalize();
        let nonce = XNonce::try_from(&nonce[..NONCE_LENGTH]).unwrap_or_default();
        let sealed = cipher(&key)
            .encrypt(&nonce, Payload { msg: &plain, aad: PURPOSE })
            .map_err(|_| Error::Secrets { digest: "given".to_owned(), why: "they are too large to seal" })?;
        let blob = [nonce.as_slice(), &sealed].concat();
        let digest = Digest::of(&blob);
        if !path(digest).exists() {
            write_durably(&path(digest), &blob)?;
        }
        Ok(digest)
    }

    /// Opens a set.
    ///
    /// # Errors
    /// When it, or the key that sealed it, is not here or was changed.
    pub fn open_set(&self, digest: Digest) -> Result<Secrets, Error> {
        let refuse = |why| Error::Secrets { digest: digest.short(), why };
        let path = self.directory.join(digest.to_string());
        let blob = match fs::read(&path) {
            Ok(blob) => blob,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refuse("they are not stored on this machine: set the service's secrets again"));
            }
            Err(error) => return Err(Error::file("read", &path, error)),
        };
        let changed = "the stored file was changed or damaged: set the service's secrets again";
        let Some((nonce, sealed)) = blob.split_at_checked(NONCE_LENGTH).filter(|_| Digest::of(&blob) == digest) else {
            return Err(refuse(changed));
        };
        let nonce = XNonce::try_from(nonce).map_err(|_| refuse(changed))?;
        let key = self
            .key()?
            .ok_or_else(|| refuse("the installation's key file `secrets/key` is missing: restore it from a backup"))?;
        let plain = cipher(&key).decrypt(&nonce, Payload { msg: sealed, aad: PURPOSE });
        let plain = Zeroizing::new(plain.map_err(|_| {
            refuse("the installation's key is not the one they were sealed with: restore `secrets/key` from a backup")
        })?);
        serde_json::from_slice(&plain).map(Secrets).map_err(|source| Error::Malformed { path, source })
    }

    fn key_path(&self) -> PathBuf {
        self.directory.join("key")
    }

    fn key(&self) -> Result<Option<Zeroizing<[u8; KEY_LENGTH]>>, Error> {
        let path = self.key_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &path, error)),
        };
        match <[u8; KEY_LENGTH]>::try_from(bytes.as_slice()) {
            Ok(key) => Ok(Some(Zeroizing::new(key))),
            Err(_) => {
                let why = io::Error::other(format!("a key has {KEY_LENGTH} bytes, this file has {}", bytes.len()));
                Err(Error::file("use the key in", &path, why))
            }
        }
    }

    fn key_or_new(&self) -> Result<Zeroizing<[u8; KEY_LENGTH]>, Error> {
        if let Some(key) = self.key()? {
            return Ok(key);
        }
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        getrandom::fill(&mut *key).map_err(|error| Error::Random(io::Error::other(error)))?;
        write_durably(&self.key_path(), &*key)?;
        // Whoever was first has written the key that holds.
        self.key()?.ok_or_else(|| Error::file("read", &self.key_path(), io::ErrorKind::NotFound.into()))
    }
}

fn cipher(key: &[u8; KEY_LENGTH]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}

/// Creates a file that only this user may read, whole and on disk, unless it is there already.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let staged = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Unlike a rename, a link does not replace what another process wrote meanwhile.
        let linked = match fs::hard_link(&staged, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        fs::remove_file(&staged)?;
        linked?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(|e| Error::file("write", path, e))
}

#[cfg(test)]
mod tests;
