//! The line to whoever sends tables: a Unix socket in the data directory, and the loop behind it.
//!
//! The proxy listens, because it outlives `qd serve`: each new `serve` connects, says hello, and takes over from the one
//! before. A table is put in force first, then saved, then reported, so that neither a full disk nor a deaf peer delays
//! it. The loop also hears the guards and the signals to stop; it never touches a request.

mod home;
mod peer;

pub(crate) use home::Home;

use crate::{
    error::Error,
    guard::Trip,
    handover::{Leaving, Offered},
    quiet::Quiet,
    report::Reporter,
    saved_table::Saved,
    shared::{Parting, Shared, Stop, Taken},
    tcp::Gates,
};
use model::{
    ProxyReport, RouteTable, RouteTraffic, Span,
    wire::{FromProxy, ToProxy},
};
use peer::Peer;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

/// How often is looked whether there is something to report.
const TICK: Duration = Duration::from_millis(100);

/// How long nothing is reported when nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Holds the line until the proxy was told to stop and its workers have ended.
///
/// # Errors
/// When the runtime, the signals or the socket cannot be had.
pub(crate) fn hold(
    home: Home,
    saved: Option<Saved>,
    shared: Arc<Shared>,
    trips: mpsc::Receiver<Trip>,
    doubles: Offered,
    gates: Gates,
) -> Result<(), Error> {
    let resources = |what| move |source| Error::Resources { what, source };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(resources("the control runtime"))?;
    runtime.block_on(async {
        let doors = Doors { control: Some(home.listen()?), newcomers: Some(home.listen_for_newcomers()?) };
        let signals = Signals::new().map_err(resources("signal handlers"))?;
        let mut link = Link {
            table: saved.map(|saved| saved.table).unwrap_or_default(),
            home: Some(home),
            doubles,
            gates,
            offers: 0,
            reporter: Reporter::default(),
            shared: Arc::clone(&shared),
            peer: None,
            sent: None,
            trouble: Quiet::default(),
        };
        link.follow_table();
        link.run(doors, trips, signals).await;
        Ok(())
    })
}

/// The sockets that this proxy is found by; none once it has handed over.
struct Doors {
    control: Option<UnixListener>,
    newcomers: Option<UnixListener>,
}

/// The next connection; never, where there is no door.
async fn accept(door: &Option<UnixListener>) -> io::Result<UnixStream> {
    match door {
        Some(door) => door.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

struct Link {
    /// `None`: somebody else has it now.
    home: Option<Home>,
    /// What a newcomer is given.
    doubles: Offered,
    /// Where connections come in that are carried as they are.
    gates: Gates,
    /// How many newcomers are being given the listeners.
    offers: u32,
    shared: Arc<Shared>,
    reporter: Reporter,
    /// The table in force, as it came.
    table: RouteTable,
    peer: Option<Peer>,
    /// The last report that was sent to this peer, and when.
    sent: Option<(ProxyReport, Instant)>,
    trouble: Quiet,
}

/// Everything that can make the loop do something.
enum Event {
    Connected(io::Result<UnixStream>),
    /// A newcomer asks for the listeners.
    Asked(io::Result<UnixStream>),
    /// It accepts connections now; `None`: it does not, and nothing has changed.
    Succeeded(Option<Leaving>),
    Said(ToProxy),
    HungUp(peer::Ended),
    Tripped(Trip),
    Tick,
    Signal,
    WorkersEnded,
}

impl Link {
    async fn run(mut self, mut doors: Doors, mut trips: mpsc::Receiver<Trip>, mut signals: Signals) {
        let (succeeded, mut successors) = mpsc::channel(1);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stopping = self.shared.stop.borrow().is_some();
            let event = tokio::select! {
                accepted = accept(&doors.control) => Event::Connected(accepted),
                accepted = accept(&doors.newcomers) => Event::Asked(accepted),
                Some(leaving) = successors.recv() => Event::Succeeded(leaving),
                said = hear(&mut self.peer) => said.map_or_else(Event::HungUp, Event::Said),
                Some(trip) = trips.recv() => Event::Tripped(trip),
                _ = tick.tick() => Event::Tick,
                () = signals.stop() => Event::Signal,
                () = self.shared.stop.closed(), if stopping => Event::WorkersEnded,
            };
            match event {
                Event::Connected(Ok(stream)) => self.connected(Peer::new(stream)).await,
                Event::Asked(Ok(stream)) => self.offer(stream, succeeded.clone()),
                Event::Succeeded(None) => {
                    self.offers -= 1;
                    self.follow_table();
                }
                Event::Succeeded(Some(leaving)) => {
                    doors = Doors { control: None, newcomers: None };
                    self.hand_over(leaving);
                }
                Event::Connected(Err(error)) | Event::Asked(Err(error)) => {
                    tracing::warn!(%error, "the control socket cannot accept a connection");
                    sleep(TICK).await;
                }
                Event::Said(message) => self.said(message).await,
                Event::HungUp(why) => {
                    if let Some(withheld) = self.trouble.pass() {
                        tracing::info!(%why, withheld, "the control connection ended; serving goes on with the last table");
                    }
                    self.peer = None;
                }
                Event::Tripped(trip) => self.tripped(trip).await,
                Event::Tick => {
                    if self.may_move_gates() {
                        self.gates.try_again(Instant::now());
                    }
                    self.report_news().await;
                }
                Event::Signal => self.stop(self.shared.limits.shutdown),
                Event::WorkersEnded => {
                    self.report().await;
                    return;
                }
            }
        }
    }

    /// Lets a thread give a newcomer the listeners: that blocks, and may take a while.
    fn offer(&mut self, stream: UnixStream, succeeded: mpsc::Sender<Option<Leaving>>) {
        let doubles = self.doubles.with(self.gates.sockets());
        self.offers += 1;
        tokio::task::spawn_blocking(move || {
            let given = stream.into_std().and_then(|stream| doubles.give(stream));
            drop(doubles);
            let leaving = given.inspect_err(|error| {
                tracing::warn!(%error, "another proxy asked for the listeners and did not take them; this one goes on");
            });
            // A second one finds nobody who listens, and then a directory that is taken.
            drop(succeeded.blocking_send(leaving.ok()));
        });
    }

    /// Opens and closes what the table in force says.
    fn follow_table(&mut self) {
        if self.may_move_gates() {
            self.gates.follow(Instant::now());
        }
    }

    /// While sockets are given away, none comes or goes: a newcomer that knew of fewer would find the others taken. Once
    /// this proxy is leaving, none is opened any more.
    fn may_move_gates(&self) -> bool {
        self.offers == 0 && self.shared.stop.borrow().is_none()
    }

    /// Somebody else accepts connections now: those that are open end by themselves.
    fn hand_over(&mut self, leaving: Leaving) {
        let table = &self.table.services;
        let longest = table.iter().map(|service| service.traffic.drain_deadline).max().unwrap_or_default();
        let span = longest.max(self.shared.limits.shutdown);
        tracing::info!(%span, "handed over: open connections end with their next response, or by then");
        let by = Instant::now() + span.duration();
        self.shared.stop.send_replace(Some(Stop { by, parting: Parting::WithTheNextResponse }));
        self.peer = None;
        self.home = None;
        self.doubles = Offered::default();
        self.gates.abandon();
        leaving.released();
    }

    /// A new peer takes over from the old one.
    async fn connected(&mut self, mut peer: Peer) {
        self.sent = None;
        let hello = peer.hello(self.shared.started).await;
        self.peer = hello.is_ok().then_some(peer);
    }

    async fn said(&mut self, message: ToProxy) {
        match message {
            // The peer has checked it. What has tripped while nobody listened is told again.
            ToProxy::Hello(_) => {
                let table = self.shared.table.load_full();
                for switch in table.switches().filter(|switch| switch.is_tripped()) {
                    self.say(&FromProxy::Tripped { change: switch.change, evidence: switch.evidence() }).await;
                }
                self.report().await;
            }
            ToProxy::SetRoutes(table) => self.take(table).await,
            ToProxy::Shutdown(span) => self.stop(span),
        }
    }

    async fn take(&mut self, table: RouteTable) {
        match self.shared.take(&table) {
            Taken::InForce => {
                self.follow_table();
                tracing::info!(generation = table.generation, services = table.services.len(), "route table in force");
                if self.table != table {
                    self.table = table;
                    self.save();
                }
            }
            Taken::Older => {
                let (given, in_force) = (table.generation, self.table.generation);
                if let Some(withheld) = self.trouble.pass() {
                    tracing::warn!(given, in_force, withheld, "an older route table was refused");
                }
            }
        }
        self.report().await;
    }

    async fn tripped(&mut self, trip: Trip) {
        tracing::warn!(change = %trip.change, verdict = ?trip.evidence.verdict, "a guard has tripped: its canary gets no requests");
        self.say(&FromProxy::Tripped { change: trip.change, evidence: *trip.evidence }).await;
        self.save();
        self.report().await;
    }

    fn save(&self) {
        let Some(path) = self.home.as_ref().map(Home::table_path) else { return };
        let saved = Saved::new(self.table.clone(), self.shared.tripped());
        if let Err(error) = saved.store(&path)
            && let Some(withheld) = self.trouble.pass()
        {
            tracing::error!(
                %error, withheld, path = %path.display(),
                "the route table cannot be saved: it is in force, but a restarted proxy will not have it"
            );
        }
    }

    fn stop(&mut self, span: Span) {
        tracing::info!(%span, "stopping: no more connections are accepted, those in flight may end");
        self.shared.stop.send_replace(Some(Stop::at(Instant::now() + span.duration())));
        // While a double is open the system lets clients connect, and nobody would ever answer them.
        self.doubles = Offered::default();
        self.gates.abandon();
    }

    /// Reports when something has changed, or for a sign of life.
    async fn report_news(&mut self) {
        if !self.peer.as_ref().is_some_and(Peer::is_welcome) {
            return;
        }
        let report = self.reporter.report(&self.shared);
        let news = match &mut self.sent {
            Some((before, at)) => {
                before.at = report.at;
                at.elapsed() >= HEARTBEAT || *before != report
            }
            None => true,
        };
        if news {
            let routes = self.reporter.routes_when_due(&self.shared);
            self.send_report(report, routes).await;
        }
    }

    async fn report(&mut self) {
        let report = self.reporter.report(&self.shared);
        let routes = self.reporter.routes(&self.shared);
        self.send_report(report, Some(routes)).await;
    }

    async fn send_report(&mut self, report: ProxyReport, routes: Option<Vec<RouteTraffic>>) {
        let message = FromProxy::Report(ProxyReport { routes, ..report });
        self.say(&message).await;
        if let FromProxy::Report(report) = message {
            // What routes have done is no news by itself: it is said with what is, and with signs of life.
            self.sent = Some((ProxyReport { routes: None, ..report }, Instant::now()));
        }
    }

    async fn say(&mut self, message: &FromProxy) {
        if let Some(peer) = self.peer.as_mut().filter(|peer| peer.is_welcome())
            && let Err(why) = peer.say(message).await
        {
            if let Some(withheld) = self.trouble.pass() {
                tracing::warn!(%why, withheld, "a message to control was not sent; hanging up");
            }
            self.peer = None;
        }
    }
}

/// What the peer says next. Without a peer, nobody ever says anything.
async fn hear(peer: &mut Option<Peer>) -> Result<ToProxy, peer::Ended> {
    match peer {
        Some(peer) => peer.hear().await,
        None => std::future::pending().await,
    }
}
