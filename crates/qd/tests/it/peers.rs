//! Programs that are not ours, deployed by the same commands and without touching them: the examples of this repository.

use crate::{site::Site, traffic::Traffic, wait::until};
use std::{fs, path::Path, process::Command};

/// Deploys an example twice under traffic, the second time with another text in one of its files.
fn check(example: &str, program: &str, service: &str, path: &str, (file, old, new): (&str, &str, &str)) {
    let mut site = Site::empty();
    let mut found = Command::new("sh");
    found.args(["-c", "command -v \"$0\"", program]);
    if site.run(site.clean(found, &[])).code != Some(0) {
        eprintln!("skipped: {program} is not installed; `cargo xtask test` installs it when root");
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
    let release = site.path("release");
    let copied = Command::new("cp").arg("-r").arg(&source).arg(&release).status().unwrap();
    assert!(copied.success());
    let configuration = fs::read_to_string(release.join("quarterdeck.toml")).unwrap();
    // Only what no two tests can share, and the time that a person would take to look.
    site.configure(
        &configuration
            .replace("127.0.0.1:8080", "{address}")
            .replace("strategy = ", "step_time = \"200ms\"\nstrategy = "),
    );
    site.serve();
    site.apply().expect(0);
    let deploy = |reason: &str| {
        site.qd(&["deploy", service, "release", "--strategy", "rolling", "--reason", reason]).expect(0);
    };
    deploy("first release");
    assert_eq!(site.get("/").status, 200);
    assert!(site.get(path).text().contains(old), "{}", site.get(path).text());

    let traffic = Traffic::start(site.address);
    let text = fs::read_to_string(release.join(file)).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(release.join(file), text.replace(old, new)).unwrap();
    deploy("second release");
    until("the second release", || site.get(path).text().contains(new));
    traffic.goes_on();
    traffic.stop().assert_harmed_only_by(&[]);
    site.qd(&["rollback", service, "--reason", "try it"]).expect(0);
    assert!(site.get(path).text().contains(old));
    site.qd(&["down", "--yes"]).expect(0);
}

#[test]
fn nginx_is_deployed_and_replaced_without_a_failed_request() {
    check("nginx-site", "nginx", "site", "/", ("public/index.html", "<h1>A static site", "<h1>Another site"));
}

#[test]
fn gunicorn_is_deployed_and_replaced_without_a_failed_request() {
    check("wsgi-app", "gunicorn", "app", "/nothing", ("app.py", "there is nothing here", "there is nothing left"));
}

#[test]
fn node_is_deployed_and_replaced_without_a_failed_request() {
    check("node-app", "node", "app", "/nothing", ("server.js", "there is nothing here", "there is nothing left"));
}
