//! What was commanded is seen, and what cannot be found is said.

use super::world::*;
use crate::{client, problem::Code};
use control::{change::Phase, refusal, view::Health};
use expect_test::expect;

#[tokio::test]
async fn what_was_commanded_is_seen_in_every_view() {
    let world = World::start().await;
    let shop = world.with_service("shop").await;
    let status = world.client.status().await.unwrap();
    assert_eq!(status.services.len(), 1);
    assert_eq!(status.services[0].service, shop);
    let service = world.client.service(&shop).await.unwrap();
    assert_eq!((service.health, &service), (Health::Empty, &status.services[0]));
    let deploy = world.client.change(service.change.unwrap()).await.unwrap();
    assert_eq!((deploy.kind.as_str(), deploy.phase, deploy.open), ("deploy", Phase::Running, true));
    assert_eq!((deploy.actor.as_str(), deploy.reason.as_str()), (me().name.as_str(), "faster checkout"));
    let kinds = async |open| -> Vec<String> {
        world.client.changes(open).await.unwrap().into_iter().map(|change| change.kind).collect()
    };
    assert_eq!(kinds(None).await, ["deploy", "config"]);
    assert_eq!(kinds(Some(true)).await, ["deploy"]);
    assert_eq!(kinds(Some(false)).await, ["config"]);
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let world = World::start().await;
    world.with_service("shop").await;
    let (head, body) = world
        .raw("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .split_once("\r\n\r\n")
        .map(|(h, b)| (h.to_ascii_lowercase(), b.to_owned()))
        .unwrap();
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("# TYPE quarterdeck_up gauge\nquarterdeck_up 0\n"), "{body}");
    assert!(body.contains("quarterdeck_service_replicas{environment=\"production\",service=\"shop\"} "), "{body}");
}

#[tokio::test]
async fn a_service_outside_production_is_one_segment_of_a_path() {
    let world = World::start().await;
    let key = world.with_service("staging/shop").await;
    assert_eq!(world.client.service(&key).await.unwrap().service, key);
    assert_eq!(world.ask("GET", "/v1/services/staging%2Fshop", "").await.0, 200);
    assert_eq!(world.ask("GET", "/v1/services/staging/shop", "").await.0, 404);
    let story = world.client.story(Some("staging/shop"), false).await.unwrap();
    assert!(story.lines.iter().all(|line| line.at.as_deref() == Some("staging/shop")));
}

#[tokio::test]
async fn what_cannot_be_found_or_understood_says_so() {
    let world = World::start().await;
    let mut answers = String::new();
    for (method, path) in [
        ("GET", "/v1/services/shop"),
        ("GET", "/v1/services/Shop!"),
        ("GET", "/v1/changes/CHG-7"),
        ("GET", "/v1/changes/seven"),
        ("GET", "/v1/changes?opened=true"),
        ("GET", "/v1/changes?open=perhaps"),
        ("GET", "/v1/story/INS-7"),
        ("GET", "/v1/story/what%20is%20this"),
        ("GET", "/v1/logs/shop"),
        ("GET", "/v2/status"),
        ("POST", "/v1/status"),
    ] {
        let (status, body) = world.ask(method, path, "").await;
        answers += &format!("{method} {path}\n  {status} {body}\n");
    }
    expect![[r#"
        GET /v1/services/shop
          404 {"code":"unknown_service","message":"there is no service shop","hint":"`qd status` lists them"}
        GET /v1/services/Shop!
          400 {"code":"malformed","message":"`Shop!` is not a name: use 1 to 40 lowercase letters, digits and `-`, beginning with a letter and not ending with `-`","hint":"see GET /v1/openapi.json for what is expected"}
        GET /v1/changes/CHG-7
          404 {"code":"unknown_change","message":"there is no change CHG-7","hint":"`qd status` lists those that are open"}
        GET /v1/changes/seven
          400 {"code":"malformed","message":"`seven` is not an id like `CHG-12`","hint":"see GET /v1/openapi.json for what is expected"}
        GET /v1/changes?opened=true
          400 {"code":"malformed","message":"in the query, opened: unknown field `opened`, expected `open`","hint":"see GET /v1/openapi.json for what is expected"}
        GET /v1/changes?open=perhaps
          400 {"code":"malformed","message":"in the query, open: provided string was not `true` or `false`","hint":"see GET /v1/openapi.json for what is expected"}
        GET /v1/story/INS-7
          404 {"code":"not_found","message":"there was never an instance INS-7","hint":""}
        GET /v1/story/what%20is%20this
          400 {"code":"malformed","message":"`what is this` is neither a change (CHG-12), an instance (INS-3) nor the name of a service","hint":"see GET /v1/openapi.json for what is expected"}
        GET /v1/logs/shop
          404 {"code":"unknown_service","message":"there is no service shop","hint":"`qd status` lists them"}
        GET /v2/status
          404 {"code":"not_found","message":"there is nothing at this path","hint":"see GET /v1/openapi.json for what there is"}
        POST /v1/status
          405 {"code":"method_not_allowed","message":"this path is not used with this method","hint":"see GET /v1/openapi.json for what there is"}
    "#]].assert_eq(&answers);
}

#[tokio::test]
async fn the_client_gives_a_refusal_as_it_was_sent() {
    let world = World::start().await;
    let error = world.client.service(&"shop".parse().unwrap()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.hint()), ("there is no service shop", "`qd status` lists them"));
    let client::Error::Problem(problem) = error else { panic!("{error:?}") };
    assert_eq!(problem.code, Code::Refusal(refusal::Code::UnknownService));
    assert_eq!(problem.status(), 404);
}

#[tokio::test]
async fn health_says_whether_commands_are_taken() {
    let world = World::start().await;
    world.record(3).await;
    let health = world.client.health().await.unwrap();
    assert_eq!((health.version.as_str(), health.length, health.refusing), (crate::VERSION, 3, None));
}
