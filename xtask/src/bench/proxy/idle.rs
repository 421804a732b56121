//! What a connection costs that is open and does nothing: memory, by the difference.

use super::{
    case::Routes,
    figures::Values,
    program::{Ground, Program, Running},
    request,
};
use crate::error::Error;
use std::{
    fmt::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

/// Everybody that is asked.
const PROGRAMS: &[Program] = &[Program::Nginx, Program::Haproxy, Program::Caddy, Program::Qd];
/// How long memory must not have changed to be taken for settled, and how long that may take.
const SETTLED: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a program needs files for besides connections.
const OTHER_FILES: usize = 200;

/// The memory of each program with so many connections, each of which has had one answer: fewer where a process may not
/// open that many files, of which a proxy keeps a second one for each connection.
pub(super) fn measure(ground: &Ground, connections: usize, rounds: usize) -> Result<String, Error> {
    let connections = connections.min((ground.files / 2).saturating_sub(OTHER_FILES)).max(1);
    let mut text = format!(
        "\n#### Memory of {connections} idle connections, each of which has had one answer of 1 KiB\n\n\
         | | without any | with all | for each |\n|---|---|---|---|\n"
    );
    for program in PROGRAMS {
        let (mut without, mut with, mut each) = (Values::default(), Values::default(), Values::default());
        for _ in 0..rounds {
            let (few, many) = once(ground, *program, connections)?;
            without.add(few as f64 * 1024.0 / 1e6);
            with.add(many as f64 * 1024.0 / 1e6);
            each.add(many.saturating_sub(few) as f64 / connections as f64);
        }
        let _ = writeln!(
            text,
            "| {} | {} MB | {} MB | {} KiB |",
            program.name(),
            without.shown(1),
            with.shown(1),
            each.shown(2)
        );
    }
    Ok(text)
}

fn once(ground: &Ground, program: Program, connections: usize) -> Result<(u64, u64), Error> {
    let proxy = Running::start(ground, program, Routes::One)?;
    let few = settled(&proxy);
    let open = |n| {
        request::once(proxy.http1, "/1k").map_err(|why| {
            Error::Site(format!("{}: idle connection {n} of {connections} was not answered: {why}", program.name()))
        })
    };
    let held: Vec<TcpStream> = (1..=connections).map(open).collect::<Result<_, _>>()?;
    let many = settled(&proxy);
    drop(held);
    Ok((few, many))
}

fn settled(proxy: &Running) -> u64 {
    let begun = Instant::now();
    let (mut last, mut since) = (proxy.process.resident_kib(), Instant::now());
    while since.elapsed() < SETTLED && begun.elapsed() < PATIENCE {
        std::thread::park_timeout(LOOK);
        let now = proxy.process.resident_kib();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}
