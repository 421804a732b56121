//! The spine, measured from outside: how soon it serves, what a deploy costs, how much memory each role takes, and
//! whether a hundred deploys under load lose a request, with and without the control plane being killed.

use crate::{
    error::Error,
    load::tally::Figures,
    site::{Release, Site},
    traffic::Traffic,
    workspace::{Workspace, succeed},
};
use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How many deploys in a row.
const DEPLOYS: usize = 100;
/// Requests per second meanwhile.
const RATE: f64 = 500.0;
/// How often the quick measurements are repeated.
const ROUNDS: usize = 7;
/// A rollout that is over in a second or two under this load.
const ROLLOUT: &str = "steps = [\"10 %\", \"50 %\"]\nstep_time = \"200ms\"\ndeadline = \"1m\"\nhold_back = \"0s\"\ntolerance = \"5 %\"\nlatency_tolerance = \"0 %\"\n";
const STRATEGIES: [&str; 3] = ["canary", "blue-green", "rolling"];

/// Measures all of it; the figures as Markdown.
pub(super) fn measure(workspace: &Workspace) -> Result<String, Error> {
    succeed(&mut workspace.cargo(["build", "--release", "--quiet", "--package", "qd", "--package", "shop"]))?;
    let built = workspace.target.join("release");
    let dir = std::env::temp_dir().join(format!("quarterdeck-bench-{}", std::process::id()));
    let measured = measure_in(&dir, &built);
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|source| Error::Write { path: dir, source })?;
    }
    measured
}

fn measure_in(dir: &Path, built: &Path) -> Result<String, Error> {
    let site = Site::make(dir, built, ROLLOUT)?;
    let rows = quick(&site, &built.join("shop")).and_then(|mut rows| {
        rows += &deploys(&site)?;
        Ok(rows)
    });
    site.stop()?;
    rows
}

fn quick(site: &Site, shop: &Path) -> Result<String, Error> {
    let mut text = String::from("| what | median | min - max |\n|---|---|---|\n");
    site.serve()?;
    site.quiet(&["apply", "--yes", "--reason", "bench"], 0)?;
    site.deploy_quietly(&release(0), "recreate", 0)?;
    memory(&mut text, site)?;

    let own = repeat(|_| own_start(shop))?;
    let deploy = repeat(|round| {
        let begun = Instant::now();
        site.deploy_quietly(&release(round + 1), "blue-green", 0)?;
        Ok(begun.elapsed())
    })?;
    row(&mut text, "the shop's own start, until it answers", &own);
    row(&mut text, "`qd deploy` (blue-green, 2 instances), until all requests are moved", &deploy);
    let _ =
        writeln!(text, "| of that, beyond the shop's own start | {:.0} ms | |", ms(median(&deploy)) - ms(median(&own)));

    let cold = repeat(|_| {
        site.stop()?;
        let begun = Instant::now();
        site.spawn_serve()?;
        first_answer(site.address(), begun)
    })?;
    row(&mut text, "cold start: `qd serve` to the first request answered by an instance", &cold);
    let adopt = repeat(|_| {
        site.kill_serve()?;
        let begun = Instant::now();
        site.serve()?;
        Ok(begun.elapsed())
    })?;
    row(&mut text, "after `kill -9`: `qd serve` to its API answering, everything adopted", &adopt);
    Ok(text)
}

/// A hundred deploys under load: undisturbed, then with the control plane killed again and again.
fn deploys(site: &Site) -> Result<String, Error> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().map_err(Error::Runtime)?;
    let mut text = format!("\n{DEPLOYS} deploys in a row (canary, blue-green, rolling) under {RATE} requests/s:\n\n");
    text += "| | requests | failed | p50 | p99 | deploys | kills |\n|---|---|---|---|---|---|---|\n";
    for killing in [false, true] {
        let _inside = runtime.enter();
        let traffic = Traffic::start(site.address(), RATE)?;
        let mut kills = 0;
        for n in 0..DEPLOYS {
            let release = release(1_000 + n + if killing { DEPLOYS } else { 0 });
            let strategy = STRATEGIES[n % STRATEGIES.len()];
            if !killing {
                site.deploy_quietly(&release, strategy, 0)?;
                continue;
            }
            let change = site.deploy_detached(&release, strategy)?;
            // Another moment of the rollout each time, in no relation to its steps.
            std::thread::park_timeout(Duration::from_millis((n as u64 * 379) % 1_500));
            site.kill_serve()?;
            kills += 1;
            site.serve()?;
            let ended = site.wait_until_ended(&change)?;
            if ended.outcome.as_deref() != Some("succeeded") {
                return Err(Error::Site(format!("{change} should have succeeded: {}", ended.progress)));
            }
        }
        let figures = runtime.block_on(traffic.stop());
        let name = if killing { "`qd serve` killed during each" } else { "undisturbed" };
        let Figures { sent, latency_ms, failures, .. } = &figures;
        let _ = writeln!(
            text,
            "| {name} | {sent} | {} | {:.1} ms | {:.1} ms | {DEPLOYS} | {kills} |",
            figures.failed(),
            latency_ms.p50,
            latency_ms.p99
        );
        for failure in failures {
            println!("failed after {} ms: {}: {}", failure.at_ms, failure.request, failure.why);
        }
    }
    Ok(text)
}

fn release(n: usize) -> Release {
    Release { version: format!("r{n}"), faults: "", reason: "bench" }
}

fn repeat(mut measure: impl FnMut(usize) -> Result<Duration, Error>) -> Result<Vec<Duration>, Error> {
    let mut all = (0..ROUNDS).map(&mut measure).collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    Ok(all)
}

fn median(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn row(text: &mut String, what: &str, sorted: &[Duration]) {
    let ends = sorted.first().zip(sorted.last());
    let (min, max) = ends.map_or((0.0, 0.0), |(min, max)| (ms(*min), ms(*max)));
    let _ = writeln!(text, "| {what} | {:.0} ms | {min:.0} - {max:.0} ms |", ms(median(sorted)));
}

/// How long the shop itself takes from being started to its first answer.
fn own_start(shop: &Path) -> Result<Duration, Error> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(Error::Runtime)?;
    let begun = Instant::now();
    let mut command = Command::new(shop);
    command.env("PORT", port.port().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|source| Error::Start { command: "shop".into(), source })?;
    let took = first_answer(port, begun);
    let ended = child.kill().and_then(|()| child.wait());
    ended.map_err(|source| Error::Start { command: "shop".into(), source })?;
    took
}

/// Asks again and again until somebody answers 200.
fn first_answer(address: SocketAddr, begun: Instant) -> Result<Duration, Error> {
    while begun.elapsed() < Duration::from_secs(30) {
        if answers(address) {
            return Ok(begun.elapsed());
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Err(Error::Site(format!("nobody answered at {address} within 30 s")))
}

fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let limited = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let asked = limited.and_then(|()| write!(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    let mut head = [0; 12];
    asked.is_ok() && stream.read_exact(&mut head).is_ok() && head.ends_with(b" 200")
}

/// Resident memory of each role, idle for a moment.
fn memory(text: &mut String, site: &Site) -> Result<(), Error> {
    std::thread::park_timeout(Duration::from_secs(5));
    for (role, marker) in [("qd serve", "serve"), ("qd proxy", "proxy"), ("qd shim", "shim")] {
        let sizes: Vec<u64> = site.processes(marker)?.into_iter().filter_map(resident_kib).collect();
        let Some(largest) = sizes.iter().max() else {
            return Err(Error::Site(format!("no process of the role {role} runs")));
        };
        let _ = writeln!(text, "| memory of `{role}`, idle | {:.1} MB | |", *largest as f64 * 1024.0 / 1e6);
    }
    Ok(())
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
