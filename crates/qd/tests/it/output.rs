//! What services print is kept within bounds and shown as text, whatever it is.

use crate::{site::Site, traffic::Traffic, wait::until};
use std::{fs, path::Path};

#[test]
fn a_flood_of_output_stays_bounded_and_hurts_nobody() {
    let mut site = Site::new();
    site.edit("replicas = 2", "replicas = 1\nlimits = { output = \"2 MiB\" }");
    site.serve();
    site.apply().expect(0);
    // 1 GB in a minute is 16 MiB a second.
    site.deploy("v1", "log_flood_mib = 32").expect(0);
    let traffic = Traffic::start(site.address);
    let pid = site.shops()[0].pid;
    let logs = site.data().join("logs");
    until("a flood", || {
        assert!(size(&logs) < 5 << 20, "{} bytes of logs are kept", size(&logs));
        written(pid) > 100 << 20
    });
    let shims = site.processes("shim");
    assert!(shims[0].memory_kib() < 40 << 10, "the shim has {} KiB", shims[0].memory_kib());
    let shown = site.qd(&["logs", "shop", "-n", "2000"]).expect(0);
    assert!(
        shown.out.lines().count() >= 1000 && shown.out.contains("all hands"),
        "{} lines",
        shown.out.lines().count()
    );
    // One line in 64 is no text.
    assert!(shown.out.contains('\u{fffd}') || shown.out.contains("\\x"), "binary output is not shown as such");
    assert!(!shown.out.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    site.qd(&["status"]).expect(0);
    traffic.stop().assert_harmed_only_by(&[]);
}

/// What a process has written, to files, pipes and sockets.
fn written(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or(0)
}

/// The bytes of all files below; some may go meanwhile.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|e| match e.metadata() {
        Ok(meta) if meta.is_dir() => size(&e.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[test]
fn output_of_the_last_breath_tells_why_a_service_died() {
    let site = Site::open();
    site.deploy("v2", "crash_after_ms = 1").expect(3);
    site.qd(&["logs", "shop"]).expect(0).telling("shop v2 crashes, as it was told");
}
