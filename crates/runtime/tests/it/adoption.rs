//! What runs goes on without `serve`, and is taken over by the next.

use crate::world::{DEADLINE, World, eventually, is_alive};
use model::{Action, Exit, InstanceId, Phase};
use runtime::Driver as _;
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, path::PathBuf, time::Instant};

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

/// A service whose main process has a child; both say their process ids.
const FAMILY: &str = "sh -c 'echo child $$; exec sleep 1000' & echo main $$; wait";

async fn child_of(world: &World, id: u64) -> u32 {
    let find = || Some(world.output(id).split("out child ").nth(1)?.split_once('\n')?.0.parse().unwrap());
    eventually("the child says its pid", || find().is_some()).await;
    find().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ready_is_adopted_as_ready_and_nothing_is_restarted() {
    let mut world = World::new().await;
    world.start(&world.web(1));
    let before = world.until_ready(1).await;
    let (pid, shim) = (world.pid(1), world.shim_pid(1));
    world.lose_serve().await;
    assert!(is_alive(pid) && is_alive(shim));

    world.serve().await;
    let after = world.seen(1).unwrap();
    assert_eq!((after.phase, after.address, after.attempt), (Phase::Ready, before.address, 1));
    world.start(&world.web(1));
    assert_eq!((world.pid(1), world.shim_pid(1)), (pid, shim));

    world.stop(1);
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(0)));
    world.driver().perform(Action::ForgetInstance(InstanceId(1)));
    eventually("forgotten", || world.driver().observe().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_nobody_watched_is_reported_by_the_next_driver() {
    let mut world = World::new().await;
    world.start(&world.script(1, "while [ ! -e $TMPDIR/go ]; do sleep 0.02; done; exit 9"));
    world.until_ready(1).await;
    world.lose_serve().await;
    let shim = world.shim_pid(1);
    fs::write(world.instance(1).join("tmp/go"), "").unwrap();
    eventually("the shim is done", || !is_alive(shim)).await;
    world.serve().await;
    assert_eq!(world.seen(1).unwrap().phase, Phase::Exited(Exit::Status(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_takes_its_child_along_and_is_reported_lost() {
    let world = World::new().await;
    world.start(&world.script(1, FAMILY));
    world.until_ready(1).await;
    let (main, child) = (world.pid(1), child_of(&world, 1).await);
    kill(world.shim_pid(1));
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Lost));
    assert!(!is_alive(main) && !is_alive(child));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shim_left_while_serve_was_away_is_killed_at_adoption() {
    let mut world = World::new().await;
    world.start(&world.script(1, FAMILY));
    world.until_ready(1).await;
    let child = child_of(&world, 1).await;
    world.lose_serve().await;
    kill(world.shim_pid(1));
    world.serve().await;
    assert_eq!(world.seen(1).unwrap().phase, Phase::Exited(Exit::Lost));
    assert!(!is_alive(child));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_stopped_without_serve() {
    let mut world = World::new().await;
    world.start(&world.web(1));
    world.start(&world.script(2, FAMILY));
    world.start(&world.script(3, "exit 0"));
    world.until_ready(1).await;
    world.until_ready(2).await;
    world.until_over(3).await;
    let pids = [world.pid(1), child_of(&world, 2).await, world.shim_pid(1), world.shim_pid(2)];
    world.lose_serve().await;
    let data = world.data();
    let stopped = tokio::task::spawn_blocking(move || runtime::down::stop_everything(&data).unwrap()).await.unwrap();
    let exits: Vec<_> = stopped.into_iter().map(|s| (s.instance, s.exit)).collect();
    assert_eq!(exits, [(InstanceId(1), Exit::Status(0)), (InstanceId(2), Exit::Signal(15))]);
    eventually("all are gone", || !pids.iter().any(|pid| is_alive(*pid))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_of_the_data_directory_may_be_long() {
    let mut world = World::new().await;
    world.nest(PathBuf::from(["a-long-name-of-a-directory"; 8].join("/"))).await;
    assert!(world.data().as_os_str().len() > 200);
    world.start(&world.web(1));
    world.until_ready(1).await;
    world.lose_serve().await;
    world.serve().await;
    assert_eq!(world.seen(1).unwrap().phase, Phase::Ready);
    world.stop(1);
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_instances_run_and_are_adopted() {
    const COUNT: u64 = 200;
    let mut world = World::new().await;
    let one = world.script(1, "exec sleep 1000");
    for id in 1..=COUNT {
        let mut spec = one.clone();
        spec.id = InstanceId(id);
        world.start(&spec);
    }
    let ready = |world: &World| world.driver().observe().iter().filter(|s| s.phase == Phase::Ready).count();
    let began = Instant::now();
    eventually("all are ready", || ready(&world) == COUNT as usize).await;
    println!("{COUNT} instances ready after {:?}", began.elapsed());
    world.lose_serve().await;
    let began = Instant::now();
    world.serve().await;
    println!("{COUNT} instances adopted after {:?}", began.elapsed());
    assert!(began.elapsed() < DEADLINE);
    assert_eq!(ready(&world), COUNT as usize);
}
