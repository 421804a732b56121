//! Measures the ledger on the disk it is given and prints a table:
//! `cargo run --release -p store --example ledger_figures -- DIRECTORY [ENTRIES]`.
//!
//! The directory is created, must be on the disk that is to be measured, and is removed at the end.

use ledger::{AnyFact, Draft, Numbering, Store, decode, encode};
use model::{Actor, Digest, Seq, Time};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use store::{Ledger, Place, Snapshot, verify_export, verify_live};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How long each rate is measured.
const WINDOW: Duration = Duration::from_secs(4);

/// How many clients wait for their commands at the same time.
const CLIENTS: [u64; 3] = [1, 32, 256];

/// A fact as rich as those of a rollout.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fact {
    StageEntered { change: String, release: String, stage: u32, weight: u32, evidence: Vec<Finding> },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Finding {
    metric: String,
    worse: f64,
    bound: f64,
}

fn draft(n: u64) -> Draft<Fact> {
    let finding = |metric: &str| Finding { metric: metric.into(), worse: n as f64 / 7.0, bound: 6.9 };
    let what = Fact::StageEntered {
        change: format!("CHG-{}", n / 10),
        release: format!("REL-{}", n / 10),
        stage: (n % 10) as u32,
        weight: 50_000,
        evidence: vec![finding("failures"), finding("latency")],
    };
    Draft::new(Actor::person("ada"), format!("change/CHG-{}", n / 10), what)
        .at("staging/shop")
        .because("faster checkout")
        .caused_by(Seq(n.saturating_sub(1)))
}

/// Entries and the numbering after them.
fn batch(numbering: &mut Numbering, count: u64) -> Result<Vec<Vec<u8>>> {
    let from = numbering.next().0;
    let entries = numbering.number((from..from + count).map(draft).collect(), Time(1_700_000_000_000 + from));
    entries.iter().try_for_each(|entry| numbering.accept(entry))?;
    Ok(entries.iter().map(encode).collect::<std::result::Result<_, _>>()?)
}

fn row(what: &str, figure: impl std::fmt::Display) {
    println!("| {what:<58} | {figure:>38} |");
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed(), value))
}

fn rate(count: u64, time: Duration) -> String {
    format!("{:.0} entries/s", count as f64 / time.as_secs_f64())
}

fn quantile(sorted: &[Duration], q: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |d| d.as_secs_f64() * 1e3)
}

fn appends(dir: &Path, per_commit: u64) -> Result<()> {
    let mut ledger = Ledger::open(&Place::new(dir.join(format!("append-{per_commit}"))))?;
    let mut numbering = Numbering::default();
    let mut commits = Vec::new();
    let start = Instant::now();
    while start.elapsed() < WINDOW {
        let at = numbering.next();
        let entries = batch(&mut numbering, per_commit)?;
        commits.push(timed(|| Ok(ledger.append(at, &entries)?))?.0);
    }
    let took = start.elapsed();
    commits.sort_unstable();
    row(
        &format!("durable entries, {per_commit} per commit"),
        format!(
            "{} (p50 {:.1}, p99 {:.1} ms)",
            rate(numbering.next().0, took),
            quantile(&commits, 0.5),
            quantile(&commits, 0.99)
        ),
    );
    Ok(())
}

/// Clients that each wait for their command before they give the next, and a sequencer that commits what is there.
fn acknowledged(dir: &Path, clients: u64) -> Result<()> {
    let mut ledger = Ledger::open(&Place::new(dir.join(format!("group-{clients}"))))?;
    let (submit, commands) = mpsc::sync_channel::<mpsc::SyncSender<()>>(1024);
    let start = Instant::now();
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let submit = submit.clone();
            thread::spawn(move || {
                let mut waits = Vec::new();
                while start.elapsed() < WINDOW {
                    let given = Instant::now();
                    let (done, acknowledgement) = mpsc::sync_channel(1);
                    if submit.send(done).is_err() || acknowledgement.recv().is_err() {
                        break;
                    }
                    waits.push(given.elapsed());
                }
                waits
            })
        })
        .collect();
    drop(submit);
    let mut numbering = Numbering::default();
    while let Ok(first) = commands.recv() {
        let waiting: Vec<_> = std::iter::once(first).chain(commands.try_iter().take(255)).collect();
        let at = numbering.next();
        let entries = batch(&mut numbering, waiting.len() as u64)?;
        ledger.append(at, &entries)?;
        for done in waiting {
            done.send(())?;
        }
    }
    let took = start.elapsed();
    let count = clients.len();
    let mut waits: Vec<Duration> = clients.into_iter().filter_map(|client| client.join().ok()).flatten().collect();
    waits.sort_unstable();
    row(
        &format!("command acknowledged, {count} waiting clients"),
        format!(
            "p50 {:.1}, p99 {:.1} ms at {:.0}/s",
            quantile(&waits, 0.5),
            quantile(&waits, 0.99),
            waits.len() as f64 / took.as_secs_f64()
        ),
    );
    Ok(())
}

fn large(dir: &Path, count: u64) -> Result<()> {
    let place = Place::new(dir.join("large"));
    let mut ledger = Ledger::open(&place)?;
    let mut numbering = Numbering::default();
    let mut bytes = 0;
    let (took, ()) = timed(|| {
        while numbering.next().0 < count {
            let at = numbering.next();
            let entries = batch(&mut numbering, 256.min(count - at.0))?;
            bytes += entries.iter().map(Vec::len).sum::<usize>();
            ledger.append(at, &entries)?;
        }
        Ok(())
    })?;
    row(&format!("writing {count} entries of {} bytes", bytes as u64 / count), rate(count, took));
    let (took, ()) = timed(|| Ok(ledger.checkpoint().map(|_| ())?))?;
    row("signing and publishing a state", format!("{:.1} ms", took.as_secs_f64() * 1e3));

    let entries = ledger.read_from(Seq(0), 100_000)?;
    let decoded = entries.len() as u64;
    let (took, _) = timed(|| Ok(entries.iter().try_for_each(|bytes| decode::<Fact>(bytes).map(|_| ()))?))?;
    row("decoding, facts known", rate(decoded, took));
    let (took, _) = timed(|| Ok(entries.iter().try_for_each(|bytes| decode::<AnyFact>(bytes).map(|_| ()))?))?;
    row("decoding, facts unknown", rate(decoded, took));
    drop(entries);
    let (took, _) = timed(|| {
        let mut replayed = Numbering::default();
        loop {
            let entries = ledger.read_from(replayed.next(), 4096)?;
            if entries.is_empty() {
                return Ok(replayed);
            }
            for bytes in entries {
                replayed.accept(&decode::<Fact>(&bytes)?)?;
            }
        }
    })?;
    row("replay from disk: read, decode, check numbering", rate(count, took));

    let blob = vec![7; 8 << 20];
    let snapshot = Snapshot {
        fold_version: 1,
        state_hash: Digest::of(&blob),
        frontier: ledger.frontier().clone(),
        numbering,
        blob,
    };
    row(
        "writing a snapshot of 8 MiB",
        format!("{:.0} ms", timed(|| Ok(ledger.put_snapshot(&snapshot)?))?.0.as_secs_f64() * 1e3),
    );
    drop(ledger);
    let (took, ledger) = timed(|| {
        let ledger = Ledger::open(&place)?;
        ledger.latest_snapshot(1).ok_or("no snapshot was found")?;
        Ok(ledger)
    })?;
    row(&format!("opening {count} entries with the snapshot"), format!("{:.2} s", took.as_secs_f64()));
    let reader = ledger.reader()?;
    let (took, _) = timed(|| Ok(reader.prove_inclusion(Seq(count / 3), count)?))?;
    row("making an inclusion proof", format!("{:.2} ms", took.as_secs_f64() * 1e3));
    row("verifying it live", rate(count, timed(|| Ok(verify_live(&place, None, |_| ())?))?.0));
    let export = dir.join("export");
    row("exporting it", rate(count, timed(|| Ok(reader.export(&export, |_| ())?))?.0));
    row("verifying the export", rate(count, timed(|| Ok(verify_export(&export, None, |_| ())?))?.0));
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: ledger_figures DIRECTORY [ENTRIES]")?);
    let count = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    std::fs::create_dir(&dir)?;
    for per_commit in [1, 64, 256] {
        appends(&dir, per_commit)?;
    }
    for clients in CLIENTS {
        acknowledged(&dir, clients)?;
    }
    large(&dir, count)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
