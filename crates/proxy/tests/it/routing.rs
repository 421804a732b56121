//! Routes that ask for more than a host and a path, and what becomes of requests besides being carried.

use crate::{
    rig::{Rig, full, running, service, whole},
    upstream::{good, recording},
};
use http::Request;
use model::{PathIs, RouteMatch, ServiceRoutes, Then};

fn route(path: &str, change: impl FnOnce(&mut RouteMatch)) -> RouteMatch {
    let mut route = RouteMatch::prefix(None, path);
    change(&mut route);
    assert_eq!(route.check(), Ok(()));
    route
}

async fn named(name: &'static str, routes: Vec<RouteMatch>) -> ServiceRoutes {
    ServiceRoutes { service: name.parse().unwrap(), routes, ..service(vec![running(&[good(name).await])]) }
}

/// The status and the `location` of what answers a request, by the short way and by hyper.
async fn sent_to(rig: &Rig, path: &str) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    for method in ["GET", "PUT"] {
        let response = rig.open(Request::builder().method(method).uri(path), full("")).await;
        let location = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        answers.push((response.status().as_u16(), location.unwrap_or_default()));
    }
    answers
}

#[tokio::test]
async fn methods_fields_and_patterns_choose_a_service() {
    let mut rig = Rig::start().await;
    let services = vec![
        named("all", vec![route("/", |_| {})]).await,
        named("writes", vec![route("/", |r| r.methods = vec!["PUT".into()])]).await,
        named("beta", vec![route("/", |r| r.headers = [("x-beta".into(), Some("1".into()))].into())]).await,
        named("numbers", vec![route("^/[0-9]+$", |r| r.path_is = PathIs::Pattern)]).await,
        named("one", vec![route("/one", |r| r.path_is = PathIs::Exact)]).await,
    ];
    rig.serve(services).await;
    let name = async |request: http::request::Builder| {
        let (status, text) = whole(rig.open(request, full("")).await).await;
        assert_eq!(status, 200, "{text}");
        text
    };
    assert_eq!(name(Request::get("/name")).await, "all");
    assert_eq!(name(Request::put("/name")).await, "writes");
    assert_eq!(name(Request::get("/name").header("x-beta", "1")).await, "beta");
    assert_eq!(name(Request::get("/name").header("x-beta", "2")).await, "all");
    assert_eq!(name(Request::get("/17?x")).await, "numbers");
    assert_eq!(name(Request::get("/17/x")).await, "all");
    assert_eq!(name(Request::get("/one")).await, "one");
    assert_eq!(name(Request::get("/one/two")).await, "all");
}

#[tokio::test]
async fn an_instance_sees_the_path_that_a_route_makes_of_it() {
    let mut rig = Rig::start().await;
    let to = |to: &str| Then::Rewrite(to.to_owned());
    let (instance, asked) = recording().await;
    let mut shop = service(vec![running(&[instance])]);
    shop.routes = vec![
        route("/api", |r| r.then = to("/")),
        route("^/v([0-9])/(.*)$", |r| (r.path_is, r.then) = (PathIs::Pattern, to("/$2/of/$1"))),
    ];
    rig.serve(vec![shop]).await;
    for method in ["GET", "PUT"] {
        for path in ["/api/x?y=1", "/api", "/v2/a?b=/c"] {
            let answer = rig.open(Request::builder().method(method).uri(path), full("")).await;
            assert_eq!(whole(answer).await.0, 200);
        }
    }
    let expected = ["GET /x?y=1 ", "GET / ", "GET /a/of/2?b=/c ", "PUT /x?y=1 ", "PUT / ", "PUT /a/of/2?b=/c "];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn clients_are_sent_elsewhere_without_asking_an_instance() {
    let mut rig = Rig::start().await;
    let to = |to: &str, status| Then::Redirect { to: to.to_owned(), status };
    let routes = vec![
        route("/old", |r| r.then = to("/new", 308)),
        route("/moved", |r| (r.path_is, r.then) = (PathIs::Exact, to("https://other.test/here", 302))),
    ];
    let mut shop = named("shop", routes).await;
    shop.arms.clear();
    rig.serve(vec![shop]).await;
    let twice = |status, to: &str| vec![(status, to.to_owned()); 2];
    assert_eq!(sent_to(&rig, "/old/x?y").await, twice(308, "/new/x?y"));
    assert_eq!(sent_to(&rig, "/old//evil.test").await, twice(308, "/new//evil.test"));
    assert_eq!(sent_to(&rig, "/moved").await, twice(302, "https://other.test/here"));
    assert_eq!(sent_to(&rig, "/moved/x").await, twice(404, ""));
}

#[tokio::test]
async fn a_service_under_maintenance_says_so_itself() {
    let mut rig = Rig::start().await;
    let mut shop = named("shop", vec![route("/", |_| {})]).await;
    shop.traffic.maintenance = Some("<h1>Back at nine.</h1>".to_owned());
    rig.serve(vec![shop.clone()]).await;
    for method in ["GET", "PUT"] {
        let response = rig.open(Request::builder().method(method).uri("/"), full("")).await;
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(response.headers()["retry-after"], "60");
        assert_eq!(whole(response).await, (503, "<h1>Back at nine.</h1>".to_owned()));
    }
    shop.traffic.maintenance = Some("Back at nine.".to_owned());
    rig.serve(vec![shop.clone()]).await;
    assert_eq!(rig.get("/").await, (503, "503 Service Unavailable\n\nBack at nine.\n".to_owned()));
    shop.traffic.maintenance = None;
    rig.serve(vec![shop]).await;
    assert_eq!(rig.get("/name").await.0, 200);
}
