//! The demo: a small shop under steady traffic, five releases of it, two of them bad, and the control plane killed in
//! the middle. Everything is real: the program as users get it, processes, requests.
//!
//! It uses `qd` as a user would, shows what `qd` shows, and fails when something is not as it tells.

use crate::{
    error::Error,
    load::tally::Figures,
    site::{Change, Release, Site},
    traffic::Traffic,
    workspace::{Workspace, succeed},
};
use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

/// How the demo is played.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Ask nothing, and stop everything at the end
    #[arg(long, short)]
    yes: bool,
    /// Where to play; made anew
    #[arg(long, default_value = "quarterdeck-demo")]
    dir: PathBuf,
}

/// How `qd deploy` says that a release was rolled back.
const ROLLED_BACK: i32 = 3;
/// How long the control plane stays dead.
const DEAD: Duration = Duration::from_secs(2);

/// Requests per second.
const RATE: f64 = 200.0;
/// How releases take over: as by default, but for waits that would only keep the spectator.
const ROLLOUT: &str = "deadline = \"2m\"\nhold_back = \"3s\"\n";

const FAILING: &str = "v3";
const SLOW: &str = "v4";

fn release(version: &str, faults: &'static str, reason: &'static str) -> Release {
    Release { version: version.to_owned(), faults, reason }
}

/// Plays the demo where it leaves nothing behind.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    let dir = std::env::temp_dir().join(format!("quarterdeck-demo-{}", std::process::id()));
    let played = run(workspace, &Options { yes: true, dir: dir.clone() });
    match std::fs::remove_dir_all(&dir) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Write { path: dir, source }),
        Ok(()) | Err(_) => played,
    }
}

/// Plays the demo.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let dir = std::env::current_dir().unwrap_or_else(|_| workspace.root.clone()).join(&options.dir);
    say(&format!(
        "\nA small shop will be run by Quarterdeck in {}\nunder steady traffic, and get five releases: two of them are bad.\nNothing outside that directory is touched, and no other program is needed. It takes about two minutes.",
        dir.display()
    ));
    if !options.yes && std::io::stdin().is_terminal() && !agreed()? {
        return Ok(());
    }
    heading(1, "build Quarterdeck and the shop (the first time takes a few minutes)");
    succeed(workspace.cargo(["build", "--quiet", "--package", "qd", "--package", "shop"]).env_remove("RUSTFLAGS"))?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().map_err(Error::Runtime)?;
    let site = Site::make(&dir, &workspace.target.join("debug"), ROLLOUT)?;
    let played = runtime.block_on(play(&site));
    if options.yes || played.is_err() {
        site.stop()?;
    }
    let served = played?;
    say(&site.farewell(options.yes));
    match served.unexplained {
        0 => Ok(()),
        failed => Err(Error::FailedRequests { failed, sent: served.sent }),
    }
}

/// What became of the customers.
struct Served {
    sent: u64,
    /// Requests that failed and were not answered by the release that was built to fail.
    unexplained: u64,
}

async fn play(site: &Site) -> Result<Served, Error> {
    let started = Instant::now();
    heading(2, "start Quarterdeck, declare the shop, deploy its first release");
    site.serve()?;
    site.qd(&["apply", "--yes", "--reason", "the shop opens"])?;
    site.deploy(&release("v1", "", "open the shop"), 0)?;

    heading(3, &format!("customers arrive ({} requests/s); v2 is good: evidence promotes it", RATE));
    let traffic = Traffic::start(site.address(), RATE)?;
    site.deploy(&release("v2", "", "faster checkout"), 0)?;

    heading(4, "v3 answers one in five checkouts with an error: it is caught and undone");
    site.deploy(&release(FAILING, "fail_share = 0.2\n", "new payment provider"), ROLLED_BACK)?;

    heading(5, "v4 is slow for three in ten requests: nothing fails, and it is caught all the same");
    site.deploy(&release(SLOW, "slow_share = 0.3\nslow_ms = 150\n", "nicer pictures"), ROLLED_BACK)?;

    heading(6, "v5 is good; in the middle of its rollout the control plane is killed (kill -9)");
    site.deploy_in_background(&release("v5", "", "a better lantern"))?;
    let change = site.wait_for_step("CHG-6")?;
    site.kill_serve()?;
    say(&format!(
        "  killed; {} is at {change} and customers go on buying for {} s without it",
        "CHG-6",
        DEAD.as_secs()
    ));
    tokio::time::sleep(DEAD).await;
    site.serve()?;
    say("  started again: the data plane and the instances were adopted, the rollout goes on");
    let finished = site.wait_until_ended("CHG-6")?;
    say(&format!("  CHG-6: {}", finished.progress));
    if finished.outcome.as_deref() != Some("succeeded") {
        return Err(Error::Site(format!("CHG-6 should have succeeded: {}", finished.progress)));
    }
    let figures = traffic.stop().await;

    heading(7, "why was v3 undone?");
    site.qd(&["why", "CHG-4"])?;
    say("\n  and v4?\n");
    site.qd(&["why", "CHG-5"])?;

    heading(8, "can the record be trusted?");
    site.qd(&["ledger", "verify"])?;

    heading(9, "what it came to");
    let (failing, slow) = (site.change("CHG-4")?, site.change("CHG-5")?);
    Ok(summary(&figures, &failing, &slow, started.elapsed()))
}

fn summary(figures: &Figures, failing: &Change, slow: &Change, took: Duration) -> Served {
    let by = |version: &str| figures.by.get(version).map_or((0, 0), |c| (c.success + c.redirect, c.failed()));
    let (_, harmed) = by(FAILING);
    let (slowed, _) = by(SLOW);
    let unexplained = figures.failed() - harmed;
    let seconds = |c: &Change| c.ended_at.map_or(0.0, |end| end.saturating_sub(c.proposed_at) as f64 / 1e3);
    say(&format!(
        "  {} requests in {:.0} s: {} answered, {} failed because v3 fails, {unexplained} for any other reason\n  \
         v3 ({}): undone {:.1} s after it was proposed, {harmed} customers saw an error\n  \
         v4 ({}): undone {:.1} s after it was proposed, {slowed} requests had reached it\n  \
         killed control plane: no request was lost\n  p50 {:.1} ms, p99 {:.1} ms",
        figures.sent,
        took.as_secs_f64(),
        figures.sent - figures.counts.failed(),
        harmed,
        failing.id,
        seconds(failing),
        slow.id,
        seconds(slow),
        figures.latency_ms.p50,
        figures.latency_ms.p99,
    ));
    for failure in figures.failures.iter().filter(|f| unexplained > 0 && !f.why.contains("500")) {
        say(&format!("    after {} ms: {}: {}", failure.at_ms, failure.request, failure.why));
    }
    Served { sent: figures.sent, unexplained }
}

fn agreed() -> Result<bool, Error> {
    print!("Go on? [Y/n] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|source| Error::Read { path: "standard input".into(), source })?;
    Ok(!answer.trim().eq_ignore_ascii_case("n"))
}

fn heading(number: u32, text: &str) {
    say(&format!("\n── {number}/9  {text}\n"));
}

fn say(text: &str) {
    println!("{text}");
}
