//! Changes that others must agree to.

use crate::site::{Site, is_root};

#[test]
fn a_change_waits_until_another_owner_agrees() {
    if !is_root("acting as several people") {
        return;
    }
    let mut site = Site::new();
    site.edit("[proxy]", "[access]\nowners = [\"daemon\", \"bin\"]\nviewers = [\"nobody\"]\n\n[proxy]");
    site.open_shop();
    site.kill_serve();
    site.edit("[access]", "[access]\napprovals = 1");
    site.serve();

    let change = site.deploy_detached("blue-green", "v2", "");
    let view = site.change(&change);
    assert_eq!((view["phase"].as_str(), view["approvals_needed"].as_u64()), (Some("waiting_approval"), Some(1)));
    site.qd(&["status"]).expect(0).telling(&change).telling("approval");
    site.qd(&["approve", &change, "--reason", "my own"]).expect(4);
    site.qd_as("nobody", &["approve", &change, "--reason", "looks good"]).expect(4).telling("viewer");
    site.qd_as("mail", &["approve", &change, "--reason", "who am I"]).expect(4).telling("no role");
    assert_eq!(site.serving(), "v1");
    site.qd_as("daemon", &["approve", &change, "--reason", "reviewed"]).expect(0);
    assert_eq!(site.outcome(&change), "succeeded");
    assert_eq!(site.serving(), "v2");
    let why = site.why(&change);
    assert!(why.contains("daemon") && why.contains("reviewed"), "{why}");

    // Undoing never waits.
    site.qd(&["rollback", "shop", "--reason", "back at once"]).expect(0);
    assert_eq!(site.serving(), "v1");
    let withdrawn = site.deploy_detached("blue-green", "v3", "");
    site.qd_as("bin", &["cancel", &withdrawn, "--reason", "no"]).expect(0);
    assert_eq!(site.outcome(&withdrawn), "cancelled");
}
