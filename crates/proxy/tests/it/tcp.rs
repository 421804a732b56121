//! Connections that are carried as they are: whoever speaks first, however they end, whatever becomes of their instance,
//! their address and the proxy itself.

use crate::{
    rig::{DEADLINE, Rig, canary, running, service, soon},
    upstream::{greeting, nobody, raw, vacant},
};
use model::{Arm, ChangeId, Guard, Judgement, Rate, ServiceRoutes, Span, Sticky, wire::ToProxy};
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// A service that gets the connections to an address, and no requests.
fn database(at: SocketAddr, arms: Vec<Arm>) -> ServiceRoutes {
    on(at, service(arms))
}

fn on(at: SocketAddr, mut service: ServiceRoutes) -> ServiceRoutes {
    (service.routes, service.tcp) = (Vec::new(), vec![at]);
    service
}

async fn connect(at: SocketAddr) -> TcpStream {
    soon("connecting", TcpStream::connect(at)).await.unwrap()
}

/// A line that the other side says.
async fn line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = String::new();
    loop {
        match soon("a line", stream.read_u8()).await? {
            b'\n' => return Ok(line),
            byte => line.push(byte.into()),
        }
    }
}

/// Says a line and expects to hear it again.
async fn echoed(stream: &mut TcpStream, said: &str) {
    stream.write_all(format!("{said}\n").as_bytes()).await.unwrap();
    assert_eq!(line(stream).await.unwrap(), said);
}

/// What is said until the other side is done.
async fn rest(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut all = String::new();
    soon("the end of the connection", stream.read_to_string(&mut all)).await.map(|_| all)
}

#[tokio::test]
async fn either_side_may_speak_first_and_each_may_end_before_the_other() {
    let mut rig = Rig::start().await;
    let (first, second) = (vacant(), vacant());
    // This one answers only when it has heard everything.
    let counting = raw(|mut stream| async move {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        stream.write_all(format!("{} bytes\n", heard.len()).as_bytes()).await.unwrap();
    });
    let mut other = database(second, vec![running(&[counting.await])]);
    other.service = "counter".parse().unwrap();
    rig.serve(vec![database(first, vec![running(&[greeting("one").await])]), other]).await;
    let mut stream = connect(first).await;
    assert_eq!(line(&mut stream).await.unwrap(), "one");
    echoed(&mut stream, "hello").await;
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap(), "");

    let mut stream = connect(second).await;
    stream.write_all(&[7; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap(), "100000 bytes\n");
    let report = rig.control.until("both counted", |r| r.releases.iter().all(|r| r.tally.answered == 1)).await;
    assert_eq!((report.listening_tcp.len(), report.closed_tcp.len(), report.unrouted), (2, 0, 0));
    rig.control.until("nothing open", |r| r.connections == 0).await;
}

#[tokio::test]
async fn a_client_that_waits_with_its_first_word_does_not_make_its_instance_slow() {
    let mut rig = Rig::start().await;
    let at = vacant();
    let echo = raw(|mut stream| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    rig.serve(vec![database(at, vec![running(&[echo.await])])]).await;
    let mut stream = connect(at).await;
    rig.control.until("the connection", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        rig.control.until("a report", |_| true).await;
    }
    echoed(&mut stream, "hello").await;
    let report = rig.control.until("it counted", |r| r.releases[0].tally.answered == 1).await;
    let latency_us = report.releases[0].latencies.quantile_us(0.5).unwrap();
    assert!(latency_us < 900_000, "{latency_us}");
}

/// How much of what is written is taken in the end while nobody reads it.
async fn stalls(rig: &mut Rig, written: &AtomicU64) -> u64 {
    loop {
        let before = written.load(Relaxed);
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            rig.control.until("a report", |_| true).await;
        }
        if before > 0 && written.load(Relaxed) == before {
            return before;
        }
    }
}

const BULK: u64 = 96 << 20;
const CHUNK: usize = 64 << 10;

/// What is written at this place: no byte can come twice, or be lost, without being noticed.
fn chunk(at: u64) -> Vec<u8> {
    (0..CHUNK as u64 / 8).flat_map(|i| (at + 8 * i).to_be_bytes()).collect()
}

async fn write_bulk(stream: &mut (impl AsyncWrite + Unpin), written: &AtomicU64) {
    while written.load(Relaxed) < BULK {
        stream.write_all(&chunk(written.load(Relaxed))).await.unwrap();
        written.fetch_add(CHUNK as u64, Relaxed);
    }
}

async fn read_bulk(stream: &mut (impl AsyncRead + Unpin)) {
    let mut read = vec![0; CHUNK];
    for at in (0..BULK).step_by(CHUNK) {
        soon("more", stream.read_exact(&mut read)).await.unwrap();
        assert!(read == chunk(at), "something else came at {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_stops_being_taken_and_arrives_whole_in_the_end() {
    let mut rig = Rig::start().await;
    let (up, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let at = vacant();
    let (told, written) = (Arc::new(Notify::new()), Arc::clone(&down));
    let go = Arc::clone(&told);
    let instance = raw(move |stream| {
        let (go, written) = (Arc::clone(&go), Arc::clone(&written));
        async move {
            let (mut from, mut to) = stream.into_split();
            let writing = tokio::spawn(async move {
                write_bulk(&mut to, &written).await;
                to
            });
            go.notified().await;
            read_bulk(&mut from).await;
            drop(writing.await.unwrap());
        }
    });
    rig.serve(vec![database(at, vec![running(&[instance.await])])]).await;
    let (mut from, mut to) = connect(at).await.into_split();
    let written = Arc::clone(&up);
    let writing = tokio::spawn(async move { write_bulk(&mut to, &written).await });
    for written in [&up, &down] {
        let taken = stalls(&mut rig, written).await;
        assert!(taken < BULK / 2, "{taken} bytes were taken that nobody had read");
    }
    told.notify_one();
    read_bulk(&mut from).await;
    soon("the end of writing", writing).await.unwrap();
    let mut more = Vec::new();
    soon("the end", from.read_to_end(&mut more)).await.unwrap();
    assert_eq!(more.len(), 0);
    rig.tally(1, |tally| tally.answered == 1 && tally.failed() == 0).await;
}

#[tokio::test]
async fn connections_are_shared_by_weight_and_a_client_known_by_its_address_stays() {
    let mut rig = Rig::start().await;
    let (at, one, two) = (vacant(), greeting("one").await, greeting("two").await);
    rig.serve(vec![on(at, canary(20, &[one], &[two], None))]).await;
    let n = 1_000;
    let mut canaries = 0;
    for _ in 0..n {
        canaries += u32::from(line(&mut connect(at).await).await.unwrap() == "two");
    }
    let deviation = (f64::from(n) * 0.2 * 0.8).sqrt();
    assert!((f64::from(canaries) - f64::from(n) * 0.2).abs() < 4.0 * deviation, "{canaries} of {n}");
    rig.tally(2, |tally| tally.answered == u64::from(canaries)).await;

    let mut sticky = on(at, canary(50, &[one], &[two], None));
    sticky.traffic.sticky = Some(Sticky::Client);
    rig.serve(vec![sticky]).await;
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        seen.insert(line(&mut connect(at).await).await.unwrap());
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[tokio::test]
async fn a_canary_that_hangs_up_without_a_word_trips_its_guard() {
    let mut rig = Rig::start().await;
    let (at, one) = (vacant(), greeting("one").await);
    let silent = raw(|stream| async move { drop(stream) }).await;
    let guard = Guard { change: ChangeId(7), judgement: Judgement::default(), baseline: None };
    rig.serve(vec![on(at, canary(50, &[one], &[silent], Some(guard)))]).await;
    let mut sent = 0;
    while rig.control.until("a report", |_| true).await.tripped.is_empty() {
        for _ in 0..20 {
            let _ = line(&mut connect(at).await).await;
        }
        sent += 20;
        assert!(sent < 1_000, "the guard has not tripped after {sent} connections");
    }
    for _ in 0..30 {
        assert_eq!(line(&mut connect(at).await).await.unwrap(), "one");
    }
    rig.tally(2, |tally| tally.reset > 0 && tally.answered == 0).await;
}

#[tokio::test]
async fn another_instance_is_tried_when_one_refuses() {
    let mut rig = Rig::start().await;
    let at = vacant();
    rig.serve(vec![database(at, vec![running(&[nobody().await, greeting("one").await])])]).await;
    for _ in 0..50 {
        assert_eq!(line(&mut connect(at).await).await.unwrap(), "one");
    }
    let tally = rig.tally(1, |tally| tally.answered == 50).await;
    assert!(tally.retried > 0 && tally.failed() == 0, "{tally:?}");

    rig.serve(vec![database(at, vec![running(&[nobody().await])])]).await;
    assert_eq!(rest(&mut connect(at).await).await.unwrap_or_default(), "");
    rig.tally(1, |tally| tally.refused == 1).await;
}

#[tokio::test]
async fn what_breaks_does_not_look_whole_and_is_counted_as_what_it_is() {
    let resets = |said: &'static str| {
        raw(move |mut stream| async move {
            stream.write_all(said.as_bytes()).await.unwrap();
            // Until this is heard, what was said may be lost with the connection, and the connection may seem to be refused.
            let _ = stream.read_u8().await;
            stream.set_zero_linger().unwrap();
        })
    };
    let silent_at_the_end = raw(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let mut rig = Rig::start().await;
    let at = vacant();
    rig.serve(vec![database(at, vec![running(&[resets("half\n").await])])]).await;
    let mut stream = connect(at).await;
    assert_eq!(line(&mut stream).await.unwrap(), "half");
    stream.write_u8(b'x').await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    rig.tally(1, |tally| (tally.answered, tally.reset) == (1, 0)).await;

    rig.serve(vec![database(at, vec![running(&[resets("").await])])]).await;
    let mut stream = connect(at).await;
    stream.write_u8(b'x').await.unwrap();
    assert!(rest(&mut stream).await.is_err());
    rig.tally(1, |tally| (tally.answered, tally.reset) == (1, 1)).await;

    // A client that goes away, before and after it was answered.
    rig.serve(vec![database(at, vec![running(&[silent_at_the_end.await])])]).await;
    let mut stream = connect(at).await;
    stream.write_u8(b'x').await.unwrap();
    rig.control.until("the connection", |r| r.instances.iter().any(|i| i.in_flight == 1)).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    rig.tally(1, |tally| (tally.answered, tally.cancelled, tally.reset) == (1, 1, 1)).await;

    // One that has said all it wanted, where nothing is ever answered.
    let mut stream = connect(at).await;
    stream.write_u8(b'x').await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await.unwrap(), "");
    rig.tally(1, |tally| (tally.answered, tally.cancelled, tally.reset) == (2, 1, 1)).await;
}

#[tokio::test]
async fn a_silent_connection_is_ended_and_an_instance_that_owes_an_answer_is_to_blame() {
    let mut rig = Rig::start().await;
    let (at, hangs) = (vacant(), raw(|stream| async move { drop((std::future::pending::<()>().await, stream)) }));
    let mut service = database(at, vec![running(&[hangs.await])]);
    service.traffic.idle_timeout = Span(200);
    rig.serve(vec![service]).await;
    assert!(rest(&mut connect(at).await).await.is_err());
    rig.tally(1, |tally| (tally.cancelled, tally.timeout) == (1, 0)).await;
    let mut stream = connect(at).await;
    stream.write_all(b"hello").await.unwrap();
    assert!(rest(&mut stream).await.is_err());
    rig.tally(1, |tally| (tally.cancelled, tally.timeout) == (1, 1)).await;
}

#[tokio::test]
async fn a_client_that_has_connected_as_often_as_it_may_is_turned_away() {
    let mut rig = Rig::start().await;
    let at = vacant();
    let mut service = database(at, vec![running(&[greeting("one").await])]);
    service.traffic.client_rate = Rate::parse("2/h");
    rig.serve(vec![service]).await;
    for _ in 0..2 {
        assert_eq!(line(&mut connect(at).await).await.unwrap(), "one");
    }
    assert_eq!(rest(&mut connect(at).await).await.unwrap_or_default(), "");
    let report = rig.control.until("it counted", |report| report.limited == 1).await;
    assert_eq!(report.releases[0].tally.total(), 2);
}

#[tokio::test]
async fn a_connection_waits_a_little_for_an_instance() {
    let mut rig = Rig::with(|config| config.limits.hold = DEADLINE).await;
    let at = vacant();
    rig.serve(vec![database(at, vec![running(&[])])]).await;
    let mut stream = connect(at).await;
    rig.control.until("it open", |report| report.connections == 1).await;
    rig.serve(vec![database(at, vec![running(&[greeting("one").await])])]).await;
    assert_eq!(line(&mut stream).await.unwrap(), "one");

    let mut rig = Rig::with(|config| config.limits.hold = Duration::ZERO).await;
    let at = vacant();
    // One is known to come.
    let asleep = ServiceRoutes { hold: Some(Span(DEADLINE.as_millis() as u64)), ..database(at, vec![running(&[])]) };
    rig.serve(vec![asleep]).await;
    let mut stream = connect(at).await;
    rig.control.until("it waiting", |report| report.releases[0].waiting == 1).await;
    rig.serve(vec![database(at, vec![running(&[greeting("two").await])])]).await;
    assert_eq!(line(&mut stream).await.unwrap(), "two");

    let mut rig = Rig::with(|config| config.limits.hold = Duration::from_millis(50)).await;
    let at = vacant();
    rig.serve(vec![database(at, vec![running(&[])])]).await;
    assert_eq!(rest(&mut connect(at).await).await.unwrap_or_default(), "");
    rig.tally(1, |tally| tally.no_instance == 1).await;
}

#[tokio::test]
async fn connections_of_an_instance_that_leaves_go_on_until_its_deadline_and_are_cut_then() {
    let mut rig = Rig::start().await;
    let (at, old, new) = (vacant(), greeting("old").await, greeting("new").await);
    let draining_within = |span, instance| {
        let mut service = database(at, vec![running(&[instance])]);
        service.traffic.drain_deadline = span;
        service
    };
    rig.serve(vec![draining_within(Span::minutes(1), old)]).await;
    let mut stream = connect(at).await;
    assert_eq!(line(&mut stream).await.unwrap(), "old");
    rig.serve(vec![draining_within(Span(200), new)]).await;
    echoed(&mut stream, "still there").await;
    let mut other = connect(at).await;
    assert_eq!(line(&mut other).await.unwrap(), "new");
    rig.serve(vec![draining_within(Span(200), old)]).await;
    assert!(rest(&mut other).await.is_err(), "what was cut must not look whole");
    let tally = rig.tally(1, |tally| tally.cut == 1).await;
    assert_eq!((tally.answered, tally.failed()), (2, 0));
    echoed(&mut stream, "still there").await;
}

#[tokio::test]
async fn addresses_come_and_go_with_tables_and_their_connections_stay() {
    let mut rig = Rig::with(|config| config.threads = 2).await;
    let (first, second, instance) = (vacant(), vacant(), greeting("one").await);
    let refuses = async |at| {
        let refused = async { while TcpStream::connect(at).await.is_ok() {} };
        soon("the end of listening", refused).await;
    };
    refuses(first).await;
    for _ in 0..3 {
        rig.serve(vec![database(first, vec![running(&[instance])])]).await;
        assert_eq!(rig.control.until("a report", |_| true).await.listening_tcp, [first]);
        let mut stream = connect(first).await;
        assert_eq!(line(&mut stream).await.unwrap(), "one");
        rig.serve(vec![database(second, vec![running(&[instance])])]).await;
        assert_eq!(line(&mut connect(second).await).await.unwrap(), "one");
        refuses(first).await;
        echoed(&mut stream, "still there").await;
    }
    rig.serve(Vec::new()).await;
    refuses(second).await;
    let tally = rig.tally(1, |tally| tally.answered == 6).await;
    assert_eq!((tally.cut, tally.failed()), (0, 0));
}

#[tokio::test]
async fn whoever_had_connected_before_an_address_was_given_up_is_served() {
    let mut rig = Rig::start().await;
    let (at, instance) = (vacant(), greeting("one").await);
    for _ in 0..10 {
        rig.serve(vec![database(at, vec![running(&[instance])])]).await;
        let mut streams = Vec::new();
        for _ in 0..100 {
            streams.push(connect(at).await);
        }
        rig.serve(Vec::new()).await;
        for stream in &mut streams {
            assert_eq!(line(stream).await.unwrap(), "one");
        }
    }
}

#[tokio::test]
async fn an_address_that_is_taken_stops_nothing_else_and_is_tried_again() {
    let mut rig = Rig::start().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (taken, free, instance) = (other.local_addr().unwrap(), vacant(), greeting("one").await);
    let mut second = database(free, vec![running(&[instance])]);
    // Requests come in at its second address already.
    (second.service, second.tcp) = ("second".parse().unwrap(), vec![free, rig.address]);
    rig.serve(vec![database(taken, vec![running(&[instance])]), second]).await;
    let report = rig.control.until("a report", |_| true).await;
    assert_eq!(report.listening_tcp, [free]);
    let why = |at| report.closed_tcp.iter().find(|closed| closed.address == at).unwrap().why.as_str();
    assert!(why(taken).contains("already taken by another program"), "{}", why(taken));
    assert!(why(rig.address).contains("requests come in"), "{}", why(rig.address));
    assert_eq!(line(&mut connect(free).await).await.unwrap(), "one");
    drop(other);
    rig.control.until("it open", |report| report.listening_tcp.contains(&taken)).await;
    assert_eq!(line(&mut connect(taken).await).await.unwrap(), "one");
}

#[tokio::test]
async fn stopping_closes_the_addresses_and_ends_connections_by_its_deadline() {
    let mut rig = Rig::start().await;
    let at = vacant();
    rig.serve(vec![database(at, vec![running(&[greeting("one").await])])]).await;
    let mut stream = connect(at).await;
    assert_eq!(line(&mut stream).await.unwrap(), "one");
    rig.control.say(&ToProxy::Shutdown(Span::minutes(1))).await;
    let refused = async { while TcpStream::connect(at).await.is_ok() {} };
    soon("the end of listening", refused).await;
    echoed(&mut stream, "still there").await;
    rig.control.say(&ToProxy::Shutdown(Span(200))).await;
    assert!(rest(&mut stream).await.is_err());
    while rig.control.hear().await.is_some() {}
}

/// A connection for each line, or one for all of them, until it is enough.
async fn client(at: SocketAddr, keeps: bool, heard: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    while !stop.load(Relaxed) {
        let mut stream = connect(at).await;
        assert_eq!(line(&mut stream).await.unwrap(), "one");
        loop {
            echoed(&mut stream, "hello").await;
            heard.fetch_add(1, Relaxed);
            if !keeps || stop.load(Relaxed) {
                break;
            }
        }
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await.unwrap(), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_proxies_take_over_from_each_other_and_no_connection_is_lost() {
    let mut rig = Rig::with(|config| config.threads = 2).await;
    let (first, second, instance) = (vacant(), vacant(), greeting("one").await);
    let table = |addresses: &[SocketAddr]| {
        let mut service = database(first, vec![running(&[instance])]);
        (service.tcp, service.traffic.drain_deadline) = (addresses.to_vec(), Span::minutes(5));
        vec![service]
    };
    rig.serve(table(&[first])).await;
    let (heard, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    let mut start = |at| {
        for n in 0..6 {
            clients.spawn(client(at, n % 2 == 0, Arc::clone(&heard), Arc::clone(&stop)));
        }
    };
    start(first);
    let mut before = Vec::new();
    for round in 0..20 {
        if round == 10 {
            rig.serve(table(&[first, second])).await;
            start(second);
        }
        // More threads, fewer threads: every socket is somebody's.
        before.push(rig.hand_over(1 + round % 3).await);
        let seen = heard.load(Relaxed);
        soon("further lines", async {
            while heard.load(Relaxed) < seen + 20 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    stop.store(true, Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(heard.load(Relaxed) > 400);
    for thread in before {
        soon("the end of a proxy", tokio::task::spawn_blocking(|| thread.join())).await.unwrap().unwrap().unwrap();
    }
    let report = rig.control.until("a report", |_| true).await;
    assert_eq!(report.listening_tcp, BTreeSet::from([first, second]).into_iter().collect::<Vec<_>>());
    rig.stop().await;
}
