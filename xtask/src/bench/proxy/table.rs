//! What `qd proxy` is told when nobody but this program keeps it: its table, as it is saved in a data directory, and the
//! line on which it reports and is given new tables. These are inner forms of the product, written out here because tasks
//! link none of its crates; a version that differs is refused by the data plane, not misread.

use super::case::Routes;
use crate::error::Error;
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

/// The version of the saved table, and of the messages.
const VERSION: u32 = 1;
/// A million stands for all of the requests.
const ALL_PPM: u32 = 1_000_000;
/// What the canary gets.
const CANARY_PPM: u32 = 100_000;
/// How long a message may take to be written, and the line to be opened.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// What a service is watched by.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Watch {
    /// A canary gets a tenth of the requests, and a guard watches it.
    Canary,
    /// As above, but with double the share and one instance less: what another step of a rollout looks like.
    OtherStep,
    /// One release gets everything.
    Nothing,
}

/// The name of a route, which is the first segment of its paths.
pub(super) fn route(n: usize) -> String {
    format!("r{n:04}")
}

/// A table with these routes.
pub(super) fn table(generation: u64, origins: &[SocketAddr; 4], routes: Routes, watch: Watch) -> Value {
    let all = (0..routes.count()).map(|n| format!("/{}", route(n)));
    let services: Vec<_> = match routes {
        Routes::One => vec![service(0, &["/".to_owned()], origins, watch)],
        Routes::OfOneService => vec![service(0, &all.collect::<Vec<_>>(), origins, watch)],
        Routes::OfManyServices => all.enumerate().map(|(n, path)| service(n, &[path], origins, watch)).collect(),
    };
    json!({ "generation": generation, "services": services })
}

fn service(n: usize, paths: &[String], origins: &[SocketAddr; 4], watch: Watch) -> Value {
    let routes: Vec<_> = paths.iter().map(|path| json!({ "host": null, "path": path })).collect();
    let endpoints = |which: &[usize]| {
        let endpoint = |i: &usize| json!({ "instance": format!("INS-{}", i + 1), "address": origins[*i] });
        which.iter().map(endpoint).collect::<Vec<_>>()
    };
    let release = |k: usize| format!("REL-{}", 2 * n + k);
    let arm = |k: usize, role: &str, ppm: u32, which: &[usize]| json!({ "release": release(k), "role": role, "weight": ppm, "endpoints": endpoints(which) });
    let both = |ppm: u32, running: &[usize]| {
        json!([arm(1, "running", ALL_PPM - ppm, running), arm(2, "canary", ppm, &[2, 3])])
    };
    let arms = match watch {
        Watch::Canary => both(CANARY_PPM, &[0, 1]),
        Watch::OtherStep => both(2 * CANARY_PPM, &[0]),
        Watch::Nothing => json!([arm(1, "running", ALL_PPM, &[0, 1, 2, 3])]),
    };
    let mut service = json!({
        "service": format!("bench-{n}"),
        "routes": routes,
        "traffic": {
            "sticky": null, "response_timeout": 60_000, "idle_timeout": 300_000, "drain_deadline": 30_000,
            "max_body": 1 << 30,
        },
        "arms": arms,
        "guard": null,
    });
    if watch != Watch::Nothing {
        // As the configuration has it by default: failures and latency are judged.
        service["guard"] = json!({ "change": format!("CHG-{}", n + 1), "judgement": {
            "false_alarm": 1_000, "miss": 50_000, "tolerance": 10_000, "latency_tolerance": 100_000,
            "latency_margin": 100_000, "latency_slack": 5, "warm_up": 0,
        }});
    }
    service
}

/// A table as it is saved.
pub(super) fn saved(table: &Value) -> String {
    json!({ "version": VERSION, "table": table, "tripped": [] }).to_string()
}

/// On which terms it speaks TLS: with the certificate and the key in this file.
pub(super) fn tls_terms(certificate: &Path) -> String {
    json!({ "certificates": [{ "chain": certificate, "key": certificate }] }).to_string()
}

/// Whether a guard has tripped, as saved in this data directory.
pub(super) fn has_tripped(dir: &Path) -> Result<bool, Error> {
    let path = dir.join("routes.json");
    let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let saved: Value =
        serde_json::from_str(&text).map_err(|source| Error::Answer { command: "qd proxy".into(), source })?;
    match saved["tripped"].as_array() {
        Some(tripped) => Ok(!tripped.is_empty()),
        None => Err(Error::Site(format!("{} does not say which guards have tripped", path.display()))),
    }
}

/// The line to a data plane. Its reports are read and thrown away, so that it does all the work of reporting.
pub(super) struct Link {
    stream: UnixStream,
}

impl Link {
    /// Connects to the data plane of this data directory, which answers requests a moment before it opens its line.
    pub(super) fn connect(dir: &Path) -> Result<Link, Error> {
        let (path, begun) = (dir.join("proxy.sock"), Instant::now());
        let linked = || -> io::Result<Link> {
            let stream = loop {
                match UnixStream::connect(&path) {
                    Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                    Err(_) => std::thread::park_timeout(LOOK),
                    Ok(stream) => break stream,
                }
            };
            stream.set_write_timeout(Some(PATIENCE))?;
            let mut reports = stream.try_clone()?;
            // Ends when the data plane does.
            std::thread::spawn(move || {
                let mut chunk = vec![0; 256 << 10];
                while reports.read(&mut chunk).is_ok_and(|read| read > 0) {}
            });
            let mut link = Link { stream };
            link.say(&json!({ "hello": { "version": VERSION, "pid": std::process::id(), "started": 0 } }))?;
            Ok(link)
        };
        linked().map_err(|source| Error::Start { command: "the line to `qd proxy`".into(), source })
    }

    /// Gives it another table.
    pub(super) fn set_routes(&mut self, table: &Value) -> Result<(), Error> {
        let said = self.say(&json!({ "set_routes": table }));
        said.map_err(|source| Error::Start { command: "a new table in `qd proxy`".into(), source })
    }

    /// A message is its length, four bytes, and that much JSON.
    fn say(&mut self, message: &Value) -> io::Result<()> {
        let body = message.to_string();
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        self.stream.write_all(&length.to_be_bytes())?;
        self.stream.write_all(body.as_bytes())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Ends the thread that reads. Where the other side is gone already, it has ended.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}
