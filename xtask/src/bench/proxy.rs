//! The data plane beside nginx, HAProxy and Caddy: the same load, the same origin, the same core, one worker each, by turns.
//!
//! What counts is requests per second of the processor's time: on a machine that does something else as well it is what stays
//! comparable, and it is what a proxy costs. `qd proxy` runs with everything it does in production: telemetry, a canary, a
//! guard, and somebody who reads its reports.
//!
//! Start reading at [`case`], what is measured; [`program`] says how each is set up, [`loader`] sends, [`figures`] sums up.

mod case;
mod figures;
mod idle;
mod loader;
mod process;
mod program;
mod quiet;
mod request;
pub(super) mod soak;
mod table;

use super::Options;
use crate::{
    error::Error,
    peers,
    workspace::{Workspace, output, succeed},
};
use case::{CASES, Length};
use figures::{Outcome, Values};
use process::Cores;
use program::{Ground, Origin, Program, Running};
use quiet::Quiet;
use std::{fmt::Write as _, fs, process::Command, time::Duration};

/// How long a load is sent, how often each case is repeated, and how many connections idle.
struct Size {
    seconds: u32,
    rounds: usize,
    idle_rounds: usize,
    idle: usize,
    /// How long in all it waits for others on this machine to be quiet.
    patience: Duration,
}

const FULL: Size = Size { seconds: 2, rounds: 5, idle_rounds: 3, idle: 10_000, patience: Duration::from_secs(120) };
const QUICK: Size = Size { seconds: 1, rounds: 2, idle_rounds: 1, idle: 10_000, patience: Duration::from_secs(20) };

/// Measures all of it; the figures as Markdown.
pub(super) fn measure(workspace: &Workspace, options: &Options) -> Result<String, Error> {
    on_ground(workspace, options, |ground| {
        let size = if options.quick { QUICK } else { FULL };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let _origin = Origin::start(ground)?;
        let idle = idle::measure(ground, size.idle, size.idle_rounds)?;
        let outcomes = rounds(ground, &size, options)?;
        let mut text = setting(ground, &size)?;
        let _ = writeln!(
            text,
            "- The load average of the machine at the start: {}. What other programs did meanwhile, in cores: {}.",
            load.split(' ').next().unwrap_or("?"),
            outcomes.iter().flat_map(Outcome::others).collect::<Values>().shown(2)
        );
        text += "\n### `qd proxy` by the better peer\n\n| | requests per CPU-second | requests/s | p99 |\n|---|---|---|---|\n";
        for outcome in &outcomes {
            let _ = writeln!(text, "{}", outcome.row());
        }
        if let Some(cost) = outcomes.iter().find_map(Outcome::cost_of_watching) {
            let _ = writeln!(
                text,
                "\nThe time `qd proxy` takes for a request with a canary and a guard, by that without: {}. Telemetry is always on.",
                cost.shown(3)
            );
        }
        text += "\n### Each case\n";
        outcomes.iter().for_each(|outcome| text += &outcome.table());
        text += &idle;
        text += "\n### The configurations of the others\n";
        for (name, template) in program::CONFIGURATIONS {
            let _ = write!(text, "\n`{name}`:\n\n```text\n{}\n```\n", template.trim_end());
        }
        Ok(text)
    })
}

/// Prepares a directory, the cores and the executable, lets `measure` measure, and clears away.
fn on_ground(
    workspace: &Workspace,
    options: &Options,
    measure: impl FnOnce(&Ground) -> Result<String, Error>,
) -> Result<String, Error> {
    peers::provide_for_benches()?;
    let qd = match &options.qd {
        Some(qd) => fs::canonicalize(qd).map_err(|source| Error::Read { path: qd.clone(), source })?,
        None => {
            // As it is installed.
            succeed(&mut workspace.cargo(["build", "--profile", "dist", "--quiet", "--package", "qd"]))?;
            workspace.target.join("dist/qd")
        }
    };
    let loader = if cfg!(debug_assertions) {
        succeed(&mut workspace.cargo(["build", "--release", "--quiet", "--package", "xtask"]))?;
        workspace.target.join("release/xtask")
    } else {
        std::env::current_exe().map_err(Error::Runtime)?
    };
    let cores = Cores::here();
    let files = cores.take_the_loaders()?;
    let dir = std::env::temp_dir().join(format!("quarterdeck-bench-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    let mut origins = [([0, 0, 0, 0], 0).into(); 4];
    for origin in &mut origins {
        *origin = program::free_address()?;
    }
    let ground = Ground { dir: dir.clone(), qd, loader, cores, files, origins };
    let measured = ground.certify().and_then(|()| measure(&ground));
    drop(ground);
    fs::remove_dir_all(&dir).map_err(|source| Error::Write { path: dir, source })?;
    measured
}

fn rounds(ground: &Ground, size: &Size, options: &Options) -> Result<Vec<Outcome>, Error> {
    let chosen = CASES.iter().filter(|case| !options.quick || case.length == Length::Always);
    let mut outcomes: Vec<Outcome> = chosen.map(Outcome::new).collect();
    let mut quiet = Quiet::new(size.patience);
    for round in 0..size.rounds {
        let mut rate = 0.0;
        for outcome in &mut outcomes {
            let count = outcome.samples.len();
            for turn in 0..count {
                // Another one begins each time.
                let Some((program, samples)) = outcome.samples.get_mut((turn + round) % count) else { continue };
                let sample = quiet.sample(|| once(ground, *program, outcome.case, size.seconds, rate))?;
                println!(
                    "round {}: {}: {}: {:.0} per CPU-second, {:.0} per second, {} failed, others {:.2}",
                    round + 1,
                    outcome.case.name,
                    program.name(),
                    sample.per_cpu_second,
                    sample.per_second,
                    sample.failed,
                    sample.others
                );
                samples.push(sample);
            }
            if rate == 0.0 {
                rate = outcome.least_per_second(case::TUNED);
            }
        }
    }
    Ok(outcomes)
}

fn once(
    ground: &Ground,
    program: Program,
    case: &case::Case,
    seconds: u32,
    rate: f64,
) -> Result<loader::Sample, Error> {
    let proxy = Running::start(ground, program, case.routes)?;
    let sample = loader::run(ground, &proxy, case.load, seconds, rate)?;
    proxy.check()?;
    Ok(sample)
}

/// What was measured how, for who reads the figures.
fn setting(ground: &Ground, size: &Size) -> Result<String, Error> {
    let version = |program: &str, flag: &str| -> Result<String, Error> {
        let mut command = Command::new(program);
        let done = command.arg(flag).output().map_err(|source| Error::Start { command: program.into(), source })?;
        // Some say it where they say what is wrong.
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
        let word =
            said.split([' ', '/']).find(|word| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()));
        Ok(word.unwrap_or("?").to_owned())
    };
    let Cores { proxy, origin, loader, all } = ground.cores;
    let qd = output(Command::new(&ground.qd).arg("--version"))?;
    Ok(format!(
        "- {} rounds of {} s each, after a second to warm up, the programs by turns; median (least - most). Ratios are taken \
         in each round, to the best of the others in it: above 1 is better for what is done per second, below 1 for times.\n\
         - {}, nginx {}, HAProxy {}, Caddy {}; one worker or thread each, on core {proxy} of {all}. The origin (another nginx) \
         is on core {origin}, the loader (wrk, h2load; for given rates our own) on core {loader}.\n\
         - Requests per CPU-second: by the user and system time of the proxy and what it started.\n\
         - `qd proxy` has telemetry, a canary with a tenth of the requests, a guard that watches it, and a reader of its reports.\n",
        size.rounds,
        size.seconds,
        qd.trim(),
        version("nginx", "-v")?,
        version("haproxy", "-v")?,
        version("caddy", "version")?,
    ))
}
