//! Who may do what: the users of this machine by the kernel's word, programs by their token.

use crate::site::{Site, is_root};
use std::net::SocketAddr;

#[test]
fn viewers_look_and_strangers_do_not_even_look() {
    if !is_root("acting as several people") {
        return;
    }
    let mut site = Site::new();
    site.edit("[proxy]", "[access]\nviewers = [\"nobody\"]\n\n[proxy]");
    site.open_shop();
    site.qd_as("nobody", &["status"]).expect(0).telling("shop");
    site.qd_as("nobody", &["logs", "shop"]).expect(0);
    let v2 = site.release("v2", "");
    let writes = [
        &["deploy", "shop", &v2, "--reason", "x"][..],
        &["scale", "shop", "5", "--reason", "x"],
        &["apply", "--prune", "--yes", "--reason", "x"],
        &["rollback", "shop", "--reason", "x"],
        &["down", "--yes"],
    ];
    for write in writes {
        site.qd_as("nobody", write).expect(4);
        site.qd_as("mail", write).expect(4).telling("no role");
    }
    site.qd_as("mail", &["status"]).expect(4).telling("mail has no role").telling("[access]");
    site.qd_as("mail", &["logs", "shop"]).expect(4);
    // The record and the key are files of their owner.
    site.qd_as("nobody", &["ledger", "show"]).expect(1).telling("ermission");
    site.qd_as("nobody", &["token", "create", "mine"]).expect(1);
    assert_eq!(site.service()["replicas"], 2);
}

#[test]
fn a_program_acts_over_tcp_with_its_token_and_as_itself() {
    let mut site = Site::new();
    let api = SocketAddr::new(site.address.ip(), site.address.port() + 1);
    site.edit(
        "[proxy]",
        &format!("[api]\nlisten = \"{api}\"\n\n[access]\nowners = [\"ci\"]\nviewers = [\"board\"]\n\n[proxy]"),
    );
    let token = |name: &str| site.qd(&["token", "create", name]).expect(0).out.trim().to_owned();
    let (ci, board) = (token("ci"), token("board"));
    site.open_shop();
    let remote = |token: &str, arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.env("QD_SERVER", format!("http://{api}")).env("QD_TOKEN", token);
        site.run(command)
    };
    remote(&ci, &["status"]).expect(0).telling("shop");
    remote(&ci, &["scale", "shop", "1", "--reason", "from CI", "--on-behalf-of", "ann"]).expect(0);
    let why = site.qd(&["why", "CHG-3", "--all"]).expect(0).out;
    assert!(why.contains("program ci"), "{why}");
    remote(&board, &["status"]).expect(0);
    remote(&board, &["scale", "shop", "2", "--reason", "x"]).expect(4).telling("viewer");
    remote("qd-wrong", &["status"]).expect(4).telling("token");
    remote("", &["status"]).expect(2).telling("QD_TOKEN");
    site.qd(&["token", "list"]).expect(0).telling("ci");
    for path in ["tokens.json", "tokens"] {
        let kept = std::fs::read_to_string(site.data().join(path)).unwrap_or_default();
        assert!(!kept.contains(&ci), "{kept}");
    }
}
