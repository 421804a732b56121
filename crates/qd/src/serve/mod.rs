//! `qd serve`: everything put together on one machine.
//!
//! Order matters. The ledger is opened first, because it refuses when another `serve` has it; then the driver adopts
//! what runs; then the loop begins to turn; the data plane is found or started beside it; the API comes last, so that
//! whoever can connect can be answered.
//!
//! Start reading at [`run`]; the loop itself is in [`crate::event_loop`].

pub(crate) mod clock;
pub(crate) mod tokens;

mod backend;
mod data_plane;
mod hands;
mod ledger_keeper;
mod stop;
mod told;

pub(crate) use stop::stop_without_serve;

use crate::{
    config::Tls,
    event_loop::{Event, EventLoop, Outlets, QUEUE},
};
use api::{
    Bounds, Listener, Loop, Snapshot,
    message::{Afterwards, ShutdownRequest},
};
use backend::Disk;
use clock::Clock;
use hands::Hands;
use ledger_keeper::OnDisk;
use model::RouteTable;
use policy::Policy;
use runtime::{Driver as _, artifact, process};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use store::{Place, Reader};
use tokio::{
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};

/// The name of the API's socket in the data directory.
pub(crate) const API_SOCKET: &str = "api.sock";
/// How often the loop looks at the time.
const TICK: Duration = Duration::from_millis(100);
/// The longest Unix socket path that Linux takes, with the longest of our names.
const LONGEST_DATA: usize = 108 - "/instances/INS-1000000000/shim.sock".len();

/// What to serve.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The data directory. Created when it is not there.
    pub(crate) data: PathBuf,
    /// Where clients of the services connect.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where they connect with TLS, and on which terms.
    pub(crate) tls: Option<Tls>,
    /// What else the data plane is told.
    pub(crate) proxy: proxy::Settings,
    /// How many threads the data plane has; 0: one per core.
    pub(crate) threads: usize,
    /// Where the API also listens, on loopback, for those who have a token.
    pub(crate) api_listen: Option<SocketAddr>,
    /// Who may do what.
    pub(crate) policy: Policy,
}

/// Why Quarterdeck does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] ledger_keeper::Error),
    /// The ledger cannot be read beside its writer.
    #[error("the ledger cannot be read")]
    Reader(#[source] store::Error),
    /// An address is taken.
    #[error(
        "{address} is taken by another program, so the data plane cannot listen there; stop that program, or set another address under [proxy] listen"
    )]
    AddressTaken {
        /// Which.
        address: SocketAddr,
    },
    /// An address cannot be listened on.
    #[error("the data plane cannot listen on {address}; set another address under [proxy] listen")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The driver cannot work.
    #[error(transparent)]
    Driver(#[from] runtime::Error),
    /// The API cannot be served.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// The loop ended by itself, which is a defect.
    #[error(
        "the control loop ended by itself, which is a defect of Quarterdeck: services and their traffic go on; start `qd serve` again, it takes them over, and report what it printed before this"
    )]
    LoopEnded,
    /// The tokens of programs cannot be read.
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    /// The operating system refused something basic.
    #[error("{doing} failed")]
    System {
        /// What.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Why the ledger cannot be opened, when that is why.
    pub(crate) fn of_ledger(&self) -> Option<&store::Error> {
        if let Error::Ledger(ledger_keeper::Error::Open(error)) = self { Some(error) } else { None }
    }
}

/// An error with everything that caused it, on one line.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += ": ";
        text += &cause.to_string();
        source = cause.source();
    }
    text
}

/// Serves until it is told to stop. `ready` is called once everything answers.
///
/// # Errors
/// When something it needs cannot be used; nothing that ran before was touched then.
pub(crate) async fn run(settings: Settings, ready: impl FnOnce()) -> Result<Afterwards, Error> {
    let system = |doing| move |source| Error::System { doing, source };
    let data = prepare(&settings.data)?;
    let place = Place::new(data.join("ledger"));
    let opened = tokio::task::spawn_blocking({
        let place = place.clone();
        move || ledger_keeper::open(&place)
    });
    let opened = opened.await.map_err(|e| system("opening the ledger")(e.into()))??;
    preflight(&data, &settings).await?;

    // By this name it stays what it is when the file it was started from is replaced.
    let executable = PathBuf::from("/proc/self/exe");
    let search_path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let driver = process::ProcessDriver::open(process::Settings {
        data: data.clone(),
        executable: executable.clone(),
        search_path,
    });
    let driver = Arc::new(driver.await?);

    let policy = Arc::new(settings.policy);
    let now = clock::wall();
    let length = opened.numbering.next().0;
    let first = Snapshot { state: opened.state.clone(), observed: Default::default(), now, length, refusing: None };
    let (api_loop, mut readers) = Loop::new(policy.clone(), first);
    let (tables_out, tables) = watch::channel(RouteTable::default());
    let mut hands = Hands::new(driver.clone(), tables_out);

    let (events, inbox) = mpsc::channel(QUEUE);
    let asked = std::mem::replace(&mut readers.asked, mpsc::channel(1).1);
    let outlets = Outlets { readers, perform: Box::new(move |planned| hands.perform(planned)) };
    let event_loop = EventLoop {
        store: opened.store,
        numbering: opened.numbering,
        state: opened.state,
        policy,
        clock: Clock::since(opened.last),
        outlets,
    };
    let (turns, loop_ended) = oneshot::channel::<()>();
    let turning = std::thread::Builder::new().name("qd-loop".into()).spawn(move || {
        // Dropped when the thread ends, however it ends.
        let _turns = turns;
        drop(turn(event_loop, inbox));
    });
    let turning = turning.map_err(system("starting the loop's thread"))?;

    if let Some(tls) = &settings.tls {
        told::write(&data, told::TERMS, &tls.terms).map_err(system("writing the terms of TLS"))?;
    }
    told::write(&data, told::SETTINGS, &settings.proxy).map_err(system("writing the settings of the data plane"))?;
    let data_plane = data_plane::Settings {
        data: data.clone(),
        executable,
        listen: settings.listen,
        listen_tls: settings.tls.map(|tls| tls.listen).unwrap_or_default(),
        threads: settings.threads,
    };
    let keeper = tokio::spawn(data_plane::keep(data_plane, tables, events.clone()));
    let feeders = [
        tokio::spawn(feed_commands(asked, events.clone())),
        tokio::spawn(feed_instances(driver.clone(), events.clone())),
        tokio::spawn(feed_time(events.clone())),
    ];

    let (stop, mut stopping) = mpsc::channel::<ShutdownRequest>(1);
    let ledger = Arc::new(Mutex::new(Reader::open(&place).map_err(Error::Reader)?));
    let bounds = artifact::Bounds::default();
    let disk = Disk { data: data.clone(), driver: driver.clone(), ledger, stop, bounds };
    let listeners = listeners(&data, settings.api_listen).await?;
    let access = tokens::access(&data)?;
    let (end_api, api_ends) = oneshot::channel::<()>();
    let ends = async { drop(api_ends.await) };
    let serving = tokio::spawn(api::serve(listeners, api_loop, Arc::new(disk), access, Bounds::default(), ends));
    ready();

    let mut interrupted = signal(SignalKind::interrupt()).map_err(system("listening for signals"))?;
    let mut terminated = signal(SignalKind::terminate()).map_err(system("listening for signals"))?;
    let afterwards = tokio::select! {
        _ = interrupted.recv() => Afterwards::Stop,
        _ = terminated.recv() => Afterwards::Stop,
        Some(request) = stopping.recv() => request.services,
        _ = loop_ended => return Err(Error::LoopEnded),
    };

    // The loop ends first: nothing may be started again while everything stops.
    drop(events.send(Event::End(afterwards)).await);
    for feeder in feeders {
        feeder.abort();
    }
    keeper.abort();
    let ended = tokio::task::spawn_blocking(move || turning.join());
    if ended.await.is_err() {
        tracing::error!("the loop did not end in order");
    }
    if afterwards == Afterwards::Stop {
        tokio::select! {
            () = stop::everything(&data) => {}
            _ = interrupted.recv() => tracing::warn!("stopped waiting; what still runs is adopted by the next `qd serve`"),
        }
    }
    drop(end_api);
    drop(serving.await);
    Ok(afterwards)
}

/// Turns the loop to its end. Its own function, so that a panic in it names it.
fn turn(event_loop: EventLoop<OnDisk>, inbox: mpsc::Receiver<Event>) -> OnDisk {
    event_loop.run(inbox)
}

/// Creates the data directory and makes sure that sockets fit into it.
fn prepare(data: &Path) -> Result<PathBuf, Error> {
    let unusable = |source| Error::Data { path: data.to_owned(), source };
    std::fs::create_dir_all(data).map_err(unusable)?;
    let data = data.canonicalize().map_err(unusable)?;
    if data.as_os_str().len() > LONGEST_DATA {
        let why = format!("its path is longer than {LONGEST_DATA} bytes, too long for the sockets in it");
        return Err(Error::Data { path: data, source: io::Error::other(why) });
    }
    Ok(data)
}

/// Makes sure that a data plane can listen, while there is somebody to tell.
async fn preflight(data: &Path, settings: &Settings) -> Result<(), Error> {
    if UnixStream::connect(data.join(data_plane::SOCKET)).await.is_ok() {
        return Ok(());
    }
    let secured = settings.tls.iter().flat_map(|tls| &tls.listen);
    for address in settings.listen.iter().chain(secured) {
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(Error::AddressTaken { address: *address });
            }
            Err(source) => return Err(Error::Address { address: *address, source }),
        }
    }
    Ok(())
}

async fn listeners(data: &Path, tcp: Option<SocketAddr>) -> Result<Vec<Listener>, Error> {
    // Every user of the machine may connect; the kernel says who it is, and policy denies whoever has no role.
    let mut listeners = vec![Listener::unix(&data.join(API_SOCKET), 0o666)?];
    if let Some(address) = tcp {
        listeners.push(Listener::tcp(address).await?);
    }
    Ok(listeners)
}

async fn feed_commands(mut asked: mpsc::Receiver<api::Asked>, events: mpsc::Sender<Event>) {
    while let Some(asked) = asked.recv().await {
        if events.send(Event::Command(Box::new(asked))).await.is_err() {
            return;
        }
    }
}

async fn feed_instances(driver: Arc<process::ProcessDriver>, events: mpsc::Sender<Event>) {
    let mut changes = driver.changes();
    loop {
        changes.borrow_and_update();
        if events.send(Event::Instances(driver.observe())).await.is_err() || changes.changed().await.is_err() {
            return;
        }
    }
}

async fn feed_time(events: mpsc::Sender<Event>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if events.send(Event::Tick).await.is_err() {
            return;
        }
    }
}
