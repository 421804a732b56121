//! Shadows: what is copied to them, what is compared, and that no request notices.

use crate::{
    rig::{Rig, full, running, service},
    upstream::{framed, good, kitchen, nobody, raw, rude},
};
use http::Request;
use model::{
    ChangeId, Copies, Endpoint, InstanceId, Protocol, ProxyReport, Ratio, ReleaseId, ServiceRoutes, Shadow, Span,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CHANGE: ChangeId = ChangeId(7);

/// The running release 1 with all requests, and release 2 with copies of all that may be copied.
fn shadowed(running_at: SocketAddr, shadow_at: SocketAddr) -> ServiceRoutes {
    let mut service = service(vec![running(&[running_at])]);
    let endpoints = vec![Endpoint { instance: InstanceId(20), address: shadow_at.into() }];
    let (change, release) = (CHANGE, ReleaseId(2));
    service.shadow = Some(Shadow { change, release, share: Ratio::ONE, warm_up: Span::ZERO, endpoints });
    service
}

fn copies(report: &ProxyReport) -> Copies {
    report.copies.iter().find(|(change, _)| *change == CHANGE).map(|(_, copies)| copies.clone()).unwrap_or_default()
}

/// The copies once they fit.
async fn until_copies(rig: &mut Rig, fits: impl Fn(&Copies) -> bool) -> Copies {
    copies(&rig.control.until("the expected copies", |report| fits(&copies(report))).await)
}

fn in_flight(report: &ProxyReport) -> u64 {
    report.instances.iter().find(|i| i.instance == InstanceId(20)).map_or(0, |i| i.in_flight)
}

/// An upstream that keeps the heads it was sent.
async fn listening() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let address = raw(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    kept.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
                    head.clear();
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
            }
        }
    })
    .await;
    (address, heads)
}

#[tokio::test]
async fn safe_requests_are_copied_and_answered_by_the_running_release_alone() {
    let mut rig = Rig::start().await;
    let (shadow, heads) = listening().await;
    rig.serve(vec![shadowed(good("one").await, shadow)]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::get("/shop?q=1").header("cookie", "a=1").header("traceparent", trace);
    assert_eq!(rig.send(request).await, (200, "one".to_owned()));
    assert_eq!(rig.send(Request::head("/shop")).await.0, 200);
    // What changes something would change it twice.
    for request in [Request::post("/echo"), Request::put("/echo"), Request::delete("/"), Request::options("/")] {
        let response = rig.open(request, full("")).await;
        assert!(response.status().is_success());
    }
    let response = rig.open(Request::get("/echo"), full("a body")).await;
    assert_eq!(response.status(), 200);
    let seen = until_copies(&mut rig, |copies| copies.compared() == 2).await;
    assert_eq!((seen.both_fine, seen.statuses_differ, seen.tally.answered, seen.latencies.count()), (2, 0, 2, 2));

    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads[0].starts_with("GET /shop?q=1 HTTP/1.1\r\n") && heads[1].starts_with("HEAD /shop "), "{heads:?}");
    for field in ["x-shadow: 1\r\n", "cookie: a=1\r\n", "host: shop.test\r\n", "x-forwarded-for: 127.0.0.1\r\n"] {
        assert!(heads[0].contains(field), "{field:?} in {}", heads[0]);
    }
    // In the same trace, as another span.
    assert!(heads[0].contains("traceparent: 00-0af7651916cd43dd8448eb211c80319c-"), "{}", heads[0]);
    assert!(!heads[0].contains("b7ad6b7169203331"), "{}", heads[0]);

    // Copies are no requests of a release.
    let report = rig.control.until("a report", |_| true).await;
    let releases: Vec<_> = report.releases.iter().map(|r| (r.release, r.tally.answered)).collect();
    assert_eq!(releases, [(ReleaseId(1), 7)]);
}

#[tokio::test]
async fn a_client_cannot_make_a_request_look_like_a_copy() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    for method in ["GET", "POST"] {
        let request = Request::builder().method(method).uri("/head").header("x-shadow", "1").header("x_shadow", "1");
        let (_, head) = rig.send(request).await;
        assert!(head.contains("x-forwarded-for") && !head.contains("shadow"), "{head}");
    }
}

#[tokio::test]
async fn pairs_are_compared_by_who_failed_and_how_they_were_answered() {
    let mut rig = Rig::start().await;
    let (one, two) = (kitchen("one").await, kitchen("two").await);
    rig.serve(vec![shadowed(one.address, two.address)]).await;
    for (given, copied) in [(200, 200), (200, 500), (200, 503), (500, 200), (500, 502), (200, 404), (404, 410)] {
        one.fails(given);
        two.fails(copied);
        let before = two.asked();
        assert_eq!(rig.get("/").await.0, given);
        two.until_asked(before + 1, kitchen("nobody waits").await.hold()).await;
    }
    let seen = until_copies(&mut rig, |copies| copies.compared() == 7).await;
    let Copies { both_fine, only_copy_failed, only_user_failed, both_failed, statuses_differ, .. } = seen;
    assert_eq!([both_fine, only_copy_failed, only_user_failed, both_failed, statuses_differ], [3, 2, 1, 1, 4]);
    assert_eq!((seen.tally.answered, seen.tally.status_5xx), (4, 3));
}

#[tokio::test]
async fn a_copy_that_is_refused_broken_or_late_has_failed_and_nobody_waits_for_it() {
    let mut rig = Rig::start().await;
    let one = good("one").await;
    let hangs = rude(|stream, _| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let breaks = rude(|_stream, _| async {}).await;
    let breaks_off = rude(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    });
    for (n, at) in [nobody().await, breaks, breaks_off.await, hangs].into_iter().enumerate() {
        let mut shadowed = shadowed(one, at);
        shadowed.traffic.response_timeout = Span(200);
        // Another change, so that it begins anew.
        rig.serve(vec![service(vec![running(&[one])])]).await;
        rig.serve(vec![shadowed]).await;
        assert_eq!(rig.get("/").await, (200, "one".to_owned()));
        let seen = until_copies(&mut rig, |copies| copies.compared() == 1).await;
        let tally = [seen.tally.refused, seen.tally.reset, seen.tally.timeout];
        assert_eq!((seen.only_copy_failed, tally), (1, [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]][n]), "{n}");
    }
}

#[tokio::test]
async fn no_more_copies_are_under_way_than_may_be_and_none_outlives_its_shadow() {
    let mut rig = Rig::start().await;
    let (one, two) = (good("one").await, kitchen("two").await);
    let hold = two.hold();
    rig.serve(vec![shadowed(one, two.address)]).await;
    for _ in 0..70 {
        assert_eq!(rig.get("/").await, (200, "one".to_owned()));
    }
    let seen = until_copies(&mut rig, |copies| copies.crowded_out == 6).await;
    assert_eq!((seen.compared(), seen.uncompared), (0, 0));
    rig.control.until("64 copies under way", |report| in_flight(report) == 64).await;

    // The instance leaves: nobody is interested any more, and it need not wait for them.
    rig.serve(vec![service(vec![running(&[one])])]).await;
    rig.control.until("no copy under way", |report| in_flight(report) == 0).await;
    drop(hold);

    // There is room again, and figures begin anew.
    rig.serve(vec![shadowed(one, two.address)]).await;
    assert_eq!(rig.get("/").await.0, 200);
    let seen = until_copies(&mut rig, |copies| copies.compared() == 1).await;
    assert_eq!((seen.both_fine, seen.crowded_out), (1, 0));
}

#[tokio::test]
async fn what_was_compared_is_kept_by_a_later_table_and_instances_that_warm_up_are_not_compared() {
    let mut rig = Rig::start().await;
    let (one, two) = (good("one").await, good("two").await);
    let mut cold = shadowed(one, two);
    cold.shadow.as_mut().unwrap().warm_up = Span::minutes(5);
    rig.serve(vec![cold]).await;
    rig.get("/").await;
    until_copies(&mut rig, |copies| copies.uncompared == 1 && copies.tally.answered == 1).await;
    rig.serve(vec![shadowed(one, two)]).await;
    rig.get("/").await;
    let seen = until_copies(&mut rig, |copies| copies.compared() == 1).await;
    assert_eq!((seen.uncompared, seen.tally.answered), (1, 2));
}

#[tokio::test]
async fn answers_are_read_to_the_end_and_connections_used_again_whatever_is_spoken_on_them() {
    let mut rig = Rig::start().await;
    let ((one, _), (two, connections)) = (framed("one").await, framed("two").await);
    let mut service = shadowed(one, two);
    service.traffic.protocol = Protocol::Http2;
    rig.serve(vec![service]).await;
    for _ in 0..20 {
        assert_eq!(rig.get("/head").await.0, 200);
    }
    until_copies(&mut rig, |copies| copies.both_fine == 20).await;
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn events_are_answered_when_they_have_begun_and_clients_that_leave_say_nothing() {
    let mut rig = Rig::start().await;
    let mut service = shadowed(good("one").await, good("two").await);
    service.traffic.response_timeout = Span(300);
    rig.serve(vec![service]).await;
    let response = rig.open(Request::get("/events"), full("")).await;
    assert_eq!(response.status(), 200);
    let seen = until_copies(&mut rig, |copies| copies.compared() == 1).await;
    assert_eq!(seen.both_fine, 1);
    let hanging = tokio::time::timeout(Duration::from_millis(50), rig.get("/hang"));
    assert!(hanging.await.is_err());
    let seen = until_copies(&mut rig, |copies| copies.uncompared == 1).await;
    assert_eq!((seen.compared(), seen.tally.timeout), (1, 1));
}
