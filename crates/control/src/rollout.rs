//! Rollouts: how requests move from the running release to a new one, and back when the evidence says so.
//!
//! [`Terms`] are what a rollout is begun on, [`Rollout`] is how far it is. Start reading at [`advance()`], which is the
//! whole policy.

mod advance;
mod ramp;
pub(crate) mod shadow;
mod terms;

use crate::{
    Draft, Entry, State,
    change::{self, Change, Outcome},
    fact, release, service,
};
pub use advance::CRASH_LOOP_EXITS;
pub(crate) use advance::{advance, decide_promote};
use model::{ArmFigures, ChangeId, Copies, Evidence, Ratio, ReleaseId, Time, Verdict};
use serde::{Deserialize, Serialize};
pub(crate) use terms::instances;
pub use terms::{CopyTerms, Terms};

/// How far a rollout is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rollout {
    /// The release that had the requests before.
    pub from: Option<ReleaseId>,
    /// The release that shall have them.
    pub to: ReleaseId,
    /// The terms it was begun on.
    pub terms: Terms,
    /// When it was begun.
    pub begun_at: Time,
    /// Since when the new release gets copies of requests; `None` when it does not, or not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Time>,
    /// Which step it is at, from 0; `None` while the new instances are starting or get copies.
    pub step: Option<u32>,
    /// The new release's share at this step.
    pub weight: Ratio,
    /// When this step was taken, or the rollout begun or promoted.
    pub step_at: Time,
    /// When the first step was taken.
    #[serde(default)]
    pub first_step_at: Option<Time>,
    /// When it must be decided.
    pub deadline: Option<Time>,
    /// Since when its deadline stands still, because it is paused or held by an outage.
    pub stopped_at: Option<Time>,
    /// Why it takes no steps for now, when Quarterdeck itself holds it.
    pub held: Option<Held>,
    /// Why it is being undone, and what to call that when it is done.
    pub undo: Option<Undo>,
    /// What was usual before the promotion, to compare with while the old release is kept warm.
    #[serde(default)]
    pub baseline: Option<ArmFigures>,
}

/// Why Quarterdeck itself holds a rollout where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// One sentence.
    pub because: String,
    /// What must happen for it to go on.
    pub until: Until,
}

/// What must happen for a held rollout to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Until {
    /// What both releases share must work again.
    OutageEnds,
    /// The evidence must convince after all, or a person must decide: its deadline has passed.
    Decided,
}

/// Why a rollout is being undone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undo {
    /// One sentence.
    pub because: String,
    /// How the change will have ended.
    pub outcome: Outcome,
}

impl Rollout {
    /// The points in time that move when the clock is set.
    pub(crate) fn times_mut(&mut self) -> Vec<&mut Time> {
        let mut times = vec![&mut self.begun_at, &mut self.step_at];
        times.extend(self.shadow.as_mut());
        times.extend(self.first_step_at.as_mut());
        times.extend(self.deadline.as_mut());
        times.extend(self.stopped_at.as_mut());
        times
    }

    /// The deadline stands still from now on, if it did not before.
    pub(crate) fn stop_clock(&mut self, now: Time) {
        self.stopped_at.get_or_insert(now);
    }

    /// The deadline moves again: what was left of it is still left.
    pub(crate) fn start_clock(&mut self, now: Time) {
        if let Some(stopped_at) = self.stopped_at.take()
            && let Some(deadline) = &mut self.deadline
        {
            *deadline = *deadline + now.since(stopped_at);
        }
    }

    /// Whether something all releases share is failing.
    pub(crate) fn in_outage(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.until == Until::OutageEnds)
    }

    /// When the old release need not be kept warm any more.
    pub fn warm_until(&self) -> Time {
        self.step_at + self.terms.hold_back
    }
}

/// What can happen to a rollout.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// It is under way.
    Begun {
        /// Of which change.
        change: ChangeId,
        /// The release that had the requests before.
        from: Option<ReleaseId>,
        /// The release that shall have them.
        to: ReleaseId,
        /// On which terms.
        terms: Terms,
    },
    /// The new release gets copies of requests from now on, and no request.
    Shadowed {
        /// Of which change.
        change: ChangeId,
        /// The new release.
        release: ReleaseId,
        /// Of which share of the requests that may be copied.
        share: Ratio,
        /// How many are to be compared.
        requests: u32,
    },
    /// What became of the copies decides.
    Compared {
        /// Of which change.
        change: ChangeId,
        /// The release that answers the requests.
        from: ReleaseId,
        /// The release that got copies.
        to: ReleaseId,
        /// What became of them.
        copies: Box<Copies>,
        /// The natural logarithm of the evidence (e-value) that copies fail more often, and where it convinces.
        evidence: [f64; 2],
    },
    /// The new release gets this share from now on.
    Stepped {
        /// Of which change.
        change: ChangeId,
        /// Which step, from 0.
        step: u32,
        /// The share.
        weight: Ratio,
    },
    /// Quarterdeck itself holds it where it is.
    Held {
        /// Of which change.
        change: ChangeId,
        /// Why.
        because: String,
        /// What must happen for it to go on.
        until: Until,
    },
    /// The reason to hold it is gone.
    Released {
        /// Of which change.
        change: ChangeId,
    },
    /// The evidence convinces.
    Judged {
        /// Of which change.
        change: ChangeId,
        /// The release that had the requests before.
        from: ReleaseId,
        /// The release that was judged.
        to: ReleaseId,
        /// The verdict with its figures.
        evidence: Box<Evidence>,
    },
    /// The new release gets all requests.
    Promoted {
        /// Of which change.
        change: ChangeId,
        /// Which release.
        release: ReleaseId,
        /// Why.
        because: String,
        /// Whether real requests showed that it is good.
        proven: bool,
        /// What was usual before, to compare with while the old release is kept warm.
        #[serde(default)]
        baseline: Option<ArmFigures>,
        /// The share of the requests that the old release keeps meanwhile.
        #[serde(default)]
        old_keeps: Ratio,
    },
    /// It begins to be undone: the new release gets no requests any more.
    Undone {
        /// Of which change.
        change: ChangeId,
        /// The release that loses its requests.
        release: ReleaseId,
        /// Why.
        because: String,
        /// How the change will have ended.
        outcome: Outcome,
    },
}

impl Fact {
    /// Which change it belongs to.
    pub const fn change(&self) -> ChangeId {
        match self {
            Fact::Begun { change, .. }
            | Fact::Shadowed { change, .. }
            | Fact::Compared { change, .. }
            | Fact::Stepped { change, .. }
            | Fact::Held { change, .. }
            | Fact::Released { change }
            | Fact::Judged { change, .. }
            | Fact::Promoted { change, .. }
            | Fact::Undone { change, .. } => *change,
        }
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Fact::Begun { from: Some(from), to, terms, .. } => {
                format!("{to} begins to take over from {from} ({})", terms.strategy)
            }
            Fact::Begun { from: None, to, .. } => format!("{to} begins; nothing ran before"),
            Fact::Shadowed { release, share, requests, .. } => {
                format!(
                    "{release} gets copies of {share} of the safe requests until {requests} are compared, and no request"
                )
            }
            Fact::Compared { from, to, copies, evidence: [is, needed], .. } => {
                let verdict = match is >= needed {
                    true => format!("{to} fails more often"),
                    false => format!("nothing shows that {to} fails more often"),
                };
                let strength = format!("e-value {:.0}, {:.0} needed", is.exp(), needed.exp());
                format!("judged by copies: {verdict} ({strength}); {}", copies.sentence(*from, *to))
            }
            Fact::Stepped { weight, .. } => format!("the new release gets {weight} of the requests"),
            Fact::Held { because, .. } => format!("held: {because}"),
            Fact::Released { .. } => "goes on".to_owned(),
            Fact::Judged { from, to, evidence, .. } => {
                let verdict = match evidence.verdict {
                    Verdict::Worse(metric) => format!("{to} is worse by its {metric}"),
                    Verdict::NotWorse => format!("{to} is not worse"),
                    Verdict::BeyondLimit(limit) => format!("{to} breaks “{limit}”"),
                    Verdict::ExposureSpent => "undecided, and its exposure budget is spent".to_owned(),
                    Verdict::SharedOutage => "both releases got worse together".to_owned(),
                    Verdict::Undecided => "undecided".to_owned(),
                    Verdict::NoData => "no data".to_owned(),
                };
                let strength = evidence
                    .e_value()
                    .map_or(String::new(), |[is, needed]| format!(" (e-value {is:.0}, {needed:.0} needed)"));
                format!("judged: {verdict}{strength}; {}", evidence.sentence(*from, *to))
            }
            Fact::Promoted { release, because, old_keeps: Ratio::ZERO, .. } => {
                format!("{release} gets all requests: {because}")
            }
            Fact::Promoted { release, because, old_keeps, .. } => {
                let share = old_keeps.complement();
                format!("{release} gets {share} of the requests, the old release keeps the rest for now: {because}")
            }
            Fact::Undone { release, because, .. } => format!("{release} gets no requests any more: {because}"),
        }
    }
}

fn draft(change: &Change, fact: Fact) -> Draft {
    fact::draft(fact::change_stream(change.id), fact::Fact::Rollout(fact)).caused_by(change.last)
}

pub(crate) fn draft_begin(change: ChangeId, from: Option<ReleaseId>, to: ReleaseId, terms: Terms) -> Draft {
    fact::draft(fact::change_stream(change), fact::Fact::Rollout(Fact::Begun { change, from, to, terms }))
}

/// The draft that begins to undo a change's rollout; the change must have one.
pub(crate) fn draft_undo(change: &Change, because: String, outcome: Outcome) -> Draft {
    let release = change.rollout.as_ref().map_or(ReleaseId(0), |r| r.to);
    draft(change, Fact::Undone { change: change.id, release, because, outcome })
}

pub(crate) fn apply(state: &mut State, entry: &Entry, fact: &Fact) {
    let Some(change) = state.changes.get_mut(&fact.change()) else { return };
    change.last = entry.seq;
    if let Fact::Begun { from, to, terms, .. } = fact {
        change.rollout = Some(Rollout {
            from: *from,
            to: *to,
            terms: terms.clone(),
            begun_at: entry.time,
            shadow: None,
            step: None,
            weight: Ratio::ZERO,
            step_at: entry.time,
            first_step_at: None,
            deadline: None,
            stopped_at: None,
            held: None,
            undo: None,
            baseline: None,
        });
        return;
    }
    let Some(rollout) = &mut change.rollout else { return };
    match fact {
        Fact::Begun { .. } | Fact::Compared { .. } | Fact::Judged { .. } => {}
        Fact::Shadowed { .. } => {
            rollout.shadow = Some(entry.time);
            rollout.step_at = entry.time;
            rollout.deadline = rollout.terms.deadline.map(|span| entry.time + span);
        }
        Fact::Stepped { step, weight, .. } => {
            if rollout.step.is_none() {
                rollout.shadow = None;
                rollout.held = None;
                rollout.first_step_at = Some(entry.time);
                rollout.deadline = rollout.terms.deadline.map(|span| entry.time + span);
            }
            rollout.step = Some(*step);
            rollout.weight = *weight;
            rollout.step_at = entry.time;
        }
        Fact::Held { because, until, .. } => {
            rollout.held = Some(Held { because: because.clone(), until: *until });
            if *until == Until::OutageEnds {
                rollout.stop_clock(entry.time);
            }
        }
        Fact::Released { .. } => {
            rollout.held = None;
            rollout.step_at = entry.time;
            rollout.start_clock(entry.time);
        }
        Fact::Promoted { release, proven, baseline, old_keeps, .. } => {
            rollout.shadow = None;
            rollout.weight = old_keeps.complement();
            rollout.baseline.clone_from(baseline);
            rollout.step_at = entry.time;
            rollout.held = None;
            change.phase = change.phase.after(change::phase::Event::Promote);
            let from = rollout.from;
            if let Some(service) = state.services.get_mut(&change.service) {
                service::trust(service, *release, from, &state.releases);
            }
            if *proven {
                release::set_standing(state, *release, release::Standing::Proven);
            }
        }
        Fact::Undone { release, because, outcome, .. } => {
            rollout.shadow = None;
            rollout.weight = Ratio::ZERO;
            rollout.step_at = entry.time;
            rollout.undo = Some(Undo { because: because.clone(), outcome: *outcome });
            change.phase = change.phase.after(change::phase::Event::Undo);
            let (from, before) = (rollout.from, change.before.clone());
            if let Some(service) = state.services.get_mut(&change.service) {
                service::distrust(service, *release, from);
                service::restore(service, before);
            }
        }
    }
}
