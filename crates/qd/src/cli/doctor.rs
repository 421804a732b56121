//! `qd doctor`: what could keep Quarterdeck from working on this machine, each with what to do about it. It changes
//! nothing; it writes one small file into the data directory to see how long that takes, and removes it.

use super::{
    context::{Context, shown},
    failure::Failure,
};
use crate::{
    config::Config,
    render::{Ink, many, trouble, wrap},
    serve::{clock::wall, in_full},
};
use control::view::Status;
use model::{Bytes, Seq, Time};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};
use store::{Ledger, Place, Reader};

/// Below this much free space the ledger and releases are in danger.
const LITTLE_SPACE: u64 = 1 << 30;
/// Below this nothing more is written.
const NO_SPACE: u64 = 1 << 20;
/// How often a write is timed.
const WRITES: usize = 20;
/// A durable write that takes longer makes every command slow.
const SLOW_WRITE: Duration = Duration::from_millis(50);
/// Below this many open files a busy data plane runs out.
const FEW_FILES: u64 = 4_096;

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    Good,
    Doubtful,
    Bad,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    found: Found,
    detail: String,
    remedy: String,
}

impl Check {
    fn good(what: &'static str, detail: impl Into<String>) -> Check {
        Check { what, found: Found::Good, detail: detail.into(), remedy: String::new() }
    }

    fn doubtful(what: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { what, found: Found::Doubtful, detail: detail.into(), remedy: remedy.into() }
    }

    fn bad(what: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { what, found: Found::Bad, detail: detail.into(), remedy: remedy.into() }
    }

    fn text(&self, ink: Ink) -> String {
        let mark = match self.found {
            Found::Good => ink.good("ok  "),
            Found::Doubtful => ink.warn("look"),
            Found::Bad => ink.bad("bad "),
        };
        let text = wrap(&format!("{}: {}", self.what, self.detail), ink.width, "     ");
        let mut text = format!("{mark} {}", text.trim_start());
        if !self.remedy.is_empty() {
            text += &wrap(&self.remedy, ink.width, "     ");
        }
        text
    }
}

/// Checks everything, and fails when something is bad.
pub(crate) async fn doctor(context: &Context) -> Result<(), Failure> {
    let config = context.config();
    let mut checks = vec![configuration(&config)];
    if let Ok(data) = context.data() {
        checks.push(space(&data));
        checks.push(writing(&data));
        checks.push(clock(context, &data));
        checks.extend(context.ledger().ok().and_then(|place| ledger(&place, &data)));
    }
    checks.extend(server(context, config.as_ref().ok()).await);
    checks.push(open_files());
    checks.push(limits());
    let bad = checks.iter().filter(|c| c.found == Found::Bad).count();
    context.out.result(&checks, |ink| checks.iter().map(|check| check.text(ink)).collect())?;
    match bad {
        0 => Ok(()),
        n => Err(Failure::other(format!("{n} of {} checks found something bad", checks.len()), "")),
    }
}

fn configuration(config: &Result<Config, Failure>) -> Check {
    match config {
        Ok(config) => Check::good("configuration", format!("{} is valid", shown(&config.path))),
        Err(failure) => Check::bad(
            "configuration",
            in_full(failure).lines().next().unwrap_or_default(),
            "`qd config check` shows what is wrong with it; without one, begin with `qd init`",
        ),
    }
}

/// The directory, or the nearest one above it that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("."))
}

fn space(data: &Path) -> Check {
    match free(data) {
        Ok(free) => {
            let detail = format!("{} free for {}", Bytes(free), shown(data));
            if free < LITTLE_SPACE {
                Check::bad("space", detail, "make room: a full disk stops every change, though not the traffic")
            } else {
                Check::good("space", detail)
            }
        }
        Err(error) => Check::bad("space", format!("cannot tell: {error}"), ""),
    }
}

/// How many bytes are free for the data directory.
fn free(data: &Path) -> rustix::io::Result<u64> {
    rustix::fs::statvfs(existing(data)).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn writing(data: &Path) -> Check {
    let path = existing(data).join(format!(".quarterdeck-doctor-{}", std::process::id()));
    let timed = time_writes(&path);
    // It may not have been created; what matters is that nothing is left.
    let _ = fs::remove_file(&path);
    match timed {
        Ok(mut times) => {
            times.sort_unstable();
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            let ms = |d: Duration| format!("{:.1} ms", d.as_secs_f64() * 1e3);
            let detail = format!("a durable write takes {}, at worst {}", ms(median), ms(worst));
            if median > SLOW_WRITE {
                Check::doubtful(
                    "disk",
                    detail,
                    "every change waits for the disk; put the data directory on a faster one",
                )
            } else {
                Check::good("disk", detail)
            }
        }
        Err(error) => {
            let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
            let remedy = if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
                "make room on the disk or raise the quota; changes are taken again without a restart"
            } else if is(&[io::ErrorKind::ReadOnlyFilesystem]) {
                "mount it writable; the kernel's log (`dmesg`) may say why it is not"
            } else {
                "give the directory to the user who runs `qd serve`, or set another one with `data` or --data"
            };
            Check::bad("disk", format!("cannot write into {}: {error}", shown(existing(data))), remedy)
        }
    }
}

/// How long each of several durable writes took; never empty.
fn time_writes(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = File::create_new(path)?;
    (0..WRITES)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            Ok(begun.elapsed())
        })
        .collect()
}

/// The clock against the last entry: one that is behind it was set back, or this is the ledger of another machine.
fn clock(context: &Context, data: &Path) -> Check {
    let now = wall();
    let last = context.ledger().ok().and_then(|place| Reader::open(&place).ok()).and_then(|reader| {
        let last = Seq(reader.size().ok()?.checked_sub(1)?);
        let bytes = reader.read_from(last, 1).ok()?;
        ledger::decode::<ledger::AnyFact>(bytes.first()?).ok().map(|entry| entry.time)
    });
    match last {
        Some(last) if last > now => Check::doubtful(
            "clock",
            format!("it is {} behind the last entry of the ledger in {}", last.since(now), shown(data)),
            "check that the machine's time is synchronised (`timedatectl`); nothing is lost meanwhile",
        ),
        Some(_) => Check::good("clock", "not behind the ledger"),
        None if now < Time(1_700_000_000_000) => Check::bad(
            "clock",
            "the machine's clock is not set",
            "set it; `timedatectl` shows whether it is synchronised",
        ),
        None => Check::good("clock", "set"),
    }
}

/// Whether `qd serve` would take the ledger; nothing where there is none yet.
fn ledger(place: &Place, data: &Path) -> Option<Check> {
    let error = match Ledger::check(place) {
        Ok(entries) => {
            return Some(Check::good(
                "ledger",
                format!("{}, the newest as they were recorded", many(entries, "entry")),
            ));
        }
        Err(store::Error::Absent(_)) if !place.head.exists() => return None,
        Err(store::Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            let remedy = "run `qd doctor` as the user who runs `qd serve`";
            return Some(Check::doubtful("ledger", "only its owner can look at it", remedy));
        }
        Err(error) => Failure::Ledger(error),
    };
    let remedy = match error.hint() {
        // It needs a little room even to be read.
        _ if free(data).is_ok_and(|free| free < NO_SPACE) => "make room on the disk first, then look again",
        "" => "`qd serve` does not start with it; `qd ledger verify` tells whether its entries are sound",
        hint => hint,
    };
    Some(Check::bad("ledger", error.message(), remedy))
}

/// The server and its data plane, or whether they could start.
async fn server(context: &Context, config: Option<&Config>) -> Vec<Check> {
    let Ok(client) = context.client() else { return Vec::new() };
    let health = match client.health().await {
        Ok(health) => health,
        Err(error) => {
            let hint = error.hint().to_owned();
            let mut checks = vec![Check::doubtful("server", error.to_string(), hint)];
            checks.extend(config.map(ports));
            checks.extend(config.and_then(certificate_files));
            return checks;
        }
    };
    let server = match health.refusing {
        None => Check::good("server", format!("version {} answers; {}", health.version, many(health.length, "entry"))),
        Some(why) => Check::bad(
            "server",
            format!("it refuses changes: {why}"),
            "services and their traffic go on; what else is bad here says what to do",
        ),
    };
    let status = client.status().await.ok();
    let certificates = status.as_ref().and_then(certificates);
    [server, data_plane(status)].into_iter().chain(certificates).collect()
}

/// What the data plane presents; nothing where it speaks no TLS.
fn certificates(status: &Status) -> Option<Check> {
    let proxy = status.proxy.as_ref().filter(|proxy| !proxy.listening_tls.is_empty())?;
    let remedy = "see proxy.log in the data directory; a certificate is read again when its file changes";
    let troubles: Vec<_> = proxy.certificates.iter().filter_map(|c| trouble(c, status.at)).collect();
    let text = troubles.iter().map(|trouble| trouble.text.as_str()).collect::<Vec<_>>().join("; ");
    Some(match &proxy.certificates[..] {
        [] => Check::bad("certificates", "there is none", remedy),
        _ if troubles.iter().any(|trouble| trouble.harms) => Check::bad("certificates", text, remedy),
        _ if !troubles.is_empty() => Check::doubtful("certificates", text, remedy),
        all => Check::good("certificates", format!("{}, valid for now", many(all.len() as u64, "certificate"))),
    })
}

fn data_plane(status: Option<Status>) -> Check {
    let remedy = "see proxy.log in the data directory; `qd serve` keeps starting it";
    match status.and_then(|s| s.proxy) {
        None => Check::bad("data plane", "it is silent", remedy),
        Some(proxy) if !proxy.up_to_date => Check::bad("data plane", "it obeys an older table", remedy),
        Some(proxy) if !proxy.closed_tcp.is_empty() => {
            let closed: Vec<_> = proxy.closed_tcp.iter().map(|closed| closed.why.as_str()).collect();
            Check::bad("data plane", closed.join("; "), "it tries again now and then; `qd status` says for whom")
        }
        Some(proxy) => {
            let secured = proxy.listening_tls.iter().map(|address| format!("{address} with TLS"));
            let addresses: Vec<String> = proxy.listening.iter().map(ToString::to_string).chain(secured).collect();
            Check::good("data plane", format!("listens at {}, obeys the newest table", addresses.join(", ")))
        }
    }
}

fn ports(config: &Config) -> Check {
    let secured = config.proxy.tls.iter().flat_map(|tls| &tls.listen);
    let addresses = config.proxy.listen.iter().chain(secured).chain(&config.api.listen);
    let taken: Vec<String> = addresses
        .filter_map(|address| TcpListener::bind(address).err().map(|error| format!("{address} ({error})")))
        .collect();
    if taken.is_empty() {
        Check::good("ports", "every address of the configuration is free")
    } else {
        let remedy =
            "stop what listens there, unless it is a data plane that goes on, or set another address under [proxy]";
        Check::doubtful("ports", format!("not free: {}", taken.join(", ")), remedy)
    }
}

/// What the data plane would present; nothing where no certificate comes from a file.
fn certificate_files(config: &Config) -> Option<Check> {
    let files = &config.proxy.tls.as_ref()?.terms.certificates;
    let found: Vec<_> = files.iter().map(proxy::inspect).collect();
    let troubles: Vec<_> = found.iter().filter_map(|f| trouble(&f.certificate, wall())).collect();
    let exposed = found.iter().filter_map(|f| f.exposed.clone());
    let text = troubles.iter().map(|t| t.text.clone()).chain(exposed).collect::<Vec<_>>().join("; ");
    let remedy = "put the right files in place; they are read again when they change";
    if troubles.iter().any(|trouble| trouble.harms) {
        Some(Check::bad("certificates", text, remedy))
    } else if !text.is_empty() {
        Some(Check::doubtful("certificates", text, remedy))
    } else if !found.is_empty() {
        Some(Check::good("certificates", format!("{}, valid for now", many(found.len() as u64, "certificate"))))
    } else {
        None
    }
}

fn open_files() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // The data plane raises its own limit as far as it may.
    let most = limit.maximum.unwrap_or(u64::MAX);
    if most < FEW_FILES {
        let remedy = "raise it with `ulimit -Hn 65536`, or LimitNOFILE in a systemd unit";
        Check::doubtful("open files", format!("at most {most}: few connections at a time"), remedy)
    } else {
        Check::good("open files", format!("up to {}", limit.maximum.map_or("any number".to_owned(), |n| n.to_string())))
    }
}

/// Whether limits can be enforced by control groups.
fn limits() -> Check {
    let writable = |path: &str| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let roots = ["/sys/fs/cgroup/cgroup.subtree_control", "/sys/fs/cgroup/memory"];
    if roots.iter().any(|path| writable(path)) {
        return Check::good("limits", "memory and processor limits are enforced by control groups");
    }
    Check::doubtful(
        "limits",
        "control groups cannot be written here, so that limits hold for each process and not for an instance as a whole",
        "run `qd serve` as root, or in a systemd unit with Delegate=yes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_ledger_that_serve_would_refuse_is_bad_and_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().join("ledger"));
        assert!(ledger(&place, dir.path()).is_none(), "no ledger yet is nothing to report");
        drop(Ledger::open(&place).unwrap());
        assert_eq!(ledger(&place, dir.path()).unwrap().found, Found::Good);
        fs::write(&place.head, "nonsense").unwrap();
        let check = ledger(&place, dir.path()).unwrap();
        assert_eq!(check.found, Found::Bad, "{check:?}");
        assert!(check.detail.contains("ledger.head") && !check.remedy.is_empty(), "{check:?}");
    }
}
