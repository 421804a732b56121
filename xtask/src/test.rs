//! Everything CI runs, in order, and what came of it.
//!
//! All steps run even when one fails, so that one run shows everything there is to mend. The last line of the output is
//! `N passed, N failed`: the tests that nextest ran, and among the failed also every other step that did not pass. It can
//! therefore never say `0 failed` of a run that failed.

use crate::{
    demo,
    error::Error,
    generated, peers, tidy,
    workspace::{Workspace, succeed},
};
use std::{
    error::Error as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A step's name, what it does, and whether it counts tests.
type Step = (&'static str, fn(&Workspace) -> Result<Outcome, Error>);

enum Outcome {
    Passed,
    Tests(u64),
    LeftOut(&'static str),
}

const STEPS: &[Step] = &[
    ("peers", |_| peers::provide().map(|()| Outcome::Passed)),
    ("format", |workspace| passes(workspace.cargo(["fmt", "--all", "--check"]))),
    ("clippy", |workspace| {
        passes(workspace.cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    }),
    ("tidy", |workspace| tidy::run(workspace).map(|()| Outcome::Passed)),
    ("generated", |workspace| generated::check(workspace).map(|()| Outcome::Passed)),
    ("tests", nextest),
    // A tenth of what `bench judge` does: to see that it runs. What must hold of the judge is held by its tests.
    ("figures", |workspace| {
        let figures = ["run", "--package", "judge", "--example", "figures", "--locked", "--quiet", "--", "--short"];
        passes(workspace.cargo(figures))
    }),
    ("examples in docs", |workspace| passes(workspace.cargo(["test", "--workspace", "--doc", "--locked", "--quiet"]))),
    ("docs", |workspace| {
        let mut doc = workspace.cargo(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
        // These pages are for whoever works on the code: private items are in them and may be linked to.
        doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
        passes(doc)
    }),
    ("demo", |workspace| demo::check(workspace).map(|()| Outcome::Passed)),
    ("dependencies", dependencies),
];

/// Runs every step and sums up.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let results: Vec<(&'static str, Duration, Result<Outcome, Error>)> = STEPS
        .iter()
        .map(|(name, step)| {
            println!("\n── {name}");
            let start = Instant::now();
            let result = step(workspace);
            (*name, start.elapsed(), result)
        })
        .collect();
    println!("\n── summary");
    let (mut passed, mut failed) = (0, 0);
    for (name, took, result) in &results {
        let said = match result {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::LeftOut(why)) => format!("left out: {why}"),
            Ok(Outcome::Tests(count)) => {
                passed += count;
                format!("passed: {count} tests")
            }
            Err(error) => {
                let of_tests = if let Error::Tests { run, failed } = error { (run - failed, *failed) } else { (0, 1) };
                passed += of_tests.0;
                failed += of_tests.1;
                let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
                format!("FAILED: {error}{source}")
            }
        };
        println!("{name:>18} {:>7.1} s  {said}", took.as_secs_f64());
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(Error::Checks) }
}

fn passes(mut command: Command) -> Result<Outcome, Error> {
    succeed(&mut command).map(|()| Outcome::Passed)
}

/// Runs the tests. The counts come from the report that the profile `ci` writes (see .config/nextest.toml).
fn nextest(workspace: &Workspace) -> Result<Outcome, Error> {
    if !is_there(workspace.cargo(["nextest", "--version"])) {
        println!("The tests run under cargo-nextest, which is not installed. Installing it; this takes some minutes.");
        succeed(&mut workspace.cargo(["install", "cargo-nextest", "--locked"]))?;
    }
    let path = workspace.root.join("target/nextest/ci/junit.xml");
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Write { path, source }),
    }
    let ran = succeed(&mut workspace.cargo(["nextest", "run", "--workspace", "--locked", "--profile", "ci"]));
    let counts = std::fs::read_to_string(&path).ok().and_then(|report| counts(&report));
    match (ran, counts) {
        (Ok(()), Some((run, 0))) => Ok(Outcome::Tests(run)),
        (Err(_), Some((run, failed))) if failed > 0 => Err(Error::Tests { run, failed }),
        (Err(error), _) => Err(error),
        (Ok(()), _) => Err(Error::NoResults { path }),
    }
}

/// How many tests a JUnit report says were run, and how many of them did not succeed.
fn counts(report: &str) -> Option<(u64, u64)> {
    let tag = report.split_once("<testsuites ")?.1.split_once('>')?.0;
    let value = |name: &str| tag.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0.parse::<u64>().ok();
    Some((value("tests")?, value("failures")? + value("errors")?))
}

/// Licences, sources, duplicates and advisories, where cargo-deny is installed: installing it takes longer than all else.
fn dependencies(workspace: &Workspace) -> Result<Outcome, Error> {
    if !is_there(workspace.cargo(["deny", "--version"])) {
        return Ok(Outcome::LeftOut("cargo-deny is not installed (`cargo install cargo-deny --locked`)"));
    }
    succeed(&mut workspace.cargo(["deny", "--workspace", "check", "licenses", "bans", "sources"]))?;
    if !is_there(workspace.cargo(["deny", "fetch", "db"])) {
        return Ok(Outcome::LeftOut("passed but for the advisories: their database cannot be fetched"));
    }
    passes(workspace.cargo(["deny", "--workspace", "check", "--disable-fetch", "advisories"]))
}

/// Whether a command succeeds, without showing what it says.
fn is_there(mut command: Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn counts_are_those_of_the_whole_report() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="12" failures="2" errors="1" uuid="x" time="0.1">
    <testsuite name="shop" tests="7" failures="0" errors="0">"#;
        assert_eq!(counts(report), Some((12, 3)));
    }

    #[test]
    fn a_report_without_counts_has_none() {
        assert_eq!(counts(""), None);
        assert_eq!(counts(r#"<testsuites name="x" tests="many" failures="0" errors="0">"#), None);
    }
}
