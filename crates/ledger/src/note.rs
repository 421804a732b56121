//! Text with signatures, and the keys for them: C2SP `signed-note`, with Ed25519 only. Whoever has the verifier key, a
//! short line of text, can check a note without this program.
//!
//! A signing key is never shown by `Debug`; [`Signer::secret`] is the only way to its text.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// The longest note: 64 KiB.
pub const MAX_NOTE_BYTES: usize = 64 << 10;

/// The signature type of Ed25519 in key ids and verifier keys.
const ED25519: u8 = 1;

/// Why a note or a key is not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a key.
    #[error("this is not {0}")]
    NotAKey(&'static str),
    /// The name cannot be that of a key.
    #[error("`{0}` cannot be the name of a key: it must not be empty nor contain spaces or `+`")]
    Name(String),
    /// It is not of the form of a signed note.
    #[error("this is not a signed note: {0}")]
    Malformed(&'static str),
    /// The key did not sign it.
    #[error("the note is not signed by {0}")]
    Unsigned(String),
    /// The signature is not one of this key over this text.
    #[error("the signature of {0} does not fit the text: one of them was altered")]
    Forged(String),
}

fn check_name(name: &str) -> Result<(), Error> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.contains(bad) {
        return Err(Error::Name(name.chars().take(80).collect()));
    }
    Ok(())
}

fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// The name, id and key material of `name+id+base64`, whose key material must be of Ed25519.
fn key_parts<'a>(text: &'a str, what: &'static str) -> Result<(&'a str, &'a str, [u8; 32]), Error> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::NotAKey(what));
    };
    check_name(name)?;
    let material = BASE64.decode(material).map_err(|_| Error::NotAKey(what))?;
    match material.split_first() {
        Some((&ED25519, key)) => Ok((name, id, key.try_into().map_err(|_| Error::NotAKey(what))?)),
        _ => Err(Error::NotAKey(what)),
    }
}

/// A key that verifies. Its text, which is no secret, is `name+id+base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl Verifier {
    /// The name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text that this key signed.
    ///
    /// # Errors
    /// When it is not a note, not signed by this key, or not as it was signed. Signatures of other keys are ignored.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, Error> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(Error::Malformed("it is longer than 64 KiB"));
        }
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(Error::Malformed("it contains a control character"));
        }
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or(Error::Malformed("no empty line between text and signatures"))?;
        let text = &note[..text.len() + 1];
        let signatures = signatures.strip_suffix('\n').ok_or(Error::Malformed("it does not end with a line end"))?;
        let mut signed = false;
        for line in signatures.split('\n') {
            let parts = line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' '));
            let (name, encoded) = parts.ok_or(Error::Malformed("a signature line is not `\u{2014} name signature`"))?;
            let bytes = BASE64.decode(encoded).map_err(|_| Error::Malformed("a signature is not base64"))?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(Error::Malformed("a signature is too short"))?;
            if name != self.name || *id != self.id {
                continue;
            }
            let forged = || Error::Forged(self.name.clone());
            let signature = Signature::from_slice(signature).map_err(|_| forged())?;
            self.key.verify_strict(text.as_bytes(), &signature).map_err(|_| forged())?;
            signed = true;
        }
        if signed { Ok(text) } else { Err(Error::Unsigned(self.name.clone())) }
    }
}

impl FromStr for Verifier {
    type Err = Error;
    fn from_str(text: &str) -> Result<Verifier, Error> {
        let what = "a verifier key of Ed25519, such as `name+530d903a+AekyeRrm56hA...`";
        let (name, id, public) = key_parts(text, what)?;
        let key = VerifyingKey::from_bytes(&public).map_err(|_| Error::NotAKey(what))?;
        let expected = key_id(name, &public);
        if hex(expected) != id {
            return Err(Error::NotAKey("a verifier key: its id does not fit its name and key"));
        }
        Ok(Verifier { name: name.to_owned(), id: expected, key })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material: Vec<u8> = [ED25519].into_iter().chain(self.key.to_bytes()).collect();
        write!(f, "{}+{}+{}", self.name, hex(self.id), BASE64.encode(material))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A key that signs.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl Signer {
    /// The key of this name that 32 random bytes make.
    ///
    /// # Errors
    /// When the name cannot be that of a key.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Signer, Error> {
        check_name(name)?;
        Ok(Signer { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// The key that verifies what this one signs.
    pub fn verifier(&self) -> Verifier {
        let key = self.key.verifying_key();
        Verifier { name: self.name.clone(), id: key_id(&self.name, key.as_bytes()), key }
    }

    /// A note of this text, which must end with a line end and have no control characters.
    pub fn sign(&self, text: &str) -> String {
        let mut signature = key_id(&self.name, self.key.verifying_key().as_bytes()).to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {} {}\n", self.name, BASE64.encode(signature))
    }

    /// The key as text, to be kept where only its owner reads it: `PRIVATE+KEY+name+id+base64`, as the tools for notes
    /// write it.
    pub fn secret(&self) -> String {
        let id = hex(key_id(&self.name, self.key.verifying_key().as_bytes()));
        let material: Vec<u8> = [ED25519].into_iter().chain(self.key.to_bytes()).collect();
        format!("PRIVATE+KEY+{}+{id}+{}", self.name, BASE64.encode(material))
    }

    /// Reads what [`Signer::secret`] writes. The error says nothing of the text.
    ///
    /// # Errors
    /// When it is not a signing key.
    pub fn from_secret(text: &str) -> Result<Signer, Error> {
        let what = "a signing key of Ed25519, which begins with `PRIVATE+KEY+`";
        let rest = text.strip_prefix("PRIVATE+KEY+").ok_or(Error::NotAKey(what))?;
        let (name, id, seed) = key_parts(rest, what).map_err(|_| Error::NotAKey(what))?;
        let signer = Signer::new(name, &seed).map_err(|_| Error::NotAKey(what))?;
        if hex(signer.verifier().id) != id {
            return Err(Error::NotAKey("a signing key: its id does not fit its name and key"));
        }
        Ok(signer)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the signing key of {}", self.verifier())
    }
}

#[cfg(test)]
mod tests;
