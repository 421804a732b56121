//! Bad releases, found by the real program under real traffic: how many more requests fail than without the release,
//! against the least that any test needs, and how soon after the failure that convinced nobody is sent to it any more.
//!
//! Everything is seen from outside: clients note when each request began and ended, how, and which release answered.

use crate::{
    error::Error,
    load::{
        client::Client,
        generator::{Pace, Plan},
        mix::Mix,
        tally::Outcome,
    },
    site::{Release, Site},
    workspace::{Workspace, succeed},
};
use hyper::header::HeaderName;
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// The canary's share in percent.
const WEIGHT: u32 = 10;
/// With a tolerance below every difference, so that none is promoted for being tolerable.
const ROLLOUT: &str =
    "tolerance = \"0.1 %\"\nsteps = [\"10 %\"]\nstep_time = \"0s\"\ndeadline = \"30m\"\nhold_back = \"0s\"\n";
/// How long a rollout may take here.
const PATIENCE: Duration = Duration::from_secs(1_500);
/// Clients of one site.
const CLIENTS: usize = 16;

/// A running release that fails with one probability, and a canary that fails with another.
struct Pair {
    rates: [f64; 2],
    faults: [&'static str; 2],
    /// The mean excess that no test can go below at [`WEIGHT`], with one false alarm in a thousand and 5 % misses: from
    /// `judge::theory`, whose tests hold it to these digits.
    limit: f64,
}

const PAIRS: [Pair; 4] = [
    Pair { rates: [0.001, 0.01], faults: ["fail_share = 0.001\n", "fail_share = 0.01\n"], limit: 5.3 },
    Pair { rates: [0.001, 0.05], faults: ["fail_share = 0.001\n", "fail_share = 0.05\n"], limit: 3.4 },
    Pair { rates: [0.01, 0.02], faults: ["fail_share = 0.01\n", "fail_share = 0.02\n"], limit: 18.6 },
    Pair { rates: [0.0, 1.0], faults: ["fail_share = 0.0\n", "fail_share = 1.0\n"], limit: 2.0 },
];

/// At so many requests per second, in so many sites at once, with so many rollouts in each.
const LOADS: [(f64, usize, usize); 2] = [(100.0, 8, 1), (1_000.0, 1, 8)];

/// Measures all of it; the figures as Markdown.
pub(super) fn measure(workspace: &Workspace) -> Result<String, Error> {
    succeed(&mut workspace.cargo(["build", "--release", "--quiet", "--package", "qd", "--package", "shop"]))?;
    let built = workspace.target.join("release");
    let mut text = format!(
        "The default judgement (latency is judged too) but for a tolerance of 0.1 %, weight {WEIGHT} %. *Excess*: failed requests of the canary beyond the running \
         release's rate, mean. *Limit*: the mean that no test can go below. *In flight*: those that were on their way when the guard \
         tripped. *Cut off*: from the end of the failed request that convinced to the start of the last one that was still \
         sent to the canary, median and maximum.\n\n\
         | p0 → p1 | requests/s | rollouts | found | limit | excess | of these in flight | × limit, without these | cut off |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for pair in &PAIRS {
        for (rate, sites, rollouts) in LOADS {
            let ends = at_once(&built, pair, rate, sites, rollouts)?;
            row(&mut text, pair, rate, &ends);
            println!("{}", text.lines().last().unwrap_or_default());
        }
    }
    Ok(text)
}

/// How one rollout ended.
struct End {
    found: bool,
    excess: f64,
    in_flight: f64,
    cut_off: Duration,
}

fn row(text: &mut String, pair: &Pair, rate: f64, ends: &[End]) {
    let ([p0, p1], limit) = (pair.rates, pair.limit);
    let found: Vec<&End> = ends.iter().filter(|end| end.found).collect();
    let mean = |figure: fn(&End) -> f64| found.iter().map(|end| figure(end)).sum::<f64>() / found.len().max(1) as f64;
    let (excess, in_flight) = (mean(|end| end.excess), mean(|end| end.in_flight));
    let mut delays: Vec<Duration> = found.iter().map(|end| end.cut_off).collect();
    delays.sort_unstable();
    let delay = |at: usize| delays.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3;
    let _ = writeln!(
        text,
        "| {} % → {} % | {rate} | {} | {} | {limit:.1} | {excess:.1} | {in_flight:.1} | {:.2} | {:.0} ms, {:.0} ms |",
        100.0 * p0,
        100.0 * p1,
        ends.len(),
        found.len(),
        (excess - in_flight) / limit,
        delay(delays.len() / 2),
        delay(delays.len().saturating_sub(1)),
    );
}

/// The same in several sites at once, each a Quarterdeck of its own.
fn at_once(built: &Path, pair: &Pair, rate: f64, sites: usize, rollouts: usize) -> Result<Vec<End>, Error> {
    let base = std::env::temp_dir().join(format!("quarterdeck-rollouts-{}", std::process::id()));
    let made: Vec<Site> = (0..sites)
        .map(|n| {
            let site = Site::make(&base.join(n.to_string()), built, ROLLOUT)?;
            // Listening, so that the next one gets another address.
            site.serve().map(|()| site)
        })
        .collect::<Result<_, _>>()?;
    let ends = thread::scope(|scope| {
        let started: Vec<_> = made.iter().map(|site| scope.spawn(|| one_site(site, pair, rate, rollouts))).collect();
        let ended =
            started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Error::Site("it panicked".into()))));
        ended.collect::<Result<Vec<_>, _>>()
    });
    for site in &made {
        site.stop()?;
    }
    fs::remove_dir_all(&base).map_err(|source| Error::Write { path: base, source })?;
    Ok(ends?.into_iter().flatten().collect())
}

fn one_site(site: &Site, pair: &Pair, rate: f64, rollouts: usize) -> Result<Vec<End>, Error> {
    let release = |version: String, faults| Release { version, faults, reason: "bench" };
    site.quiet(&["apply", "--yes", "--reason", "bench"], 0)?;
    site.deploy_quietly(&release("good".into(), pair.faults[0]), "recreate", 0)?;
    let traffic = Clients::start(site.address(), rate)?;
    let ends = (0..rollouts).map(|n| {
        let version = format!("bad{n}");
        let change = site.deploy_detached(&release(version.clone(), pair.faults[1]), "canary")?;
        let ended = site.wait_until_ended_within(&change, PATIENCE)?;
        // What was on its way when the guard tripped has ended, or will be seen to be late.
        thread::park_timeout(Duration::from_millis(300));
        let found = ended.outcome.as_deref() == Some("rolled_back");
        let failures = judged_failures(&site.quiet(&["why", &change], 0)?).filter(|_| found);
        Ok(end(&traffic.take(), &version, pair.rates[0], failures))
    });
    let ends = ends.collect();
    traffic.stop()?;
    ends
}

/// How many of the canary's requests had failed when it was judged: `judged: …; REL-3 4 of 52 failed …`.
fn judged_failures(story: &str) -> Option<usize> {
    let judged = story.lines().find(|line| line.contains("judged: "))?;
    judged.split_once("; REL-")?.1.split_once(' ')?.1.split_once(" of ")?.0.parse().ok()
}

/// What the clients saw of one canary. `failures`: how many had convinced the judge; `None` when it was not found.
fn end(seen: &[Seen], version: &str, usual: f64, failures: Option<usize>) -> End {
    let canary: Vec<&Seen> = seen.iter().filter(|s| s.version.as_deref() == Some(version)).collect();
    let mut failed: Vec<Instant> = canary.iter().filter(|s| s.failed).map(|s| s.ended).collect();
    failed.sort_unstable();
    let convinced = failures.and_then(|n| failed.get(n.saturating_sub(1)));
    let last = canary.iter().map(|s| s.began).max();
    End {
        found: failures.is_some(),
        excess: failed.len() as f64 - usual * canary.len() as f64,
        in_flight: failed.len().saturating_sub(failures.unwrap_or(failed.len())) as f64,
        cut_off: convinced.zip(last).map_or(Duration::ZERO, |(at, last)| last.saturating_duration_since(*at)),
    }
}

/// What a client saw of a request.
struct Seen {
    began: Instant,
    ended: Instant,
    version: Option<String>,
    failed: bool,
}

/// Clients who check out at a steady rate until they are told to stop.
struct Clients {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<(), Error>>,
}

impl Clients {
    fn start(address: SocketAddr, per_second: f64) -> Result<Clients, Error> {
        let mix =
            Mix::parse(&[r#"POST /api/checkout {"lines":[{"good":"rope","quantity":2}]}"#]).map_err(Error::Load)?;
        let plan = Arc::new(Plan {
            address,
            host: address.to_string(),
            mix,
            connections: CLIENTS,
            pace: Pace::Open { per_second },
            timeout: Duration::from_secs(10),
            by: Some(HeaderName::from_static("x-shop-version")),
            seed: 1,
        });
        let (seen, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
        let clients = run(plan, Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            runtime.block_on(clients);
            Ok(())
        });
        Ok(Clients { seen, stop, thread })
    }

    /// What was seen since the last call.
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(self) -> Result<(), Error> {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(Error::Site("the clients panicked".into())))
    }
}

async fn run(plan: Arc<Plan>, seen: Arc<Mutex<Vec<Seen>>>, stop: Arc<AtomicBool>) {
    let (start, next) = (tokio::time::Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..plan.connections {
        let (plan, seen, stop, next) = (Arc::clone(&plan), Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&next));
        clients.spawn(async move {
            let mut client = Client::new(Arc::clone(&plan));
            while !stop.load(Relaxed) {
                let number = next.fetch_add(1, Relaxed);
                tokio::time::sleep_until(start + plan.pace.due(number).unwrap_or_default()).await;
                let began = Instant::now();
                let (finished, _) = client.send(plan.mix.pick(plan.seed, number), began.into()).await;
                let failed = !matches!(finished.outcome, Outcome::Answered(200..500));
                let one = Seen { began, ended: Instant::now(), version: finished.label, failed };
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            }
        });
    }
    while clients.join_next().await.is_some() {}
}
