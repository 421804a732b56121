use super::*;
use crate::cache::{key::Era, policy::Moments};
use std::time::{Instant, SystemTime};

fn key(era: u64, target: &str) -> Key {
    Key { era: Era(era), place: Place::new("http", b"shop.test", target) }
}

fn entry(size: usize, vary: Option<&str>, request: &HeaderMap) -> Entry {
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", "max-age=60".parse().unwrap());
    if let Some(vary) = vary {
        headers.insert("vary", vary.parse().unwrap());
    }
    let now = Instant::now();
    let at = Moments { sent: now, received: now, wall: SystemTime::UNIX_EPOCH };
    Entry {
        status: StatusCode::OK,
        body: Stored::Memory(vec![0; size].into()),
        terms: Terms::of(request, StatusCode::OK, &headers, at).unwrap(),
        selection: Selection::of(&headers, request).unwrap(),
        headers,
        born: 0,
    }
}

fn put(store: &Store, key: Key, size: usize) -> Displaced {
    store.put(key, entry(size, None, &HeaderMap::new()).into())
}

fn has(store: &Store, key: &Key) -> bool {
    store.get(key, &HeaderMap::new()).is_some()
}

#[test]
fn it_never_takes_more_than_it_may_and_keeps_what_is_asked_for() {
    let store = Store::new(3 << 20);
    put(&store, key(0, "/loved"), 100_000);
    for n in 0..1_000 {
        assert!(has(&store, &key(0, "/loved")), "{n}");
        put(&store, key(0, &format!("/{n}")), 10_000 + n * 97 % 100_000);
        assert!(store.used() <= 3 << 20);
    }
    assert!(store.used() > 2 << 20, "{}", store.used());
    assert!(has(&store, &key(0, "/999")) && !has(&store, &key(0, "/0")));
}

#[test]
fn what_is_larger_than_all_of_it_drives_nothing_out() {
    let store = Store::new(1 << 20);
    put(&store, key(0, "/a"), 1_000);
    let displaced = put(&store, key(0, "/b"), 2 << 20);
    assert_eq!(displaced.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&key(0, "/b")]);
    assert!(has(&store, &key(0, "/a")) && !has(&store, &key(0, "/b")));
}

#[test]
fn nothing_goes_without_being_handed_on() {
    let store = Store::new(3 << 20);
    let mut displaced = 0;
    for n in 0..100 {
        displaced += put(&store, key(0, &format!("/{n}")), 100_000).len();
    }
    assert_eq!(displaced + (0..100).filter(|n| has(&store, &key(0, &format!("/{n}")))).count(), 100);
    assert!(displaced > 60);
}

#[test]
fn one_after_the_other_is_forgotten_until_none_is_left() {
    let store = Store::new(64 << 20);
    (0..100).for_each(|n| drop(put(&store, key(0, &format!("/{n}")), 1_000)));
    // Those that were just asked for are spared once.
    assert!((0..50).all(|n| has(&store, &key(0, &format!("/{n}")))));
    let forgotten = (0..200).take_while(|_| store.evict()).count();
    assert_eq!((forgotten, store.used()), (100, 0));
}

#[test]
fn the_same_request_has_one_response_and_others_have_their_own() {
    let store = Store::new(64 << 20);
    let speaking = |n: usize| HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, n.to_string().parse().unwrap())]);
    let stored = |n| store.get(&key(0, "/"), &speaking(n)).map(|entry| entry.body.len() as usize);
    for n in 0..VARIANTS {
        store.put(key(0, "/"), entry(n, Some("accept-language"), &speaking(n)).into());
    }
    assert!((0..VARIANTS).all(|n| stored(n) == Some(n)));
    let used = store.used();
    store.put(key(0, "/"), entry(3, Some("accept-language"), &speaking(3)).into());
    assert_eq!((store.used(), stored(3)), (used, Some(3)));
    // One more drives out the oldest.
    store.put(key(0, "/"), entry(99, Some("accept-language"), &speaking(99)).into());
    assert_eq!((stored(0), stored(1), stored(99)), (None, Some(1), Some(99)));
    store.remove(&key(0, "/"));
    assert_eq!((store.used(), stored(99)), (0, None));
}

#[test]
fn what_a_release_leaves_is_forgotten() {
    let store = Store::new(64 << 20);
    for n in 0..100 {
        put(&store, key(n % 2, &format!("/{n}")), 1_000);
    }
    let used = store.used();
    store.retain(|key, _| key.era == Era(1));
    assert!(!has(&store, &key(0, "/0")) && has(&store, &key(1, "/1")));
    assert!(store.used() * 2 <= used + 100);
}
