//! Measures what the process driver costs: `cargo run --release -p runtime --example measure`.
//!
//! Prints the time from asking for an instance until its program runs, the memory of its idle shim, and the processor
//! time a shim takes for a gigabyte of output. Needs the example `shim` beside it.

use model::{Action, Bytes, Check, InstanceId, InstanceSpec, Limits, Phase, Probe, ReleaseId, RunSpec, Span};
use runtime::{
    Driver as _,
    artifact::{Bounds, pack::Package},
    process::{ProcessDriver, Settings},
};
use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

const STARTS: u64 = 50;
const NOISE: u64 = STARTS + 1;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir()?;
    let data = directory.path().join("data");
    let executable = std::env::current_exe()?.with_file_name("shim");
    let settings = Settings { data: data.clone(), executable, search_path: "/usr/local/bin:/usr/bin:/bin".to_owned() };
    let driver = ProcessDriver::open(settings).await?;
    let source = tempfile::tempdir()?;
    fs::write(
        source.path().join("noise.sh"),
        "yes 'a line of some forty characters or more' | head -c 1G; sleep 600\n",
    )?;
    let mut archive = Vec::new();
    Package::inspect(source.path(), &[])?.write_to(&mut archive)?;
    let artifact = driver.artifacts().take_tar(&archive[..], Bounds::default())?;
    let spec = |id, command: &[&str]| InstanceSpec {
        id: InstanceId(id),
        attempt: 1,
        service: model::ServiceKey::try_from("measure".to_owned()).unwrap_or_else(|error| panic!("{error}")),
        release: ReleaseId(1),
        artifact,
        run: RunSpec {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            listen: model::Listen::Port,
            env: BTreeMap::new(),
            secrets: None,
            ready: Probe { check: Check::Started, ..Probe::default() },
            live: None,
            start_deadline: Span::seconds(30),
            stop_deadline: Span::seconds(1),
            limits: Limits { output: Bytes::mib(8), ..Limits::default() },
            user: None,
        },
    };

    let mut starts = Vec::new();
    let mut memory = Vec::new();
    for id in 1..=STARTS {
        let began = Instant::now();
        driver.perform(Action::StartInstance(Box::new(spec(id, &["sleep", "600"]))));
        ready(&driver, id).await;
        starts.push(began.elapsed());
        memory.push(kilobytes(shim(&data, id)?, "VmRSS:")?);
    }
    starts.sort();
    let at = |share: usize| starts[starts.len() * share / 100].as_micros() as f64 / 1000.0;
    println!("from asking until the program runs: p50 {:.1} ms, p90 {:.1} ms", at(50), at(90));
    memory.sort();
    println!(
        "resident memory of an idle shim: median {} KiB, most {} KiB",
        memory[memory.len() / 2],
        memory[memory.len() - 1]
    );

    driver.perform(Action::StartInstance(Box::new(spec(NOISE, &["sh", "noise.sh"]))));
    ready(&driver, NOISE).await;
    let (began, shim) = (Instant::now(), shim(&data, NOISE)?);
    while began.elapsed() < PATIENCE && read_bytes(shim)? < 1 << 30 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stat = fs::read_to_string(format!("/proc/{shim}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    println!(
        "a gigabyte of output: {:.1} s, of which the shim ran {:.1} s; its memory then {} KiB",
        began.elapsed().as_secs_f64(),
        ticks / 100.0,
        kilobytes(shim, "VmRSS:")?
    );
    drop(driver);
    runtime::down::stop_everything(&data)?;
    Ok(())
}

async fn ready(driver: &ProcessDriver, id: u64) {
    let mut changes = driver.changes();
    let is_ready = || driver.observe().iter().any(|seen| seen.id == InstanceId(id) && seen.phase == Phase::Ready);
    while !is_ready() && changes.changed().await.is_ok() {}
}

fn shim(data: &Path, id: u64) -> Result<u64, Box<dyn Error>> {
    let path = data.join("instances").join(InstanceId(id).to_string()).join("status.json");
    let status: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    status["shim"].as_u64().ok_or_else(|| "no shim in the status".into())
}

fn kilobytes(pid: u64, field: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn read_bytes(pid: u64) -> Result<u64, Box<dyn Error>> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    Ok(io.lines().find_map(|line| line.strip_prefix("rchar: ")).ok_or("no such field")?.parse()?)
}
