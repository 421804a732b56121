//! The load generator: requests to a service, and what became of each of them.
//!
//! It has two paces. *Open loop* sends at a given rate whatever the service does, and counts a latency from the moment the
//! request was due: a service that stalls cannot hide the requests it kept from being sent. *Closed loop* sends the next
//! request of a connection when the last is answered: it finds how much a service can do, and its latencies flatter.
//!
//! The command is here. Other tasks use [`generator`] in their own process; [`mix`] says what is sent, [`client`] sends,
//! [`tally`] counts.

pub(crate) mod client;
pub(crate) mod generator;
pub(crate) mod mix;
pub(crate) mod tally;

use crate::error::Error;
use generator::{Pace, Plan, Running};
use mix::Mix;
use std::{future::Future, io::Read, net::ToSocketAddrs, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{MissedTickBehavior, interval_at, sleep},
};

/// What to send where, and how fast.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to: `http://host:port/path`. The path is what is asked for unless --send or --shop says otherwise
    url: String,
    /// Requests per second, sent whatever the service does. Without it: as fast as the connections are answered
    #[arg(long)]
    rate: Option<f64>,
    /// How many connections, each kept open as long as the service lets it
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// For how many seconds. Without it: until standard input ends, SIGTERM or SIGINT
    #[arg(long)]
    duration: Option<f64>,
    /// How many seconds a request may take
    #[arg(long, default_value_t = 10.0)]
    timeout: f64,
    /// What to send, as `[WEIGHT] METHOD PATH [BODY]`; may be repeated
    #[arg(long, value_name = "REQUEST")]
    send: Vec<String>,
    /// Send what customers of examples/shop send
    #[arg(long, conflicts_with = "send")]
    shop: bool,
    /// The Host header, where it is not the one of the address
    #[arg(long)]
    host: Option<String>,
    /// Count also per value of this response header
    #[arg(long, value_name = "HEADER")]
    by: Option<String>,
    /// How many threads send
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The same number gives the same requests in the same order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a JSON object per second and one at the end
    #[arg(long)]
    json: bool,
}

/// Runs the command. Fails when a request failed.
pub(crate) fn run(options: Options) -> Result<(), Error> {
    let plan = options.plan()?;
    let mut builder = match options.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(options.threads.max(1)).enable_all().build().map_err(Error::Runtime)?;
    let summary = runtime.block_on(async {
        let stop = stop(options.duration).map_err(Error::Runtime)?;
        let mut running = Running::start(plan)?;
        tokio::pin!(stop);
        let second = Duration::from_secs(1);
        let mut ticks = interval_at(tokio::time::Instant::now() + second, second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = ticks.tick() => show(&running.sample(), options.json, "second"),
            }
        }
        Ok::<_, Error>(running.stop().await)
    })?;
    show(&summary, options.json, "summary");
    for failure in summary.failures.iter().filter(|_| !options.json) {
        println!("          after {} ms: {}: {}", failure.at_ms, failure.request, failure.why);
    }
    match summary.failed() {
        0 => Ok(()),
        failed => Err(Error::FailedRequests { failed, sent: summary.sent }),
    }
}

fn show(figures: &tally::Figures, json: bool, name: &str) {
    if json {
        println!("{}", serde_json::json!({ name: figures }));
    } else {
        println!("{figures}");
    }
}

impl Options {
    fn plan(&self) -> Result<Plan, Error> {
        let wrong = |why: String| Error::Load(why);
        let url: hyper::Uri =
            self.url.parse().map_err(|why| wrong(format!("{} is not an address: {why}", self.url)))?;
        let authority = match (url.scheme_str(), url.authority()) {
            (Some("http"), Some(authority)) => authority,
            _ => return Err(wrong(format!("{} is not an address: write http://host:port/path", self.url))),
        };
        let found = (authority.host(), authority.port_u16().unwrap_or(80)).to_socket_addrs();
        let address = found.ok().and_then(|mut found| found.next());
        let mix = match (self.shop, self.send.as_slice()) {
            (true, _) => Mix::shop(),
            (false, []) => Mix::parse(&[format!("GET {}", url.path_and_query().map_or("/", |path| path.as_str()))]),
            (false, lines) => Mix::parse(lines),
        };
        let seconds = |what: &str, value: f64| {
            Duration::try_from_secs_f64(value)
                .ok()
                .filter(|d| !d.is_zero())
                .ok_or_else(|| wrong(format!("--{what} {value} is no time")))
        };
        if let Some(duration) = self.duration {
            seconds("duration", duration)?;
        }
        let pace = match self.rate {
            None => Pace::Closed,
            Some(rate) if rate.is_finite() && rate > 0.0 => Pace::Open { per_second: rate },
            Some(rate) => return Err(wrong(format!("--rate {rate} is no rate: it must be above 0"))),
        };
        if !(1..=10_000).contains(&self.connections) {
            return Err(wrong(format!("--connections {}: 1 to 10,000 are possible", self.connections)));
        }
        Ok(Plan {
            address: address.ok_or_else(|| wrong(format!("{} is not to be found", authority.host())))?,
            host: self.host.clone().unwrap_or_else(|| authority.to_string()),
            mix: mix.map_err(wrong)?,
            connections: self.connections,
            pace,
            timeout: seconds("timeout", self.timeout)?,
            by: self.by.as_ref().map(|by| by.parse().map_err(|why| wrong(format!("--by {by}: {why}")))).transpose()?,
            seed: self.seed,
        })
    }
}

/// Completes after the duration, or at SIGTERM or SIGINT, or, without a duration, when standard input ends.
fn stop(duration: Option<f64>) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (ended, end) = oneshot::channel();
    if duration.is_none() {
        // Reading cannot be interrupted: this thread ends with the process.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink());
            let _ = ended.send(());
        });
    }
    Ok(async move {
        let limit = async {
            match duration {
                Some(seconds) => sleep(Duration::from_secs_f64(seconds)).await,
                None => drop(end.await),
            }
        };
        tokio::select! {
            () = limit => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
