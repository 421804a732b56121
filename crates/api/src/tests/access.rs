//! Who one is, over each kind of connection, and what each role may do.

use super::world::*;
use crate::{Client, Error, Listener, client, endpoints};
use control::Command;
use expect_test::expect;
use model::Actor;
use policy::Role;
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// What each role gets from every endpoint: a status below 300 or the reason of the fake world counts as passed.
#[tokio::test]
async fn every_endpoint_asks_policy() {
    let roles = [Some(Role::Owner), Some(Role::Viewer), None];
    let mut matrix = String::from("                                     owner viewer stranger\n");
    let mut worlds = Vec::new();
    for role in roles {
        worlds.push(World::with(Setup { role, ..Setup::default() }).await);
    }
    for endpoint in endpoints::all() {
        let method = format!("{:?}", endpoint.method).to_uppercase();
        let path = endpoint.path.replace("{service}", "shop").replace("{change}", "CHG-1").replace("{subject}", "shop");
        let body = match endpoint.name {
            "plan" => r#"{"command": {"pause": {"change": "CHG-1"}}}"#,
            "command" => r#"{"command": {"pause": {"change": "CHG-1"}}, "reason": "x"}"#,
            "put_secrets" => "{}",
            "shutdown" => r#"{"services": "keep"}"#,
            _ => "",
        };
        matrix += &format!("{:<37}", format!("{method} {}", endpoint.path));
        for world in &worlds {
            let passed = if endpoint.name == "events" {
                // Its answer does not end.
                match world.client.events(None, None).await {
                    Ok(_) => 200,
                    Err(client::Error::Problem(problem)) => problem.status().as_u16(),
                    Err(error) => panic!("{error:?}"),
                }
            } else {
                world.ask(&method, &path, body).await.0
            };
            matrix += &format!("{passed:<7}");
        }
        matrix = matrix.trim_end().to_owned() + "\n";
    }
    expect![[r#"
                                             owner viewer stranger
        GET /v1/health                       200    200    200
        GET /v1/whoami                       200    200    200
        GET /v1/openapi.json                 200    200    200
        GET /metrics                         200    200    403
        GET /v1/status                       200    200    403
        GET /v1/services/{service}           404    404    403
        GET /v1/changes                      200    200    403
        GET /v1/changes/{change}             404    404    403
        POST /v1/plans                       404    403    403
        POST /v1/commands                    404    403    403
        GET /v1/story                        200    200    403
        GET /v1/story/{subject}              404    404    403
        GET /v1/entries                      200    200    403
        GET /v1/events                       200    200    403
        PUT /v1/artifacts                    200    403    403
        PUT /v1/secrets/{service}            200    403    403
        GET /v1/logs/{service}               404    404    403
        POST /v1/shutdown                    200    403    403
    "#]]
    .assert_eq(&matrix);
}

#[tokio::test]
async fn over_the_socket_one_is_the_user_who_connects() {
    let world = World::start().await;
    let whoami = world.client.whoami().await.unwrap();
    assert_eq!((whoami.actor, whoami.role), (me(), Some(Role::Owner)));
}

#[tokio::test]
async fn over_tcp_one_is_the_name_of_the_token() {
    let world = World::with(Setup { role: Some(Role::Viewer), ..Setup::default() }).await;
    let address = ([127, 0, 0, 1], world.port).into();
    let ci = Client::tcp(address, TOKEN);
    let whoami = ci.whoami().await.unwrap();
    assert_eq!((whoami.actor, whoami.role), (Actor::program("ci"), Some(Role::Owner)));
    let shop = "shop".parse().unwrap();
    let request = crate::message::CommandRequest { on_behalf_of: Some("ann".into()), ..because(apply(&shop)) };
    ci.command(&request).await.unwrap();
    let line = ci.story(Some("shop"), false).await.unwrap().lines.remove(0);
    assert_eq!((line.actor, line.on_behalf_of), (Actor::program("ci"), Some(Actor::person("ann"))));
    assert_eq!(format!("{ci:?}").find(TOKEN), None);
    for wrong in ["qdt_wrong", &TOKEN[1..]] {
        let error = Client::tcp(address, wrong).whoami().await.unwrap_err();
        assert_eq!(error.to_string(), "the token is not known here");
    }
}

#[tokio::test]
async fn over_tcp_nothing_is_answered_without_a_token_or_to_another_host() {
    let world = World::start().await;
    let mut answers = String::new();
    for headers in [
        "host: localhost".to_owned(),
        format!("host: localhost\r\nauthorization: Basic {TOKEN}"),
        format!("host: evil.example:{}\r\nauthorization: Bearer {TOKEN}", world.port),
        format!("authorization: Bearer {TOKEN}"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
        let request = format!("GET /v1/health HTTP/1.1\r\n{headers}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_all(stream).await;
        assert!(!answer.contains("access-control"), "no other origin may read it");
        let (status, body) = status_and_body(&answer);
        answers += &format!("{status} {body}\n");
    }
    expect![[r#"
        401 {"code":"unauthenticated","message":"no token was given","hint":"send `Authorization: Bearer …` with a token of this installation, or use the Unix socket"}
        401 {"code":"unauthenticated","message":"no token was given","hint":"send `Authorization: Bearer …` with a token of this installation, or use the Unix socket"}
        421 {"code":"misdirected","message":"the Host header names another machine","hint":"ask for localhost, 127.0.0.1 or [::1]"}
        421 {"code":"misdirected","message":"the Host header names another machine","hint":"ask for localhost, 127.0.0.1 or [::1]"}
    "#]].assert_eq(&answers);
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_not_listened_on() {
    let error = Listener::tcp("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::NotLoopback { .. }));
    assert!(error.to_string().contains("SSH tunnel"), "{error}");
}

#[tokio::test]
async fn a_socket_that_answers_is_not_taken_and_a_dead_one_is() {
    let world = World::start().await;
    assert!(matches!(Listener::unix(&world.socket, 0o600), Err(Error::Taken { .. })));
    let dead = world.socket.with_file_name("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    drop(Listener::unix(&dead, 0o600).unwrap());
    assert!(!dead.exists(), "a listener takes its socket with it");
}

#[tokio::test]
async fn a_viewer_is_told_what_they_may_not_do() {
    let world = World::with(Setup { role: Some(Role::Viewer), ..Setup::default() }).await;
    let scale = Command::Scale { service: "shop".parse().unwrap(), replicas: 2 };
    let error = world.client.command(&because(scale)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is a viewer here and may not scale", me().name));
    let error = world.client.put_artifact(|_| Ok(())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is a viewer here and may not upload", me().name));
    assert!(world.backend.artifacts.lock().unwrap().is_empty());
}
