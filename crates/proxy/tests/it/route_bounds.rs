//! Routes with bounds of their own and with names: each claim by the short way, by hyper, and over HTTP/2.

use crate::{
    origins::{lines, log, told},
    rig::{Rig, full, running, service, soon, whole},
    upstream::good,
};
use http::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::{
    Bytes, Concurrency, ProxyReport, Rate, RouteBounds, RouteMatch, RouteTraffic, ServiceRoutes, Span, Tally, Then,
};
use proxy::{LogFormat, Settings};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

fn route(path: &str, name: &str, own: RouteBounds) -> RouteMatch {
    let name = Some(name).filter(|name| !name.is_empty()).map(|name| name.parse().unwrap());
    RouteMatch { name, own, ..RouteMatch::prefix(None, path) }
}

fn none() -> RouteBounds {
    RouteBounds::default()
}

/// A service with one instance, everything on it, and these routes besides.
async fn shop(routes: Vec<RouteMatch>) -> ServiceRoutes {
    let mut shop = service(vec![running(&[good("one").await])]);
    shop.routes.extend(routes);
    shop
}

/// What a request without a body is answered by the short way, and one with this body by hyper and over HTTP/2.
async fn three_ways(rig: &Rig, path: &str, body: &'static str) -> [(u16, String); 3] {
    let plain = rig.get(path).await;
    let carried = whole(rig.open(Request::post(path), full(body)).await).await;
    let io = TokioIo::new(rig.connect().await);
    let (mut sender, connection) = soon("HTTP/2", http2::handshake(TokioExecutor::new(), io)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://shop.test{path}")).body(full(body)).unwrap();
    let framed = whole(soon("a response", sender.send_request(request)).await.unwrap()).await;
    [plain, carried, framed]
}

/// What all three ways are answered.
async fn alike(rig: &Rig, path: &str, body: &'static str) -> (u16, String) {
    let [plain, carried, framed] = three_ways(rig, path, body).await;
    assert_eq!((&plain, &plain), (&carried, &framed));
    plain
}

/// A request that hangs until it is dropped.
async fn hanging(rig: &Rig) -> TcpStream {
    let mut stream = rig.connect().await;
    stream.write_all(b"GET /hang HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    stream
}

fn counted(report: &ProxyReport, name: &str) -> Option<RouteTraffic> {
    report.routes.iter().flatten().find(|traffic| traffic.route.as_str() == name).cloned()
}

#[tokio::test]
async fn an_instance_has_as_long_as_the_route_says() {
    let mut rig = Rig::start().await;
    let own = |ms| RouteBounds { response_timeout: Some(Span(ms)), ..none() };
    let mut shop = shop(vec![route("/hang", "slow", own(150))]).await;
    rig.serve(vec![shop.clone()]).await;
    let told = |text: &str| (504, format!("504 Gateway Timeout\n\n{text}\n"));
    assert_eq!(alike(&rig, "/hang", "x").await, told("shop did not answer on its route slow within 150 ms."));
    shop.routes[1].name = None;
    rig.serve(vec![shop.clone()]).await;
    assert_eq!(alike(&rig, "/hang", "x").await, told("shop did not answer on this route within 150 ms."));
    // What a route does not say is its service's, and so is the text.
    shop.routes[1] = route("/hang", "slow", none());
    shop.traffic.response_timeout = Span(100);
    rig.serve(vec![shop]).await;
    assert_eq!(alike(&rig, "/hang", "x").await, told("shop did not answer within 100 ms."));
}

#[tokio::test]
async fn a_silent_body_has_as_long_as_the_route_says() {
    let mut rig = Rig::start().await;
    let own = RouteBounds { idle_timeout: Some(Span(150)), ..none() };
    rig.serve(vec![shop(vec![route("/download", "", own)]).await]).await;
    for method in ["GET", "POST"] {
        let head = format!("{method} /download HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx");
        let head = if method == "GET" { head.replace("content-length: 1\r\n\r\nx", "\r\n") } else { head };
        let answer = rig.raw(head.as_bytes()).await;
        assert!(answer.contains("half of it") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    }
    rig.tally(1, |tally| tally.timeout == 2).await;
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_route_says() {
    let mut rig = Rig::start().await;
    let own = |bytes| RouteBounds { max_body: Some(Bytes(bytes)), ..none() };
    let mut shop = shop(vec![route("/echo", "upload", own(1 << 20)), route("/count", "small", own(3))]).await;
    shop.traffic.max_body = Bytes(5);
    rig.serve(vec![shop]).await;
    let [_, carried, framed] = three_ways(&rig, "/echo", "ten bytes.").await;
    assert_eq!((carried, framed), ((200, "ten bytes.".to_owned()), (200, "ten bytes.".to_owned())));
    let refused = |bytes: u32, on: &str| {
        let text = format!("The request body is larger than the {bytes} B that shop accepts{on}.");
        (413, format!("413 Payload Too Large\n\n{text}\n"))
    };
    let [plain, carried, framed] = three_ways(&rig, "/name", "ten bytes.").await;
    assert_eq!((plain.0, carried, framed), (200, refused(5, ""), refused(5, "")));
    let [_, carried, framed] = three_ways(&rig, "/count", "four").await;
    let on = " on its route small";
    assert_eq!((carried, framed), (refused(3, on), refused(3, on)));
    // Also where it is found out on the way.
    let chunked = "POST /count HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n";
    let answer = rig.raw(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains(on), "{answer}");
    let is_counted = |report: &ProxyReport| counted(report, "small").is_some_and(|t| t.too_large == 2);
    let report = rig.control.until("both counts", is_counted).await;
    assert_eq!(counted(&report, "small").unwrap().tally.cancelled, 1);
}

#[tokio::test]
async fn a_rate_of_a_route_is_an_account_of_its_own_that_tables_keep() {
    let mut rig = Rig::start().await;
    let rated = |rate: &str| RouteBounds { client_rate: Rate::parse(rate), ..none() };
    let mut shop = shop(vec![route("/login", "login", rated("3/h")), route("/search", "", rated("3/h"))]).await;
    shop.traffic.client_rate = Rate::parse("3/h");
    rig.serve(vec![shop.clone()]).await;
    // Each has its own: using one up takes nothing from the others.
    for (path, on) in [("/login", " on its route login"), ("/search", " on this route"), ("/other", "")] {
        assert_eq!(alike(&rig, path, "x").await, (200, "one".to_owned()));
        let refused = format!("You have sent as many requests as shop takes from one client{on}. Try again in ");
        for (status, text) in three_ways(&rig, path, "x").await {
            assert!(status == 429 && text.contains(&refused), "{status} {text}");
        }
    }
    // A table that changes something else, and moves the route, forgets nobody.
    shop.traffic.idle_timeout = Span::seconds(100);
    shop.routes[1].path = "/sign-in".to_owned();
    rig.serve(vec![shop.clone()]).await;
    assert_eq!(rig.get("/sign-in").await.0, 429);
    assert_eq!(rig.get("/search").await.0, 429);
    shop.routes[1].own = rated("4/h");
    rig.serve(vec![shop]).await;
    assert_eq!(rig.get("/sign-in").await.0, 200, "another rate begins anew");
    assert_eq!(rig.get("/other").await.0, 429);
    let is_counted = |report: &ProxyReport| counted(report, "login").is_some_and(|t| t.limited == 4);
    let report = rig.control.until("the counts", |report| is_counted(report) && report.limited == 12).await;
    assert_eq!(counted(&report, "login").unwrap().tally.answered, 4);
}

#[tokio::test]
async fn places_of_a_route_are_its_own() {
    let mut rig = Rig::start().await;
    let own = RouteBounds { concurrency: Some(Concurrency::Fixed(2)), ..none() };
    let mut shop = shop(vec![route("/hang", "export", own.clone()), route("/export", "export", own)]).await;
    shop.traffic.concurrency = Some(Concurrency::Fixed(2));
    rig.serve(vec![shop]).await;
    // Of two places one is for what matters most.
    let first = hanging(&rig).await;
    rig.control.until("one under way", |report| report.instances.iter().any(|i| i.in_flight == 1)).await;
    let text =
        "503 Service Unavailable\n\nshop has as much to do on its route export as it can. Try again in a moment.\n";
    assert_eq!(alike(&rig, "/export", "x").await, (503, text.to_owned()), "routes of one name share them");
    assert_eq!(alike(&rig, "/other", "x").await.0, 200, "its service has others");
    drop(first);
    rig.control.until("none under way", |report| report.instances.iter().all(|i| i.in_flight == 0)).await;
    assert_eq!(rig.get("/export").await.0, 200);
    rig.control.until("the counts", |report| counted(report, "export").is_some_and(|t| t.shed == 3)).await;
}

#[tokio::test]
async fn requests_are_counted_by_the_name_of_their_route_and_by_none_where_it_has_none() {
    let mut rig = Rig::start().await;
    let away = RouteMatch { then: Then::Redirect { to: "/".into(), status: 308 }, ..route("/old", "old", none()) };
    let mut shop =
        shop(vec![route("/fail", "", none()), route("/v1", "api", none()), route("/api", "api", none()), away]).await;
    shop.routes[1].own.max_body = Some(Bytes(9));
    rig.serve(vec![shop.clone()]).await;
    for path in ["/v1", "/api/fail", "/api", "/fail", "/name"] {
        alike(&rig, path, "x").await;
    }
    assert_eq!(alike(&rig, "/old/x", "x").await.0, 308);
    let is_whole = |report: &ProxyReport| counted(report, "old").is_some_and(|t| t.ours == 3);
    let report = rig.control.until("the counts", is_whole).await;
    let api = counted(&report, "api").unwrap();
    assert_eq!(api.tally, Tally { answered: 9, ..Tally::default() });
    assert_eq!(api.latencies.count(), 9);
    assert_eq!(counted(&report, "old").unwrap().tally, Tally::default());
    assert_eq!(report.routes.unwrap().len(), 2);
    assert_eq!(report.releases[0].tally, Tally { answered: 12, status_5xx: 3, ..Tally::default() });

    // Failures, too; and counts go on where they were when a name comes to another route.
    shop.routes[1].name = Some("api".parse().unwrap());
    shop.routes[2].own = shop.routes[1].own.clone();
    shop.routes[3].own = shop.routes[1].own.clone();
    rig.serve(vec![shop]).await;
    alike(&rig, "/fail", "x").await;
    let expected = Tally { answered: 9, status_5xx: 3, ..Tally::default() };
    rig.control.until("failures", |report| counted(report, "api").is_some_and(|t| t.tally == expected)).await;
}

#[tokio::test]
async fn the_access_log_has_the_name_of_the_route_and_the_bound_that_was_met() {
    let dir = tempfile::tempdir().unwrap();
    let terms = log(dir.path(), LogFormat::Json);
    let mut rig = told(&Settings { access_log: Some(terms.clone()), ..Settings::default() }).await;
    let own = RouteBounds { response_timeout: Some(Span(100)), client_rate: Rate::parse("1/h"), ..none() };
    let mut shop = shop(vec![route("/hang", "slow", own)]).await;
    shop.traffic.max_body = Bytes(3);
    rig.serve(vec![shop]).await;
    for path in ["/hang", "/hang", "/name"] {
        rig.get(path).await;
    }
    rig.open(Request::post("/count"), full("four")).await;
    let chunked = "POST /count HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n";
    rig.raw(chunked.as_bytes()).await;
    let written = lines(&terms.file, 5).await;
    let seen = written.iter().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let of = |name: &str| line.get(name).map_or_else(|| "-".to_owned(), |value| value.to_string().replace('"', ""));
        ["status", "outcome", "service", "route", "bound", "bound_by"].map(of).join(" ")
    });
    let expected = [
        "504 timeout shop slow response_timeout route",
        "429 ours shop slow client_rate route",
        "200 answered shop - - -",
        "413 ours shop - max_body service",
        "413 cancelled shop - max_body service",
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_route_is_held_to_its_rate_however_its_path_is_spelled() {
    let mut rig = Rig::start().await;
    let own = RouteBounds { client_rate: Some(Rate { requests: 1, per: Span::seconds(3_600) }), ..none() };
    rig.serve(vec![shop(vec![route("/log-in", "login", own)]).await]).await;
    assert_eq!(rig.get("/log-in").await.0, 200);
    for path in ["/log-in", "//log-in", "/%6cog-in", "/log%2Din//", "/%6C%6f%67%2d%69%6e/x?y"] {
        assert_eq!(alike(&rig, path, "").await.0, 429, "{path}");
    }
    // What could be taken for it by whoever resolves a path is nobody's.
    for path in ["/x/../log-in", "/./log-in", "/%2e%2e/log-in", "/x/..%2flog-in", "/x/..;/log-in"] {
        assert_eq!(alike(&rig, path, "").await.0, 400, "{path}");
    }
    // An instance is asked as the client has asked.
    let mut other = shop(vec![route("/head", "head", none())]).await;
    other.routes[0].path = "/none".into();
    rig.serve(vec![other]).await;
    assert_eq!(alike(&rig, "//%68ead", "").await.0, 200);
}
