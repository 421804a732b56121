//! Instances: the running copies, from being placed to being gone.
//!
//! [`advance`] turns what the driver sees into facts, [`placement`] places and retires until the number is right,
//! [`actions`] says what the driver should do about it. A driver that is late, silent or repeats itself does no harm:
//! whatever it reports of an earlier attempt is ignored, and what it does not know is asked for again.

mod actions;
mod placement;

use crate::{Draft, Entry, Observed, State, fact, sleep};
pub(crate) use actions::{longest_stop, plan};
use model::{Address, Exit, InstanceId, InstanceSeen, Phase, ReleaseId, ServiceKey, Span, Time};
pub(crate) use placement::settle;
use serde::{Deserialize, Serialize};

/// The wait before the first restart; doubled for each exit in a row.
const RESTART_DELAY: Span = Span(500);
/// The longest wait before a restart.
const RESTART_DELAY_MAX: Span = Span::minutes(1);
/// An instance that was ready for this long and exits has not exited "in a row".
const STABLE: Span = Span::minutes(1);

/// An instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Of which service.
    pub service: ServiceKey,
    /// Of which release.
    pub release: ReleaseId,
    /// When it was placed.
    pub placed_at: Time,
    /// Which run of it, from 1.
    pub attempt: u32,
    /// How it is.
    pub condition: Condition,
    /// How often in a row it exited without having been ready for a while. Being lost does not count.
    pub exits: u32,
    /// How it ended the last time.
    pub last_exit: Option<String>,
    /// When it was told to drain and stop, if it was.
    pub retired: Option<Retired>,
}

/// How an instance is, as far as is certain.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Condition {
    /// Shall run; was not ready yet in this attempt.
    Starting {
        /// Since when.
        since: Time,
    },
    /// Ready for requests.
    Ready {
        /// Since when.
        since: Time,
        /// Where it listens.
        address: Option<Address>,
    },
    /// Was ready, is not now.
    Unready {
        /// Since when.
        since: Time,
        /// What its check said.
        why: String,
    },
    /// Runs, but shall be stopped and started again.
    Condemned {
        /// Since when.
        since: Time,
        /// Why.
        why: String,
    },
    /// Not running.
    Ended {
        /// Since when.
        since: Time,
        /// When it shall be started again.
        restart_at: Time,
    },
    /// Could not be started.
    Failed {
        /// Since when.
        since: Time,
        /// Why.
        why: String,
        /// When that shall be tried again.
        restart_at: Time,
    },
}

impl Condition {
    /// Since when it is so.
    pub const fn since(&self) -> Time {
        match self {
            Condition::Starting { since }
            | Condition::Ready { since, .. }
            | Condition::Unready { since, .. }
            | Condition::Condemned { since, .. }
            | Condition::Ended { since, .. }
            | Condition::Failed { since, .. } => *since,
        }
    }

    /// One word for people.
    pub const fn word(&self) -> &'static str {
        match self {
            Condition::Starting { .. } => "starting",
            Condition::Ready { .. } => "ready",
            Condition::Unready { .. } => "unready",
            Condition::Condemned { .. } => "restarting",
            Condition::Ended { .. } => "exited",
            Condition::Failed { .. } => "failed",
        }
    }
}

/// When an instance was retired, and from which route table on it gets no new requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retired {
    /// When.
    pub at: Time,
    /// The first generation without it.
    pub generation: u64,
}

impl Instance {
    /// Whether it is ready for requests and meant to stay.
    pub fn is_ready(&self) -> bool {
        self.retired.is_none() && matches!(self.condition, Condition::Ready { .. })
    }

    /// Whether it has not exited by itself lately: never in a row, or it has been ready for a while since.
    pub(crate) fn is_steady(&self, now: Time) -> bool {
        self.exits == 0 || was_stable(self, now)
    }

    /// Where it takes requests: only when it is ready and meant to stay.
    pub fn endpoint(&self) -> Option<&Address> {
        match &self.condition {
            Condition::Ready { address, .. } if self.retired.is_none() => address.as_ref(),
            Condition::Ready { .. }
            | Condition::Starting { .. }
            | Condition::Unready { .. }
            | Condition::Condemned { .. }
            | Condition::Ended { .. }
            | Condition::Failed { .. } => None,
        }
    }

    /// Why it could not be started, when that is its condition.
    pub(crate) fn failed_to_start(&self) -> Option<&str> {
        if let Condition::Failed { why, .. } = &self.condition { Some(why) } else { None }
    }

    /// What keeps it from being ready, for people.
    pub fn waiting_for(&self, observed: &Observed) -> String {
        let seen = observed.instances.as_ref().and_then(|all| all.get(&self.id));
        match (&self.condition, seen.map(|s| &s.phase)) {
            (Condition::Starting { .. }, Some(Phase::Starting(why))) if !why.is_empty() => cut(why),
            (Condition::Unready { why, .. } | Condition::Condemned { why, .. } | Condition::Failed { why, .. }, _) => {
                why.clone()
            }
            (Condition::Ended { .. }, _) => self.last_exit.clone().unwrap_or_default(),
            (condition, _) => condition.word().to_owned(),
        }
    }

    pub(crate) fn times_mut(&mut self) -> Vec<&mut Time> {
        let mut times = match &mut self.condition {
            Condition::Starting { since }
            | Condition::Ready { since, .. }
            | Condition::Unready { since, .. }
            | Condition::Condemned { since, .. } => vec![since],
            Condition::Ended { since, restart_at } | Condition::Failed { since, restart_at, .. } => {
                vec![since, restart_at]
            }
        };
        times.push(&mut self.placed_at);
        times.extend(self.retired.as_mut().map(|r| &mut r.at));
        times
    }
}

/// What can happen to an instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// It shall run.
    Placed {
        /// Its id.
        instance: InstanceId,
        /// Of which service.
        service: ServiceKey,
        /// Of which release.
        release: ReleaseId,
    },
    /// It is ready for requests.
    Ready {
        /// Which one.
        instance: InstanceId,
        /// Where it listens.
        address: Option<Address>,
    },
    /// Its readiness check fails.
    Unready {
        /// Which one.
        instance: InstanceId,
        /// What the check said.
        why: String,
    },
    /// It shall be stopped and started again.
    Condemned {
        /// Which one.
        instance: InstanceId,
        /// Why.
        why: String,
    },
    /// It ended without being asked to.
    Ended {
        /// Which one.
        instance: InstanceId,
        /// How.
        exit: Exit,
        /// When it shall be started again.
        restart_at: Time,
    },
    /// It could not be started.
    Failed {
        /// Which one.
        instance: InstanceId,
        /// Why.
        why: String,
        /// When that shall be tried again.
        restart_at: Time,
    },
    /// It shall be started again.
    Restarted {
        /// Which one.
        instance: InstanceId,
        /// Which run of it this is.
        attempt: u32,
    },
    /// It gets no new requests, and shall be stopped when those it has are done.
    Retired {
        /// Which one.
        instance: InstanceId,
        /// Why.
        because: String,
    },
    /// It was stopped because Quarterdeck stops, and shall be started again with it. That says nothing of the instance.
    Halted {
        /// Which one.
        instance: InstanceId,
    },
    /// It was retired and runs no more.
    Gone {
        /// Which one.
        instance: InstanceId,
    },
}

impl Fact {
    /// Which instance it is about.
    pub const fn instance(&self) -> InstanceId {
        match self {
            Fact::Placed { instance, .. }
            | Fact::Ready { instance, .. }
            | Fact::Unready { instance, .. }
            | Fact::Condemned { instance, .. }
            | Fact::Ended { instance, .. }
            | Fact::Failed { instance, .. }
            | Fact::Restarted { instance, .. }
            | Fact::Retired { instance, .. }
            | Fact::Halted { instance }
            | Fact::Gone { instance } => *instance,
        }
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Placed { instance, release, .. } => format!("{instance} of {release} shall run"),
            Fact::Ready { instance, .. } => format!("{instance} is ready"),
            Fact::Unready { instance, why } => format!("{instance} is not ready any more: {why}"),
            Fact::Condemned { instance, why } => format!("{instance} shall be restarted: {why}"),
            Fact::Ended { instance, exit, .. } => format!("{instance} {exit}"),
            Fact::Failed { instance, why, .. } => format!("{instance} could not be started: {why}"),
            Fact::Restarted { instance, attempt } => format!("{instance} is started again (run {attempt})"),
            Fact::Retired { instance, because } => format!("{instance} drains and stops: {because}"),
            Fact::Halted { instance } => format!("{instance} is stopped together with Quarterdeck"),
            Fact::Gone { instance } => format!("{instance} is gone"),
        }
    }
}

/// A draft in the story of the change that moves this release, or else of the service.
fn draft(state: &State, service: &ServiceKey, release: ReleaseId, fact: Fact) -> Draft {
    let change = state
        .active_change(service)
        .filter(|c| c.rollout.as_ref().is_none_or(|r| r.to == release || r.from == Some(release)));
    let stream = change.map_or_else(|| fact::service_stream(service), |c| fact::change_stream(c.id));
    let draft = fact::draft(stream, fact::Fact::Instance(fact));
    match change {
        Some(change) => draft.caused_by(change.last),
        None => draft,
    }
}

/// The facts that follow from what the driver sees and from the time.
pub(crate) fn advance(state: &State, observed: &Observed, now: Time) -> Vec<Draft> {
    let Some(seen) = &observed.instances else { return Vec::new() };
    let facts = state.instances.values().filter_map(|i| Some((i, next_fact(state, i, seen.get(&i.id), now)?)));
    facts.map(|(i, fact)| draft(state, &i.service, i.release, fact)).collect()
}

/// The facts of Quarterdeck stopping everything it runs: to be recorded before anything is stopped, so that the next
/// start does not take it for instances that crash.
pub(crate) fn halt(state: &State) -> Vec<Draft> {
    let meant_to_run = |i: &&Instance| {
        i.retired.is_none() && !matches!(i.condition, Condition::Ended { .. } | Condition::Failed { .. })
    };
    let halted = state.instances.values().filter(meant_to_run);
    halted.map(|i| draft(state, &i.service, i.release, Fact::Halted { instance: i.id })).collect()
}

fn next_fact(state: &State, i: &Instance, seen: Option<&InstanceSeen>, now: Time) -> Option<Fact> {
    let instance = i.id;
    if let Condition::Ended { restart_at, .. } | Condition::Failed { restart_at, .. } = &i.condition {
        return match i.retired {
            Some(_) => Some(Fact::Gone { instance }),
            None => (now >= *restart_at).then(|| Fact::Restarted { instance, attempt: i.attempt + 1 }),
        };
    }
    if i.retired.is_some() {
        // It was never started, or has ended, in whichever attempt.
        return seen.is_none_or(|s| !s.runs()).then_some(Fact::Gone { instance });
    }
    let restart_at = now + restart_delay(i, now);
    let seen = match seen {
        Some(seen) if seen.attempt == i.attempt => seen,
        // The driver is ahead: this ledger is older than one that had it start more.
        Some(seen) if seen.attempt > i.attempt => return Some(Fact::Restarted { instance, attempt: seen.attempt }),
        Some(_) => return None,
        // It was there and the driver has lost it: after a reboot, say.
        None if !matches!(i.condition, Condition::Starting { .. }) => {
            return Some(Fact::Ended { instance, exit: Exit::Lost, restart_at });
        }
        None => return None,
    };
    match (&seen.phase, &i.condition) {
        (Phase::Exited(exit), _) => Some(Fact::Ended { instance, exit: exit.clone(), restart_at }),
        (Phase::Failed(why), _) => Some(Fact::Failed { instance, why: cut(why), restart_at }),
        (_, Condition::Condemned { .. }) => None,
        (Phase::Ready, Condition::Ready { .. }) => None,
        (Phase::Ready, _) => Some(Fact::Ready { instance, address: seen.address.clone() }),
        (Phase::Unready(why), Condition::Ready { .. }) => Some(Fact::Unready { instance, why: cut(why) }),
        (Phase::Stopping, Condition::Ready { .. }) => {
            Some(Fact::Unready { instance, why: "it was told to stop".to_owned() })
        }
        (Phase::Dead(why), _) => Some(Fact::Condemned { instance, why: cut(why) }),
        // Of a release that is taking over, the rollout is the judge.
        (Phase::Starting(why), Condition::Starting { since }) if !takes_over(state, i) => {
            let limit = state.releases.get(&i.release)?.run.start_deadline;
            let why = cut(&format!("it was not ready within {limit}: {why}"));
            (now.since(*since) > limit).then_some(Fact::Condemned { instance, why })
        }
        (Phase::Starting(_) | Phase::Unready(_) | Phase::Stopping, _) => None,
    }
}

/// Whether an instance is of a release that is being rolled out.
fn takes_over(state: &State, i: &Instance) -> bool {
    let rollout = state.active_change(&i.service).and_then(|change| change.rollout.as_ref());
    rollout.is_some_and(|r| r.to == i.release)
}

/// As much of what a program or a driver said as belongs in a ledger.
fn cut(text: &str) -> String {
    const MOST: usize = 500;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}

fn restart_delay(i: &Instance, now: Time) -> Span {
    let exits = if was_stable(i, now) { 0 } else { i.exits };
    Span((RESTART_DELAY.0 << exits.min(10)).min(RESTART_DELAY_MAX.0))
}

fn was_stable(i: &Instance, now: Time) -> bool {
    matches!(&i.condition, Condition::Ready { since, .. } | Condition::Unready { since, .. } if now.since(*since) >= STABLE)
}

pub(crate) fn apply(state: &mut State, entry: &Entry, fact: &Fact) {
    let now = entry.time;
    if let Fact::Placed { instance, service, release } = fact {
        state.next.instance = InstanceId(state.next.instance.0.max(instance.0 + 1));
        let new = Instance {
            id: *instance,
            service: service.clone(),
            release: *release,
            placed_at: now,
            attempt: 1,
            condition: Condition::Starting { since: now },
            exits: 0,
            last_exit: None,
            retired: None,
        };
        state.instances.insert(*instance, new);
        state.placed.entry(service.clone()).or_default().push(*instance);
        return;
    }
    if let Fact::Gone { instance } = fact {
        if let Some(gone) = state.instances.remove(instance)
            && let Some(others) = state.placed.get_mut(&gone.service)
        {
            others.retain(|id| id != instance);
            if others.is_empty() {
                state.placed.remove(&gone.service);
            }
        }
        return;
    }
    let generation = state.routes.generation;
    let Some(i) = state.instances.get_mut(&fact.instance()) else { return };
    match fact {
        Fact::Placed { .. } | Fact::Gone { .. } => {}
        Fact::Halted { .. } => i.condition = Condition::Ended { since: now, restart_at: now },
        Fact::Ready { address, .. } => i.condition = Condition::Ready { since: now, address: address.clone() },
        Fact::Unready { why, .. } => i.condition = Condition::Unready { since: now, why: why.clone() },
        Fact::Condemned { why, .. } => i.condition = Condition::Condemned { since: now, why: why.clone() },
        Fact::Ended { exit, restart_at, .. } => {
            i.exits = match exit {
                // It says nothing about the program: the machine, or whoever was to start it, went away.
                Exit::Lost => {
                    if was_stable(i, now) {
                        0
                    } else {
                        i.exits
                    }
                }
                Exit::Status(_) | Exit::Signal(_) | Exit::OutOfMemory if was_stable(i, now) => 1,
                Exit::Status(_) | Exit::Signal(_) | Exit::OutOfMemory => i.exits + 1,
            };
            i.last_exit = Some(exit.to_string());
            i.condition = Condition::Ended { since: now, restart_at: *restart_at };
        }
        Fact::Failed { why, restart_at, .. } => {
            i.exits += 1;
            i.last_exit = Some(format!("could not be started: {why}"));
            i.condition = Condition::Failed { since: now, why: why.clone(), restart_at: *restart_at };
        }
        Fact::Restarted { attempt, .. } => {
            i.attempt = *attempt;
            i.condition = Condition::Starting { since: now };
        }
        Fact::Retired { .. } => i.retired = Some(Retired { at: now, generation }),
    }
    if i.retired.is_none() {
        let service = i.service.clone();
        sleep::heard_of(state, &service);
    }
}
