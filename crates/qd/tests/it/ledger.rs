//! A ledger that was tampered with is not written any more, is still read, and what runs goes on running.

use crate::{site::Site, traffic::Traffic};
use rusqlite::Connection;
use std::fs;

const REASON: &str = "a reason to be altered";

/// A shop whose control plane has ended and whose customers go on, and its ledger.
fn left_alone() -> Site {
    let mut site = Site::open();
    site.qd(&["scale", "shop", "1", "--reason", REASON]).expect(0);
    site.qd(&["scale", "shop", "2", "--reason", "and back"]).expect(0);
    stop(&mut site);
    site
}

fn stop(site: &mut Site) {
    site.qd(&["down", "--keep-services", "--yes"]).expect(0);
    assert_eq!(site.serve_ends(), Some(0));
    // All of it in one file, as in a copy that somebody keeps.
    database(site).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn database(site: &Site) -> Connection {
    Connection::open(site.data().join("ledger/ledger.sqlite")).unwrap()
}

/// The entry whose reason this is.
fn entry_of(site: &Site, reason: &str) -> i64 {
    let of = "SELECT seq FROM entry WHERE instr(bytes, CAST(?1 AS BLOB)) > 0 ORDER BY seq LIMIT 1";
    database(site).query_row(of, [reason], |row| row.get(0)).unwrap()
}

/// `qd serve` refuses and says the first, `qd ledger verify` the second; the ledger is read all the same, and customers notice nothing.
#[track_caller]
fn is_not_written(site: &Site, said: (&str, &str)) {
    let traffic = Traffic::start(site.address);
    site.qd(&["serve"]).expect(1).telling(said.0);
    site.qd(&["ledger", "verify"]).expect(1).telling(said.1);
    site.qd(&["ledger", "show"]).expect(0).telling("CHG-1 started");
    site.qd(&["why", "CHG-1"]).expect(0).telling("this is read from the ledger").telling("CHG-1 started");
    traffic.goes_on();
    traffic.stop().assert_harmed_only_by(&[]);
}

#[test]
fn a_flipped_bit_is_named_and_nothing_is_written_after_it() {
    let site = left_alone();
    let seq = entry_of(&site, REASON);
    let path = site.data().join("ledger/ledger.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(REASON.len()).position(|part| part == REASON.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let altered = format!("entry #{seq} was altered");
    is_not_written(&site, (&altered, &altered));
}

#[test]
fn a_removed_end_is_noticed() {
    let site = left_alone();
    let seq = entry_of(&site, "and back");
    let removed = database(&site).execute("DELETE FROM entry WHERE seq >= ?1", [seq]).unwrap();
    assert!(removed > 0);
    is_not_written(&site, ("its end was lost", "entries"));
}

#[test]
fn swapped_entries_are_named() {
    let site = left_alone();
    let seq = entry_of(&site, REASON);
    let swap = "UPDATE entry SET (leaf, bytes) = (SELECT other.leaf, other.bytes FROM entry AS other
        WHERE other.seq = 2 * ?1 + 1 - entry.seq) WHERE seq IN (?1, ?1 + 1)";
    assert_eq!(database(&site).execute(swap, [seq]).unwrap(), 2);
    is_not_written(&site, ("are not those whose state was signed here", &format!("entry #{seq}")));
}

#[test]
fn an_older_copy_that_was_put_back_is_noticed() {
    let mut site = Site::open();
    stop(&mut site);
    let path = site.data().join("ledger/ledger.sqlite");
    let copy = fs::read(&path).unwrap();
    site.serve();
    site.qd(&["scale", "shop", "1", "--reason", "later"]).expect(0);
    stop(&mut site);
    fs::write(&path, copy).unwrap();
    is_not_written(&site, ("older copy", "entries"));
}

#[test]
fn a_file_that_is_no_database_is_refused_by_name() {
    let site = left_alone();
    fs::write(site.data().join("ledger/ledger.sqlite"), "gone").unwrap();
    site.qd(&["serve"]).expect(1).telling("ledger.sqlite");
    assert_eq!(site.serving(), "v1");
}

#[test]
fn an_altered_export_is_not_sound() {
    let site = left_alone();
    site.qd(&["ledger", "export", "export"]).expect(0);
    let reason = REASON.as_bytes();
    let mut altered = 0;
    for path in files(&site.path("export")) {
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(reason.len()).position(|part| part == reason) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            altered += 1;
        }
    }
    assert!(altered > 0);
    site.qd(&["ledger", "verify", "--export", "export"]).expect(1).telling("entry");
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
