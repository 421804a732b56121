//! What a service has changed in heads on their way, beyond what a proxy must. Checked once, at the edge: what is in one can be
//! written into a head as it is, and says nothing about where a message ends or who sent it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most fields in one direction.
const MOST: usize = 50;

/// The longest value.
const LONGEST: usize = 4096;

/// Fields that are ours to say: they frame a message, name its host, or say where it came from and when.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Fields that are set, whatever they were, or taken out. Names are in lower case.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, Option<String>>", into = "BTreeMap<String, Option<String>>")]
#[schemars(with = "BTreeMap<String, Option<String>>")]
pub struct HeaderEdits(BTreeMap<String, Option<String>>);

/// Why a field cannot be set or taken out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// It has another name than fields have.
    #[error("`{0}` is not the name of a header field: use letters, digits and `-`")]
    Name(String),
    /// The proxy says it itself.
    #[error("`{0}` is said by the proxy, which must know that it is right")]
    Ours(String),
    /// It has characters that no value has.
    #[error("the value of `{0}` has characters that cannot be sent, or more than {LONGEST} of them")]
    Value(String),
    /// There are very many.
    #[error("at most {MOST} header fields can be set or taken out")]
    Many,
}

impl HeaderEdits {
    /// Sets a field, or takes it out.
    ///
    /// # Errors
    /// When it is none, when it is the proxy's to say, or when there are too many.
    pub fn put(&mut self, name: &str, value: Option<&str>) -> Result<(), HeaderError> {
        let shown = || name.chars().take(60).collect::<String>();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
        if name.is_empty() || name.len() > 100 || !name.bytes().all(is_token) {
            return Err(HeaderError::Name(shown()));
        }
        let name = name.to_ascii_lowercase();
        if OURS.contains(&name.as_str()) {
            return Err(HeaderError::Ours(name));
        }
        let is_text = |byte: u8| (b' '..0x7f).contains(&byte) || byte == b'\t';
        if value.is_some_and(|value| value.len() > LONGEST || value != value.trim() || !value.bytes().all(is_text)) {
            return Err(HeaderError::Value(name));
        }
        if self.0.len() >= MOST && !self.0.contains_key(&name) {
            return Err(HeaderError::Many);
        }
        self.0.insert(name, value.map(str::to_owned));
        Ok(())
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names, and values where they are set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }
}

impl TryFrom<BTreeMap<String, Option<String>>> for HeaderEdits {
    type Error = HeaderError;

    fn try_from(fields: BTreeMap<String, Option<String>>) -> Result<HeaderEdits, HeaderError> {
        let mut edits = HeaderEdits::default();
        fields.iter().try_for_each(|(name, value)| edits.put(name, value.as_deref()))?;
        Ok(edits)
    }
}

impl From<HeaderEdits> for BTreeMap<String, Option<String>> {
    fn from(edits: HeaderEdits) -> BTreeMap<String, Option<String>> {
        edits.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_a_message_or_breaks_a_line_cannot_be_said() {
        let mut edits = HeaderEdits::default();
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("Content-Length", "5"),
            ("transfer-encoding", "chunked"),
            ("HOST", "h"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x", "a\r\nset-cookie: b"),
            ("x", "a\0"),
            ("x", " a"),
            ("x", "é"),
        ] {
            assert!(edits.put(name, Some(value)).is_err(), "{name:?}: {value:?}");
        }
        assert!(edits.put("x", Some(&"a".repeat(LONGEST + 1))).is_err());
        assert!(edits.is_empty());
        (0..MOST).for_each(|n| edits.put(&format!("x-{n}"), None).unwrap());
        assert_eq!(edits.put("one-more", None), Err(HeaderError::Many));
        assert_eq!(edits.put("X-1", Some("again")), Ok(()));
    }

    #[test]
    fn what_comes_from_elsewhere_is_checked_too() {
        let read = serde_json::from_str::<HeaderEdits>;
        let edits = read(r#"{"X-Frame-Options": "DENY", "server": null}"#).unwrap();
        assert_eq!(edits.iter().collect::<Vec<_>>(), [("server", None), ("x-frame-options", Some("DENY"))]);
        assert!(read(r#"{"content-length": "5"}"#).is_err());
        assert_eq!(serde_json::to_string(&edits).unwrap(), r#"{"server":null,"x-frame-options":"DENY"}"#);
    }
}
