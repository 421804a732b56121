//! Sending a case's load to a program, and what came of it: wrk and h2load for as much as goes, our own generator for a given
//! rate.

use super::{
    case::{Load, Over},
    program::{Ground, Running},
};
use crate::{
    error::Error,
    workspace::{output, shown},
};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

const PATHS: &str = include_str!("../peers/paths.lua");

/// What one run of a load gave.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) per_second: f64,
    /// Requests per second of the processor's time that the proxy took.
    pub(super) per_cpu_second: f64,
    /// In milliseconds. `None`: the loader does not say.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    /// How many cores other programs kept busy meanwhile.
    pub(super) others: f64,
}

/// Sends a load for so many seconds; once more before, for a second, for what is only paid at the beginning. `rate` is what
/// 100 % of a pace are.
pub(super) fn run(ground: &Ground, proxy: &Running, load: Load, seconds: u32, rate: f64) -> Result<Sample, Error> {
    send(ground, proxy, load, 1, rate)?;
    let before = proxy.process.cpu_s();
    let mut sample = send(ground, proxy, load, seconds, rate)?;
    let used = proxy.process.cpu_s() - before;
    if sample.requests == 0 || used <= 0.0 {
        return Err(Error::Site("no request was answered, or no time was used for it".into()));
    }
    sample.per_cpu_second = sample.requests as f64 / used;
    Ok(sample)
}

fn send(ground: &Ground, proxy: &Running, load: Load, seconds: u32, rate: f64) -> Result<Sample, Error> {
    match load {
        Load::Kept { over, path, clients } => wrk(&url(proxy, over, path), clients, seconds, &[], &[]),
        Load::New { over, path, clients } => {
            wrk(&url(proxy, over, path), clients, seconds, &["-H", "Connection: close"], &[])
        }
        Load::Spread { paths, clients } => {
            let script = ground.dir.join("paths.lua");
            fs::write(&script, PATHS).map_err(|source| Error::Write { path: script.clone(), source })?;
            let (script, paths) = (script.display().to_string(), paths.to_string());
            wrk(&url(proxy, Over::Clear, "/"), clients, seconds, &["-s", &script], &["--", &paths])
        }
        Load::Http2 { path, clients, streams } => h2load(proxy.http2, path, clients, streams, seconds),
        Load::Paced { percent, clients } => {
            paced(&ground.loader, proxy.http1, rate * f64::from(percent) / 100.0, clients, seconds)
        }
    }
}

fn url(proxy: &Running, over: Over, path: &str) -> String {
    match over {
        Over::Clear => format!("http://{}{path}", proxy.http1),
        // By a name, because that is what a handshake asks for.
        Over::Tls => format!("https://localhost:{}{path}", proxy.https.port()),
    }
}

/// The command that sends as much as goes by HTTP/1.1.
pub(super) fn wrk_command(url: &str, clients: u32, seconds: u32, more: &[&str], last: &[&str]) -> Command {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", "--timeout", "10s"]).arg(format!("-c{clients}")).arg(format!("-d{seconds}s"));
    command.args(more).arg(url).args(last);
    command
}

fn wrk(url: &str, clients: u32, seconds: u32, more: &[&str], last: &[&str]) -> Result<Sample, Error> {
    let said = output(&mut wrk_command(url, clients, seconds, more, last))?;
    wrk_sample(&said).ok_or_else(|| Error::Site(format!("wrk says something else than usual:\n{said}")))
}

/// What wrk says at its end.
pub(super) fn wrk_sample(said: &str) -> Option<Sample> {
    let after = |mark: &str| said.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::trim);
    let requests: u64 = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let numbers = |text: &str| text.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let failed = after("Socket errors:").map_or(0, numbers) + after("Non-2xx or 3xx responses:").map_or(0, numbers);
    Some(Sample {
        requests,
        failed,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50_ms: Some(ms(after("50%")?)?),
        p99_ms: Some(ms(after("99%")?)?),
        ..Sample::default()
    })
}

fn h2load(at: SocketAddr, path: &str, clients: u32, streams: u32, seconds: u32) -> Result<Sample, Error> {
    let mut command = Command::new("h2load");
    command.arg("-t1").arg(format!("-c{clients}")).arg(format!("-m{streams}")).arg(format!("-D{seconds}"));
    let said = output(command.arg(format!("http://{at}{path}")))?;
    h2load_sample(&said).ok_or_else(|| Error::Site(format!("h2load says something else than usual:\n{said}")))
}

fn h2load_sample(said: &str) -> Option<Sample> {
    let line = said.lines().find(|line| line.starts_with("requests: "))?;
    let count = |what: &str| {
        let text = line.strip_prefix("requests: ")?.split(", ").find_map(|part| part.trim().strip_suffix(what))?;
        text.trim().parse::<u64>().ok()
    };
    let finished = said.lines().find_map(|line| line.strip_prefix("finished in "))?;
    let per_second = finished.split(", ").find_map(|part| part.strip_suffix(" req/s"))?;
    let statuses = said.lines().find_map(|line| line.strip_prefix("status codes: "))?;
    let wrong = statuses.split(", ").skip(2).filter_map(|part| part.split_once(' ')?.0.parse::<u64>().ok());
    Some(Sample {
        requests: count("succeeded")?,
        failed: count("failed")? + wrong.sum::<u64>(),
        per_second: per_second.parse().ok()?,
        ..Sample::default()
    })
}

/// A time with its unit, as wrk writes it.
fn ms(text: &str) -> Option<f64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.get(number.len()..)? {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Our own generator, as a process: the one that this program would run itself may not have been optimised.
fn paced(loader: &Path, at: SocketAddr, per_second: f64, clients: u32, seconds: u32) -> Result<Sample, Error> {
    if per_second <= 0.0 {
        return Err(Error::Site("there is no rate to take a share of".into()));
    }
    let mut command = Command::new(loader);
    command.args(["load", "--json", "--rate"]).arg(format!("{per_second:.0}"));
    command.arg("--connections").arg(clients.to_string()).arg("--duration").arg(seconds.to_string());
    command.arg(format!("http://{at}/1k")).stderr(Stdio::null());
    // It fails when a request has: that is counted.
    let done = command.output().map_err(|source| Error::Start { command: shown(&command), source })?;
    let said = String::from_utf8_lossy(&done.stdout);
    own_sample(&said)
        .ok_or_else(|| Error::Site(format!("`{}` says something else than usual:\n{said}", shown(&command))))
}

/// The last line of what our generator says.
fn own_sample(said: &str) -> Option<Sample> {
    let last: serde_json::Value = serde_json::from_str(said.lines().last()?).ok()?;
    let summary = last.get("summary")?;
    let ways = ["4xx", "5xx", "refused", "unreachable", "reset", "timeout", "truncated"];
    let failed = ways.iter().filter_map(|way| summary["counts"][way].as_u64()).sum::<u64>();
    Some(Sample {
        requests: summary["sent"].as_u64()?,
        failed: failed + summary["unsent"].as_u64()?,
        per_second: summary["per_second"].as_f64()?,
        p50_ms: summary["latency_ms"]["p50"].as_f64(),
        p99_ms: summary["latency_ms"]["p99"].as_f64(),
        ..Sample::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_wrk_says_is_understood() {
        let said = "Running 1s test @ http://127.0.0.1:1/1k\n  Latency Distribution\n     50%  635.00us\n     75%    1.10ms\n     \
                    99%    2.50s \n  51234 requests in 1.02s, 60.01MB read\n  Socket errors: connect 1, read 2, write 0, timeout \
                    3\n  Non-2xx or 3xx responses: 4\nRequests/sec:  50229.41\nTransfer/sec:     58.83MB\n";
        let sample = wrk_sample(said).unwrap();
        assert_eq!((sample.requests, sample.failed), (51_234, 10));
        assert_eq!((sample.p50_ms, sample.p99_ms), (Some(0.635), Some(2_500.0)));
        assert!((sample.per_second - 50_229.41).abs() < 1e-6);
    }

    #[test]
    fn what_h2load_says_is_understood() {
        let said = "finished in 1.00s, 47423.00 req/s, 51.20MB/s\nrequests: 47423 total, 48063 started, 47423 done, 47400 \
                    succeeded, 23 failed, 0 errored, 0 timeout\nstatus codes: 47400 2xx, 0 3xx, 3 4xx, 20 5xx\n";
        let sample = h2load_sample(said).unwrap();
        assert_eq!((sample.requests, sample.failed), (47_400, 46));
        assert!((sample.per_second - 47_423.0).abs() < 1e-6);
    }

    #[test]
    fn what_our_own_generator_says_is_understood() {
        let figures = crate::load::tally::Tally::new().unwrap().figures(Duration::from_secs(1), Duration::ZERO, 7);
        let said = format!("{}\n{}\n", serde_json::json!({ "second": {} }), serde_json::json!({ "summary": figures }));
        let sample = own_sample(&said).unwrap();
        assert_eq!((sample.requests, sample.failed, sample.p50_ms), (0, 7, Some(0.0)));
    }
}
