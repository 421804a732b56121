//! A data directory, a driver and small services made of shell and Python.

use model::{
    Action, Address, Bytes, Check, Digest, InstanceId, InstanceSeen, InstanceSpec, Limits, Phase, Probe, ReleaseId,
    RunSpec, Span,
};
use runtime::{
    Driver as _,
    artifact::{Bounds, Store, pack::Package},
    process::{ProcessDriver, Settings},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// A web server in Python's standard library. `GET /env/NAME` shows a variable; the rest is for the tests that use it.
pub(crate) const WEB: &str = r#"
import http.server, os, signal, socket, socketserver, sys, threading
class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/env/")
        body = os.environ.get(name, "").encode()
        code = 503 if os.path.exists(os.environ["TMPDIR"] + "/sick") and self.path == "/healthz" else 200
        self.send_response(code); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
        if self.path == "/quit": os._exit(7)
    def log_message(self, *a): pass
class OnSocket(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    def server_bind(self): socketserver.TCPServer.server_bind(self)
place = sys.argv[1]
if place.startswith("/"): server = OnSocket(place, Web)
else: server = http.server.ThreadingHTTPServer(("127.0.0.1", int(place)), Web)
def leave(*_):
    print("leaving gracefully", flush=True)
    threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, leave)
print("listening", flush=True)
server.serve_forever()
"#;

pub(crate) struct World {
    directory: TempDir,
    data: PathBuf,
    pub(crate) driver: Option<ProcessDriver>,
}

/// The example executable that is a shim.
pub(crate) fn shim() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/shim");
    assert!(path.exists(), "{} is built with the tests, unless only some targets were chosen", path.display());
    path
}

impl World {
    pub(crate) async fn new() -> World {
        let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let data = directory.path().join("data");
        let mut world = World { directory, data, driver: None };
        world.serve().await;
        world
    }

    /// What `serve` does at its start; again after [`World::lose_serve`].
    pub(crate) async fn serve(&mut self) {
        let settings = Settings {
            data: self.data(),
            executable: shim(),
            search_path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        };
        self.driver = Some(ProcessDriver::open(settings).await.unwrap());
    }

    /// What happens when `serve` is killed, once the shims have been told what it knew.
    pub(crate) async fn lose_serve(&mut self) {
        for seen in self.driver().observe().into_iter().filter(|seen| seen.phase == Phase::Ready) {
            eventually("the shim knows that it is ready", || self.status(seen.id.0)["ready"].is_u64()).await;
        }
        self.driver = None;
    }

    /// Goes on in a data directory deeper below.
    pub(crate) async fn nest(&mut self, below: PathBuf) {
        self.data = self.directory.path().join(below);
        self.serve().await;
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    pub(crate) fn instance(&self, id: u64) -> PathBuf {
        self.data().join("instances").join(InstanceId(id).to_string())
    }

    pub(crate) fn driver(&self) -> &ProcessDriver {
        self.driver.as_ref().unwrap()
    }

    /// Takes in a release of these files; those that begin with `#!` are executable.
    pub(crate) fn artifact(&self, files: &[(&str, &str)]) -> Digest {
        let source = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = source.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        take_in(&self.data(), source.path())
    }

    /// A specification of instance `id` that runs a shell script.
    pub(crate) fn script(&self, id: u64, script: &str) -> InstanceSpec {
        let artifact = self.artifact(&[("run.sh", script)]);
        spec(id, artifact, &["sh", "run.sh"], Check::Started)
    }

    /// A specification of instance `id` that runs [`WEB`].
    pub(crate) fn web(&self, id: u64) -> InstanceSpec {
        spec(id, self.artifact(&[("web.py", WEB)]), &["python3", "web.py", "$PORT"], Check::Http("/healthz".into()))
    }

    pub(crate) fn start(&self, spec: &InstanceSpec) {
        self.driver().perform(Action::StartInstance(Box::new(spec.clone())));
    }

    pub(crate) fn stop(&self, id: u64) {
        self.driver().perform(Action::StopInstance(InstanceId(id)));
    }

    pub(crate) fn seen(&self, id: u64) -> Option<InstanceSeen> {
        self.driver().observe().into_iter().find(|seen| seen.id == InstanceId(id))
    }

    /// Waits, woken by the driver's changes, until an instance is as wished.
    pub(crate) async fn until(&self, id: u64, wish: impl Fn(&InstanceSeen) -> bool) -> InstanceSeen {
        let mut changes = self.driver().changes();
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                changes.mark_unchanged();
                if let Some(seen) = self.seen(id).filter(&wish) {
                    return seen;
                }
                changes.changed().await.unwrap();
            }
        });
        match waited.await {
            Ok(seen) => seen,
            Err(_) => panic!("still {:?}; its output: {}", self.seen(id), self.output(id)),
        }
    }

    pub(crate) async fn until_ready(&self, id: u64) -> InstanceSeen {
        self.until(id, |seen| seen.phase == Phase::Ready).await
    }

    /// Waits for the end and gives the phase.
    pub(crate) async fn until_over(&self, id: u64) -> Phase {
        self.until(id, |seen| matches!(seen.phase, Phase::Exited(_) | Phase::Failed(_))).await.phase
    }

    /// All captured output of an instance, as it is on disk.
    pub(crate) fn output(&self, id: u64) -> String {
        let directory = self.data().join("logs/production/shop");
        let mut segments: Vec<(u64, PathBuf)> = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                let (of, rest) = name.split_once('.')?;
                let segment = rest.strip_suffix(".log")?.parse().ok()?;
                (of == InstanceId(id).to_string()).then(|| (segment, entry.path()))
            })
            .collect();
        segments.sort();
        segments.iter().map(|(_, path)| fs::read_to_string(path).unwrap()).collect()
    }

    pub(crate) fn status(&self, id: u64) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.instance(id).join("status.json")).unwrap()).unwrap()
    }

    pub(crate) fn pid(&self, id: u64) -> u32 {
        self.status(id)["pid"].as_u64().unwrap() as u32
    }

    pub(crate) fn shim_pid(&self, id: u64) -> u32 {
        self.status(id)["shim"].as_u64().unwrap() as u32
    }
}

impl Drop for World {
    /// No test leaves processes behind, whatever happened in it.
    fn drop(&mut self) {
        self.driver = None;
        let data = self.data();
        for entry in fs::read_dir(data.join("instances")).into_iter().flatten().flatten() {
            let status = fs::read(entry.path().join("status.json")).unwrap_or_default();
            let status: serde_json::Value = serde_json::from_slice(&status).unwrap_or_default();
            let shim = status["shim"].as_u64().and_then(|pid| rustix::process::Pid::from_raw(pid as i32));
            let line =
                shim.map(|pid| fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default());
            if line.is_some_and(|line| line.contains(&*entry.path().to_string_lossy())) {
                let _ = rustix::process::kill_process(shim.unwrap(), rustix::process::Signal::KILL);
            }
        }
        let _ = runtime::down::stop_everything(&data);
    }
}

pub(crate) fn take_in(data: &Path, source: &Path) -> Digest {
    let mut archive = Vec::new();
    Package::inspect(source, &[]).unwrap().write_to(&mut archive).unwrap();
    Store::open(data).unwrap().take_tar(&archive[..], Bounds::default()).unwrap()
}

pub(crate) fn spec(id: u64, artifact: Digest, command: &[&str], ready: Check) -> InstanceSpec {
    InstanceSpec {
        id: InstanceId(id),
        attempt: 1,
        service: "shop".parse().unwrap(),
        release: ReleaseId(1),
        artifact,
        run: RunSpec {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            listen: model::Listen::Port,
            env: BTreeMap::new(),
            secrets: None,
            ready: Probe { check: ready, interval: Span(100), timeout: Span::seconds(5), failures: 2 },
            live: None,
            start_deadline: Span::seconds(30),
            stop_deadline: Span::seconds(20),
            limits: Limits { output: Bytes::mib(1), ..Limits::default() },
            user: None,
        },
    }
}

/// Waits until something holds that no notification tells of.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

/// One request, as the proxy would make it.
pub(crate) async fn get(seen: &InstanceSeen, path: &str) -> String {
    match seen.address.as_ref().unwrap() {
        Address::Tcp(address) => ask(tokio::net::TcpStream::connect(address).await.unwrap(), path).await,
        Address::Unix(socket) => ask(tokio::net::UnixStream::connect(socket).await.unwrap(), path).await,
    }
}

/// The port it was given.
pub(crate) fn port(seen: &InstanceSeen) -> u16 {
    match seen.address.as_ref().unwrap() {
        Address::Tcp(address) => address.port(),
        Address::Unix(path) => panic!("it listens on {path}"),
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
}
