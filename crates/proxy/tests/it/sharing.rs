//! How requests are shared between releases and their instances.

use crate::{
    rig::{Rig, canary, full, running, service},
    upstream::{good, nobody, rude},
};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use model::{Arm, Balance, ChangeId, Concurrency, Guard, Judgement, Rate, Ratio, RouteMatch, Span, Sticky};
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn requests_are_shared_by_weight() {
    let mut rig = Rig::start().await;
    rig.serve(vec![canary(20, &[good("one").await], &[good("two").await], None)]).await;
    let n = 2_000;
    let mut canaries = 0;
    for _ in 0..n {
        canaries += u32::from(rig.get("/").await.1 == "two");
    }
    let deviation = (f64::from(n) * 0.2 * 0.8).sqrt();
    assert!((f64::from(canaries) - f64::from(n) * 0.2).abs() < 4.0 * deviation, "{canaries} of {n}");
    rig.tally(2, |tally| tally.answered == u64::from(canaries)).await;
}

#[tokio::test]
async fn instances_of_a_release_share_its_requests() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("a").await, good("b").await, good("c").await])])]).await;
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..300 {
        *seen.entry(rig.get("/").await.1).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.values().all(|n| *n > 50), "{seen:?}");
}

#[tokio::test]
async fn a_user_given_a_cookie_stays_where_it_leads() {
    let mut rig = Rig::start().await;
    let (one, two) = (good("one").await, good("two").await);
    let sticky = |percent| {
        let guard = Guard { change: ChangeId(1), judgement: Judgement::default(), baseline: None };
        let mut service = canary(percent, &[one], &[two], Some(guard));
        service.traffic.sticky = Some(Sticky::Cookie("qd_user".into()));
        service
    };
    rig.serve(vec![sticky(30)]).await;
    let mut users = Vec::new();
    for _ in 0..60 {
        let response = rig.open(Request::get("/"), Empty::new().map_err(|never| match never {}).boxed()).await;
        let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        users.push((cookie, crate::rig::whole(response).await.1));
    }
    assert!(users.iter().any(|(_, release)| release == "two") && users.iter().any(|(_, release)| release == "one"));
    for (cookie, release) in &users {
        assert_eq!(&rig.send(Request::get("/").header("cookie", cookie)).await.1, release);
    }
    rig.serve(vec![sticky(60)]).await;
    let mut moved = 0;
    for (cookie, release) in &users {
        let now = rig.send(Request::get("/").header("cookie", cookie)).await.1;
        assert!(release == "one" || now == "two", "a user of the canary was moved back");
        moved += u32::from(*release != now);
    }
    assert!(moved > 0);
}

#[tokio::test]
async fn the_most_specific_route_gets_the_request() {
    let mut rig = Rig::start().await;
    let mut services = Vec::new();
    for (name, host, path) in [("any", None, "/"), ("api", None, "/api"), ("admin", Some("admin.test"), "/")] {
        let mut one = service(vec![Arm { weight: Ratio::ONE, ..running(&[good(name).await]) }]);
        one.service = name.parse().unwrap();
        one.routes = vec![RouteMatch::prefix(host, path)];
        services.push(one);
    }
    rig.serve(services).await;
    for (host, path, expected) in
        [("x", "/apis", "any"), ("x", "/api/1", "api"), ("ADMIN.test:80", "/api/1", "admin"), ("x", "/", "any")]
    {
        assert_eq!(rig.send(Request::get(path).header("host", host)).await.1, expected, "{host}{path}");
    }
}

#[tokio::test]
async fn an_instance_that_breaks_one_request_after_the_other_is_left_out_for_a_while() {
    let mut rig = Rig::start().await;
    let bad = rude(|stream, _| async move { drop(stream) }).await;
    rig.serve(vec![service(vec![running(&[good("a").await, bad, good("b").await])])]).await;
    // A POST is not tried again: its client sees what became of it.
    let mut broken = 0;
    for _ in 0..100 {
        let response = rig.open(Request::post("/"), full("x")).await;
        broken += u32::from(response.status() == 502);
    }
    assert!((5..15).contains(&broken), "{broken} of 100 were sent to it");
}

#[tokio::test]
async fn instances_that_all_break_requests_are_asked_all_the_same() {
    let mut rig = Rig::start().await;
    let bad = || rude(|stream, _| async move { drop(stream) });
    rig.serve(vec![service(vec![running(&[bad().await, good("a").await, bad().await])])]).await;
    let mut answered = 0;
    for _ in 0..100 {
        let response = rig.open(Request::post("/"), full("x")).await;
        answered += u32::from(response.status() == 200);
    }
    // Only one of three is well: it is not given what all three were to carry.
    assert!((10..70).contains(&answered), "{answered} of 100 were answered");
}

#[tokio::test]
async fn a_client_that_has_sent_what_it_may_is_told_to_wait_and_tables_do_not_forget_it() {
    let mut rig = Rig::start().await;
    let instance = good("one").await;
    let limited = |rate: &str| {
        let mut service = service(vec![running(&[instance])]);
        service.traffic.client_rate = Rate::parse(rate);
        service
    };
    rig.serve(vec![limited("3/h")]).await;
    for _ in 0..3 {
        assert_eq!(rig.get("/").await.0, 200);
    }
    rig.serve(vec![limited("3/h")]).await;
    let answer = rig.raw(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 1200"), "{answer}");
    let response = rig.open(Request::post("/"), full("x")).await;
    assert_eq!(response.status(), 429);
    let report = rig.control.until("both counted", |report| report.limited == 2).await;
    assert_eq!(report.releases[0].tally.total(), 3);
    rig.serve(vec![limited("100/s")]).await;
    assert_eq!(rig.get("/").await.0, 200);
}

#[tokio::test]
async fn a_service_that_has_as_much_to_do_as_it_may_says_so_at_once() {
    let mut rig = Rig::start().await;
    let mut shop = service(vec![running(&[good("one").await])]);
    shop.traffic.concurrency = Some(Concurrency::Fixed(10));
    rig.serve(vec![shop.clone()]).await;
    let mut hanging = Vec::new();
    for _ in 0..9 {
        let mut stream = rig.connect().await;
        stream.write_all(b"GET /hang HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
        hanging.push(stream);
    }
    rig.control.until("nine under way", |report| report.instances.iter().any(|i| i.in_flight == 9)).await;
    let ask = async |priority: &str| rig.send(Request::get("/").header("priority", priority)).await.0;
    assert_eq!((ask("u=3").await, ask("u=0").await), (503, 200), "one more place is kept for what matters most");
    let refused = rig.open(Request::post("/echo"), full("x")).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    // A table that changes something else forgets nobody who is there.
    shop.traffic.idle_timeout = Span::seconds(100);
    rig.serve(vec![shop]).await;
    assert_eq!(rig.get("/").await.0, 503);
    drop(hanging);
    rig.control.until("none under way", |report| report.instances.iter().all(|i| i.in_flight == 0)).await;
    assert_eq!(rig.get("/").await.0, 200);
    rig.control.until("it is counted", |report| report.shed == 3).await;
}

#[tokio::test]
async fn a_user_stays_with_an_instance_as_long_as_it_is_there() {
    let mut rig = Rig::start().await;
    let instances = [good("a").await, good("b").await, good("c").await];
    let mut shop = service(vec![running(&instances)]);
    shop.traffic.balance = Balance::Hash(Sticky::Header("x-user".into()));
    rig.serve(vec![shop.clone()]).await;
    let homes = async |rig: &Rig| {
        let mut homes = Vec::new();
        for user in 0..30 {
            let request = || Request::get("/name").header("x-user", user.to_string());
            let home = rig.send(request()).await.1;
            assert_eq!(rig.send(request()).await.1, home);
            homes.push(home);
        }
        homes
    };
    let before = homes(&rig).await;
    assert!(["a", "b", "c"].iter().all(|name| before.iter().filter(|home| *home == name).count() > 2), "{before:?}");
    shop.arms[0].endpoints.remove(1);
    rig.serve(vec![shop]).await;
    for (before, after) in before.iter().zip(homes(&rig).await) {
        assert!(*before == after || before == "b", "{before} went to {after}");
    }
}

#[tokio::test]
async fn few_requests_are_tried_again() {
    let mut rig = Rig::start().await;
    let nobody = nobody().await;
    let shop = service(vec![running(&[nobody, nobody, nobody])]);
    rig.serve(vec![shop]).await;
    for _ in 0..100 {
        assert_eq!(rig.get("/").await.0, 502);
    }
    let tally = rig.tally(1, |tally| tally.refused == 100).await;
    assert!((20..=31).contains(&tally.retried), "one in five and ten: {}", tally.retried);
}
