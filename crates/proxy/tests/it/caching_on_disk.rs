//! Responses that are kept on disk for others who ask for the same.

use crate::{
    caching::{futures, got, open},
    rig::{Rig, running, service, soon, whole},
    upstream::{Kitchen, kitchen, nobody},
};
use http::Request;
use http_body_util::BodyExt as _;
use model::{Bytes, Purge, ServiceRoutes};
use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    path::PathBuf,
};

/// More than is kept in memory.
const LARGE: usize = 3_000_000;

/// Kept in 1 MiB of memory and on 64 MiB of disk.
fn caching(mut service: ServiceRoutes) -> ServiceRoutes {
    service.traffic.cache = Some(Bytes::mib(1));
    service.traffic.cache_disk = Some(Bytes::mib(64));
    service
}

async fn before(kitchen: &Kitchen) -> Rig {
    let mut rig = Rig::start().await;
    rig.serve(vec![caching(service(vec![running(&[kitchen.address])]))]).await;
    rig
}

/// A kitchen with something large.
async fn larder() -> Kitchen {
    let kitchen = kitchen("dish").await;
    kitchen.serves(&[("cache-control", "max-age=600"), ("etag", "\"1\""), ("content-type", "text/plain")]);
    kitchen.fills(LARGE);
    kitchen
}

/// Asks until it is answered from disk: what has just passed is still being written. Gives the body.
async fn until_on_disk(rig: &Rig, path: &str) -> String {
    soon("an answer from disk", async {
        loop {
            let (status, said, body) = got(rig, path).await;
            assert_eq!(status, 200);
            if said.ends_with("; detail=disk") {
                return body;
            }
        }
    })
    .await
}

#[tokio::test]
async fn something_large_is_given_from_disk() {
    let kitchen = larder().await;
    let mut rig = before(&kitchen).await;
    let (_, said, first) = got(&rig, "/film").await;
    assert_eq!((said.as_str(), first.len()), ("quarterdeck; fwd=miss", LARGE + 6));
    let body = until_on_disk(&rig, "/film").await;
    assert_eq!(body.len(), LARGE + 6);
    let asked = kitchen.asked();
    let head = open(&rig, Request::head("/film")).await;
    assert_eq!(head.headers()["content-length"], (LARGE + 6).to_string());
    assert_eq!(whole(head).await, (200, String::new()));
    let known = open(&rig, Request::get("/film").header("if-none-match", "\"1\"")).await;
    assert_eq!(whole(known).await, (304, String::new()));
    assert_eq!(got(&rig, "/film").await.2, body);
    let scene = open(&rig, Request::get("/film").header("range", "bytes=1000000-1999999")).await;
    assert_eq!(scene.headers()["content-range"], format!("bytes 1000000-1999999/{}", LARGE + 6));
    assert_eq!(whole(scene).await, (206, body[1_000_000..2_000_000].into()));
    assert_eq!(kitchen.asked(), asked);
    let report = rig.control.until("all are counted", |report| report.cached >= 5).await;
    let used = &report.caches[0];
    assert!(used.disk.0 >= LARGE as u64 && (1..100_000).contains(&used.memory.0), "{used:?}");
}

#[tokio::test]
async fn many_who_want_something_large_at_once_wait_until_it_can_be_read() {
    let kitchen = larder().await;
    let rig = before(&kitchen).await;
    let hold = kitchen.hold();
    let all = futures(20, || got(&rig, "/film"));
    let (answers, ()) = soon("all answers", async { tokio::join!(all, kitchen.until_asked(1, hold)) }).await;
    assert!(answers.iter().all(|(status, _, body)| *status == 200 && body.len() == LARGE + 6));
    assert_eq!(kitchen.asked(), 1);
}

#[tokio::test]
async fn what_memory_has_no_room_for_is_not_asked_for_again() {
    let kitchen = larder().await;
    kitchen.fills(200_000);
    let rig = before(&kitchen).await;
    let mut first = Vec::new();
    for n in 0..12 {
        first.push(got(&rig, &format!("/{n}")).await.2);
    }
    assert_eq!(until_on_disk(&rig, "/0").await, first[0]);
    for (n, body) in first.iter().enumerate() {
        assert_eq!(got(&rig, &format!("/{n}")).await.2, *body, "{n}");
    }
    assert_eq!(kitchen.asked(), 12);
}

#[tokio::test]
async fn what_is_on_disk_is_compressed_for_those_who_take_it() {
    let kitchen = larder().await;
    let mut rig = Rig::start().await;
    let mut shop = caching(service(vec![running(&[kitchen.address])]));
    shop.traffic.compress = true;
    rig.serve(vec![shop]).await;
    let plain = until_on_disk(&rig, "/").await;
    let response = open(&rig, Request::get("/").header("accept-encoding", "gzip")).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = soon("the body", response.into_body().collect()).await.unwrap().to_bytes();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert!(text == plain && body.len() < 20_000);
}

#[tokio::test]
async fn what_is_on_disk_is_purged_and_holds_again_and_helps_in_need() {
    let kitchen = larder().await;
    kitchen.serves(&[("cache-control", "max-age=0, stale-if-error=600"), ("etag", "\"1\"")]);
    let mut rig = before(&kitchen).await;
    let first = got(&rig, "/").await.2;
    kitchen.knows("\"1\"", &[("cache-control", "max-age=0, stale-if-error=600")]);
    soon("that it holds", async { while !got(&rig, "/").await.1.ends_with("fwd-status=304") {} }).await;
    let shop = |address, purges| ServiceRoutes { purges, ..caching(service(vec![running(&[address])])) };
    let gone = nobody().await;
    rig.serve(vec![shop(gone, vec![])]).await;
    let stale = got(&rig, "/").await;
    assert_eq!((stale.0, stale.1.as_str()), (200, "quarterdeck; fwd=stale; detail=unreachable"));
    assert_eq!(stale.2.len(), first.len());
    rig.serve(vec![shop(gone, vec![Purge { generation: 3, path: None }])]).await;
    assert_eq!(got(&rig, "/").await.0, 502);
}

#[tokio::test]
async fn clients_who_read_slowly_or_go_away_leave_what_is_on_disk_to_others() {
    let kitchen = larder().await;
    let rig = before(&kitchen).await;
    let body = until_on_disk(&rig, "/").await;
    let asked = kitchen.asked();
    for n in 0..10 {
        let mut response = open(&rig, Request::get("/")).await;
        for _ in 0..n {
            soon("a piece", response.body_mut().frame()).await.unwrap().unwrap();
        }
    }
    assert_eq!(got(&rig, "/").await.2, body);
    assert_eq!(kitchen.asked(), asked);
}

/// The file that the proxy has open without a name.
fn nameless(rig: &Rig) -> File {
    let dir = rig.dir.path().to_str().unwrap();
    let is_it = |path: &PathBuf| {
        let target = fs::read_link(path).unwrap_or_default();
        target.to_str().is_some_and(|name| name.starts_with(dir) && name.ends_with(" (deleted)"))
    };
    let mut open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    OpenOptions::new().write(true).open(open.find(is_it).unwrap()).unwrap()
}

#[tokio::test]
async fn what_the_disk_has_lost_is_asked_for_anew() {
    let kitchen = larder().await;
    let rig = before(&kitchen).await;
    let body = until_on_disk(&rig, "/").await;
    let asked = kitchen.asked();
    nameless(&rig).set_len(0).unwrap();
    let (status, said, again) = got(&rig, "/").await;
    assert_eq!((status, said.as_str(), again.len()), (200, "quarterdeck; fwd=miss", body.len()));
    assert_eq!(kitchen.asked(), asked + 1);
    // It was forgotten, and is kept anew.
    assert_eq!(until_on_disk(&rig, "/").await.len(), body.len());
    // Of what is lost in the middle nothing more is made up.
    let file = nameless(&rig);
    file.set_len(file.metadata().unwrap().len() - 100_000).unwrap();
    let response = open(&rig, Request::get("/")).await;
    assert_eq!(response.status(), 200);
    assert!(soon("its end", response.into_body().collect()).await.is_err());
    assert_eq!(got(&rig, "/").await.1, "quarterdeck; fwd=miss");
}

#[tokio::test]
async fn nothing_is_left_in_the_directory() {
    let kitchen = larder().await;
    let rig = before(&kitchen).await;
    until_on_disk(&rig, "/").await;
    assert!(nameless(&rig).metadata().unwrap().len() > LARGE as u64);
    let dir = rig.stop().await;
    let sizes = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() < 100_000);
}
