use crate::testing::{Bench, deploy};
use crate::{Input, State};
use model::{InstanceId, Span, Time};

/// Every point in time that something is measured from.
fn times(state: &State) -> Vec<Time> {
    let mut state = state.clone();
    let changes: Vec<_> = state.changes.values().filter(|c| c.phase.is_open()).map(|c| c.id).collect();
    let instances: Vec<InstanceId> = state.instances.keys().copied().collect();
    let mut all = Vec::new();
    for id in changes {
        all.extend(state.changes.get_mut(&id).unwrap().rollout.iter_mut().flat_map(|r| r.times_mut()).map(|t| *t));
    }
    for id in instances {
        all.extend(state.instances.get_mut(&id).unwrap().times_mut().into_iter().map(|t| *t));
    }
    all
}

#[test]
fn a_step_moves_every_open_time_and_nothing_that_is_over() {
    let mut b = Bench::with_shop();
    b.command(deploy("shop", "v2")).unwrap();
    b.settle();
    b.all_ready();
    b.settle();
    for by_ms in [3_600_000_i64, -1_800_000] {
        let before = b.state.clone();
        let drafts = crate::decide(&b.state, &b.observed, &b.policy, b.now, &Input::ClockStepped(by_ms)).unwrap();
        b.record(drafts);
        let moved: Vec<Time> = times(&before).iter().map(|t| Time(t.0.saturating_add_signed(by_ms))).collect();
        assert!(moved.len() > 8 && times(&b.state) == moved);
        let ended = |s: &State| s.changes.values().filter_map(|c| c.ended.clone()).collect::<Vec<_>>();
        assert_eq!(ended(&b.state), ended(&before));
    }
    b.now = b.now + Span(1_800_000);
    b.settle();
    assert!(b.state.changes[&b.last_change()].phase.is_open(), "no deadline has passed");
}
