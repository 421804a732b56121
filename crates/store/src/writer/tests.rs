use super::*;
use crate::sample::{copy, entries, grow, restore, signed};
use crate::verify_live;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let (_dir, place) = signed(300);
    let mut ledger = Ledger::open(&place).unwrap();
    assert_eq!((ledger.head(), ledger.head().size), (ledger.published(), 300));
    assert_eq!(ledger.read_from(Seq(0), 1000).unwrap(), entries(0, 300, "main"));
    assert_eq!(ledger.read_from(Seq(290), 5).unwrap(), entries(290, 295, "main"));
    assert!(ledger.read_from(Seq(300), 5).unwrap().is_empty());
    grow(&mut ledger, 310, "main");
    let head = ledger.head();
    drop(ledger);
    assert_eq!(Ledger::open(&place).unwrap().head(), head, "entries beyond the signed state are kept too");
}

#[test]
fn a_second_writer_is_refused_and_told_who_writes() {
    let (_dir, place) = signed(1);
    let _first = Ledger::open(&place).unwrap();
    let refused = Ledger::open(&place).unwrap_err();
    assert!(matches!(refused, Error::Held { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
}

#[test]
fn a_ledger_can_be_checked_beside_its_writer() {
    let (_dir, place) = signed(3);
    let mut writer = Ledger::open(&place).unwrap();
    assert_eq!(Ledger::check(&place).unwrap(), 3);
    grow(&mut writer, 5, "main");
    assert_eq!(Ledger::check(&place).unwrap(), 5);
}

#[test]
fn an_append_that_does_not_fit_changes_nothing() {
    let (_dir, place) = signed(3);
    let mut ledger = Ledger::open(&place).unwrap();
    let head = ledger.head();
    let moved = ledger.append(Seq(2), &entries(2, 3, "main")).unwrap_err();
    assert!(matches!(moved, store::Error::Moved { expected: Seq(2), actual: Seq(3) }));
    assert!(matches!(ledger.append(Seq(3), &entries(3, 260, "main")), Err(store::Error::TooMany(257))));
    assert!(matches!(ledger.append(Seq(3), &[vec![0; 65_536]]), Err(store::Error::TooLong(65_536))));
    assert_eq!(ledger.head(), head);
    grow(&mut ledger, 4, "main");
}

#[test]
fn a_full_disk_refuses_entries_and_loses_none() {
    let (_dir, place) = signed(10);
    let mut ledger = Ledger::open(&place).unwrap();
    let pages: i64 = ledger.connection().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    ledger.connection().pragma_update(None, "max_page_count", pages + 2).unwrap();
    let mut size = 10;
    let refused = loop {
        match ledger.append(Seq(size), &entries(size, size + 50, "main")) {
            Ok(head) => size = head.size,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, store::Error::DiskFull), "{refused}");
    assert_eq!((ledger.stopped(), ledger.head().size), (None, size));
    ledger.checkpoint().unwrap();
    ledger.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    grow(&mut ledger, size + 50, "main");
    drop(ledger);
    assert_eq!(Ledger::open(&place).unwrap().read_from(Seq(0), 1000).unwrap(), entries(0, size + 50, "main"));
}

/// Without these two settings an acknowledged entry may be lost with the power.
#[test]
fn every_append_waits_for_the_disk() {
    let (_dir, place) = signed(1);
    let ledger = Ledger::open(&place).unwrap();
    let setting =
        |name| ledger.connection().pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
    assert_eq!(setting("synchronous"), Ok(2.into()), "2 is FULL");
    assert_eq!(setting("journal_mode"), Ok("wal".to_owned().into()));
}

#[test]
fn any_other_failure_stops_the_ledger_until_it_is_opened_again() {
    let (_dir, place) = signed(10);
    let mut ledger = Ledger::open(&place).unwrap();
    ledger.connection().pragma_update(None, "query_only", true).unwrap();
    assert!(matches!(ledger.append(Seq(10), &entries(10, 11, "main")), Err(store::Error::Stopped { .. })));
    ledger.connection().pragma_update(None, "query_only", false).unwrap();
    assert!(matches!(ledger.append(Seq(10), &entries(10, 11, "main")), Err(store::Error::Stopped { .. })), "no retry");
    assert!(ledger.stopped().is_some());
    assert_eq!(ledger.read_from(Seq(0), 1000).unwrap().len(), 10, "reading goes on");
    drop(ledger);
    grow(&mut Ledger::open(&place).unwrap(), 11, "main");
}

#[test]
fn a_restored_older_copy_signs_nothing_until_it_is_adopted() {
    let (dir, place) = signed(300);
    let backup = dir.path().join("backup");
    copy(&place.dir, &backup);
    let mut ledger = Ledger::open(&place).unwrap();
    grow(&mut ledger, 310, "main");
    ledger.checkpoint().unwrap();
    let old_key = ledger.verifier();
    drop(ledger);
    restore(&backup, &place.dir);

    let refused = Ledger::open(&place).unwrap_err();
    assert!(matches!(refused, Error::Behind { has: 300, signed: 310, .. }), "{refused}");
    assert_eq!(Ledger::check(&place).unwrap_err().to_string(), refused.to_string());
    assert!(refused.to_string().contains("restored backup"));
    assert!(Reader::open(&place).unwrap().read_from(Seq(0), 1000).is_ok_and(|entries| entries.len() == 300));

    Ledger::adopt(&place).unwrap();
    let mut adopted = Ledger::open(&place).unwrap();
    grow(&mut adopted, 320, "other");
    adopted.checkpoint().unwrap();
    assert_ne!(adopted.verifier(), old_key, "no second history under the same key");
    assert!(fs::read_dir(&place.dir).unwrap().any(|file| {
        let file = file.unwrap();
        file.file_name().to_string_lossy().starts_with("ledger.vkey.retired-")
            && fs::read_to_string(file.path()).unwrap().trim() == old_key.to_string()
    }));
}

#[test]
fn a_clone_that_went_on_by_itself_is_not_taken_for_the_ledger() {
    let (dir, place) = signed(300);
    let clone = Place::new(dir.path().join("clone"));
    copy(&place.dir, &clone.dir);
    grow(&mut Ledger::open(&clone).unwrap(), 320, "clone");
    let mut ledger = Ledger::open(&place).unwrap();
    grow(&mut ledger, 310, "main");
    ledger.checkpoint().unwrap();
    drop(ledger);
    restore(&clone.dir, &place.dir);
    let refused = Ledger::open(&place).unwrap_err();
    assert!(matches!(refused, Error::Forked { signed: 310, .. }), "{refused}");
    assert_eq!(Ledger::check(&place).unwrap_err().to_string(), refused.to_string());
}

#[test]
fn a_ledger_of_another_machine_is_not_written() {
    let (_dir, place) = signed(3);
    let text = fs::read_to_string(&place.head).unwrap();
    let (mine, note) = text.split_once('\n').unwrap();
    if mine != "machine " {
        fs::write(&place.head, format!("machine 0123456789ab\n{note}")).unwrap();
        assert!(matches!(Ledger::open(&place), Err(Error::Elsewhere { .. })));
        assert!(matches!(Ledger::check(&place), Err(Error::Elsewhere { .. })));
    }
    fs::write(&place.head, format!("machine \n{note}")).unwrap();
    assert!(Ledger::open(&place).is_ok(), "a machine without an id is not another one");
}

#[test]
fn a_missing_or_foreign_head_file_or_key_is_named() {
    let (_dir, place) = signed(3);
    let (_other_dir, other) = signed(3);
    let head = fs::read(&place.head).unwrap();
    let mut ledger = Ledger::open(&place).unwrap();
    fs::copy(&other.head, &place.head).unwrap();
    assert!(matches!(ledger.checkpoint(), Err(Error::BadHead { .. })));
    fs::remove_file(&place.head).unwrap();
    assert!(matches!(ledger.checkpoint(), Err(Error::HeadMissing { entries: 3, .. })));
    drop(ledger);
    assert!(matches!(Ledger::open(&place), Err(Error::HeadMissing { entries: 3, .. })));
    assert!(matches!(Ledger::check(&place), Err(Error::HeadMissing { entries: 3, .. })));
    fs::write(&place.head, "nonsense").unwrap();
    assert!(matches!(Ledger::open(&place), Err(Error::BadHead { .. })));
    fs::write(&place.head, head).unwrap();

    fs::set_permissions(place.key(), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Ledger::open(&place), Err(Error::KeyExposed { mode: 0o640, .. })));
    fs::set_permissions(place.key(), fs::Permissions::from_mode(0o600)).unwrap();
    let secret = fs::read_to_string(place.key()).unwrap();
    fs::write(place.key(), secret.replace("quarterdeck", "quarterdesk")).unwrap();
    let refused = Ledger::open(&place).unwrap_err();
    assert!(matches!(refused, Error::BadKey { .. }));
    assert!(!format!("{refused:?}").contains(secret.trim().splitn(5, '+').nth(4).unwrap()));
    fs::remove_file(place.key()).unwrap();
    assert!(matches!(Ledger::open(&place), Err(Error::KeyMissing(_))));
    assert!(matches!(Ledger::check(&place), Err(Error::KeyMissing(_))));
}

#[test]
fn signing_again_without_new_entries_gives_the_same_checkpoint() {
    let (_dir, place) = signed(3);
    let mut ledger = Ledger::open(&place).unwrap();
    let first = ledger.checkpoint().unwrap().to_owned();
    assert_eq!(ledger.checkpoint().unwrap(), first);
    assert_eq!(checkpoint::open(&first, &ledger.verifier()).unwrap(), ledger.head());
    grow(&mut ledger, 4, "main");
    assert_ne!(ledger.checkpoint().unwrap(), first);
}

/// What a crash leaves is the files as they are at that moment, and of what was not yet durable any part.
#[test]
fn whatever_moment_a_crash_comes_at_the_ledger_opens_with_all_that_was_signed() {
    let (dir, place) = signed(0);
    let mut ledger = Ledger::open(&place).unwrap();
    for round in 0..8_u64 {
        grow(&mut ledger, round * 40 + 20, "main");
        ledger.checkpoint().unwrap();
        let signed = ledger.head().size;
        let signed_wal = fs::metadata(place.dir.join("ledger.sqlite-wal")).unwrap().len();
        grow(&mut ledger, round * 40 + 40, "main");
        let full_wal = fs::metadata(place.dir.join("ledger.sqlite-wal")).unwrap().len();
        assert!(full_wal > signed_wal);
        for cut in [signed_wal, signed_wal + 1, (signed_wal + full_wal) / 2, full_wal - 1, full_wal] {
            let crashed = Place::new(dir.path().join(format!("crash-{round}-{cut}")));
            copy(&place.dir, &crashed.dir);
            fs::remove_file(crashed.dir.join("ledger.sqlite-shm")).unwrap();
            fs::write(crashed.dir.join("ledger.head.new"), "half a head fi").unwrap();
            let wal = fs::File::options().write(true).open(crashed.dir.join("ledger.sqlite-wal")).unwrap();
            wal.set_len(cut).unwrap();
            let mut reopened = Ledger::open(&crashed).unwrap();
            let size = reopened.head().size;
            assert!(size >= signed && (cut < full_wal || size == ledger.head().size), "{size} of {signed}");
            grow(&mut reopened, size + 3, "main");
            reopened.checkpoint().unwrap();
            assert_eq!(verify_live(&crashed, None, |_| ()).unwrap().signed, size + 3);
        }
    }
}

#[test]
fn what_is_no_ledger_or_a_later_one_is_not_touched() {
    let (_dir, place) = signed(3);
    let ledger = Ledger::open(&place).unwrap();
    ledger.connection().pragma_update(None, "user_version", 99).unwrap();
    drop(ledger);
    assert!(matches!(Ledger::open(&place), Err(Error::UnknownVersion { version: 99, .. })));
    fs::write(place.database(), "not a database, and long enough to be read as one: ".repeat(100)).unwrap();
    assert!(matches!(Ledger::open(&place), Err(Error::Database { .. })));
    let nowhere = Place::new(place.dir.join("nowhere"));
    assert!(matches!(Reader::open(&nowhere), Err(Error::Absent(_))));
    assert!(!nowhere.dir.exists());
}

#[test]
fn the_newest_entries_are_checked_however_many_there_are() {
    let (_dir, place) = signed(700);
    let ledger = Ledger::open(&place).unwrap();
    ledger.connection().execute("UPDATE entry SET bytes = CAST('x' AS BLOB) WHERE seq IN (300, 600)", []).unwrap();
    let altered = |newest| match check_newest(&place, &ledger.database, 700, newest) {
        Err(Error::Damaged { wrong: Wrong::Altered { seq, .. }, .. }) => Some(seq.0),
        Err(other) => panic!("{other}"),
        Ok(frontier) => {
            assert_eq!(frontier.head(), ledger.head());
            None
        }
    };
    assert_eq!(
        [0, 1, 99, 100, 399, 400, 700, 1000].map(altered),
        [None, None, None, Some(600), Some(600), Some(300), Some(300), Some(300)]
    );
}
