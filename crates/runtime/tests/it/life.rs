//! From start to exit.

use crate::world::{World, eventually, get, is_alive, port, spec};
use model::{Action, Check, Exit, InstanceId, Phase, Probe, Span};
use runtime::Driver as _;
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, SystemTime},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_starts_becomes_ready_serves_and_stops_gracefully() {
    let world = World::new().await;
    let mut web = world.web(1);
    web.run.env.insert("GREETING".into(), "hello".into());
    world.start(&web);
    let seen = world.until_ready(1).await;
    assert_eq!(get(&seen, "/env/PORT").await, port(&seen).to_string());
    assert_eq!(get(&seen, "/env/GREETING").await, "hello");
    assert!(fs::metadata(get(&seen, "/env/TMPDIR").await).unwrap().is_dir());
    let pid = world.pid(1);

    world.stop(1);
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(0)));
    assert!(!is_alive(pid));
    assert!(world.output(1).contains(" out leaving gracefully\n"), "{}", world.output(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_twice_is_starting_once_and_the_next_attempt_runs_after_the_last() {
    let world = World::new().await;
    let mut spec = world.script(1, "echo attempt; exit 3");
    world.start(&spec);
    world.start(&spec);
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(3)));
    world.start(&spec);
    spec.attempt = 2;
    world.start(&spec);
    let seen = world.until(1, |seen| seen.attempt == 2 && seen.phase == Phase::Exited(Exit::Status(3))).await;
    assert_eq!(seen.attempt, 2);
    assert_eq!(world.output(1).matches(" out attempt\n").count(), 2, "{}", world.output(1));

    spec.attempt = 1;
    world.start(&spec);
    world.driver().perform(Action::ForgetInstance(InstanceId(1)));
    eventually("forgotten", || world.seen(1).is_none()).await;
    assert!(!world.instance(1).exists());
    assert!(world.output(1).contains("attempt"), "output outlives the instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_a_process_ended_is_reported() {
    let world = World::new().await;
    for (id, script, exit) in
        [(1, "exit 0", Exit::Status(0)), (2, "exit 42", Exit::Status(42)), (3, "kill -SEGV $$", Exit::Signal(11))]
    {
        world.start(&world.script(id, script));
        assert_eq!(world.until_over(id).await, Phase::Exited(exit));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ignores_sigterm_is_killed_with_its_whole_group() {
    let world = World::new().await;
    let mut spec =
        world.script(1, "trap '' TERM; sh -c 'trap \"\" TERM; echo child $$; while :; do sleep 1; done' & wait");
    spec.run.stop_deadline = Span(300);
    world.start(&spec);
    eventually("the child says its pid", || world.output(1).contains("out child ")).await;
    let output = world.output(1);
    let child: u32 = output.split("out child ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    world.stop(1);
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Signal(9)));
    assert!(!is_alive(child));
    assert!(world.output(1).contains("did not stop in time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn children_may_use_the_deadline_when_the_main_process_is_quicker() {
    let world = World::new().await;
    world.start(&world.script(
        1,
        "sh -c 'trap \"sleep 0.3; echo drained; exit\" TERM; echo up; while :; do sleep 0.05; done' & wait",
    ));
    eventually("up", || world.output(1).contains("out up")).await;
    world.stop(1);
    world.until_over(1).await;
    assert!(world.output(1).contains("out drained"), "{}", world.output(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_stop_kills_now() {
    let world = World::new().await;
    let mut spec = world.script(1, "trap '' TERM; echo up; while :; do sleep 1; done");
    spec.run.stop_deadline = Span::seconds(3600);
    world.start(&spec);
    eventually("up", || world.output(1).contains("out up")).await;
    world.stop(1);
    world.until(1, |seen| seen.phase == Phase::Stopping).await;
    world.driver().cancel(InstanceId(1));
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Signal(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_and_liveness_follow_the_service() {
    let world = World::new().await;
    let mut web = world.web(1);
    let probe = web.run.ready.clone();
    let alive =
        Check::Command(vec!["sh".into(), "-c".into(), "test ! -e $TMPDIR/dead || { echo no pulse; exit 1; }".into()]);
    web.run.live = Some(Probe { check: alive, ..probe });
    world.start(&web);
    world.until_ready(1).await;
    let sick = world.instance(1).join("tmp/sick");
    fs::write(&sick, "").unwrap();
    let seen = world.until(1, |seen| matches!(seen.phase, Phase::Unready(_))).await;
    assert_eq!(seen.phase, Phase::Unready("GET /healthz answered 503".into()));
    fs::remove_file(&sick).unwrap();
    world.until_ready(1).await;
    fs::write(world.instance(1).join("tmp/dead"), "").unwrap();
    let seen = world.until(1, |seen| matches!(seen.phase, Phase::Dead(_))).await;
    assert!(matches!(&seen.phase, Phase::Dead(text) if text.ends_with("exit status: 1: no pulse")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_the_service_and_nothing_else() {
    const VALUE: &str = "s3cr3t-c0rrect-h0rse";
    let world = World::new().await;
    let values = BTreeMap::from([("API_KEY".to_owned(), VALUE.to_owned())]);
    let store = runtime::secrets::Store::open(&world.data()).unwrap();
    let mut web = world.web(1);
    web.run.secrets = Some(store.put(&runtime::secrets::Secrets::new(values).unwrap()).unwrap());
    web.run.live = Some(Probe {
        check: Check::Command(vec!["sh".into(), "-c".into(), "test -n \"$API_KEY\"".into()]),
        ..web.run.ready.clone()
    });
    world.start(&web);
    let seen = world.until_ready(1).await;
    assert_eq!(get(&seen, "/env/API_KEY").await, VALUE);

    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(VALUE));
    }
    let mut looked = 0;
    let mut places = vec![world.data()];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                places.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                let content = fs::read(entry.path()).unwrap();
                assert!(!content.windows(VALUE.len()).any(|w| w == VALUE.as_bytes()), "{:?}", entry.path());
                looked += 1;
            }
        }
    }
    assert!(looked >= 6, "the specification, status, output, sealed secrets and key were looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_executable_runs_without_a_command() {
    let world = World::new().await;
    let artifact = world.artifact(&[("service", "#!/bin/sh\necho \"port $PORT\"\nexit 5\n")]);
    world.start(&spec(1, artifact, &[], Check::Started));
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(5)));
    assert!(world.output(1).contains(" out port "));
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_go_unless_kept_or_used_by_an_instance() {
    let world = World::new().await;
    let used = world.script(1, "exec sleep 1000");
    world.start(&used);
    world.until_ready(1).await;
    let (kept, gone) = (world.artifact(&[("a", "kept")]), world.artifact(&[("a", "gone")]));
    let store = world.driver().artifacts();
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    for digest in [used.artifact, kept, gone] {
        fs::File::open(store.tree(digest)).unwrap().set_modified(long_ago).unwrap();
    }
    world.driver().perform(Action::KeepArtifacts(vec![kept]));
    eventually("collected", || !store.has(gone)).await;
    assert!(store.has(kept) && store.has(used.artifact));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_running_instance_does_nothing() {
    let world = World::new().await;
    world.start(&world.web(1));
    world.until_ready(1).await;
    world.driver().cancel(InstanceId(1));
    world.stop(1);
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(0)), "stopped gracefully");
}
