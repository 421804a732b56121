//! Releases: immutable versions of a service, and what became known of each.

use crate::{State, change};
use model::{Digest, ReleaseId, RunSpec, ServiceKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// How many releases of a service are kept beside those in use, newest first.
const KEPT_RELEASES: usize = 5;

/// A release.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Of which service.
    pub service: ServiceKey,
    /// What was built.
    pub artifact: Digest,
    /// How it is run.
    pub run: Arc<RunSpec>,
    /// What people call it.
    pub label: Option<String>,
    /// What is known of it.
    pub standing: Standing,
}

/// What is known of a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing yet.
    New,
    /// Real requests were served well: it may be returned to.
    Proven,
    /// It was undone.
    Undone,
}

/// What can happen to a release.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// It exists.
    Created {
        /// Its id.
        release: ReleaseId,
        /// Of which service.
        service: ServiceKey,
        /// What was built.
        artifact: Digest,
        /// How it is run.
        run: Arc<RunSpec>,
        /// What people call it.
        label: Option<String>,
    },
}

impl Fact {
    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Created { release, service, artifact, run, label } => {
                let label = label.as_ref().map_or(String::new(), |l| format!(" “{l}”"));
                let config = Digest::of_value(run);
                format!(
                    "{release}{label} of {service}: artifact {}, configuration {}",
                    artifact.short(),
                    config.short()
                )
            }
        }
    }
}

pub(crate) fn apply(state: &mut State, fact: &Fact) {
    match fact {
        Fact::Created { release, service, artifact, run, label } => {
            state.next.release = ReleaseId(state.next.release.0.max(release.0 + 1));
            let new = Release {
                service: service.clone(),
                artifact: *artifact,
                run: run.clone(),
                label: label.clone(),
                standing: Standing::New,
            };
            state.releases.insert(*release, new);
            if let Some(known) = state.services.get_mut(service) {
                known.releases.push(*release);
            }
            forget_old(state, service);
        }
    }
}

/// Records what became known of a release.
pub(crate) fn set_standing(state: &mut State, release: ReleaseId, standing: Standing) {
    if let Some(known) = state.releases.get_mut(&release) {
        known.standing = standing;
    }
}

/// Forgets releases of a service that nobody can return to: not running, not in a change that is open, not the rollback
/// target, without instances, and older than the last few.
fn forget_old(state: &mut State, key: &ServiceKey) {
    let Some(service) = state.services.get(key).filter(|s| s.releases.len() > KEPT_RELEASES) else { return };
    let mut wanted: BTreeSet<ReleaseId> = state.instances_at(key).map(|i| i.release).collect();
    wanted.extend(service.running);
    wanted.extend(service.rollback_target(&state.releases));
    for change in state.open_changes().filter(|c| c.service == *key) {
        wanted.extend(change.rollout.iter().flat_map(|r| r.from.into_iter().chain([r.to])));
        if let change::Kind::Rollback { to } = &change.kind {
            wanted.insert(*to);
        }
    }
    let old: Vec<_> =
        service.releases.iter().rev().skip(KEPT_RELEASES).filter(|id| !wanted.contains(*id)).copied().collect();
    for id in &old {
        state.releases.remove(id);
    }
    if let Some(service) = state.services.get_mut(key) {
        service.releases.retain(|id| !old.contains(id));
        service.history.retain(|id| !old.contains(id));
    }
}

/// The artifacts that must stay on disk: those of every release that is known, and those that waiting changes name.
pub fn kept_artifacts(state: &State) -> Vec<Digest> {
    let waiting = state.open_changes().filter_map(|c| c.kind.artifact());
    let kept: BTreeSet<Digest> = state.releases.values().map(|r| r.artifact).chain(waiting).collect();
    kept.into_iter().collect()
}
