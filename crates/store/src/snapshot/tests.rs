use super::*;
use crate::Ledger;
use crate::sample::{entries, grow, signed};
use ledger::{AnyFact, Store as _, decode};

fn snapshot(ledger: &Ledger, blob: &[u8]) -> Snapshot {
    let mut numbering = Numbering::default();
    for bytes in entries(0, ledger.head().size, "main") {
        numbering.accept(&decode::<AnyFact>(&bytes).unwrap()).unwrap();
    }
    let frontier = ledger.frontier().clone();
    Snapshot { fold_version: 3, state_hash: Digest::of(b"state"), frontier, numbering, blob: blob.to_vec() }
}

#[test]
fn the_newest_snapshot_that_fits_is_found() {
    let (_dir, place) = signed(10);
    let mut ledger = Ledger::open(&place).unwrap();
    assert_eq!(ledger.latest_snapshot(3), None);
    let older = snapshot(&ledger, b"older");
    ledger.put_snapshot(&older).unwrap();
    grow(&mut ledger, 300, "main");
    let newer = snapshot(&ledger, b"newer");
    ledger.put_snapshot(&newer).unwrap();
    drop(ledger);
    let ledger = Ledger::open(&place).unwrap();
    assert_eq!(ledger.latest_snapshot(3), Some(newer));
    assert_eq!(ledger.latest_snapshot(4), None, "another fold");

    let path = files(&place).remove(0);
    let mut content = fs::read(&path).unwrap();
    for at in (0..content.len()).step_by(5) {
        content[at] ^= 4;
        fs::write(&path, &content).unwrap();
        let found = ledger.latest_snapshot(3);
        assert!(found == Some(older.clone()), "byte {at}");
        content[at] ^= 4;
    }
    fs::write(&path, &content[..content.len() - 1]).unwrap();
    assert_eq!(ledger.latest_snapshot(3), Some(older));
}

#[test]
fn a_snapshot_of_another_history_or_of_the_future_is_passed_over() {
    let (_dir, place) = signed(10);
    let (_other_dir, other) = signed(0);
    let mut elsewhere = Ledger::open(&other).unwrap();
    grow(&mut elsewhere, 9, "other");
    let ledger = Ledger::open(&place).unwrap();
    ledger.put_snapshot(&snapshot(&elsewhere, b"of another history")).unwrap();
    assert_eq!(ledger.latest_snapshot(3), None);
    let mut ahead = Ledger::open(&Place::new(other.dir.join("ahead"))).unwrap();
    grow(&mut ahead, 20, "main");
    ledger.put_snapshot(&snapshot(&ahead, b"of the future")).unwrap();
    assert_eq!(ledger.latest_snapshot(3), None);
}

#[test]
fn only_the_newest_two_are_kept() {
    let (_dir, place) = signed(0);
    let mut ledger = Ledger::open(&place).unwrap();
    for size in 1..6 {
        grow(&mut ledger, size, "main");
        ledger.put_snapshot(&snapshot(&ledger, &[size as u8])).unwrap();
    }
    assert_eq!(files(&place).len(), KEPT);
    assert_eq!(ledger.latest_snapshot(3).unwrap().blob, [5]);
}
