//! Plans, commands and their refusals. What `control` says of them is its own business; the status and the code are ours.

use super::world::*;
use crate::{
    client,
    message::{Afterwards, CommandRequest, PlanRequest, ShutdownRequest},
};
use control::Command;
use expect_test::expect;
use model::{Digest, Seq};

fn problem(error: client::Error) -> String {
    let client::Error::Problem(problem) = error else { panic!("{error:?}") };
    format!("{} {}", problem.status().as_u16(), serde_json::to_string(&problem).unwrap())
}

#[tokio::test]
async fn a_plan_is_what_the_command_then_does() {
    let world = World::start().await;
    let shop = "shop".parse().unwrap();
    let plan = world.client.plan(&PlanRequest { command: apply(&shop), reason: String::new() }).await.unwrap();
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(world.client.health().await.unwrap().length, 0, "a plan records nothing");
    let submitted =
        world.client.command(&CommandRequest { expect: Some(plan.digest), ..because(apply(&shop)) }).await.unwrap();
    assert_eq!(submitted.changes.len(), 1);
    let first: Vec<_> = world.client.entries(Seq(0), Some(submitted.seq.len())).await.unwrap().entries;
    assert_eq!(first.iter().map(|entry| entry.seq).collect::<Vec<_>>(), submitted.seq);
    assert_eq!(world.client.change(submitted.changes[0]).await.unwrap().plan, plan.changes[0]);
}

#[tokio::test]
async fn a_command_that_cannot_be_followed_is_refused_with_its_status() {
    let world = World::start().await;
    let shop = world.with_service("shop").await;
    let mut refusals = String::new();
    let other = "other".parse().unwrap();
    for request in [
        because(deploy(&shop)),
        because(deploy(&other)),
        because(Command::Rollback { service: other.clone(), to: None }),
        CommandRequest { reason: " ".into(), ..because(apply(&other)) },
        CommandRequest { expect: Some(Digest::of(b"another plan")), ..because(apply(&other)) },
        because(Command::Resume { change: "CHG-2".parse().unwrap() }),
        because(Command::Pause { change: "CHG-9".parse().unwrap() }),
        CommandRequest { on_behalf_of: Some("ann".into()), ..because(deploy(&shop)) },
    ] {
        let client::Error::Problem(problem) = world.client.command(&request).await.unwrap_err() else { panic!() };
        assert!(!problem.message.is_empty());
        refusals += &format!("{} {}\n", problem.status().as_u16(), serde_json::to_value(&problem.code).unwrap());
    }
    expect![[r#"
        409 "change_under_way"
        404 "unknown_service"
        404 "unknown_service"
        422 "reason_required"
        409 "plan_changed"
        409 "wrong_phase"
        404 "unknown_change"
        422 "invalid"
    "#]]
    .assert_eq(&refusals);
}

#[tokio::test]
async fn a_body_that_is_not_a_command_is_refused_with_its_place() {
    let world = World::start().await;
    let mut answers = String::new();
    for body in [
        "",
        "{",
        r#"{"command": {"deploy": {}}, "reason": "x"}"#,
        r#"{"command": {"explode": {}}, "reason": "x"}"#,
        r#"{"command": {"pause": {"change": "CHG-1"}}}"#,
        r#"{"command": {"pause": {"change": "CHG-1"}}, "reason": "x", "force": true}"#,
    ] {
        let (status, body) = world.ask("POST", "/v1/commands", body).await;
        answers += &format!("{status} {body}\n");
    }
    expect![[r#"
        400 {"code":"malformed","message":"the body is not as expected: EOF while parsing a value at line 1 column 0","hint":"see GET /v1/openapi.json for what is expected"}
        400 {"code":"malformed","message":"the body is not as expected: EOF while parsing an object at line 1 column 1","hint":"see GET /v1/openapi.json for what is expected"}
        400 {"code":"malformed","message":"the body is not as expected: missing field `service` at line 1 column 25","hint":"see GET /v1/openapi.json for what is expected"}
        400 {"code":"malformed","message":"the body is not as expected: unknown variant `explode`, expected one of `apply`, `deploy`, `rollback`, `scale`, `purge_cache`, `approve`, `pause`, `resume`, `promote`, `cancel` at line 1 column 22","hint":"see GET /v1/openapi.json for what is expected"}
        400 {"code":"malformed","message":"the body is not as expected: missing field `reason` at line 1 column 43","hint":"see GET /v1/openapi.json for what is expected"}
        400 {"code":"malformed","message":"the body is not as expected: unknown field `force`, expected one of `command`, `reason`, `expect`, `on_behalf_of` at line 1 column 66","hint":"see GET /v1/openapi.json for what is expected"}
    "#]].assert_eq(&answers);
}

#[tokio::test]
async fn a_loop_that_is_gone_is_unavailable_and_worth_asking_again() {
    let world = World::with(Setup { mind: Mind::Gone, ..Setup::default() }).await;
    let body = serde_json::to_string(&because(apply(&"shop".parse().unwrap()))).unwrap();
    let answer = world
        .raw(&format!(
            "POST /v1/commands HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    let (status, body) = status_and_body(&answer);
    assert_eq!(status, 503);
    assert!(body.contains(r#""code":"unavailable""#), "{body}");
    assert_eq!(world.ask("GET", "/v1/status", "").await.0, 200, "reading goes on");
}

#[tokio::test]
async fn a_loop_that_dies_with_a_command_leaves_its_outcome_open() {
    let world = World::with(Setup { mind: Mind::Forgetful, ..Setup::default() }).await;
    let error = world.client.command(&because(apply(&"shop".parse().unwrap()))).await.unwrap_err();
    let text = problem(error);
    assert!(text.starts_with("504 ") && text.contains("unanswered") && text.contains("qd status"), "{text}");
}

#[tokio::test]
async fn a_shutdown_reaches_the_backend_with_what_becomes_of_services() {
    let world = World::start().await;
    let request = ShutdownRequest { services: Afterwards::Stop };
    assert_eq!(world.client.shutdown(request).await.unwrap().services, Afterwards::Stop);
    assert_eq!(*world.backend.shutdowns.lock().unwrap(), [request]);
}
