use super::*;
use crate::{
    Command,
    testing::{Bench, apply, deploy, key, spec},
};
use model::Bytes;

/// `shop` runs, with a cache.
fn caching() -> Bench {
    let mut b = Bench::new();
    let mut shop = spec("shop");
    shop.traffic.cache = Some(Bytes::mib(8));
    b.command(apply([("shop", shop)])).unwrap();
    b.command(deploy("shop", "v1")).unwrap();
    b.settle();
    b.all_ready();
    b.settle();
    b
}

fn purge(path: Option<&str>) -> Command {
    Command::PurgeCache { service: key("shop"), path: path.map(str::to_owned) }
}

/// The purges that the table carries, as `path@generation`.
fn carried(b: &Bench) -> Vec<String> {
    let purges = &b.state.routes.services[&key("shop")].purges;
    purges.iter().map(|p| format!("{}@{}", p.path.as_deref().unwrap_or("*"), p.generation)).collect()
}

#[test]
fn a_purge_makes_a_table_of_its_own_and_changes_nothing_else_in_it() {
    let mut b = caching();
    let before = b.state.routes.clone();
    let entries = b.command(purge(Some("/img/"))).unwrap();
    let [entry] = entries.as_slice() else { panic!("one fact: {entries:?}") };
    assert_eq!(entry.what.sentence(), "purged the cache of shop at /img and below");
    assert_eq!((entry.stream.as_str(), entry.at.as_deref()), ("service/shop", Some("shop")));
    assert_eq!((&*entry.actor.name, entry.why.as_deref()), ("ann", Some("a reason")));
    let after = &b.state.routes;
    assert_eq!(after.generation, entry.seq.0 + 1);
    assert_eq!(carried(&b), [format!("/img@{}", after.generation)]);
    let mut shop = (*after.services[&key("shop")]).clone();
    shop.purges.clear();
    assert_eq!(shop, *before.services[&key("shop")]);
}

#[test]
fn a_purge_replaces_those_that_it_covers() {
    let mut b = caching();
    for path in [Some("/a"), Some("/a/b"), Some("/c")] {
        b.command(purge(path)).unwrap();
    }
    assert_eq!(carried(&b).len(), 3);
    b.command(purge(Some("/a"))).unwrap();
    let generation = b.state.routes.generation;
    assert_eq!(carried(&b), [format!("/c@{}", generation - 1), format!("/a@{generation}")]);
    // The whole path is everything.
    b.command(purge(Some("/"))).unwrap();
    assert_eq!(carried(&b), [format!("*@{}", generation + 1)]);
}

#[test]
fn of_too_many_the_oldest_become_one_of_everything_and_it_is_said() {
    let mut b = caching();
    for n in 0..KEPT {
        let said = b.command(purge(Some(&format!("/{n}")))).unwrap()[0].what.sentence();
        assert_eq!(said, format!("purged the cache of shop at /{n} and below"));
    }
    let first = b.state.routes.generation - KEPT as u64 + 1;
    for n in 0..3 {
        let said = b.command(purge(Some(&format!("/more/{n}")))).unwrap()[0].what.sentence();
        assert_eq!(
            said,
            format!("purged the cache of shop at /more/{n} and below, and of all that is older than 32 purges")
        );
        assert_eq!(carried(&b).len(), KEPT);
        assert_eq!(carried(&b)[..2], [format!("*@{}", first + n + 1), format!("/{}@{}", n + 2, first + n + 2)]);
    }
}

#[test]
fn what_cannot_be_purged_is_refused() {
    let mut b = caching();
    b.command(apply([("plain", spec("plain"))])).unwrap();
    let at = |path: &str| purge(Some(path));
    let of = |service| Command::PurgeCache { service: key(service), path: None };
    assert_eq!(
        b.refusal(of("plain")),
        "Invalid: plain has no cache; `cache = \"64 MiB\"` under its `traffic` would give it one"
    );
    assert!(b.refusal(of("shup")).starts_with("UnknownService: there is no service shup"));
    for path in ["", "img", "/a b", "/a?b", "/a#b", "/a\n", "/\u{e4}"] {
        assert!(b.refusal(at(path)).contains("is not a path to purge; begin with `/`"), "{path:?}");
    }
    assert!(b.refusal(at(&format!("/{}", "x".repeat(MAX_PATH)))).ends_with("at most 512 bytes; purge one above it"));
    let mut request = b.request(purge(None));
    request.reason = " ".to_owned();
    assert_eq!(b.ask(request).unwrap_err().code, Code::ReasonRequired);
    let mut request = b.request(purge(None));
    request.actor = model::Actor::person("eve");
    assert_eq!(b.ask(request).unwrap_err().code, Code::Denied);
    assert!(carried(&b).is_empty());
}

#[test]
fn a_state_of_before_is_read_as_one_without_purges() {
    let b = caching();
    let text = serde_json::to_string(&b.state).unwrap();
    assert!(!text.contains("purges"));
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), b.state);
}
