//! The inner roles of this program: what `qd serve` and its shims start besides themselves. People never type these, so
//! that they are no commands; they are looked for before anything else, because a shim must have a single thread and
//! little memory.

use crate::files;
use model::Time;
use runtime::shim;
use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The first argument of the data plane.
pub(crate) const PROXY: &str = "proxy";

/// Runs the role that the first argument names; `None` when it names none.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next()?;
    let rest: Vec<OsString> = arguments.collect();
    match (role.to_str()?, rest.as_slice()) {
        (shim::ROLE, [directory]) => Some(ended(shim::run(Path::new(directory)))),
        (shim::EXEC_ROLE, [stage]) => Some(shim::exec(stage.to_str()?)),
        (shim::FILES_ROLE, rest) => Some(ended(files::run(rest))),
        (PROXY, rest) => Some(proxy(rest)),
        _ => None,
    }
}

fn proxy(arguments: &[OsString]) -> ExitCode {
    let Some(config) = proxy_config(arguments) else {
        eprintln!("qd proxy is started by `qd serve` and not by hand");
        return ExitCode::from(2);
    };
    // A session of its own: what ends `qd serve` from its terminal must not end the traffic. It fails only when this is
    // the leader of its group already, hence apart from any terminal.
    let _ = rustix::process::setsid();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
    ended(proxy::run(config))
}

fn proxy_config(arguments: &[OsString]) -> Option<proxy::Config> {
    let mut data: Option<PathBuf> = None;
    let mut listen: Vec<SocketAddr> = Vec::new();
    let (mut threads, mut take_over) = (0, false);
    let (mut tls_listen, mut terms): (Vec<SocketAddr>, Option<PathBuf>) = (Vec::new(), None);
    let mut settings: Option<PathBuf> = None;
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.to_str()? {
            "--data" => data = Some(value.into()),
            "--listen" => listen.push(value.to_str()?.parse().ok()?),
            "--tls-listen" => tls_listen.push(value.to_str()?.parse().ok()?),
            "--tls-terms" => terms = Some(value.into()),
            "--settings" => settings = Some(value.into()),
            "--take-over" => take_over = value.to_str()?.parse().ok()?,
            "--threads" => threads = value.to_str()?.parse().ok()?,
            _ => return None,
        }
    }
    let tls = terms.map(|terms| proxy::Tls { listen: tls_listen, terms });
    Some(proxy::Config { threads, tls, settings, take_over, ..proxy::Config::new(listen, data?) })
}

fn ended<E: std::error::Error>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {}", stamp(), crate::serve::in_full(&error));
            ExitCode::FAILURE
        }
    }
}

/// When it happened, for a log that several processes wrote one after the other.
fn stamp() -> String {
    let Time(ms) = crate::serve::clock::wall();
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}
