//! What was purged of the responses that are stored of a service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stored responses that nobody gets any more. Every later table carries it, so that a data plane that was away, or was not there
/// yet, obeys it all the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Purge {
    /// The generation of the first table that has it: what an instance was asked for under an earlier one is gone.
    pub generation: u64,
    /// The path at which, and below which; as instances see it. `None`: wherever they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Purge {
    /// Whether a response is gone that was asked for under a table of generation `born`, at this path, with its query.
    pub fn takes(&self, born: u64, target: &[u8]) -> bool {
        born < self.generation && self.path.as_ref().is_none_or(|path| is_at_or_below(target, path))
    }

    /// Whether all is gone anyway that `other` takes.
    pub fn covers(&self, other: &Purge) -> bool {
        let is_wider = match (&self.path, &other.path) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => is_at_or_below(theirs.as_bytes(), ours),
        };
        other.generation <= self.generation && is_wider
    }
}

/// By whole segments, as routes match: `/api` has `/api`, `/api?q` and `/api/x`, not `/apis`.
fn is_at_or_below(target: &[u8], path: &str) -> bool {
    let path = path.trim_end_matches('/').as_bytes();
    target.strip_prefix(path).is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge(generation: u64, path: Option<&str>) -> Purge {
        Purge { generation, path: path.map(str::to_owned) }
    }

    #[test]
    fn it_takes_what_was_asked_for_before_it_at_its_path_and_below() {
        for target in ["/img", "/img/", "/img/a.png", "/img?v=2", "/img/a?b=/c"] {
            assert!(purge(7, Some("/img")).takes(6, target.as_bytes()), "{target}");
            assert!(purge(7, Some("/img/")).takes(6, target.as_bytes()), "{target}");
            assert!(!purge(7, Some("/img")).takes(7, target.as_bytes()), "{target}");
        }
        for target in ["/", "/images", "/im", "/x/img", "/x?/img"] {
            assert!(!purge(7, Some("/img")).takes(6, target.as_bytes()), "{target}");
            assert!(purge(7, None).takes(6, target.as_bytes()), "{target}");
            assert!(purge(7, Some("/")).takes(6, target.as_bytes()), "{target}");
        }
    }

    #[test]
    fn one_covers_another_when_it_is_later_and_as_wide() {
        let covers = |a, b| purge(7, a).covers(&purge(6, b));
        assert!(covers(None, None) && covers(None, Some("/a")) && covers(Some("/a"), Some("/a/b")));
        assert!(!covers(Some("/a"), None) && !covers(Some("/a"), Some("/b")) && !covers(Some("/a"), Some("/ab")));
        assert!(!purge(6, None).covers(&purge(7, Some("/a"))));
    }
}
