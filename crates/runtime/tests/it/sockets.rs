//! Instances that listen on a Unix socket instead of a port.

use crate::world::{World, eventually, get, spec};
use model::{Address, Check, InstanceSeen, InstanceSpec, Listen, Phase};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A specification of instance `id` that runs a web server on its socket.
fn on_socket(world: &World, id: u64) -> InstanceSpec {
    let mut web = world.web(id);
    web.run.listen = Listen::Socket;
    web.run.command = vec!["python3".into(), "web.py".into(), "${SOCKET}".into()];
    web
}

fn socket(seen: &InstanceSeen) -> PathBuf {
    match seen.address.as_ref().unwrap() {
        Address::Unix(path) => path.into(),
        Address::Tcp(address) => panic!("it listens on {address}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_listens_on_a_socket_that_nobody_else_may_reach() {
    let world = World::new().await;
    world.start(&on_socket(&world, 1));
    let seen = world.until_ready(1).await;
    let path = socket(&seen);
    assert_eq!(path, world.instance(1).join("run/1.sock"));
    assert_eq!(get(&seen, "/env/SOCKET").await, path.to_str().unwrap());
    assert_eq!(get(&seen, "/env/PORT").await, "", "it has no port");
    let directory = fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(directory.mode() & 0o777, 0o700);
    assert_eq!(directory.uid(), fs::metadata(world.instance(1).join("home")).unwrap().uid());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_adopted_and_what_an_attempt_left_is_gone_at_the_next() {
    let mut world = World::new().await;
    let mut web = on_socket(&world, 1);
    world.start(&web);
    let before = world.until_ready(1).await;
    world.lose_serve().await;
    world.serve().await;
    let after = world.until_ready(1).await;
    assert_eq!((&after.address, after.attempt), (&before.address, 1));
    assert_eq!(get(&after, "/env/SOCKET").await, socket(&before).to_str().unwrap());

    // One that is killed leaves its socket behind.
    let pid = rustix::process::Pid::from_raw(world.pid(1) as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    world.until_over(1).await;
    assert!(socket(&before).exists());
    web.attempt = 2;
    world.start(&web);
    let next = world.until(1, |seen| seen.attempt == 2 && seen.phase == Phase::Ready).await;
    assert_eq!(socket(&next), world.instance(1).join("run/2.sock"));
    assert!(!socket(&before).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_makes_no_socket_is_told_what_it_does_instead() {
    let world = World::new().await;
    let mut web = on_socket(&world, 1);
    web.run.command = vec!["python3".into(), "web.py".into(), "0".into()];
    world.start(&web);
    let does = |text: &str| text.starts_with("listens on port ") && text.ends_with("/run/1.sock");
    world.until(1, |seen| matches!(&seen.phase, Phase::Starting(text) if does(text))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_whose_path_is_too_long_for_a_socket_is_named() {
    let mut world = World::new().await;
    world.nest(Path::new(&"d".repeat(60)).join("e".repeat(40))).await;
    world.start(&on_socket(&world, 1));
    let phase = world.until_over(1).await;
    let Phase::Failed(text) = phase else { panic!("{phase:?}") };
    assert!(text.contains("Linux allows 107: move the data directory"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_somebody_elses_socket_is_not_taken_for_the_instance() {
    // Without root there is nobody else.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = elsewhere.path().join("theirs.sock");
    let listener = std::os::unix::net::UnixListener::bind(&theirs).unwrap();
    let artifact = world.artifact(&[("run.sh", "ln -s \"$1\" \"$SOCKET\"; exec sleep 600")]);
    let mut link = spec(1, artifact, &["sh", "run.sh", theirs.to_str().unwrap()], Check::Tcp);
    link.run.listen = Listen::Socket;
    world.start(&link);
    let refused = |seen: &InstanceSeen| matches!(&seen.phase, Phase::Starting(text) if text.starts_with("uid 0 listens on SOCKET="));
    world.until(1, refused).await;
    drop(listener);
    eventually("its end", || {
        world.stop(1);
        world.seen(1).is_some_and(|seen| matches!(seen.phase, Phase::Exited(_)))
    })
    .await;
}
