//! A proxy in threads of its own, on a free port and in a temporary directory, and the control connection to it.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full, combinators::BoxBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::{
    Arm, ArmRole, Endpoint, Guard, InstanceId, ProxyReport, Ratio, ReleaseId, RouteMatch, RouteTable, ServiceRoutes,
    Span, Tally, Time, TrafficSpec,
    wire::{self, Decoder, FromProxy, Hello, ToProxy},
};
use std::{future::Future, net::SocketAddr, path::Path, path::PathBuf, thread::JoinHandle, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Fails the test when something takes too long.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} did not happen within {DEADLINE:?}"))
}

/// A running proxy and the line to it.
pub(crate) struct Rig {
    pub(crate) control: Control,
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
    thread: Option<JoinHandle<Result<(), proxy::Error>>>,
    generation: u64,
}

impl Rig {
    /// With default limits, one worker and fixed random numbers.
    pub(crate) async fn start() -> Rig {
        Rig::with(|_| {}).await
    }

    /// With whatever else a test needs.
    pub(crate) async fn with(adjust: impl FnOnce(&mut proxy::Config)) -> Rig {
        Rig::on(tempfile::tempdir().unwrap(), adjust).await
    }

    /// On a directory that has been used before.
    pub(crate) async fn on(dir: TempDir, adjust: impl FnOnce(&mut proxy::Config)) -> Rig {
        let mut config = proxy::Config::new(vec!["127.0.0.1:0".parse().unwrap()], dir.path());
        config.threads = 1;
        config.seed = Some(42);
        adjust(&mut config);
        let thread = std::thread::spawn(move || proxy::run(config));
        let mut control = Control::connect(dir.path()).await;
        let report = control.until("the first report", |_| true).await;
        Rig { address: report.listening[0], control, dir, thread: Some(thread), generation: report.generation }
    }

    /// Lets another proxy take over; the one before ends when its connections have. Gives its thread.
    pub(crate) async fn hand_over(&mut self, threads: usize) -> JoinHandle<Result<(), proxy::Error>> {
        let mut config = proxy::Config::new(vec![self.address], self.dir.path());
        (config.threads, config.take_over) = (threads, true);
        let thread = std::thread::spawn(move || proxy::run(config));
        // The one before hangs up when it has given its place away.
        while self.control.hear().await.is_some() {}
        self.control = Control::connect(self.dir.path()).await;
        let report = self.control.until("the first report", |_| true).await;
        assert_eq!((report.listening[0], report.generation), (self.address, self.generation));
        self.thread.replace(thread).unwrap()
    }

    /// Puts services in force.
    pub(crate) async fn serve(&mut self, services: Vec<ServiceRoutes>) {
        self.generation += 1;
        let generation = self.generation;
        self.control.say(&ToProxy::SetRoutes(RouteTable { generation, services })).await;
        self.control.until("the table in force", |report| report.generation == generation).await;
    }

    /// The counts of a release once they fit.
    pub(crate) async fn tally(&mut self, release: u64, fits: impl Fn(&Tally) -> bool) -> Tally {
        let mut found = Tally::default();
        let of =
            |report: &ProxyReport| report.releases.iter().find(|r| r.release == ReleaseId(release)).map(|r| r.tally);
        let report = self.control.until("the expected counts", |report| of(report).is_some_and(|t| fits(&t))).await;
        found.clone_from(&of(&report).unwrap());
        found
    }

    /// A connection to the proxy.
    pub(crate) async fn connect(&self) -> TcpStream {
        soon("connecting", TcpStream::connect(self.address)).await.unwrap()
    }

    /// A GET on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.send(Request::get(path)).await
    }

    /// A request without a body on a connection of its own.
    pub(crate) async fn send(&self, request: http::request::Builder) -> (u16, String) {
        let response = self.open(request, Empty::new().map_err(|never| match never {}).boxed()).await;
        whole(response).await
    }

    /// A request of which only the head of the response has been read.
    pub(crate) async fn open(
        &self,
        request: http::request::Builder,
        body: BoxBody<Bytes, std::io::Error>,
    ) -> Response<hyper::body::Incoming> {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let has_host = request.headers_ref().is_some_and(|headers| headers.contains_key("host"));
        let request = if has_host { request } else { request.header("host", "shop.test") };
        soon("a response", sender.send_request(request.body(body).unwrap())).await.unwrap()
    }

    /// Sends bytes and reads all that comes until the proxy closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The proxy may have answered, and stopped reading, before everything is sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = soon("the end of the connection", stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Stops it in order; gives its directory for another one.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.control.say(&ToProxy::Shutdown(Span::seconds(5))).await;
        let thread = self.thread.take().unwrap();
        soon("the end of the proxy", tokio::task::spawn_blocking(|| thread.join())).await.unwrap().unwrap().unwrap();
        self.dir
    }
}

/// A whole response.
pub(crate) async fn whole(response: Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = soon("a body", response.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A body of fixed bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> BoxBody<Bytes, std::io::Error> {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// The control connection, as `qd serve` has it.
pub(crate) struct Control {
    stream: UnixStream,
    decoder: Decoder,
}

impl Control {
    /// Connects, as soon as there is something to connect to, and says hello.
    pub(crate) async fn connect(dir: &Path) -> Control {
        let mut control = Control::dial(dir.join("proxy.sock")).await;
        control
            .say(&ToProxy::Hello(Hello { version: wire::VERSION, pid: 1, started: Time(0), build: String::new() }))
            .await;
        assert!(matches!(control.hear().await, Some(FromProxy::Hello(hello)) if hello.version == wire::VERSION));
        control
    }

    /// Connects and says nothing.
    pub(crate) async fn dial(path: PathBuf) -> Control {
        let connected = async {
            loop {
                match UnixStream::connect(&path).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        Control { stream: soon("the control socket", connected).await, decoder: Decoder::default() }
    }

    pub(crate) async fn say(&mut self, message: &ToProxy) {
        self.stream.write_all(&wire::encode(message).unwrap()).await.unwrap();
    }

    /// The next message. `None`: the proxy hung up.
    pub(crate) async fn hear(&mut self) -> Option<FromProxy> {
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message);
            }
            let mut chunk = [0; 4096];
            match soon("a message from the proxy", self.stream.read(&mut chunk)).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.push(&chunk[..n]),
            }
        }
    }

    /// The first report that fits.
    pub(crate) async fn until(&mut self, what: &str, fits: impl Fn(&ProxyReport) -> bool) -> ProxyReport {
        let mut last = None;
        let heard = timeout(DEADLINE, async {
            loop {
                match self.hear().await {
                    Some(FromProxy::Report(report)) if fits(&report) => return report,
                    Some(FromProxy::Report(report)) => last = Some(report),
                    Some(FromProxy::Hello(_) | FromProxy::Tripped { .. }) => {}
                    None => panic!("the proxy hung up before {what}"),
                }
            }
        });
        heard.await.unwrap_or_else(|_| panic!("no report with {what}; the last one was {last:#?}"))
    }
}

/// A service for every host and path.
pub(crate) fn service(arms: Vec<Arm>) -> ServiceRoutes {
    ServiceRoutes {
        service: "shop".parse().unwrap(),
        routes: vec![RouteMatch::prefix(None, "/")],
        tcp: Vec::new(),
        traffic: TrafficSpec::default(),
        arms,
        guard: None,
        purges: Vec::new(),
        shadow: None,
        hold: None,
    }
}

/// The running release, number 1, with all requests.
pub(crate) fn running(addresses: &[SocketAddr]) -> Arm {
    Arm { release: ReleaseId(1), role: ArmRole::Running, weight: Ratio::ONE, endpoints: endpoints(10, addresses) }
}

/// The running release 1 and the canary 2 with a share in percent, guarded for a change.
pub(crate) fn canary(
    percent: u32,
    running_at: &[SocketAddr],
    canary_at: &[SocketAddr],
    guard: Option<Guard>,
) -> ServiceRoutes {
    let weight = Ratio::from_percent(percent).unwrap();
    let mut service = service(vec![
        Arm { weight: weight.complement(), ..running(running_at) },
        Arm { release: ReleaseId(2), role: ArmRole::Canary, weight, endpoints: endpoints(20, canary_at) },
    ]);
    service.guard = guard;
    service
}

fn endpoints(first: u64, addresses: &[SocketAddr]) -> Vec<Endpoint> {
    let endpoint = |(i, address): (usize, &SocketAddr)| Endpoint {
        instance: InstanceId(first + i as u64),
        address: (*address).into(),
    };
    addresses.iter().enumerate().map(endpoint).collect()
}
