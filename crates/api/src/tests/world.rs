//! A small Quarterdeck in memory: an event loop with the real `control`, a backend of vectors, a server on a temporary
//! socket, and a client of it.

use crate::{
    Access, Asked, Backend, Bounds, Client, Listener, Loop, LoopEnd, Problem, Rejected, Reply, Snapshot, Upload,
    message::{Artifact, CommandRequest, LogQuery, Secrets, ShutdownRequest, Submitted},
    serve,
};
use bytes::Bytes;
use control::{Command, Draft, Entry, Fact, Input, clock};
use ledger::Numbering;
use model::{Actor, Digest, Seq, ServiceKey, Time};
use policy::{Policy, Role};
use std::{
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

/// How long a test waits for what must happen.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// The token of the program `ci`.
pub(super) const TOKEN: &str = "qdt_8f14e45fceea167a5a36dedd4bea2543";

/// How the loop behaves.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mind {
    Sound,
    /// Takes commands and dies before it answers.
    Forgetful,
    /// Is not there any more.
    Gone,
}

pub(super) struct Setup {
    /// The role of whoever runs the tests.
    pub(super) role: Option<Role>,
    pub(super) mind: Mind,
    pub(super) bounds: Bounds,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { role: Some(Role::Owner), mind: Mind::Sound, bounds: Bounds::default() }
    }
}

pub(super) struct World {
    pub(super) client: Client,
    pub(super) socket: PathBuf,
    pub(super) port: u16,
    pub(super) backend: Arc<Fake>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    drafts: mpsc::Sender<(Vec<Draft>, oneshot::Sender<()>)>,
    _directory: tempfile::TempDir,
}

impl World {
    pub(super) async fn start() -> World {
        World::with(Setup::default()).await
    }

    pub(super) async fn with(setup: Setup) -> World {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("api.sock");
        let me = [me().name].into();
        let (owners, viewers) = match setup.role {
            Some(Role::Owner) => (me, ["ci".to_owned()].into()),
            Some(Role::Viewer) => (["ci".to_owned()].into(), me),
            None => (["ci".to_owned()].into(), [].into()),
        };
        let policy = Arc::new(Policy { owners, viewers, approvals: [("careful".parse().unwrap(), 1)].into() });
        let backend = Arc::new(Fake::default());
        let (control, end) = Loop::new(policy.clone(), Snapshot::default());
        let (drafts, drafts_end) = mpsc::channel(1);
        if setup.mind != Mind::Gone {
            tokio::spawn(turns(end, drafts_end, backend.clone(), policy, setup.mind));
        }
        let tcp = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let port = tcp.port().unwrap();
        let listeners = vec![Listener::unix(&socket, 0o600).unwrap(), tcp];
        let (stop, stopped) = oneshot::channel();
        let access = Access::new([(Digest::of(TOKEN.as_bytes()), "ci".to_owned())]);
        let server = tokio::spawn(serve(listeners, control, backend.clone(), access, setup.bounds, async move {
            let _ = stopped.await;
        }));
        let client = Client::unix(&socket);
        World { client, socket, port, backend, stop: Some(stop), server, drafts, _directory: directory }
    }

    /// Stops the server and waits until it has.
    pub(super) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(SOON, self.server).await.unwrap().unwrap();
    }

    /// Gives a command with a reason.
    pub(super) async fn command(&self, command: Command) -> Submitted {
        self.client.command(&because(command)).await.unwrap()
    }

    /// Makes a service be there, with a first release on its way.
    pub(super) async fn with_service(&self, key: &str) -> ServiceKey {
        let key: ServiceKey = key.parse().unwrap();
        self.command(apply(&key)).await;
        self.command(deploy(&key)).await;
        key
    }

    /// Records this many facts about the clock.
    pub(super) async fn record(&self, count: usize) {
        let fact = |n| Fact::Clock(clock::Fact::Stepped { by_ms: n as i64 });
        let drafts = (0..count).map(|n| Draft::new(Actor::quarterdeck(), "clock", fact(n))).collect();
        let (done, recorded) = oneshot::channel();
        self.drafts.send((drafts, done)).await.unwrap();
        recorded.await.unwrap();
    }

    /// Sends these bytes over the socket and says what comes back until the server closes.
    pub(super) async fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // The server may answer and close before all of it is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        read_all(stream).await
    }

    /// A request without a body, raw: the status and the body of the answer.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        status_and_body(&self.raw(&request).await)
    }
}

pub(super) async fn read_all(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

pub(super) fn status_and_body(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    (head.get(9..12).map_or(0, |status| status.parse().unwrap()), body.to_owned())
}

/// Who runs the tests, by another way than the product's.
pub(super) fn me() -> Actor {
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    let name = String::from_utf8(user.stdout).unwrap().trim().to_owned();
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    Actor::person(if name.is_empty() { format!("uid:{uid}") } else { name })
}

pub(super) fn because(command: Command) -> CommandRequest {
    CommandRequest { command, reason: "faster checkout".into(), expect: None, on_behalf_of: None }
}

pub(super) fn apply(key: &ServiceKey) -> Command {
    let spec = serde_json::json!({
        "run": { "command": ["shop"], "start_deadline": 30_000, "stop_deadline": 10_000 },
        "replicas": 1,
        "routes": [{ "host": format!("{}.{}.test", key.name, key.environment), "path": "/" }],
    });
    Command::Apply {
        environment: key.environment.clone(),
        services: [(key.name.clone(), serde_json::from_value(spec).unwrap())].into(),
        prune: false,
    }
}

pub(super) fn deploy(key: &ServiceKey) -> Command {
    Command::Deploy {
        service: key.clone(),
        artifact: Digest::of(b"shop v1"),
        label: Some("v1".into()),
        strategy: None,
        supersede: false,
    }
}

/// The event loop: a turn for each command, a second after the one before.
async fn turns(
    mut end: LoopEnd,
    mut recorded: mpsc::Receiver<(Vec<Draft>, oneshot::Sender<()>)>,
    backend: Arc<Fake>,
    policy: Arc<Policy>,
    mind: Mind,
) {
    let mut snapshot = Snapshot { now: Time(1_000_000), ..Snapshot::default() };
    // The driver has reported that there is nothing.
    snapshot.observed.take_instances([]);
    let mut numbering = Numbering::default();
    loop {
        let (drafts, answer) = tokio::select! {
            Some(Asked { request, answer }) = end.asked.recv() => {
                if mind == Mind::Forgetful {
                    return;
                }
                let input = Input::Command(Box::new(request));
                match control::decide(&snapshot.state, &snapshot.observed, &policy, snapshot.now, &input) {
                    Ok(drafts) => (drafts, Answer::Submitted(answer)),
                    Err(refusal) => {
                        let _ = answer.send(Err(Rejected::Refusal(refusal)));
                        continue;
                    }
                }
            }
            Some((drafts, done)) = recorded.recv() => (drafts, Answer::Done(done)),
            else => return,
        };
        snapshot.now = Time(snapshot.now.0 + 1_000);
        let entries = record(&mut snapshot, &mut numbering, &backend, drafts);
        let submitted =
            Submitted { changes: control::changes_of(&entries), seq: entries.iter().map(|entry| entry.seq).collect() };
        loop {
            let drafts =
                control::decide(&snapshot.state, &snapshot.observed, &policy, snapshot.now, &Input::Observed).unwrap();
            if drafts.is_empty() {
                break;
            }
            record(&mut snapshot, &mut numbering, &backend, drafts);
        }
        end.publish(snapshot.clone());
        match answer {
            Answer::Submitted(answer) => drop(answer.send(Ok(submitted))),
            Answer::Done(done) => drop(done.send(())),
        }
    }
}

fn record(snapshot: &mut Snapshot, numbering: &mut Numbering, backend: &Fake, drafts: Vec<Draft>) -> Vec<Entry> {
    let entries = numbering.number(drafts, snapshot.now);
    for entry in &entries {
        numbering.accept(entry).unwrap();
        control::apply(&mut snapshot.state, entry);
    }
    backend.ledger.lock().unwrap().extend(entries.iter().cloned());
    snapshot.length = numbering.next().0;
    entries
}

enum Answer {
    Submitted(oneshot::Sender<Result<Submitted, Rejected>>),
    Done(oneshot::Sender<()>),
}

/// A backend in memory.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) ledger: Mutex<Vec<Entry>>,
    pub(super) artifacts: Mutex<Vec<Artifact>>,
    pub(super) broken_uploads: Mutex<Vec<String>>,
    pub(super) secrets: Mutex<Vec<(ServiceKey, Secrets)>>,
    pub(super) shutdowns: Mutex<Vec<ShutdownRequest>>,
    pub(super) log_queries: Mutex<Vec<LogQuery>>,
    /// Where to write what a service writes, once somebody follows.
    pub(super) output: Mutex<Option<mpsc::Sender<io::Result<Bytes>>>>,
}

impl Backend for Fake {
    fn put_artifact(&self, mut content: Upload) -> Reply<'_, Artifact> {
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                let read = content.by_ref().take(10).read_to_end(&mut bytes);
                if bytes.starts_with(b"not a tar") {
                    return Ok(None);
                }
                read.and_then(|_| content.read_to_end(&mut bytes)).map(|_| Some(bytes))
            });
            match read.await.unwrap() {
                Ok(Some(bytes)) => {
                    let artifact = Artifact { digest: Digest::of(&bytes), size: model::Bytes(bytes.len() as u64) };
                    self.artifacts.lock().unwrap().push(artifact);
                    Ok(artifact)
                }
                Ok(None) => Err(Problem::invalid("this is not a tar archive", "make one with `tar -c`")),
                Err(error) => {
                    self.broken_uploads.lock().unwrap().push(error.to_string());
                    Err(Problem::internal("the upload broke off"))
                }
            }
        })
    }

    fn put_secrets(&self, service: ServiceKey, secrets: Secrets) -> Reply<'_, Digest> {
        Box::pin(async move {
            assert_ne!(service.name.as_str(), "panic", "a defect");
            self.secrets.lock().unwrap().push((service, secrets));
            Ok(Digest::of(b"ciphertext"))
        })
    }

    fn entries(&self, from: Seq, limit: usize) -> Reply<'_, Vec<Entry>> {
        let entries = self.ledger.lock().unwrap().iter().skip(from.0 as usize).take(limit).cloned().collect();
        Box::pin(async move { Ok(entries) })
    }

    fn logs(&self, _: ServiceKey, query: LogQuery) -> Reply<'_, mpsc::Receiver<io::Result<Bytes>>> {
        self.log_queries.lock().unwrap().push(query);
        let (output, parts) = mpsc::channel(4);
        output.try_send(Ok(Bytes::from_static(b"listening\n\xff\xfe\n"))).unwrap();
        if query.follow {
            *self.output.lock().unwrap() = Some(output);
        }
        Box::pin(async move { Ok(parts) })
    }

    fn shutdown(&self, request: ShutdownRequest) -> Reply<'_, ()> {
        self.shutdowns.lock().unwrap().push(request);
        Box::pin(async move { Ok(()) })
    }
}
