//! What a service has changed in heads, ready to be done. Done after all that a proxy must, so that it has the last word about
//! what it may say at all.

use crate::plain::field;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::HeaderEdits;

/// Fields that are set, and taken out.
#[derive(Default)]
pub(crate) struct Edits {
    set: Vec<(HeaderName, HeaderValue)>,
    gone: Vec<HeaderName>,
}

/// Where nothing is changed.
pub(crate) static NONE: Edits = Edits { set: Vec::new(), gone: Vec::new() };

impl Edits {
    /// Of what a service wants. What could not be sent is left out; none such passes the edge.
    pub(crate) fn new(wanted: &HeaderEdits) -> Edits {
        let mut edits = Edits::default();
        for (name, value) in wanted.iter() {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            match value.map(HeaderValue::from_str) {
                None => edits.gone.push(name),
                Some(Ok(value)) => edits.set.push((name, value)),
                Some(Err(_)) => {}
            }
        }
        edits
    }

    /// Whether a field of this name, in any case, is another afterwards.
    pub(crate) fn concern(&self, name: &str) -> bool {
        let mut names = self.gone.iter().chain(self.set.iter().map(|(name, _)| name));
        names.any(|concerned| name.eq_ignore_ascii_case(concerned.as_str()))
    }

    /// Writes those that are set.
    pub(crate) fn write(&self, head: &mut Vec<u8>) {
        self.set.iter().for_each(|(name, value)| field::write(head, name.as_str(), value.as_bytes()));
    }

    /// Changes the fields of a head.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        self.gone.iter().for_each(|name| drop(headers.remove(name)));
        self.set.iter().for_each(|(name, value)| drop(headers.insert(name, value.clone())));
    }
}
