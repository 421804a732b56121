//! Who sends tables, and what is kept when nobody does.

use crate::{
    rig::{Control, Rig, running, service},
    upstream::good,
};
use model::{
    RouteTable, Time,
    wire::{self, FromProxy, Hello, ToProxy},
};
use std::{fs, os::unix::fs::PermissionsExt as _};

#[tokio::test]
async fn a_table_outlives_the_proxy() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let before = rig.control.until("any report", |_| true).await;
    let rig = Rig::on(rig.stop().await, |_| {}).await;
    assert_eq!(rig.get("/").await, (200, "one".into()));
    let mut rig = rig;
    let after = rig.control.until("any report", |_| true).await;
    assert_eq!(after.generation, before.generation);
    assert!(after.started >= before.started);
}

#[tokio::test]
async fn an_older_table_is_refused() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    rig.serve(vec![service(vec![running(&[good("two").await])])]).await;
    let old = RouteTable { generation: 1, services: Vec::new() };
    rig.control.say(&ToProxy::SetRoutes(old)).await;
    rig.control.until("the refusal", |report| report.generation == 2).await;
    assert_eq!(rig.get("/").await, (200, "two".into()));
}

#[tokio::test]
async fn a_table_file_that_cannot_be_used_is_not() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["not a table", r#"{"version":0,"table":{}}"#] {
        fs::write(dir.path().join("routes.json"), content).unwrap();
    }
    let mut rig = Rig::on(dir, |_| {}).await;
    assert_eq!(rig.get("/").await.0, 503);
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    assert_eq!(rig.get("/").await, (200, "one".into()));
}

#[tokio::test]
async fn traffic_goes_on_without_control_and_a_new_one_takes_over() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    // The old one is still connected when the new one comes, as after a crash that the kernel has not noticed.
    let mut new = Control::connect(rig.dir.path()).await;
    let report = new.until("a report", |_| true).await;
    assert_eq!(report.generation, 1);
    while rig.control.hear().await.is_some() {}
    drop(new);
    assert_eq!(rig.get("/").await, (200, "one".into()));
}

#[tokio::test]
async fn a_peer_of_another_version_is_hung_up_on() {
    let rig = Rig::start().await;
    let mut other = Control::dial(rig.dir.path().join("proxy.sock")).await;
    other
        .say(&ToProxy::Hello(Hello { version: wire::VERSION + 1, pid: 1, started: Time(0), build: String::new() }))
        .await;
    assert!(matches!(other.hear().await, Some(FromProxy::Hello(_))));
    assert!(other.hear().await.is_none());
}

#[tokio::test]
async fn a_peer_that_does_not_say_hello_is_not_obeyed() {
    let mut rig = Rig::start().await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let mut other = Control::dial(rig.dir.path().join("proxy.sock")).await;
    other.say(&ToProxy::SetRoutes(RouteTable { generation: 99, services: Vec::new() })).await;
    assert!(matches!(other.hear().await, Some(FromProxy::Hello(_))));
    assert!(other.hear().await.is_none());
    assert_eq!(rig.get("/").await, (200, "one".into()));
}

#[tokio::test]
async fn the_control_socket_is_for_its_owner_only() {
    let rig = Rig::start().await;
    let mode = fs::metadata(rig.dir.path().join("proxy.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_second_proxy_on_the_same_directory_is_refused() {
    let rig = Rig::start().await;
    let config = proxy::Config::new(vec!["127.0.0.1:0".parse().unwrap()], rig.dir.path());
    let refusal = proxy::run(config).unwrap_err().to_string();
    let pid = std::process::id();
    assert!(refusal.contains(&format!("another proxy (process {pid}) runs on")), "{refusal}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().unwrap();
    let refusal = proxy::run(proxy::Config::new(vec![rig.address], dir.path())).unwrap_err().to_string();
    assert!(refusal.contains(&format!("{} is already taken", rig.address)), "{refusal}");
}

#[tokio::test]
async fn a_proxy_stops_when_it_is_told_to() {
    let rig = Rig::start().await;
    let address = rig.address;
    rig.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
