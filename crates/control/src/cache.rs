//! What is purged of the responses that the data plane has stored of a service.
//!
//! A purge changes nothing that is intended and is no change: it waits for nobody, and cannot be undone. It is a fact that every
//! later route table carries, so that each data plane obeys it, also one that was away.
//!
//! What always holds: a service carries at most [`KEPT`] purges, and what was purged once is purged in every later table, as itself
//! or as a part of more.

use crate::{Code, Draft, Entry, Refusal, State, change::propose, fact};
use model::{Purge, ServiceKey};
use serde::{Deserialize, Serialize};

/// How many purges of a service every table carries. Of more, the two oldest become one of everything.
pub const KEPT: usize = 32;

/// The longest path that is purged, in bytes.
const MAX_PATH: usize = 512;

/// What can happen to stored responses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// Those that were stored before are given to nobody any more.
    Purged {
        /// Of which service.
        service: ServiceKey,
        /// Only those at this path, and below. `None`: all.
        path: Option<String>,
        /// Whether it is one too many: all that is older than the second of those before it is gone, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        with_older: bool,
    },
}

impl Fact {
    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Purged { service, path, with_older } => {
                let path = path.as_ref().map_or(String::new(), |path| format!(" at {path} and below"));
                let older =
                    if *with_older { format!(", and of all that is older than {KEPT} purges") } else { String::new() };
                format!("purged the cache of {service}{path}{older}")
            }
        }
    }
}

/// Drafts a purge.
pub(crate) fn decide(state: &State, key: &ServiceKey, path: Option<&str>) -> Result<Vec<Draft>, Refusal> {
    let service = propose::known(state, key)?;
    let invalid = |message: String, hint: &str| Err(Refusal::new(Code::Invalid, message, hint));
    if service.spec.traffic.cache.is_none() {
        return invalid(format!("{key} has no cache"), "`cache = \"64 MiB\"` under its `traffic` would give it one");
    }
    if let Some(path) = path {
        if path.len() > MAX_PATH {
            return invalid(format!("a path to purge may have at most {MAX_PATH} bytes"), "purge one above it");
        }
        let is_path = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
        if !is_path {
            return invalid(
                format!("`{}` is not a path to purge", path.escape_debug()),
                "begin with `/` and write it as an instance is asked for it, without a query: /img/logo.png",
            );
        }
    }
    let path = path.map(|path| path.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty());
    // What it covers, it replaces.
    let purge = Purge { generation: u64::MAX, path: path.clone() };
    let with_older = service.purges.iter().filter(|before| !purge.covers(before)).count() >= KEPT;
    let fact = Fact::Purged { service: key.clone(), path, with_older };
    Ok(vec![fact::draft(fact::service_stream(key), fact::Fact::Cache(fact))])
}

pub(crate) fn apply(state: &mut State, entry: &Entry, fact: &Fact) {
    match fact {
        Fact::Purged { service, path, .. } => {
            let Some(known) = state.services.get_mut(service) else { return };
            // That of the table which this entry makes.
            let purge = Purge { generation: entry.seq.0 + 1, path: path.clone() };
            known.purges.retain(|before| !purge.covers(before));
            known.purges.push(purge);
            if known.purges.len() > KEPT {
                known.purges.remove(0);
                known.purges.iter_mut().take(1).for_each(|oldest| oldest.path = None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
