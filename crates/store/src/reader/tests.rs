use super::*;
use crate::Ledger;
use crate::sample::{copy, entries, grow, restore, signed};
use ledger::{Store, leaf_hash};
use rusqlite::Connection;
use std::fs;

/// Does something to the database behind the ledger's back.
fn tamper(place: &Place, sql: &str) {
    Connection::open(place.database()).unwrap().execute_batch(sql).unwrap();
}

fn wrong(place: &Place) -> Wrong {
    match verify_live(place, None, |_| ()) {
        Err(Error::Damaged { wrong, .. }) => wrong,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_alters_the_database_is_found_and_the_entry_named() {
    let sound = signed(600);
    let hash = leaf_hash(b"x").to_string();
    type Named = fn(&Wrong) -> bool;
    let cases: [(String, Named); 9] = [
        ("UPDATE entry SET bytes = CAST(x'00' || substr(bytes, 2) AS BLOB) WHERE seq = 17".into(), |w| matches!(w, Wrong::Altered { seq: Seq(17), .. })),
        (format!("UPDATE entry SET leaf = x'{hash}' WHERE seq = 18"), |w| matches!(w, Wrong::Altered { seq: Seq(18), .. })),
        (format!("UPDATE entry SET leaf = x'{hash}', bytes = CAST('x' AS BLOB) WHERE seq = 19"), |w| matches!(w, Wrong::Misplaced { seq: Seq(19), .. })),
        ("DELETE FROM entry WHERE seq = 599".into(), |w| matches!(w, Wrong::Truncated { has: Seq(599), signed: 600 })),
        ("DELETE FROM entry WHERE seq > 99".into(), |w| matches!(w, Wrong::Truncated { has: Seq(100), signed: 600 })),
        ("DELETE FROM entry WHERE seq = 20".into(), |w| matches!(w, Wrong::Missing { seq: Seq(20) })),
        (
            "UPDATE entry SET seq = 1000 WHERE seq = 30; UPDATE entry SET seq = 30 WHERE seq = 31; UPDATE entry SET seq = 31 WHERE seq = 1000".into(),
            |w| matches!(w, Wrong::Misplaced { seq: Seq(30), .. }),
        ),
        ("INSERT INTO entry SELECT 600, leaf, bytes FROM entry WHERE seq = 3".into(), |w| matches!(w, Wrong::Misplaced { seq: Seq(600), .. })),
        (
            format!("UPDATE subtree SET hash = x'{hash}' WHERE level = 1 AND position = 1"),
            |w| matches!(w, Wrong::Subtree { first: Seq(256), last: Seq(511) }),
        ),
    ];
    for (sql, named) in cases {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        copy(&sound.1.dir, &place.dir);
        assert_eq!(verify_live(&place, None, |_| ()).unwrap().head.size, 600);
        tamper(&place, &sql);
        let wrong = wrong(&place);
        assert!(named(&wrong), "{sql}: {wrong}");
    }
}

#[test]
fn a_damaged_ledger_is_not_opened_to_write_but_can_be_read() {
    let (_dir, place) = signed(600);
    tamper(&place, "UPDATE entry SET bytes = CAST(x'00' || substr(bytes, 2) AS BLOB) WHERE seq = 580");
    let refused = Ledger::open(&place).unwrap_err();
    assert!(matches!(refused, Error::Damaged { wrong: Wrong::Altered { seq: Seq(580), .. }, .. }), "{refused}");
    let reader = Reader::open(&place).unwrap();
    assert_eq!(reader.read_from(Seq(0), 580).unwrap(), entries(0, 580, "main"));
    tamper(&place, "DELETE FROM entry WHERE seq = 570");
    assert!(matches!(
        reader.read_from(Seq(560), 100),
        Err(Error::Damaged { wrong: Wrong::Missing { seq: Seq(570) }, .. })
    ));
    let refused = Ledger::open(&place).unwrap_err();
    assert!(matches!(refused, Error::Damaged { wrong: Wrong::Missing { seq: Seq(570) }, .. }), "{refused}");
    assert!(matches!(Ledger::adopt(&place), Err(Error::Damaged { .. })), "a damaged ledger is not adopted either");
    tamper(&place, "DELETE FROM subtree WHERE position = 0");
    let refused = Ledger::open(&place).unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
}

/// A flipped byte of the database is found, or it is one that nothing is read from.
#[test]
fn no_flipped_byte_of_the_database_changes_what_is_read_unnoticed() {
    let (dir, place) = signed(12);
    let expected = entries(0, 12, "main");
    let content = fs::read(place.database()).unwrap();
    let (mut found, mut harmless) = (0, 0);
    let flipped = Place::new(dir.path().join("flipped"));
    copy(&place.dir, &flipped.dir);
    for at in (0..content.len()).step_by(13) {
        restore(&place.dir, &flipped.dir);
        let mut bytes = content.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(flipped.database(), bytes).unwrap();
        match verify_live(&flipped, None, |_| ()) {
            Err(_) => found += 1,
            Ok(verified) => {
                assert_eq!(verified.signed, 12);
                let read = Reader::open(&flipped).unwrap().read_from(Seq(0), 100).unwrap();
                assert_eq!(read, expected, "byte {at}");
                harmless += 1;
            }
        }
    }
    assert!(found > 50 && harmless > 50, "{found} found, {harmless} harmless");
}

#[test]
fn proofs_from_the_database_verify_against_the_published_states() {
    let (_dir, place) = signed(700);
    let mut ledger = Ledger::open(&place).unwrap();
    let old = ledger.published();
    grow(&mut ledger, 1100, "main");
    ledger.checkpoint().unwrap();
    let reader = ledger.reader().unwrap();
    let (tree, _) = reader.published().unwrap().unwrap();
    assert_eq!(tree, ledger.head());
    for seq in [0, 1, 255, 256, 699, 1024, 1099] {
        let leaf = leaf_hash(&entries(seq, seq + 1, "main")[0]);
        let included = reader.prove_inclusion(Seq(seq), tree.size).unwrap();
        proof::verify_inclusion(&leaf, seq, &tree, &included).unwrap();
    }
    let consistent = reader.prove_consistency(old.size, tree.size).unwrap();
    proof::verify_consistency(&old, &tree, &consistent).unwrap();
    assert!(matches!(reader.prove_inclusion(Seq(0), 5000), Err(Error::Beyond { asked: 5000, size: 1100 })));
    assert!(matches!(reader.prove_inclusion(Seq(1100), 1100), Err(Error::Beyond { asked: 1101, size: 1100 })));
    assert!(matches!(reader.prove_consistency(1101, 1100), Err(Error::Beyond { asked: 1101, size: 1100 })));
}

#[test]
fn a_ledger_signed_by_another_key_than_the_trusted_one_is_named() {
    let (_dir, place) = signed(3);
    let (_other_dir, other) = signed(3);
    let key = |place| Reader::open(place).unwrap().verifier().unwrap();
    verify_live(&place, Some(&key(&place)), |_| ()).unwrap();
    assert!(matches!(verify_live(&place, Some(&key(&other)), |_| ()), Err(Error::OtherKey { .. })));
}

#[test]
fn a_ledger_verifies_while_it_is_written() {
    let (_dir, place) = signed(1);
    let mut ledger = Ledger::open(&place).unwrap();
    let verifying = place.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let verifier = std::thread::spawn(move || {
        let mut runs = 0;
        while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) || runs == 0 {
            let verified = verify_live(&verifying, None, |_| ()).unwrap();
            assert!(verified.head.size >= verified.signed);
            runs += 1;
        }
    });
    for size in (10..400).step_by(10) {
        grow(&mut ledger, size, "main");
        ledger.checkpoint().unwrap();
    }
    drop(stop);
    verifier.join().unwrap();
    assert_eq!(verify_live(&place, None, |_| ()).unwrap().head, ledger.head());
}
