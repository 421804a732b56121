//! Responses that are kept for others who ask for the same.

use crate::{
    rig::{Rig, canary, full, running, service, soon, whole},
    upstream::{Kitchen, kitchen, nobody, rude},
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use model::{Bytes, ChangeId, Guard, Judgement, ProxyReport, Purge, Rate, RouteMatch, ServiceRoutes};
use std::io::Read as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn caching(mut service: ServiceRoutes) -> ServiceRoutes {
    service.traffic.cache = Some(Bytes::mib(8));
    service
}

/// A proxy with a cache before one instance.
async fn before(kitchen: &Kitchen) -> Rig {
    let mut rig = Rig::start().await;
    rig.serve(vec![caching(service(vec![running(&[kitchen.address])]))]).await;
    rig
}

pub(crate) async fn open(rig: &Rig, request: http::request::Builder) -> Response<Incoming> {
    rig.open(request, Empty::new().map_err(|never| match never {}).boxed()).await
}

/// The status, `cache-status` and body of a response.
async fn asked(rig: &Rig, request: http::request::Builder) -> (u16, String, String) {
    let response = open(rig, request).await;
    let said = response.headers().get("cache-status").map_or("", |said| said.to_str().unwrap()).to_owned();
    let (status, body) = whole(response).await;
    (status, said, body)
}

pub(crate) async fn got(rig: &Rig, path: &str) -> (u16, String, String) {
    asked(rig, Request::get(path)).await
}

/// Whether an answer came from the cache.
fn is_hit(said: &str) -> bool {
    said.starts_with("quarterdeck; hit; ttl=")
}

#[tokio::test]
async fn what_an_instance_lets_be_kept_is_asked_for_once() {
    let kitchen = kitchen("fresh").await;
    kitchen.serves(&[("cache-control", "max-age=600"), ("x-of", "the dish")]);
    let mut rig = before(&kitchen).await;
    let first = got(&rig, "/soup?with=bread").await;
    assert_eq!(first, (200, "quarterdeck; fwd=miss".into(), "fresh 1".into()));
    let response = open(&rig, Request::get("/soup?with=bread")).await;
    assert!(is_hit(response.headers()["cache-status"].to_str().unwrap()));
    assert_eq!(response.headers()["x-of"], "the dish");
    assert_eq!(response.headers()["content-length"], "7");
    assert!(response.headers()["age"].to_str().unwrap().parse::<u64>().unwrap() < 600);
    assert_eq!(whole(response).await.1, "fresh 1");
    let head = open(&rig, Request::head("/soup?with=bread")).await;
    assert_eq!(
        (&head.headers()["content-length"], &head.headers()["x-of"]),
        (&"7".parse().unwrap(), &"the dish".parse().unwrap())
    );
    assert_eq!(whole(head).await, (200, String::new()));
    let other = got(&rig, "/soup?with=rice").await;
    assert_eq!(other, (200, "quarterdeck; fwd=miss".into(), "fresh 2".into()));
    assert_eq!(kitchen.asked(), 2);
    // What no instance has answered counts for no release.
    let report = rig.control.until("both are counted", |report| report.cached == 2).await;
    let tally = &report.releases[0].tally;
    assert_eq!((tally.answered, tally.total()), (2, 2));
    assert_eq!(report.releases[0].latencies.count(), 2);
    assert!(report.instances.iter().all(|instance| instance.in_flight == 0));
}

#[tokio::test]
async fn without_a_size_nothing_is_kept() {
    let kitchen = kitchen("fresh").await;
    kitchen.serves(&[("cache-control", "max-age=600")]);
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[kitchen.address])])]).await;
    for n in 1..4 {
        assert_eq!(got(&rig, "/").await, (200, String::new(), format!("fresh {n}")));
    }
}

#[tokio::test]
async fn what_is_for_one_client_is_given_to_no_other() {
    let kitchen = kitchen("mine").await;
    let rig = before(&kitchen).await;
    let sayings: &[&[(&str, &str)]] = &[
        &[("cache-control", "private, max-age=600")],
        &[("cache-control", "no-store, max-age=600")],
        &[("cache-control", "max-age=600"), ("set-cookie", "a=1")],
        &[("cache-control", "max-age=600"), ("vary", "*")],
        &[("cache-control", "max-age=600"), ("vary", "accept, x-forwarded-for")],
        &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
        &[("cache-control", "max-age=600"), ("expires", "0"), ("content-range", "bytes 0-6/9")],
    ];
    for (n, fields) in sayings.iter().enumerate() {
        kitchen.serves(fields);
        let path = format!("/{n}");
        let (first, second) = (got(&rig, &path).await, got(&rig, &path).await);
        assert_ne!(first.2, second.2, "{fields:?}");
        assert_eq!(second.1, "quarterdeck; fwd=miss", "{fields:?}");
    }
    // Nor what was sent to somebody who has said who they are, unless it is said to be for all.
    kitchen.serves(&[("cache-control", "max-age=600")]);
    let known = || Request::get("/known").header("authorization", "Bearer 1");
    assert_ne!(asked(&rig, known()).await.2, asked(&rig, known()).await.2);
    kitchen.serves(&[("cache-control", "public, max-age=600")]);
    assert_eq!(asked(&rig, known()).await.2, asked(&rig, known()).await.2);
}

#[tokio::test]
async fn what_an_instance_may_take_for_another_request_is_neither_kept_nor_answered_from_what_is() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600"), ("vary", "accept-language")]);
    let rig = before(&kitchen).await;
    let speaking = || Request::get("/").header("accept-language", "de");
    for (name, value) in [
        ("connection", "accept-language"),
        ("connection", "keep-alive, X-Anything"),
        ("x-http-method-override", "DELETE"),
        ("x_original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
    ] {
        let (_, said, _) = asked(&rig, speaking().header(name, value)).await;
        assert_eq!(said, "quarterdeck; fwd=bypass", "{name}: {value}");
    }
    assert_eq!(asked(&rig, speaking()).await, (200, "quarterdeck; fwd=miss".into(), "dish 6".into()));
    let (_, said, body) = asked(&rig, speaking().header("connection", "close, TE")).await;
    assert!(is_hit(&said) && body == "dish 6", "{said} {body}");
    assert_eq!(asked(&rig, speaking().header("x-http-method", "PUT")).await.2, "dish 7");
}

#[tokio::test]
async fn a_response_is_given_to_those_who_ask_as_its_client_did() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600"), ("vary", "Accept-Language")]);
    let rig = before(&kitchen).await;
    let speaking = |language| Request::get("/").header("accept-language", language);
    assert_eq!(asked(&rig, speaking("de")).await.2, "dish 1");
    assert_eq!(asked(&rig, speaking("fr")).await.2, "dish 2");
    assert_eq!(asked(&rig, speaking("de")).await.2, "dish 1");
    assert_eq!(asked(&rig, speaking("fr")).await.2, "dish 2");
    assert_eq!(got(&rig, "/").await.2, "dish 3");
    assert_eq!(asked(&rig, Request::get("/").header("host", "other.test")).await.2, "dish 4");
}

#[tokio::test]
async fn a_request_says_how_new_an_answer_must_be() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600"), ("age", "100")]);
    let rig = before(&kitchen).await;
    let saying = |said| Request::get("/").header("cache-control", said);
    assert_eq!(asked(&rig, saying("only-if-cached")).await.0, 504);
    assert_eq!(kitchen.asked(), 0);
    assert_eq!(asked(&rig, saying("no-store")).await.2, "dish 1");
    assert_eq!(asked(&rig, saying("no-store")).await.1, "quarterdeck; fwd=bypass");
    assert_eq!(got(&rig, "/").await.2, "dish 3");
    assert_eq!(asked(&rig, saying("only-if-cached, max-age=1000")).await.2, "dish 3");
    assert_eq!(asked(&rig, saying("max-age=99")).await.1, "quarterdeck; fwd=request");
    assert_eq!(asked(&rig, saying("min-fresh=550")).await.2, "dish 5");
    assert_eq!(asked(&rig, saying("no-cache")).await.2, "dish 6");
    assert_eq!(asked(&rig, Request::get("/").header("pragma", "no-cache")).await.2, "dish 6");
}

#[tokio::test]
async fn a_part_is_given_of_what_is_kept_as_a_whole() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600"), ("etag", "\"1\"")]);
    let rig = before(&kitchen).await;
    let wanting = |range| Request::get("/").header("range", range);
    assert_eq!(asked(&rig, wanting("bytes=0-1")).await.1, "quarterdeck; fwd=bypass");
    assert_eq!(got(&rig, "/").await.2, "dish 2");
    for (range, said, part) in
        [("bytes=0-3", "bytes 0-3/6", "dish"), ("bytes=-1", "bytes 5-5/6", "2"), ("bytes=2-", "bytes 2-5/6", "sh 2")]
    {
        let response = open(&rig, wanting(range)).await;
        assert!(is_hit(response.headers()["cache-status"].to_str().unwrap()));
        assert_eq!(response.headers()["content-range"], said);
        assert_eq!(response.headers()["content-length"], part.len().to_string());
        assert_eq!(whole(response).await, (206, part.into()), "{range}");
    }
    // Of something else they have a part of, and of what they have, they are told so.
    assert_eq!(asked(&rig, wanting("bytes=0-3").header("if-range", "\"0\"")).await.2, "dish 2");
    assert_eq!(asked(&rig, wanting("bytes=0-3").header("if-none-match", "\"1\"")).await.0, 304);
    assert_eq!(kitchen.asked(), 2);
    // What is not one part that there is, an instance answers.
    for range in ["bytes=0-0,2-2", "bytes=6-", "lines=1-2"] {
        assert_eq!(asked(&rig, wanting(range)).await.1, "quarterdeck; fwd=bypass", "{range}");
    }
    let head = Request::head("/").header("range", "bytes=0-3");
    assert_eq!(asked(&rig, head).await.1, "quarterdeck; fwd=bypass");
    assert_eq!(got(&rig, "/").await.2, "dish 2", "none of that is kept");
}

#[tokio::test]
async fn a_client_that_has_it_is_told_so_from_the_cache() {
    let kitchen = kitchen("dish").await;
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    kitchen.serves(&[("cache-control", "max-age=600"), ("etag", "\"1\""), ("last-modified", date)]);
    let rig = before(&kitchen).await;
    assert_eq!(got(&rig, "/").await.2, "dish 1");
    for (name, value) in [("if-none-match", "\"0\", W/\"1\""), ("if-none-match", "*"), ("if-modified-since", date)] {
        let response = open(&rig, Request::get("/").header(name, value)).await;
        assert_eq!(response.headers()["etag"], "\"1\"");
        assert!(!response.headers().contains_key("content-length"));
        assert_eq!(whole(response).await, (304, String::new()), "{name}: {value}");
    }
    let other = Request::get("/").header("if-none-match", "\"2\"").header("if-modified-since", date);
    assert_eq!(asked(&rig, other).await.2, "dish 1");
    assert_eq!(kitchen.asked(), 1);
}

#[tokio::test]
async fn what_is_stale_is_asked_about_and_holds_again() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=0"), ("etag", "\"1\""), ("x-day", "monday")]);
    let mut rig = before(&kitchen).await;
    assert_eq!(got(&rig, "/").await.2, "dish 1");
    // The instance is asked, instead of what the client says, whether that one still holds.
    kitchen.knows("\"1\"", &[("cache-control", "max-age=600"), ("x-day", "tuesday")]);
    let response = open(&rig, Request::get("/").header("if-none-match", "\"0\"")).await;
    assert_eq!(response.headers()["cache-status"], "quarterdeck; fwd=stale; fwd-status=304");
    assert_eq!(
        (&response.headers()["x-day"], &response.headers()["etag"]),
        (&"tuesday".parse().unwrap(), &"\"1\"".parse().unwrap())
    );
    assert_eq!(whole(response).await, (200, "dish 1".into()));
    let (_, said, body) = got(&rig, "/").await;
    assert!(is_hit(&said) && body == "dish 1", "{said} {body}");
    assert_eq!(kitchen.asked(), 2);
    // An instance has said so: that counts for its release.
    let report = rig.control.until("one is counted", |report| report.cached == 1).await;
    assert_eq!(report.releases[0].tally.answered, 2);
}

#[tokio::test]
async fn something_stale_is_given_while_one_asks_for_something_fresh() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=0, stale-while-revalidate=600")]);
    let mut rig = before(&kitchen).await;
    assert_eq!(got(&rig, "/").await.2, "dish 1");
    let hold = kitchen.hold();
    for _ in 0..3 {
        let (_, said, body) = got(&rig, "/").await;
        assert!(is_hit(&said) && body == "dish 1", "{said} {body}");
    }
    kitchen.serves(&[("cache-control", "max-age=600")]);
    drop(hold);
    rig.tally(1, |tally| tally.answered == 2).await;
    assert_eq!(got(&rig, "/").await.2, "dish 2");
    assert_eq!(kitchen.asked(), 2, "one of them has asked");
}

#[tokio::test]
async fn something_stale_is_given_when_the_instance_fails() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=0, stale-if-error=600")]);
    let mut rig = before(&kitchen).await;
    assert_eq!(got(&rig, "/").await.2, "dish 1");
    assert_eq!(got(&rig, "/").await.2, "dish 2");
    kitchen.fails(503);
    let stale = got(&rig, "/").await;
    assert_eq!(stale, (200, "quarterdeck; fwd=stale; fwd-status=503".into(), "dish 2".into()));
    // It has failed all the same.
    rig.tally(1, |tally| tally.status_5xx == 1 && tally.total() == 3).await;
    assert_eq!(got(&rig, "/other").await.0, 503);
    rig.serve(vec![caching(service(vec![running(&[nobody().await])]))]).await;
    let stale = got(&rig, "/").await;
    assert_eq!(stale, (200, "quarterdeck; fwd=stale; detail=unreachable".into(), "dish 2".into()));
    rig.tally(1, |tally| tally.refused == 1).await;
}

#[tokio::test]
async fn many_who_want_the_same_at_once_ask_for_it_once() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600")]);
    let mut rig = before(&kitchen).await;
    let hold = kitchen.hold();
    {
        let all = futures(20, || got(&rig, "/"));
        let (answers, ()) = soon("all answers", async { tokio::join!(all, kitchen.until_asked(1, hold)) }).await;
        assert!(answers.iter().all(|(status, _, body)| *status == 200 && body == "dish 1"), "{answers:?}");
        let waited = answers.iter().filter(|(_, said, _)| *said == "quarterdeck; fwd=miss; collapsed" || is_hit(said));
        assert_eq!(waited.count(), 19);
    }
    assert_eq!(kitchen.asked(), 1);
    let report = rig.control.until("all are counted", |report| report.cached == 19).await;
    assert_eq!(report.releases[0].tally.total(), 1);
}

#[tokio::test]
async fn many_who_want_what_cannot_be_kept_go_on_their_own() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "private")]);
    let rig = before(&kitchen).await;
    let hold = kitchen.hold();
    let all = futures(20, || got(&rig, "/"));
    let (answers, ()) = soon("all answers", async { tokio::join!(all, kitchen.until_asked(1, hold)) }).await;
    assert!(answers.iter().all(|(status, said, _)| *status == 200 && said == "quarterdeck; fwd=miss"), "{answers:?}");
    assert_eq!(kitchen.asked(), 20);
    // The place is known: nobody waits there any more.
    let hold = kitchen.hold();
    let all = futures(20, || got(&rig, "/"));
    let (answers, ()) = soon("all answers", async { tokio::join!(all, kitchen.until_asked(40, hold)) }).await;
    assert_eq!(answers.len(), 20);
}

#[tokio::test]
async fn somebody_who_says_who_they_are_makes_nobody_else_go_alone() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600")]);
    let rig = before(&kitchen).await;
    for _ in 0..2 {
        assert_eq!(asked(&rig, Request::get("/").header("authorization", "Bearer 1")).await.1, "quarterdeck; fwd=miss");
    }
    let hold = kitchen.hold();
    let all = futures(20, || got(&rig, "/"));
    let (answers, ()) = soon("all answers", async { tokio::join!(all, kitchen.until_asked(3, hold)) }).await;
    assert!(answers.iter().all(|(status, _, body)| *status == 200 && body == "dish 3"), "{answers:?}");
    assert_eq!(kitchen.asked(), 3);
}

#[tokio::test]
async fn a_release_is_never_answered_for_by_another() {
    let (old, new) = (kitchen("old").await, kitchen("new").await);
    for kitchen in [&old, &new] {
        kitchen.serves(&[("cache-control", "max-age=600")]);
    }
    let mut rig = Rig::start().await;
    let both = |percent| caching(canary(percent, &[old.address], &[new.address], None));
    rig.serve(vec![both(50)]).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        seen.insert(got(&rig, "/").await.2);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["new 1", "old 1"]);
    let report = rig.control.until("all are counted", |report| report.cached == 38).await;
    assert!(report.releases.iter().all(|release| release.tally.total() == 1));
    rig.serve(vec![both(0)]).await;
    assert_eq!(got(&rig, "/").await.2, "old 1");
    rig.serve(vec![both(100)]).await;
    assert_eq!(got(&rig, "/").await.2, "new 1");
    // What has left comes back with nothing.
    rig.serve(vec![caching(service(vec![running(&[old.address])]))]).await;
    assert_eq!(got(&rig, "/").await.2, "old 1");
    rig.serve(vec![both(100)]).await;
    assert_eq!(got(&rig, "/").await.2, "new 2");
}

#[tokio::test]
async fn while_a_canary_is_judged_both_releases_are_asked_or_neither() {
    let (old, new) = (kitchen("old").await, kitchen("new").await);
    old.serves(&[("cache-control", "max-age=600")]);
    new.serves(&[("cache-control", "private")]);
    let guard = Some(Guard { change: ChangeId(7), judgement: Judgement::default(), baseline: None });
    let mut rig = Rig::start().await;
    rig.serve(vec![caching(canary(50, &[old.address], &[new.address], guard))]).await;
    let report = rig.control.until("the guard", |report| report.evidence.len() == 1).await;
    let units = |report: &ProxyReport| {
        let evidence = &report.evidence[0].1;
        evidence.running.units + evidence.canary.units
    };
    assert_eq!(units(&report), 0);
    // One has what the other has not: as long as that is so, all requests are evidence.
    for _ in 0..30 {
        got(&rig, "/").await;
    }
    assert_eq!(old.asked() + new.asked(), 30);
    rig.control.until("thirty units", |report| units(report) == 30 && report.cached == 0).await;
    // Both have it: none is.
    new.serves(&[("cache-control", "max-age=600")]);
    let mut last = 0;
    while last != old.asked() + new.asked() {
        last = old.asked() + new.asked();
        for _ in 0..20 {
            got(&rig, "/").await;
        }
    }
    let report = rig.control.until("the rest from the cache", |report| report.cached >= 20).await;
    let asked = (old.asked() + new.asked()) as u64;
    assert_eq!(report.releases.iter().map(|release| release.tally.answered).sum::<u64>(), asked);
    rig.control.until("as many units", |report| units(report) == asked).await;
}

#[tokio::test]
async fn another_size_begins_anew() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600")]);
    let mut rig = before(&kitchen).await;
    let sized = |mib| {
        let mut shop = service(vec![running(&[kitchen.address])]);
        shop.traffic.cache = Some(Bytes::mib(mib));
        shop
    };
    assert_eq!(got(&rig, "/").await.2, "dish 1");
    rig.serve(vec![sized(8)]).await;
    assert_eq!(got(&rig, "/").await.2, "dish 1");
    rig.serve(vec![sized(9)]).await;
    assert_eq!(got(&rig, "/").await.2, "dish 2");
}

#[tokio::test]
async fn a_change_is_seen_by_the_next_reader() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600")]);
    let rig = before(&kitchen).await;
    let change = |method| {
        let request = Request::builder().method(method).uri("/a");
        async { whole(rig.open(request, full("change")).await).await.0 }
    };
    for (n, method) in ["POST", "PUT", "DELETE", "PATCH"].into_iter().enumerate() {
        let before = got(&rig, "/a").await.2;
        assert_eq!(got(&rig, "/a").await.2, before);
        kitchen.fails(500);
        assert_eq!(change(method).await, 500);
        assert_eq!(got(&rig, "/a").await.2, before, "{n}: one that failed has changed nothing");
        kitchen.fails(200);
        assert_eq!(change(method).await, 200);
        assert_ne!(got(&rig, "/a").await.2, before, "{method}");
    }
}

#[tokio::test]
async fn half_a_response_is_not_kept() {
    let instance = rude(|mut stream, connections| async move {
        let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\n";
        let rest = match connections {
            1 => "content-length: 10\r\n\r\nhalf ",
            // Its end cannot be told from being cut off.
            2 => "\r\nwhat there is",
            _ => "content-length: 5\r\n\r\nwhole",
        };
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
    })
    .await;
    let mut rig = Rig::start().await;
    rig.serve(vec![caching(service(vec![running(&[instance])]))]).await;
    let response = open(&rig, Request::get("/")).await;
    assert!(soon("the end", response.into_body().collect()).await.is_err());
    assert_eq!(got(&rig, "/").await.2, "what there is");
    assert_eq!(got(&rig, "/").await, (200, "quarterdeck; fwd=miss".into(), "whole".into()));
    assert!(is_hit(&got(&rig, "/").await.1));
}

#[tokio::test]
async fn what_is_kept_is_compressed_for_those_who_take_it() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600"), ("content-type", "text/plain"), ("etag", "\"1\"")]);
    kitchen.fills(200_000);
    let mut rig = Rig::start().await;
    let mut shop = caching(service(vec![running(&[kitchen.address])]));
    shop.traffic.compress = true;
    rig.serve(vec![shop]).await;
    let plain = got(&rig, "/").await.2;
    assert!(plain.len() > 200_000);
    let response = open(&rig, Request::get("/").header("accept-encoding", "gzip")).await;
    assert!(is_hit(response.headers()["cache-status"].to_str().unwrap()));
    assert_eq!(
        (&response.headers()["content-encoding"], &response.headers()["etag"]),
        (&"gzip".parse().unwrap(), &"W/\"1\"".parse().unwrap())
    );
    let body = soon("the body", response.into_body().collect()).await.unwrap().to_bytes();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert!(text == plain && body.len() < 20_000);
    assert_eq!(kitchen.asked(), 1);
}

#[tokio::test]
async fn what_is_kept_stays_within_its_size() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600")]);
    kitchen.fills(300_000);
    let mut rig = Rig::start().await;
    let mut shop = service(vec![running(&[kitchen.address])]);
    shop.traffic.cache = Some(Bytes::mib(1));
    rig.serve(vec![shop]).await;
    for n in 0..6 {
        got(&rig, &format!("/{n}")).await;
    }
    let mut kept = 0;
    for n in (0..6).rev() {
        kept += u32::from(is_hit(&asked(&rig, Request::head(format!("/{n}"))).await.1));
    }
    assert_eq!(kept, 3, "of 300 kB each");
    // What is larger than a body may be is passed on.
    kitchen.fills(2_000_000);
    assert!(got(&rig, "/large").await.2.len() > 2_000_000);
    assert_eq!(got(&rig, "/large").await.1, "quarterdeck; fwd=miss");
}

/// With these purges.
fn purging(mut service: ServiceRoutes, purges: &[(u64, Option<&str>)]) -> ServiceRoutes {
    let purge =
        |(generation, path): &(u64, Option<&str>)| Purge { generation: *generation, path: path.map(str::to_owned) };
    service.purges = purges.iter().map(purge).collect();
    service
}

#[tokio::test]
async fn what_is_purged_is_asked_for_anew_and_nothing_else_is() {
    let (kitchen, bar) = (kitchen("dish").await, crate::upstream::kitchen("drink").await);
    for kitchen in [&kitchen, &bar] {
        kitchen.serves(&[("cache-control", "max-age=600, stale-if-error=600")]);
    }
    let mut rig = Rig::start().await;
    let shop = || {
        let mut shop = caching(service(vec![running(&[kitchen.address])]));
        shop.traffic.client_rate = Rate::parse("7/1h");
        shop
    };
    let bar = || {
        let routes = vec![RouteMatch::prefix(None, "/bar")];
        caching(ServiceRoutes { service: "bar".parse().unwrap(), routes, ..service(vec![running(&[bar.address])]) })
    };
    rig.serve(vec![shop(), bar()]).await;
    for (path, body) in [("/img/a", "dish 1"), ("/img/b?v=2", "dish 2"), ("/page", "dish 3"), ("/bar", "drink 1")] {
        assert_eq!(got(&rig, path).await.2, body);
    }
    rig.serve(vec![purging(shop(), &[(2, Some("/img"))]), bar()]).await;
    for (path, body) in [("/img/a", "dish 4"), ("/img/a", "dish 4"), ("/page", "dish 3"), ("/bar", "drink 1")] {
        assert_eq!(got(&rig, path).await.2, body);
    }
    // What is purged is gone, also where something stale would be given.
    rig.serve(vec![purging(shop(), &[(2, Some("/img")), (3, None)]), bar()]).await;
    kitchen.fails(503);
    assert_eq!(got(&rig, "/page").await.0, 503);
    assert_eq!(got(&rig, "/bar").await.2, "drink 1");
    // Nobody is forgotten who has sent their share.
    assert_eq!(got(&rig, "/page").await.0, 429);
    assert_eq!(kitchen.asked(), 5);
}

#[tokio::test]
async fn what_was_under_way_at_a_purge_is_given_to_nobody_else() {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600")]);
    let mut rig = before(&kitchen).await;
    let shop = || caching(service(vec![running(&[kitchen.address])]));
    let hold = kitchen.hold();
    let address = rig.address;
    let under_way = tokio::spawn(async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    soon("the question", kitchen.was_asked(1)).await;
    rig.serve(vec![purging(shop(), &[(2, None)])]).await;
    drop(hold);
    let text = soon("the answer", under_way).await.unwrap();
    assert!(text.ends_with("dish 1"), "{text}");
    assert_eq!(got(&rig, "/").await, (200, "quarterdeck; fwd=miss".into(), "dish 2".into()));
    assert!(is_hit(&got(&rig, "/").await.1));
}

pub(crate) async fn futures<F: Future>(n: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    let mut all: Vec<_> = (0..n).map(|_| Box::pin(make())).collect();
    let mut done: Vec<Option<F::Output>> = (0..n).map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in all.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(output) = future.as_mut().poll(cx) {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
