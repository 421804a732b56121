//! Tokens for programs that use the API over TCP. Only their SHA-256 is kept, in `tokens.json` of the data directory;
//! a token is shown once, when it is made.

use api::Access;
use model::Digest;
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The name of the file in the data directory.
const FILE: &str = "tokens.json";
/// How many tokens there can be.
const MOST: usize = 1_000;

/// Why tokens cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what this program wrote.
    #[error("{} is not a list of tokens", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The name cannot be a token's.
    #[error(
        "`{0}` cannot name a token: use 1 to 40 letters, digits, `-`, `_` and `.`, and no name that is there already"
    )]
    Name(String),
    /// Too many.
    #[error("there are {MOST} tokens already; remove some first")]
    TooMany,
    /// The system gave no random bytes.
    #[error("no random bytes can be had")]
    Random,
}

/// The tokens of a data directory: the SHA-256 of each, by the name of the program it stands for.
///
/// # Errors
/// When the file is there and cannot be used.
pub(crate) fn load(data: &Path) -> Result<BTreeMap<String, Digest>, Error> {
    let path = data.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(Error::File { path, source }),
    };
    serde_json::from_slice(&bytes).map_err(|source| Error::Malformed { path, source })
}

/// Who may use the API over TCP.
///
/// # Errors
/// When the tokens cannot be read.
pub(crate) fn access(data: &Path) -> Result<Access, Error> {
    Ok(Access::new(load(data)?.into_iter().map(|(name, digest)| (digest, name))))
}

/// Makes a token for a program; it works from the next start of `qd serve` on. This is the only time it is known.
///
/// # Errors
/// When the name cannot be used, or the file cannot be written.
pub(crate) fn create(data: &Path, name: &str) -> Result<String, Error> {
    let mut all = load(data)?;
    let fits = (1..=40).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !fits || all.contains_key(name) {
        return Err(Error::Name(name.chars().take(60).collect()));
    }
    if all.len() >= MOST {
        return Err(Error::TooMany);
    }
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
    let token = format!("qd_{}", Digest(bytes));
    all.insert(name.to_owned(), Digest::of(token.as_bytes()));
    save(data, &all)?;
    Ok(token)
}

/// Takes a token back, from the next start of `qd serve` on. Returns whether there was one of this name.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn remove(data: &Path, name: &str) -> Result<bool, Error> {
    let mut all = load(data)?;
    let known = all.remove(name).is_some();
    if known {
        save(data, &all)?;
    }
    Ok(known)
}

fn save(data: &Path, all: &BTreeMap<String, Digest>) -> Result<(), Error> {
    let path = data.join(FILE);
    let staged = data.join("tokens.json.new");
    let body = serde_json::to_vec_pretty(all).map_err(|source| Error::Malformed { path: path.clone(), source })?;
    let write = || {
        // A token may be made before the first `qd serve`, which then knows it.
        fs::create_dir_all(data)?;
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        io::Write::write_all(&mut file, &body)?;
        file.sync_all()?;
        fs::rename(&staged, &path)
    };
    write().map_err(|source| Error::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_once_and_only_its_digest_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let data = &directory.path().join("not there yet");
        let token = create(data, "ci").unwrap();
        assert_eq!(load(data).unwrap()["ci"], Digest::of(token.as_bytes()));
        let kept = fs::read_to_string(data.join(FILE)).unwrap();
        assert!(!kept.contains(&token[3..]), "{kept}");
        assert!(matches!(create(data, "ci"), Err(Error::Name(_))));
        assert!(matches!(create(data, "a b"), Err(Error::Name(_))));
        assert!(remove(data, "ci").unwrap());
        assert!(!remove(data, "ci").unwrap());
    }
}
