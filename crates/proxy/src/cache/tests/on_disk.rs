//! What of a cache is on disk: as good as what is in memory, and gone with the same things.

use super::*;
use std::{future::poll_fn, path::Path, sync::mpsc};

/// A table with a cache of 1 MiB in memory and 16 MiB on disk.
fn roomy() -> Table {
    table(vec![arm(1, 100)], &Table::first(&std::env::temp_dir()))
}

fn asking<'a>(headers: &'a HeaderMap, target: &'a str) -> Asking<'a> {
    Asking { method: &Method::GET, headers, scheme: "http", host: b"shop.test", target, has_body: false }
}

fn look_at(table: &Table, target: &str) -> Found {
    kept(table).look(&table.services[0], 0, &asking(&HeaderMap::new(), target), Instant::now())
}

fn cacheable() -> http::response::Parts {
    let head = http::Response::builder().header("cache-control", "max-age=60").header("transfer-encoding", "chunked");
    head.body(()).unwrap().into_parts().0
}

/// A body that has passed, in pieces. `false`: it was not stored.
fn pass(table: &Table, target: &str, body: &[u8]) -> bool {
    let Found::Fetch(fetch) = look_at(table, target) else { panic!("{target} is stored") };
    let mut collector = fetch.keep(&cacheable()).unwrap();
    let took = body.chunks(10_007).all(|piece| collector.take(piece));
    if took {
        collector.complete();
    }
    settled(table);
    took
}

/// Waits until all that was handed in is written.
fn settled(table: &Table) {
    let (done, all) = mpsc::channel();
    assert!(kept(table).cache.disk.as_ref().unwrap().then(move || done.send(()).unwrap()));
    all.recv_timeout(Duration::from_secs(20)).unwrap();
}

fn body(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 251 * 7 + at + seed) as u8).collect()
}

/// What is given, and whether it is from disk. `None`: nothing is stored.
async fn given(table: &Table, target: &str) -> Option<(Vec<u8>, bool)> {
    let Found::Usable(usable) = look_at(table, target) else { return None };
    let mut sending = usable.entry.body.send(0..usable.entry.body.len());
    sending.begin().await.ok()?;
    let mut given = Vec::new();
    while let Some(piece) = poll_fn(|cx| sending.poll_piece(cx, 1000)).await.transpose().ok()? {
        given.extend(piece);
    }
    Some((given, matches!(usable.status, Status::HitOnDisk(_))))
}

/// Changes what is on disk behind everybody's back.
fn spoil(table: &Table, target: &str) {
    let key = Key { era: kept(table).eras[0].1, place: Place::new("http", b"shop.test", target) };
    let entry = kept(table).cache.get(&key, &HeaderMap::new()).unwrap();
    let Stored::Disk(extent) = &entry.body else { panic!("{target} is in memory") };
    extent.spoil();
}

#[tokio::test]
async fn what_is_too_large_for_memory_goes_to_disk() {
    let table = roomy();
    for size in [MAX_BODY, MAX_BODY + 1, 2 * MAX_BODY] {
        let (target, body) = (format!("/{size}"), body(size, size));
        assert!(pass(&table, &target, &body));
        assert_eq!(given(&table, &target).await.unwrap(), (body, true), "{size}");
    }
    assert!(!pass(&table, "/huge", &body(2 * MAX_BODY + 1, 0)), "an eighth of the disk");
    assert!(given(&table, "/huge").await.is_none());
    assert_eq!(kept(&table).cache.collecting.load(Relaxed), 0);
}

#[tokio::test]
async fn what_memory_has_no_room_for_is_found_on_disk() {
    let table = roomy();
    let bodies: Vec<Vec<u8>> = (0..40).map(|n| body(100_000, n)).collect();
    for (n, body) in bodies.iter().enumerate() {
        assert!(pass(&table, &format!("/{n}"), body));
    }
    let mut on_disk = 0;
    for (n, body) in bodies.iter().enumerate() {
        let (given, is_on_disk) = given(&table, &format!("/{n}")).await.unwrap();
        assert!(given == *body, "{n}");
        on_disk += u32::from(is_on_disk);
    }
    assert_eq!(on_disk, 33, "seven are within three quarters of a MiB");
    // As much as was handed out is used again, and no more.
    for n in 40..400 {
        assert!(pass(&table, &format!("/{n}"), &body(100_000, n)));
    }
    assert!(given(&table, "/0").await.is_none());
    let (last, is_on_disk) = given(&table, "/390").await.unwrap();
    assert!(last == body(100_000, 390) && is_on_disk);
}

#[tokio::test]
async fn what_is_asked_for_again_stays_on_disk() {
    let table = roomy();
    let loved = body(2 * MAX_BODY, 0);
    assert!(pass(&table, "/loved", &loved));
    for n in 0..20 {
        assert!(pass(&table, &format!("/{n}"), &body(MAX_BODY, n)));
        assert!(given(&table, "/loved").await.is_some_and(|(given, _)| given == loved), "{n}");
    }
}

#[tokio::test]
async fn on_disk_as_in_memory_it_goes_with_its_release_its_purge_and_its_change() {
    let first = roomy();
    let large = body(MAX_BODY, 0);
    for target in ["/img/a", "/b", "/c"] {
        assert!(pass(&first, target, &large));
    }
    kept(&first).changed(&[Place::new("http", b"shop.test", "/c")]);
    assert!(given(&first, "/c").await.is_none() && given(&first, "/b").await.is_some());
    let second = purging(2, vec![at(2, Some("/img"))], vec![arm(1, 100)], &first);
    assert!(given(&second, "/img/a").await.is_none() && given(&second, "/b").await.is_some());
    let third = table(vec![arm(2, 100)], &second);
    assert_eq!(kept(&third).cache.disk.as_ref().unwrap().index.used(), 0);
    assert!(given(&table(vec![arm(1, 100)], &third), "/b").await.is_none());
}

#[tokio::test]
async fn what_comes_late_to_disk_takes_nobodys_place() {
    let table = roomy();
    let cache = &kept(&table).cache;
    let entry = |target: &str| {
        let key = Key { era: kept(&table).eras[0].1, place: Place::new("http", b"shop.test", target) };
        (key.clone(), cache.get(&key, &HeaderMap::new()).unwrap())
    };
    for target in ["/a", "/b", "/c"] {
        assert!(pass(&table, target, &body(1_000, 1)));
    }
    let (a, b, c) = (entry("/a"), entry("/b"), entry("/c"));
    [&a, &b, &c].into_iter().for_each(|(key, _)| cache.remove(key));
    assert!(pass(&table, "/a", &body(1_000, 2)));
    // While the others are on their way, one place is changed; of the other one nothing new is known.
    let (waiting, wait) = mpsc::channel::<()>();
    assert!(cache.disk.as_ref().unwrap().then(move || assert!(wait.recv().is_err())));
    [a, b, c].into_iter().for_each(|(key, entry)| cache.demote(key, &entry));
    kept(&table).changed(&[Place::new("http", b"shop.test", "/b")]);
    drop(waiting);
    settled(&table);
    assert_eq!(given(&table, "/a").await.unwrap(), (body(1_000, 2), false));
    assert!(given(&table, "/b").await.is_none());
    assert_eq!(given(&table, "/c").await.unwrap(), (body(1_000, 1), true));
}

#[tokio::test]
async fn what_cannot_be_read_again_is_forgotten() {
    let table = roomy();
    assert!(pass(&table, "/", &body(MAX_BODY, 0)));
    spoil(&table, "/");
    assert!(given(&table, "/").await.is_none());
    assert!(matches!(look_at(&table, "/"), Found::Fetch(fetch) if fetch.why == Why::Miss));
    assert!(pass(&table, "/", &body(MAX_BODY, 1)));
    assert_eq!(given(&table, "/").await.unwrap(), (body(MAX_BODY, 1), true));
}

#[tokio::test]
async fn where_there_is_no_disk_memory_does() {
    let table = table(vec![arm(1, 100)], &Table::first(Path::new("/nowhere/at/all")));
    assert!(kept(&table).cache.disk.is_none());
    put(&table, 0, "max-age=60", Instant::now());
    assert!(is_usable(&look(&table, 0, &HeaderMap::new(), Instant::now())));
}

#[test]
fn a_file_that_nobody_can_find_is_all_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let table = table(vec![arm(1, 100)], &Table::first(dir.path()));
    assert!(pass(&table, "/", &body(MAX_BODY, 0)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
