//! A full disk: new commands are refused and say so, traffic goes on, and all is well when there is room again.

use crate::{
    site::{Said, Site, is_root},
    traffic::Traffic,
    wait::eventually,
};
use std::{fs, io::Write as _, path::PathBuf, process::Command};

/// `qd serve` with its ledger on a disk of one MiB that only it sees, and that is gone with it.
const SMALL_DISK: &str =
    "mkdir -p .quarterdeck/ledger && mount -t tmpfs -o size=1m tmpfs .quarterdeck/ledger && exec \"$0\" serve";

#[test]
fn a_full_disk_stops_new_changes_and_nothing_else() {
    if !is_root("a small disk of one's own") {
        return;
    }
    let mut site = Site::new();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SMALL_DISK, env!("CARGO_BIN_EXE_qd")]);
    site.serve_with(site.clean(command, &[]));
    site.apply().expect(0);
    site.deploy("v1", "").expect(0);
    let traffic = Traffic::start(site.address);

    let filler = PathBuf::from(format!("/proc/{}/root{}/ledger/filler", site.serve_pid(), site.data().display()));
    assert!(filler.parent().unwrap().join("ledger.sqlite").exists(), "the ledger is not on the small disk");
    fill(&filler);
    let mut turn = 1;
    let scale = |turn: &mut usize| -> Said {
        *turn += 1;
        site.qd(&["scale", "shop", &(1 + *turn % 2).to_string(), "--reason", "is there room?"])
    };
    // What is preallocated takes some entries yet.
    let refused =
        eventually("the ledger to take no more", || Some(scale(&mut turn)).filter(|said| said.code != Some(0)));
    refused.expect(1).telling("full");
    site.qd(&["status"]).expect(0).telling("No change is taken").telling("full");
    traffic.goes_on();

    fs::remove_file(&filler).unwrap();
    let taken = eventually("the ledger to take entries again", || Some(scale(&mut turn)).filter(|s| s.code == Some(0)));
    drop(taken);
    traffic.stop().assert_harmed_only_by(&[]);
    site.deploy("v2", "").expect(0);
    assert_eq!(site.serving(), "v2");
}

fn fill(path: &std::path::Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
