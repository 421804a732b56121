//! Before a canary gets its first request: copies of requests, whose answers nobody sees.
//!
//! What fails more often than the requests it gets copies of is undone before it had one user. What does not, after as many
//! copies as were asked for, begins as every canary does; it is not proven by that, and nothing is promoted by it. Too few
//! copies are neither pass nor fail: it is held, until the deadline, and then becomes of it what becomes of whatever is undecided.

use super::{CopyTerms, Fact, Rollout, Until, draft, draft_undo};
use crate::{
    Draft, Observed,
    change::{Change, Outcome},
};
use judge::copies_fail_more;
use model::{Copies, OnDeadline, ReleaseId, Time};

/// From which part of a proof that its copies fail more often a release goes on with copies, though it has had enough.
const LEANING: f64 = 0.2;

/// How far the evidence is that the copies fail more often, and where it convinces: natural logarithms of e-values. `None`: it
/// is not judged.
pub(crate) fn proof(rollout: &Rollout, copies: &Copies) -> Option<[f64; 2]> {
    let false_alarm = rollout.terms.judgement.as_ref()?.false_alarm.as_f64();
    Some([copies_fail_more(copies.only_copy_failed, copies.only_user_failed), -false_alarm.ln()])
}

/// Why a release that gets copies must get no request: with the figures as a draft.
pub(super) fn against(
    observed: &Observed,
    change: &Change,
    rollout: &Rollout,
    from: ReleaseId,
) -> Option<(Draft, String)> {
    let copies = observed.copies(change.id).filter(|_| rollout.shadow.is_some())?;
    let [is, needed] = proof(rollout, copies)?;
    let because = || format!("copies fail more often with it than the requests themselves with {from}");
    (is >= needed).then(|| (compared(change, rollout, from, copies), because()))
}

/// The next step of a release that is ready and has had no request yet. `first_share`: what it gets first, as a canary.
pub(super) fn next(observed: &Observed, change: &Change, rollout: &Rollout, from: ReleaseId, now: Time) -> Vec<Draft> {
    let id = change.id;
    let canary = || draft(change, Fact::Stepped { change: id, step: 0, weight: rollout.terms.first_share() });
    let Some(CopyTerms { share, requests: wanted }) = rollout.terms.copies else { return vec![canary()] };
    if rollout.shadow.is_none() {
        return vec![draft(change, Fact::Shadowed { change: id, release: rollout.to, share, requests: wanted })];
    }
    // While the data plane is silent nothing is known, and everything stays as it is. One that says nothing of copies has made none.
    if observed.proxy.is_none() {
        return Vec::new();
    }
    let copies = observed.copies(id).cloned().unwrap_or_default();
    let leaning = proof(rollout, &copies).is_some_and(|[is, needed]| is > LEANING * needed);
    let judged = compared(change, rollout, from, &copies);
    if copies.compared() >= u64::from(wanted) && !leaning {
        return vec![judged, canary()];
    }
    if rollout.deadline.is_none_or(|deadline| now < deadline) {
        return Vec::new();
    }
    let few = format!("{} of {wanted} copies were compared", copies.compared());
    let because = format!("undecided at its deadline, before it had a request: {few}");
    match rollout.terms.on_deadline {
        OnDeadline::Rollback => vec![judged, draft_undo(change, because, Outcome::RolledBack)],
        OnDeadline::Promote if copies.compared() > 0 => vec![judged, canary()],
        // To go on with what nothing was seen of would be to fail open.
        OnDeadline::Hold | OnDeadline::Promote => match rollout.held {
            Some(_) => Vec::new(),
            None => vec![draft(change, Fact::Held { change: id, because, until: Until::Decided })],
        },
    }
}

fn compared(change: &Change, rollout: &Rollout, from: ReleaseId, copies: &Copies) -> Draft {
    let evidence = proof(rollout, copies).unwrap_or_default();
    let (to, copies) = (rollout.to, Box::new(copies.clone()));
    draft(change, Fact::Compared { change: change.id, from, to, copies, evidence })
}
