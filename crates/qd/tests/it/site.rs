//! An installation for one test: a directory with a configuration, an address, the executable. It reads like what a
//! person does: configure, serve, apply, deploy, look.

use crate::{
    http::{self, Answer},
    processes::{self, Process},
    release::shop_release,
    wait::{PATIENCE, eventually, until},
};
use serde_json::Value;
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Instant,
};
use tempfile::TempDir;

/// Where programs are sought: a distribution's places, and nobody's own.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The shop, with a rollout that needs little evidence and little time.
const SHOP: &str = r#"[proxy]
listen = ["{address}"]
threads = 1

[services.shop]
command = "./shop"
replicas = 2
routes = ["/"]
ready = "/healthz"
start_deadline = "3s"
stop_deadline = "2s"

[services.shop.traffic]
drain_deadline = "3s"

[services.shop.rollout]
steps = ["20 %", "50 %"]
step_time = "200ms"
deadline = "30s"
hold_back = "0s"
tolerance = "10 %"
latency_tolerance = "30 %"
latency_slack = "20ms"
"#;

/// The next port that is nobody's.
static NEXT_PORT: AtomicU16 = AtomicU16::new(8080);

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    line: String,
}

impl Said {
    /// The command ended with this exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "`{}`\nout: {}\nerr: {}", self.line, self.out, self.err);
        self
    }

    /// It said this somewhere, however its lines are broken.
    #[track_caller]
    pub(crate) fn telling(self, text: &str) -> Said {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let all = words(&(self.out.clone() + &self.err));
        assert!(
            all.contains(&words(text)),
            "`{}` did not say {text:?}\nout: {}\nerr: {}",
            self.line,
            self.out,
            self.err
        );
        self
    }

    /// What it printed, as a JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("`{}`: {error}\n{}\n{}", self.line, self.out, self.err))
    }
}

/// An installation. Everything that runs in it ends with it.
pub(crate) struct Site {
    directory: TempDir,
    pub(crate) address: SocketAddr,
    serve: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── serve.log\n{}", self.log());
        }
        // First by its handle, so that nothing is left to be waited for.
        if let Some(mut serve) = self.serve.take() {
            let _ = serve.kill().and_then(|()| serve.wait());
        }
        processes::kill_all(self.dir());
        make_removable(self.dir());
    }
}

impl Site {
    /// A directory with the configuration of a shop.
    pub(crate) fn new() -> Site {
        let site = Site::empty();
        site.configure(SHOP);
        site
    }

    /// An empty directory. Whoever instances run as may pass through it.
    pub(crate) fn empty() -> Site {
        let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        Site { directory, address: own_address(), serve: None }
    }

    /// A shop whose `v1` has all requests.
    pub(crate) fn open() -> Site {
        let mut site = Site::new();
        site.open_shop();
        site
    }

    /// Serves, declares what is configured and deploys `v1`.
    pub(crate) fn open_shop(&mut self) {
        self.serve();
        self.apply().expect(0);
        self.deploy("v1", "").expect(0);
    }

    pub(crate) fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir().join(".quarterdeck")
    }

    /// A file of the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes the configuration; `{address}` stands for where requests come in.
    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.path("quarterdeck.toml"), text.replace("{address}", &self.address.to_string())).unwrap();
    }

    /// Alters the configuration.
    #[track_caller]
    pub(crate) fn edit(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.path("quarterdeck.toml")).unwrap();
        assert!(text.contains(old), "{old:?} is not in\n{text}");
        self.configure(&text.replacen(old, new, 1));
    }

    /// A command of `qd` in this directory, in a clean environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.clean(Command::new(env!("CARGO_BIN_EXE_qd")), arguments)
    }

    /// A program in this directory, in a clean environment.
    pub(crate) fn clean(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.dir()).env_clear();
        command.env("PATH", SEARCH_PATH).env("HOME", self.path("home")).env("TZ", "UTC").env("LANG", "C.UTF-8");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command of `qd` to its end.
    pub(crate) fn qd(&self, arguments: &[&str]) -> Said {
        self.run(self.command(arguments))
    }

    /// Runs a command of `qd` as another user of this machine; needs root.
    pub(crate) fn qd_as(&self, user: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), "--regid=nogroup", "--clear-groups", "--", &self.lent_qd()]);
        self.run(self.clean(command, arguments))
    }

    /// The executable where every user may run it.
    pub(crate) fn lent_qd(&self) -> String {
        let (own, lent) = (Path::new(env!("CARGO_BIN_EXE_qd")), self.path("qd"));
        if !lent.exists() && fs::hard_link(own, &lent).is_err() {
            fs::copy(own, &lent).unwrap();
        }
        lent.to_str().unwrap().to_owned()
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, mut command: Command) -> Said {
        let line = format!("{command:?}");
        let file = || tempfile::tempfile().unwrap();
        let (out, err) = (file(), file());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        let code = eventually("a command to end", || {
            if begun.elapsed() > PATIENCE / 2 {
                let _ = child.kill();
            }
            child.try_wait().unwrap()
        });
        Said { code: code.code(), out: content(out), err: content(err), line }
    }

    /// Starts `qd serve` and waits until it answers.
    pub(crate) fn serve(&mut self) {
        self.serve_with(self.command(&["serve"]));
    }

    /// Starts `qd serve` by this command and waits until it answers.
    pub(crate) fn serve_with(&mut self, mut command: Command) {
        let log = File::options().create(true).append(true).open(self.path("serve.log")).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let child = self.serve.insert(child);
        let pid = child.id();
        until("`qd serve` to answer", || {
            let ended = self.serve.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "`qd serve` ({pid}) ended: {ended:?}\n{}", self.log());
            self.qd(&["status"]).code == Some(0)
        });
    }

    /// What `qd serve` has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("serve.log")).unwrap_or_default()
    }

    /// The process id of `qd serve`.
    pub(crate) fn serve_pid(&self) -> u32 {
        self.serve.as_ref().unwrap().id()
    }

    /// `kill -9` of `qd serve`.
    pub(crate) fn kill_serve(&mut self) {
        let mut serve = self.serve.take().unwrap();
        serve.kill().and_then(|()| serve.wait()).unwrap();
    }

    /// Waits until `qd serve` has ended by itself; its exit code.
    pub(crate) fn serve_ends(&mut self) -> Option<i32> {
        let mut serve = self.serve.take().unwrap();
        eventually("`qd serve` to end", || serve.try_wait().unwrap()).code()
    }

    /// Declares what is configured.
    pub(crate) fn apply(&self) -> Said {
        self.qd(&["apply", "--yes", "--reason", "as configured"])
    }

    /// Deploys a version of the shop with these faults, and waits for its outcome. Without traffic there is no evidence
    /// for a canary, so that all requests move at once; guarded all the same.
    pub(crate) fn deploy(&self, version: &str, faults: &str) -> Said {
        self.deploy_by("blue-green", version, faults)
    }

    /// Deploys by a strategy and waits for the outcome.
    pub(crate) fn deploy_by(&self, strategy: &str, version: &str, faults: &str) -> Said {
        let release = self.release(version, faults);
        self.qd(&["deploy", "shop", &release, "--label", version, "--strategy", strategy, "--reason", version])
    }

    /// Deploys by a strategy and does not wait; gives the change.
    pub(crate) fn deploy_detached(&self, strategy: &str, version: &str, faults: &str) -> String {
        let release = self.release(version, faults);
        let said =
            self.qd(&["deploy", "shop", &release, "--strategy", strategy, "--reason", version, "--detach", "--json"]);
        submitted(&said.expect(0))
    }

    /// Makes a release of the shop here; its path.
    pub(crate) fn release(&self, version: &str, faults: &str) -> String {
        shop_release(self.dir(), version, faults).to_str().unwrap().to_owned()
    }

    /// One request.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.address, path).unwrap()
    }

    /// The release that answers.
    #[track_caller]
    pub(crate) fn serving(&self) -> String {
        self.get("/").version().to_owned()
    }

    /// What `qd status` knows.
    pub(crate) fn status(&self) -> Value {
        self.qd(&["status", "--json"]).expect(0).json()
    }

    /// The first service of the status.
    pub(crate) fn service(&self) -> Value {
        self.status()["services"][0].clone()
    }

    /// How far a change is.
    pub(crate) fn change(&self, id: &str) -> Value {
        self.qd(&["change", id, "--json"]).expect(0).json()
    }

    /// Waits until something is so of a change.
    pub(crate) fn change_is(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        eventually(&format!("{id} {what}"), || {
            last = self.change(id);
            is_so(&last).then(|| last.clone())
        })
    }

    /// Waits until a change has ended; how.
    pub(crate) fn outcome(&self, id: &str) -> String {
        let view = self.change_is(id, "to end", |view| view["outcome"].is_string());
        view["outcome"].as_str().unwrap().to_owned()
    }

    /// Waits until a rollout moves requests.
    pub(crate) fn gets_requests(&self, id: &str) {
        self.change_is(id, "to get requests", |view| view["rollout"]["weight"].as_u64() > Some(0));
    }

    /// The story of something.
    pub(crate) fn why(&self, subject: &str) -> String {
        self.qd(&["why", subject]).expect(0).out
    }

    /// What runs here in a role of `qd`, such as `shim`.
    pub(crate) fn processes(&self, role: &str) -> Vec<Process> {
        processes::of(self.dir()).into_iter().filter(|p| p.is(role)).collect()
    }

    /// The instances of the shop.
    pub(crate) fn shops(&self) -> Vec<Process> {
        let is_shop = |p: &Process| p.words.first().is_some_and(|w| w.ends_with("/shop"));
        processes::of(self.dir()).into_iter().filter(is_shop).collect()
    }
}

/// An address that nobody else uses; the port after it is its own as well. A loopback address for each process, a port for each
/// caller in it: no two tests meet.
pub(crate) fn own_address() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let port = NEXT_PORT.fetch_add(2, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, 64 | a, b, c), port))
}

/// The change that a command with `--json` says it recorded.
pub(crate) fn submitted(said: &Said) -> String {
    let lines = said.out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.filter_map(|line| Some(line["submitted"]["changes"][0].as_str()?.to_owned())).next();
    found.unwrap_or_else(|| panic!("no change was recorded: {said:?}"))
}

/// Whether this test may do what only root may; says so when not.
pub(crate) fn is_root(what: &str) -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        eprintln!("skipped: {what} needs root");
    }
    root
}

/// Releases cannot be altered by accident, which would keep an ordinary user from removing them.
fn make_removable(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o755));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}

fn content(mut file: File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
