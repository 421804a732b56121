//! The key that signs the states of one ledger, and the verifier key beside it that anybody may have.

use crate::place::{io, read_if_present, replace};
use crate::{Error, Place};
use ledger::note::{Signer, Verifier};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// Makes a new key and writes both files. The name is random, so that no two ledgers share one.
pub(crate) fn create(place: &Place) -> Result<Signer, Error> {
    let mut random = [0; 36];
    getrandom::fill(&mut random).map_err(Error::NoRandomness)?;
    let (mut seed, mut id) = ([0; 32], [0; 4]);
    seed.copy_from_slice(&random[..32]);
    id.copy_from_slice(&random[32..]);
    let name = format!("quarterdeck.local/ledger-{:08x}", u32::from_be_bytes(id));
    let signer = Signer::new(&name, &seed).map_err(|source| Error::BadKey { path: place.key(), source })?;
    replace(&place.key(), format!("{}\n", signer.secret()).as_bytes(), 0o600)?;
    write_verifier(place, &signer)?;
    Ok(signer)
}

fn write_verifier(place: &Place, signer: &Signer) -> Result<(), Error> {
    replace(&place.verifier(), format!("{}\n", signer.verifier()).as_bytes(), 0o644)
}

/// The signing key, if there is one, with the verifier key beside it: that follows from the signing key, and a crash may
/// have come between the two files.
pub(crate) fn load(place: &Place) -> Result<Option<Signer>, Error> {
    let signer = read(place)?;
    if let Some(signer) = signer.as_ref().filter(|s| load_verifier(place).ok() != Some(s.verifier())) {
        write_verifier(place, signer)?;
    }
    Ok(signer)
}

/// The signing key, if there is one. It must be readable by its owner only.
pub(crate) fn read(place: &Place) -> Result<Option<Signer>, Error> {
    let path = place.key();
    let Some(text) = read_if_present(&path)? else { return Ok(None) };
    let mode = fs::metadata(&path).map_err(io("inspect", &path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyExposed { path, mode });
    }
    let text = String::from_utf8_lossy(&text);
    Signer::from_secret(text.trim()).map(Some).map_err(|source| Error::BadKey { path, source })
}

/// The verifier key.
pub(crate) fn load_verifier(place: &Place) -> Result<Verifier, Error> {
    let path = place.verifier();
    let text = fs::read(&path).map_err(io("read", &path))?;
    parse_verifier(&text).map_err(|source| Error::BadKey { path, source })
}

pub(crate) fn parse_verifier(text: &[u8]) -> Result<Verifier, ledger::note::Error> {
    String::from_utf8_lossy(text).trim().parse()
}

/// Is it the key that is trusted, if one is?
pub(crate) fn check_trusted(found: &Verifier, trusted: Option<&Verifier>) -> Result<(), Error> {
    match trusted {
        Some(trusted) if trusted != found => {
            Err(Error::OtherKey { found: found.to_string(), trusted: trusted.to_string() })
        }
        Some(_) | None => Ok(()),
    }
}

/// Puts the keys aside, under the id of the old one, so that what it signed can still be verified.
pub(crate) fn retire(place: &Place) -> Result<(), Error> {
    let id = load_verifier(place).map_or("unknown".to_owned(), |key| {
        key.name().rsplit('-').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect()
    });
    for path in [place.key(), place.verifier()] {
        let mut aside = path.clone().into_os_string();
        aside.push(format!(".retired-{id}"));
        match fs::rename(&path, aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("rename", &path)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
