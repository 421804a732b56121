//! Services that nobody asks for sleep: none of their instances runs, until a request waits for one.
//!
//! Sleep is no change, and alters nothing that is intended. [`advance`] says who falls asleep and who wakes up; what follows is in its
//! place: no instance is wanted of a service that sleeps (`instance/placement.rs`), and its routes say for how long the data plane
//! holds requests ([`hold`], `route.rs`).
//!
//! What always holds: what is not known is not idleness, so nobody falls asleep while the data plane is silent or obeys an older table.
//! Whoever falls asleep is well, has no change under way, nothing in flight, and instances that have been ready for as long as
//! nobody asked, so that whatever woke it, it stays awake for that long.

use crate::{Code, Draft, Entry, Observed, Refusal, State, fact, service::Service};
use model::{ReleaseId, ServiceKey, ServiceSpec, Span, Time};
use serde::{Deserialize, Serialize};

/// The least time after which a service may fall asleep: sooner it would do little else than start and stop.
const SHORTEST: Span = Span::seconds(10);
/// For how long requests are held at most while a service wakes up, however long it may take.
const LONGEST_HOLD: Span = Span::minutes(1);

/// How a service rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Rest {
    /// None of its instances shall run.
    Asleep {
        /// Since when.
        since: Time,
    },
    /// They shall run again, and nothing has been heard of them yet.
    Waking {
        /// Since when.
        since: Time,
    },
}

impl Rest {
    /// The point in time that moves when the clock is set.
    pub(crate) fn time_mut(&mut self) -> &mut Time {
        match self {
            Rest::Asleep { since } | Rest::Waking { since } => since,
        }
    }
}

/// What can happen to a service that may sleep.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// None of its instances is needed for now.
    Slept {
        /// Which service.
        service: ServiceKey,
        /// Why.
        because: String,
    },
    /// Its instances are needed again.
    Woken {
        /// Which service.
        service: ServiceKey,
        /// Why.
        because: String,
    },
}

impl Fact {
    /// Which service it is about.
    pub const fn service(&self) -> &ServiceKey {
        match self {
            Fact::Slept { service, .. } | Fact::Woken { service, .. } => service,
        }
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Slept { service, because } => format!("{service} falls asleep: {because}"),
            Fact::Woken { service, because } => format!("{service} wakes up: {because}"),
        }
    }
}

/// Refuses what could never wake up, or would never rest.
pub(crate) fn check(key: &ServiceKey, spec: &ServiceSpec) -> Result<(), Refusal> {
    let Some(after) = spec.sleep_after else { return Ok(()) };
    let invalid = |message: String, hint: &str| Err(Refusal::new(Code::Invalid, message, hint));
    if after < SHORTEST {
        return invalid(
            format!("{key}: with sleep_after = {after} it would do little else than start and stop"),
            "use 10s or more; minutes, where it takes a while to start",
        );
    }
    if !spec.is_reached() {
        return invalid(
            format!("{key}: nothing would wake it up, because no request reaches it"),
            "give it routes or tcp, or take sleep_after out",
        );
    }
    Ok(())
}

/// Who falls asleep and who wakes up, as things are now.
pub(crate) fn advance(state: &State, observed: &Observed, now: Time) -> Vec<Draft> {
    let facts = state.services.iter().filter_map(|(key, service)| next_fact(state, observed, key, service, now));
    facts.map(|fact| fact::draft(fact::service_stream(fact.service()), fact::Fact::Sleep(fact))).collect()
}

fn next_fact(state: &State, observed: &Observed, key: &ServiceKey, service: &Service, now: Time) -> Option<Fact> {
    if service.removed {
        return None;
    }
    match service.rest {
        Some(Rest::Asleep { .. }) => {
            let because = match service.active {
                Some(change) => format!("{change} needs it"),
                None if observed.is_asked_for(key) => "a request waits for it".to_owned(),
                None => return None,
            };
            Some(Fact::Woken { service: key.clone(), because })
        }
        Some(Rest::Waking { .. }) | None => {
            let after = service.spec.sleep_after?;
            let because = format!("nobody has asked for it for {after}");
            is_idle(state, observed, key, service, after, now).then(|| Fact::Slept { service: key.clone(), because })
        }
    }
}

/// Whether a service is well, and nobody has asked for it for so long.
fn is_idle(state: &State, observed: &Observed, key: &ServiceKey, service: &Service, after: Span, now: Time) -> bool {
    let Some(running) = service.running.filter(|_| service.active.is_none()) else { return false };
    let obeys = observed.proxy.as_ref().is_some_and(|proxy| proxy.generation >= state.routes.generation);
    let is_rested = |i: &crate::instance::Instance| i.is_ready() && now.since(i.condition.since()) >= after;
    let instances = || state.instances_at(key);
    obeys
        && state.ready(running) >= service.spec.replicas
        && instances().all(is_rested)
        && observed.quiet(key, instances().map(|i| i.id)) >= Some(after)
}

/// For how long requests of a service are held when it has no instance; `None`: as long as those of all others.
pub(crate) fn hold(service: &Service) -> Option<Span> {
    service.rest.map(|_| service.spec.run.start_deadline.min(LONGEST_HOLD))
}

/// Whether a service shall have no instance for now.
pub(crate) const fn is_asleep(service: &Service) -> bool {
    matches!(service.rest, Some(Rest::Asleep { .. }))
}

/// Whether the instances of a service are needed again and nothing has been heard of them yet.
pub(crate) const fn is_waking(service: &Service) -> bool {
    matches!(service.rest, Some(Rest::Waking { .. }))
}

/// Whether a release has no instance only because nobody asks for its service.
pub(crate) fn rests(state: &State, release: ReleaseId) -> bool {
    let service = state.releases.get(&release).and_then(|known| state.services.get(&known.service));
    service.is_some_and(|service| service.running == Some(release) && service.rest.is_some())
}

/// Something was heard of an instance of a service: it is ready, or will not be soon. From then on it is like any other.
pub(crate) fn heard_of(state: &mut State, key: &ServiceKey) {
    if state.services.get(key).is_some_and(is_waking)
        && let Some(service) = state.services.get_mut(key)
    {
        service.rest = None;
    }
}

pub(crate) fn apply(state: &mut State, entry: &Entry, fact: &Fact) {
    let Some(service) = state.services.get_mut(fact.service()) else { return };
    let since = entry.time;
    service.rest = Some(match fact {
        Fact::Slept { .. } => Rest::Asleep { since },
        Fact::Woken { .. } => Rest::Waking { since },
    });
}

#[cfg(test)]
mod tests;
