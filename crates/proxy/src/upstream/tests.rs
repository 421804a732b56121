use super::*;
use crate::pool::{FRESH, Replay};
use model::InstanceId;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::{Builder, LocalOptions},
};

fn on_one_thread(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap().block_on(test);
}

fn upstream(address: std::net::SocketAddr) -> Upstream {
    let registry = crate::tally::Registry::new(1);
    let endpoint = Endpoint { instance: InstanceId(1), address: address.into() };
    Upstream::new(endpoint.clone(), None, registry.instance(endpoint.instance), Instant::now())
}

/// A connection of HTTP/1.1.
async fn whole(upstream: &Upstream) -> SendRequest<RequestBody> {
    match upstream.connect(Protocol::Http1, &Limits::default()).await.unwrap() {
        Connection::Whole(sender) => sender,
        Connection::Shared(_) => panic!("HTTP/2 was not asked for"),
    }
}

/// Until hyper has noticed what the other side did.
async fn until(mut fits: impl FnMut() -> bool) {
    let noticed = async {
        while !fits() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), noticed).await.unwrap();
}

#[test]
fn a_connection_is_used_again_until_the_instance_closes_it() {
    on_one_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = upstream(listener.local_addr().unwrap());
        let pool = &upstream.connections;
        let connection = whole(&upstream).await;
        let (mut accepted, _) = listener.accept().await.unwrap();
        until(|| connection.is_ready()).await;
        let now = Instant::now();
        upstream.keep(Connection::Whole(connection), now);
        let again = pool.take(now, Replay::Safe).unwrap();
        assert!(pool.take(now, Replay::Safe).is_none());
        upstream.keep(Connection::Whole(again), now);
        accepted.shutdown().await.unwrap();
        until(|| pool.take(now, Replay::Safe).map(|c| pool.keep(c, now)).is_none()).await;
        assert!(pool.is_empty());
    });
}

#[test]
fn a_request_that_cannot_be_sent_again_takes_fresh_connections_only() {
    on_one_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = upstream(listener.local_addr().unwrap());
        let pool = &upstream.connections;
        let connection = whole(&upstream).await;
        until(|| connection.is_ready()).await;
        let kept = Instant::now();
        upstream.keep(Connection::Whole(connection), kept);
        let later = kept + FRESH + Duration::from_millis(1);
        assert!(pool.take(later, Replay::Never).is_none());
        assert!(pool.take(later, Replay::Safe).is_some());
    });
}

#[test]
fn an_instance_that_refuses_is_skipped_for_longer_and_longer() {
    on_one_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let upstream = upstream(address);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert!(upstream.connect(Protocol::Http1, &Limits::default()).await.is_err());
            let until = upstream.skip_until.get().unwrap();
            assert!(!upstream.is_usable(Instant::now()) && upstream.is_usable(until));
            pauses.push(until.saturating_duration_since(Instant::now()));
        }
        assert!(pauses[1] > pauses[0] && pauses[9] <= BACK_OFF.1, "{pauses:?}");
    });
}

#[test]
fn an_instance_that_is_left_loses_its_idle_connections() {
    on_one_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = upstream(listener.local_addr().unwrap());
        let pool = &upstream.connections;
        let connection = whole(&upstream).await;
        let (mut accepted, _) = listener.accept().await.unwrap();
        let now = Instant::now();
        upstream.keep(Connection::Whole(connection), now);
        let told = upstream.leaving();
        upstream.leave(now + Duration::from_secs(1));
        timeout(Duration::from_secs(10), told).await.unwrap();
        assert_eq!(timeout(Duration::from_secs(10), accepted.read_u8()).await.unwrap().ok(), None);
        let late = whole(&upstream).await;
        upstream.keep(Connection::Whole(late), now);
        assert!(pool.is_empty(), "what comes back later is not kept");
    });
}

#[test]
fn an_instance_in_its_slow_start_is_chosen_the_more_often_the_older_it_is() {
    let upstream = upstream("127.0.0.1:1".parse().unwrap());
    let (random, slow_start) = (Random::new(Some(1)), Duration::from_secs(60));
    let chosen = |age: u64| {
        let now = upstream.since + Duration::from_secs(age);
        (0..1_000).filter(|_| !upstream.is_cold(&random, now, slow_start)).count()
    };
    for (age, expected) in [(0, 50), (15, 250), (30, 500), (60, 1_000), (100, 1_000)] {
        assert!(chosen(age).abs_diff(expected) < 60, "{} of {expected} after {age} s", chosen(age));
    }
    assert!(!upstream.is_cold(&random, upstream.since, Duration::ZERO), "where there is none");
}
