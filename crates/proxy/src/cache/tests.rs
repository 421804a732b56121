mod on_disk;

use super::*;
use crate::table::Table;
use http::StatusCode;
use key::Selection;
use model::{Arm, ArmRole, Purge, RouteTable, ServiceRoutes, TrafficSpec};
use policy::{Moments, Terms};
use std::time::{Duration, SystemTime};

fn arm(release: u64, percent: u32) -> Arm {
    let role = if release == 1 { ArmRole::Running } else { ArmRole::Canary };
    let weight = Ratio::from_percent(percent).unwrap();
    Arm { release: ReleaseId(release), role, weight, endpoints: Vec::new() }
}

/// A table with a service of these arms, and what a table before it kept.
fn table(arms: Vec<Arm>, before: &Table) -> Table {
    purging(1, Vec::new(), arms, before)
}

/// Likewise, of this generation and with these purges. It stores on disk, too, where the table before could.
fn purging(generation: u64, purges: Vec<Purge>, arms: Vec<Arm>, before: &Table) -> Table {
    let cache_disk = before.cache_writer.as_ref().map(|_| Bytes::mib(16));
    let traffic = TrafficSpec { cache: Some(Bytes::mib(1)), cache_disk, ..TrafficSpec::default() };
    let service = ServiceRoutes {
        service: "shop".parse().unwrap(),
        routes: Vec::new(),
        tcp: Vec::new(),
        traffic,
        arms,
        guard: None,
        purges,
        shadow: None,
        hold: None,
    };
    let table = RouteTable { generation, services: vec![service] };
    Table::new(&table, before, |_| unreachable!("no service is guarded"))
}

fn kept(table: &Table) -> &Kept {
    table.services[0].cache.as_ref().unwrap()
}

fn look(table: &Table, arm: usize, headers: &HeaderMap, now: Instant) -> Found {
    let asking =
        Asking { method: &Method::GET, headers, scheme: "http", host: b"shop.test", target: "/", has_body: false };
    kept(table).look(&table.services[0], arm, &asking, now)
}

fn put(table: &Table, arm: usize, said: &'static str, now: Instant) {
    let headers = HeaderMap::from_iter([(http::header::CACHE_CONTROL, http::HeaderValue::from_static(said))]);
    store(table, arm, headers, now);
}

fn store(table: &Table, arm: usize, headers: HeaderMap, now: Instant) {
    let at = Moments { sent: now, received: now, wall: SystemTime::UNIX_EPOCH };
    let entry = Entry {
        status: StatusCode::OK,
        terms: Terms::of(&HeaderMap::new(), StatusCode::OK, &headers, at).unwrap(),
        selection: Selection::default(),
        body: Stored::Memory(bytes::Bytes::from_static(b"kept")),
        headers,
        born: table.generation,
    };
    let kept = kept(table);
    kept.cache.memory.put(Key { era: kept.eras[arm].1, place: Place::new("http", b"shop.test", "/") }, entry.into());
}

fn is_usable(found: &Found) -> bool {
    found.spares_instance()
}

#[test]
fn what_is_kept_is_given_as_long_as_it_is_fresh_and_asked_about_behind_while_it_may_be() {
    let (now, nothing) = (Instant::now(), HeaderMap::new());
    let table = table(vec![arm(1, 100)], &Table::default());
    assert!(!is_usable(&look(&table, 0, &nothing, now)));
    put(&table, 0, "max-age=60, stale-while-revalidate=30", now);
    let after = |seconds| look(&table, 0, &nothing, now + Duration::from_secs(seconds));
    assert!(matches!(after(59), Found::Usable(Usable { status: Status::Hit(1), behind: None, .. })));
    assert!(matches!(after(61), Found::Usable(Usable { status: Status::Hit(-1), behind: Some(_), .. })));
    assert!(matches!(after(90), Found::Fetch(fetch) if fetch.why == Why::Stale));
}

#[test]
fn a_release_that_comes_back_comes_back_with_nothing() {
    let (now, nothing) = (Instant::now(), HeaderMap::new());
    let first = table(vec![arm(1, 90), arm(2, 10)], &Table::default());
    put(&first, 0, "max-age=60", now);
    assert!(is_usable(&look(&first, 0, &nothing, now)) && !is_usable(&look(&first, 1, &nothing, now)));
    let second = table(vec![arm(2, 100)], &first);
    let third = table(vec![arm(2, 10), arm(1, 90)], &second);
    assert!(!is_usable(&look(&third, 1, &nothing, now)));
    // Not even with what a request of then brings late.
    put(&first, 0, "max-age=60", now);
    assert!(!is_usable(&look(&third, 1, &nothing, now)));
    // One that has stayed keeps what it has, wherever it stands.
    put(&second, 0, "max-age=60", now);
    assert!(is_usable(&look(&third, 0, &nothing, now)));
}

#[tokio::test]
async fn one_goes_ahead_and_the_others_wait_until_it_has_ended() {
    let (now, nothing) = (Instant::now(), HeaderMap::new());
    let table = table(vec![arm(1, 100)], &Table::default());
    let fetch = || match look(&table, 0, &nothing, now) {
        Found::Fetch(fetch) => fetch,
        Found::Usable(_) | Found::Nothing(_) | Found::Changes(_) | Found::Refused => panic!("nothing is kept"),
    };
    let mut ahead = fetch();
    assert!(ahead.take_lead() && !fetch().take_lead());
    let mut behind = Box::pin(fetch().join());
    let still_waits = tokio::time::timeout(Duration::ZERO, behind.as_mut()).await.is_err();
    assert!(still_waits);
    drop(ahead);
    assert!(matches!(behind.await, Found::Fetch(_)), "it brought nothing");
    let mut ahead = fetch();
    assert!(ahead.take_lead());
    let mut behind = Box::pin(fetch().join());
    assert!(tokio::time::timeout(Duration::ZERO, behind.as_mut()).await.is_err());
    put(&table, 0, "max-age=60", now);
    drop(ahead);
    assert!(matches!(behind.await, Found::Usable(Usable { status: Status::Collapsed, .. })));
}

#[test]
fn what_was_asked_for_before_a_change_is_not_kept_after_it() {
    let (now, nothing) = (Instant::now(), HeaderMap::new());
    let table = table(vec![arm(1, 100)], &Table::default());
    let head = || {
        let head = http::Response::builder().header("cache-control", "max-age=60").header("content-length", "4");
        head.body(()).unwrap().into_parts().0
    };
    let collects = |then: &dyn Fn()| {
        let Found::Fetch(fetch) = look(&table, 0, &nothing, now) else { panic!("nothing is kept") };
        let mut collector = fetch.keep(&head()).unwrap();
        then();
        assert!(collector.take(b"kept"));
        collector.complete();
        is_usable(&look(&table, 0, &nothing, now))
    };
    let place = Place::new("http", b"shop.test", "/");
    assert!(!collects(&|| kept(&table).changed(std::slice::from_ref(&place))));
    assert!(collects(&|| {}));
    assert_eq!(kept(&table).cache.collecting.load(Relaxed), 0);
}

fn at(generation: u64, path: Option<&str>) -> Purge {
    Purge { generation, path: path.map(str::to_owned) }
}

fn fetch(table: &Table, now: Instant) -> Box<Fetch> {
    match look(table, 0, &HeaderMap::new(), now) {
        Found::Fetch(fetch) => fetch,
        Found::Usable(_) | Found::Nothing(_) | Found::Changes(_) | Found::Refused => panic!("something is kept"),
    }
}

fn cacheable() -> http::response::Parts {
    let head = http::Response::builder().header("cache-control", "max-age=60").header("content-length", "4");
    head.body(()).unwrap().into_parts().0
}

#[test]
fn what_is_purged_is_gone_for_requests_of_every_table() {
    let (now, nothing) = (Instant::now(), HeaderMap::new());
    let arms = || vec![arm(1, 100)];
    let first = table(arms(), &Table::default());
    put(&first, 0, "max-age=60", now);
    let elsewhere = purging(2, vec![at(2, Some("/elsewhere"))], arms(), &first);
    assert!(is_usable(&look(&first, 0, &nothing, now)) && is_usable(&look(&elsewhere, 0, &nothing, now)));
    let all = purging(3, vec![at(3, None)], arms(), &elsewhere);
    assert!(!is_usable(&look(&first, 0, &nothing, now)) && !is_usable(&look(&all, 0, &nothing, now)));
    assert_eq!(kept(&all).cache.memory.used(), 0, "it takes no room, either");
    // What comes after it is kept, under this table and the next one.
    put(&all, 0, "max-age=60", now);
    let next = purging(4, vec![at(3, None)], arms(), &all);
    assert!(is_usable(&look(&all, 0, &nothing, now)) && is_usable(&look(&next, 0, &nothing, now)));
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_kept_after_it() {
    let now = Instant::now();
    let first = table(vec![arm(1, 100)], &Table::default());
    let complete = |mut collector: Box<Collector>| {
        assert!(collector.take(b"kept"));
        collector.complete();
    };
    let before = fetch(&first, now);
    let half = fetch(&first, now).keep(&cacheable()).unwrap();
    let all = purging(2, vec![at(2, None)], vec![arm(1, 100)], &first);
    complete(half);
    complete(before.keep(&cacheable()).unwrap());
    assert!(!is_usable(&look(&all, 0, &HeaderMap::new(), now)));
    assert_eq!(kept(&all).cache.memory.used(), 0);
    // Of a table that does not know of the purge yet, but sent after it.
    complete(fetch(&first, now).keep(&cacheable()).unwrap());
    assert!(is_usable(&look(&all, 0, &HeaderMap::new(), now)));
}

#[tokio::test]
async fn nobody_who_comes_after_a_purge_waits_for_what_was_asked_for_before_it() {
    let now = Instant::now();
    let first = table(vec![arm(1, 100)], &Table::default());
    let mut before = fetch(&first, now);
    assert!(before.take_lead());
    let mut waits = Box::pin(fetch(&first, now).join());
    assert!(tokio::time::timeout(Duration::ZERO, waits.as_mut()).await.is_err());
    let all = purging(2, vec![at(2, None)], vec![arm(1, 100)], &first);
    let mut after = fetch(&all, now);
    assert!(after.take_lead() && !fetch(&all, now).take_lead());
    let mut collector = before.keep(&cacheable()).unwrap();
    assert!(collector.take(b"kept"));
    collector.complete();
    assert!(matches!(waits.await, Found::Fetch(_)), "what it waited for is of no use");
    assert!(!fetch(&all, now).take_lead(), "the one that has gone ahead since still does");
    drop(after);
    assert!(fetch(&all, now).take_lead());
}

#[test]
fn what_is_purged_is_not_given_when_an_instance_fails() {
    let now = Instant::now();
    let first = table(vec![arm(1, 100)], &Table::default());
    put(&first, 0, "max-age=0, stale-if-error=60", now);
    let stale = fetch(&first, now);
    assert!(stale.on_error(Status::Unreachable).is_some());
    let all = purging(2, vec![at(2, Some("/"))], vec![arm(1, 100)], &first);
    assert!(stale.on_error(Status::Unreachable).is_none());
    assert!(fetch(&all, now).on_error(Status::Unreachable).is_none());
}

#[tokio::test]
async fn what_is_purged_while_it_is_asked_about_is_not_kept_anew() {
    let now = Instant::now();
    let still = || http::Response::builder().status(304).header("cache-control", "max-age=60").body(()).unwrap();
    for waits in [false, true] {
        let first = table(vec![arm(1, 100)], &Table::default());
        let headers = [("cache-control", "max-age=0"), ("etag", "\"1\"")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        store(&first, 0, HeaderMap::from_iter::<[(http::HeaderName, http::HeaderValue); 2]>(headers), now);
        let asking = fetch(&first, now);
        let all = purging(2, vec![at(2, None)], vec![arm(1, 100)], &first);
        let head = still().into_parts().0;
        if waits {
            let Found::Fetch(asking) = asking.join().await else { panic!("nothing is kept") };
            assert!(asking.still_holds(&head).is_none(), "after it is purged nobody asks about it");
        } else {
            assert!(asking.still_holds(&head).is_some());
        }
        assert!(!is_usable(&look(&all, 0, &HeaderMap::new(), now)));
    }
}
