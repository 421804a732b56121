//! The control plane is killed at every step of a rollout.

use crate::story::Story;
use control::change::Phase;
use model::Span;

/// A rollout in which the control plane dies as soon as the ledger has this many entries, before it acts on them, and is
/// started again a second later.
fn rollout(failing: f64, dies_at: Option<u64>, from_snapshot: bool) -> (Story, u64) {
    let mut s = Story::with_shop_running();
    let begun_at = s.world.audit.entries.len() as u64;
    s.version("v2").fails(failing);
    let snapshot = from_snapshot.then(|| s.world.serve.as_ref().unwrap().published.snapshot().unwrap());
    let serve = s.world.serve.as_mut().unwrap();
    // As few entries in each append as may ever be: whatever can be separated is.
    serve.commit_size = 1;
    serve.dies_at = dies_at.map(|k| begun_at + k);
    s.world.give(vec![s.request(crate::story::deploy("shop", "v2"))]);
    for _ in 0..3_000 {
        s.run(Span(100));
        if s.world.serve.is_none() {
            s.run(Span::seconds(1));
            s.world.start_control(snapshot.as_deref());
        }
        let open = s.state().changes.values().any(|c| c.phase.is_open());
        if !open && s.state().changes.len() > 2 && s.state().instances.len() == 2 {
            break;
        }
    }
    (s, begun_at)
}

/// What happened to the change, apart from when and with which figures.
fn steps(s: &Story) -> Vec<String> {
    let change = *s.state().changes.keys().next_back().unwrap();
    let without_figures = |line: &str| {
        let line = line.split_once("  ").map_or(line, |(_, what)| what);
        line.split_once(" (e-value ").or(line.split_once("; REL-")).map_or(line, |(what, _)| what).to_owned()
    };
    s.tale_of(change).lines().map(without_figures).collect()
}

fn is_the_same_wherever_it_is_killed(failing: f64, ends: Phase) {
    let (whole, begun_at) = rollout(failing, None, false);
    let expected = steps(&whole);
    let entries = whole.world.audit.entries.len() as u64 - begun_at;
    assert!(
        entries > 10 && whole.state().changes.values().next_back().unwrap().phase == ends,
        "{}",
        whole.everything()
    );
    for k in 1..=entries {
        let (s, _) = rollout(failing, Some(k), k % 2 == 0);
        let mut found = steps(&s);
        found.dedup();
        assert_eq!(found, expected, "killed after {k} entries:\n{}", s.everything());
        assert_eq!(s.lost(), 0, "killed after {k} entries");
    }
}

#[test]
fn a_good_rollout_ends_the_same_wherever_the_control_plane_is_killed() {
    is_the_same_wherever_it_is_killed(0.002, Phase::Succeeded);
}

#[test]
fn a_bad_rollout_ends_the_same_wherever_the_control_plane_is_killed() {
    is_the_same_wherever_it_is_killed(0.2, Phase::RolledBack);
}
