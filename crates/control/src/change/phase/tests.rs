use super::*;
use std::collections::BTreeSet;

const ALL: [Phase; 10] = [
    Phase::WaitingApproval,
    Phase::Running,
    Phase::Paused,
    Phase::HoldingBack,
    Phase::Undoing,
    Phase::Succeeded,
    Phase::RolledBack,
    Phase::Failed,
    Phase::Cancelled,
    Phase::Superseded,
];

fn reachable(from: Phase) -> BTreeSet<String> {
    let mut found = BTreeSet::from([format!("{from:?}")]);
    loop {
        let before = found.len();
        for (a, _, b) in TRANSITIONS {
            if found.contains(&format!("{a:?}")) {
                found.insert(format!("{b:?}"));
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

#[test]
fn every_phase_is_reached_from_the_first() {
    assert_eq!(reachable(Phase::WaitingApproval).len(), ALL.len());
}

#[test]
fn every_open_phase_leads_to_an_end_and_no_end_leads_on() {
    for phase in ALL {
        let leads_on = TRANSITIONS.iter().any(|(from, _, _)| *from == phase);
        assert_eq!(leads_on, phase.is_open(), "{phase:?}");
        let ends = ALL.into_iter().filter(|end| !end.is_open() && reachable(phase).contains(&format!("{end:?}")));
        assert!(ends.count() > 0, "{phase:?}");
    }
}

#[test]
fn an_event_leads_to_one_phase_and_an_outcome_to_its_own() {
    for (i, (from, on, to)) in TRANSITIONS.iter().enumerate() {
        assert!(!TRANSITIONS[..i].iter().any(|(f, o, _)| f == from && o == on), "{from:?} {on:?}");
        if let Event::Finish(outcome) = on {
            assert_eq!(to.outcome(), Some(*outcome));
        } else {
            assert!(to.is_open());
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_what_can() {
    let refusal = Phase::Paused.check(ChangeId(3), Event::Pause).unwrap_err();
    assert_eq!(
        (refusal.code, refusal.to_string().as_str()),
        (Code::WrongPhase, "CHG-3 is paused; you can resume or promote or cancel it")
    );
    let refusal = Phase::Succeeded.check(ChangeId(3), Event::Undo).unwrap_err();
    assert_eq!(refusal.to_string(), "CHG-3 is succeeded; nothing can be done to it any more");
}

#[test]
fn the_diagram_in_the_documentation_is_the_table() {
    let page = include_str!("../../../../../docs/reference/change.md");
    assert!(page.contains(&diagram()), "docs/reference/change.md is out of date: run `cargo xtask gen`");
}
