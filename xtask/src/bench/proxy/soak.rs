//! The data plane for a long time: as much as goes, while its table is replaced again and again. Its memory must stay as it
//! is, and no request may fail.

use super::{
    case::Routes,
    loader::{wrk_command, wrk_sample},
    on_ground,
    program::{Ground, Origin, Program, Running},
    table::{Watch, table},
};
use crate::{bench::Options, error::Error, workspace::Workspace};
use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

const MIX: &str = include_str!("../peers/mix.lua");
/// Tables in all, one after the other, spread over the whole time.
const SWAPS: u32 = 1_000;
/// How many clients send as fast as they are answered.
const CLIENTS: u32 = 64;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(10);
/// How much of the beginning does not count for "flat": connections are opened and buffers find their sizes.
const WARM_UP: Duration = Duration::from_secs(30);

/// Measures it; the figures as Markdown.
pub(in crate::bench) fn measure(workspace: &Workspace, options: &Options) -> Result<String, Error> {
    on_ground(workspace, options, |ground| {
        let _origin = Origin::start(ground)?;
        let mut proxy = Running::start(ground, Program::Qd, Routes::One)?;
        let script = ground.dir.join("mix.lua");
        fs::write(&script, MIX).map_err(|source| Error::Write { path: script.clone(), source })?;
        let time = Duration::from_secs(60 * u64::from(options.minutes));
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let script = script.display().to_string();
        let mut load = wrk_command(&format!("http://{}/", proxy.http1), CLIENTS, seconds, &["-s", &script], &[]);
        let start = |source| Error::Start { command: "wrk".into(), source };
        let mut load = load.stdout(Stdio::piped()).spawn().map_err(start)?;
        let run = swap_and_watch(ground, &mut proxy, time);
        let said = ended(&mut load, run.is_err())?;
        let (swaps, memory) = run?;
        proxy.check()?;
        let sent =
            wrk_sample(&said).ok_or_else(|| Error::Site(format!("wrk says something else than usual:\n{said}")))?;
        Ok(report(&sent, swaps, &memory, time))
    })
}

/// What the load said at its end. It is ended at once when the watch failed.
fn ended(load: &mut Child, failed: bool) -> Result<String, Error> {
    let mut said = String::new();
    if failed {
        // It may have ended by itself.
        let _ = load.kill();
    }
    let read = load.stdout.take().map_or(Ok(0), |mut out| out.read_to_string(&mut said));
    read.and_then(|_| load.wait()).map_err(|source| Error::Start { command: "wrk".into(), source })?;
    Ok(said)
}

/// Replaces tables, evenly, and looks at the memory in between; each size with when it was.
fn swap_and_watch(ground: &Ground, proxy: &mut Running, time: Duration) -> Result<(u32, Vec<(Duration, u64)>), Error> {
    let begun = Instant::now();
    let mut memory = Vec::new();
    let mut swaps = 0;
    while begun.elapsed() < time {
        if begun.elapsed() >= SAMPLE * u32::try_from(memory.len()).unwrap_or(u32::MAX) {
            let kib = proxy.process.resident_kib();
            println!("after {:>5.0} s: {:.1} MB, {swaps} tables", begun.elapsed().as_secs_f64(), mb(kib));
            memory.push((begun.elapsed(), kib));
        }
        let watch = if swaps % 2 == 0 { Watch::OtherStep } else { Watch::Canary };
        let next = table(u64::from(swaps) + 2, &ground.origins, Routes::One, watch);
        if let Some(link) = &mut proxy.link {
            link.set_routes(&next)?;
        }
        if proxy.process.has_ended() {
            return Err(Error::Site("`qd proxy` ended in the middle".into()));
        }
        swaps += 1;
        let due = time.mul_f64(f64::from(swaps) / f64::from(SWAPS));
        std::thread::park_timeout(due.saturating_sub(begun.elapsed()));
    }
    memory.push((begun.elapsed(), proxy.process.resident_kib()));
    Ok((swaps, memory))
}

fn report(sent: &super::loader::Sample, swaps: u32, memory: &[(Duration, u64)], time: Duration) -> String {
    let settled: Vec<u64> = memory.iter().filter(|(at, _)| *at >= WARM_UP.min(time / 2)).map(|(_, kib)| *kib).collect();
    let at = |kib: Option<&u64>| mb(kib.copied().unwrap_or_default());
    let mut text = format!(
        "| in {} minutes with {CLIENTS} clients, as fast as they are answered | |\n|---|---|\n",
        time.as_secs() / 60
    );
    let _ = writeln!(
        text,
        "| requests (nine of ten 1 KiB, one 100 KiB; every hundredth closes its connection) | {} |",
        sent.requests
    );
    let _ = writeln!(text, "| requests/s | {:.0} |", sent.per_second);
    let _ = writeln!(text, "| failed | {} |", sent.failed);
    let _ = writeln!(text, "| route tables put in force meanwhile | {swaps} |");
    let _ = writeln!(
        text,
        "| memory of `qd proxy` after {} s, at the end | {:.1} MB, {:.1} MB |",
        WARM_UP.min(time / 2).as_secs(),
        at(settled.first()),
        at(settled.last())
    );
    let _ = writeln!(
        text,
        "| in between, least and most | {:.1} MB, {:.1} MB |",
        at(settled.iter().min()),
        at(settled.iter().max())
    );
    text
}

fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
