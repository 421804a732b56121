use super::*;
use crate::table::Table;
use http::StatusCode;
use key::Selection;
use model::{ArmRole, RouteTable, ServiceRoutes, TrafficSpec};
use policy::{Moments, Terms};
use std::time::{Duration, SystemTime};

fn arm(release: u64, percent: u32) -> Arm {
    let role = if release == 1 { ArmRole::Running } else { ArmRole::Canary };
    let weight = Ratio::from_percent(percent).unwrap();
    Arm { release: ReleaseId(release), role, weight, endpoints: Vec::new() }
}

/// A table with a service of these arms, and what a table before it kept.
fn table(arms: Vec<Arm>, before: &Table) -> Table {
    let traffic = TrafficSpec { cache: Some(Bytes::mib(1)), ..TrafficSpec::default() };
    let service = ServiceRoutes {
        service: "shop".parse().unwrap(),
        routes: Vec::new(),
        tcp: Vec::new(),
        traffic,
        arms,
        guard: None,
    };
    let table = RouteTable { generation: 1, services: vec![service] };
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
    let at = Moments { sent: now, received: now, wall: SystemTime::UNIX_EPOCH };
    let entry = Entry {
        status: StatusCode::OK,
        terms: Terms::of(&HeaderMap::new(), StatusCode::OK, &headers, at).unwrap(),
        selection: Selection::default(),
        body: bytes::Bytes::from_static(b"kept"),
        headers,
    };
    let kept = kept(table);
    kept.cache.store.put(Key { era: kept.eras[arm].1, place: Place::new("http", b"shop.test", "/") }, entry);
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
