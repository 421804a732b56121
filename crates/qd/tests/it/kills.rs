//! `kill -9` of any of our processes at any moment.

use crate::{processes::Process, site::Site, traffic::Traffic, wait::until};

#[test]
fn killing_the_control_plane_in_the_middle_of_a_rollout_loses_nothing() {
    let mut site = Site::open();
    let traffic = Traffic::start(site.address);
    let before = site.shops();
    site.edit("step_time = \"200ms\"", "step_time = \"1s\"");
    site.apply().expect(0);
    let change = site.deploy_detached("canary", "v2", "");
    site.gets_requests(&change);
    site.kill_serve();
    traffic.goes_on();
    traffic.goes_on();
    site.serve();
    assert_eq!(site.outcome(&change), "succeeded");
    assert_eq!(site.serving(), "v2");
    traffic.stop().assert_harmed_only_by(&[]);
    site.qd(&["ledger", "verify"]).expect(0);
    // Adopted, not restarted: v1 was replaced by v2 and by nothing else.
    let story = site.qd(&["why", "--all"]).expect(0).out;
    assert!(!story.contains("is started again"), "{story}");
    assert_eq!(before.len(), 2);
}

#[test]
fn killing_the_control_plane_sooner_or_later_in_a_deploy_loses_nothing() {
    let mut site = Site::open();
    let traffic = Traffic::start(site.address);
    for (turn, strategy) in ["blue-green", "rolling", "canary", "rolling", "blue-green", "canary"].iter().enumerate() {
        let version = format!("v{}", turn + 2);
        let change = site.deploy_detached(strategy, &version, "");
        // A little later in each deploy than in the one before, by the customers' clock.
        let begun = traffic.so_far().sent;
        until("its moment", || traffic.so_far().sent >= begun + 12 * turn as u64);
        site.kill_serve();
        traffic.goes_on();
        site.serve();
        assert_eq!(site.outcome(&change), "succeeded", "{}", site.why(&change));
        assert_eq!(site.serving(), version);
    }
    traffic.stop().assert_harmed_only_by(&[]);
    until("older releases to be gone", || site.shops().len() == 2);
    site.qd(&["ledger", "verify"]).expect(0);
}

#[test]
fn a_failing_canary_is_cut_off_while_the_control_plane_is_dead() {
    let mut site = Site::open();
    // Guarded, but without anything to fail until there is traffic.
    let change = site.deploy_detached("canary", "v2", "fail_share = 1.0");
    site.gets_requests(&change);
    site.kill_serve();
    let traffic = Traffic::start(site.address);
    until("the guard to trip", || {
        let before = traffic.so_far();
        traffic.goes_on();
        traffic.so_far().answered_by("v2") == before.answered_by("v2") && before.answered_by("v2") > 0
    });
    site.serve();
    assert_eq!(site.outcome(&change), "rolled_back");
    assert_eq!(site.serving(), "v1");
    traffic.stop().assert_harmed_only_by(&["v2"]);
}

#[test]
fn a_killed_data_plane_is_back_with_its_last_table_and_few_requests_are_lost() {
    let site = Site::open();
    let traffic = Traffic::start(site.address);
    let first = site.processes("proxy");
    assert_eq!(first.len(), 1, "{first:?}");
    first[0].kill();
    until("another data plane", || site.processes("proxy").iter().any(|p| p.pid != first[0].pid));
    until("requests to be answered again", || crate::http::get(site.address, "/").is_ok_and(|a| a.status == 200));
    let before = traffic.so_far();
    traffic.goes_on();
    let after = traffic.stop();
    assert!(after.answered_by("v1") > before.answered_by("v1"), "{after:?}");
    let failed_by_answer: u64 = after.by_version.values().map(|(_, bad)| bad).sum();
    assert_eq!(failed_by_answer, 0, "{after:?}");
    // Those in flight, and those who came within the moment that nobody listened. Each client notices a refusal at once
    // and comes again some milliseconds later.
    let gap = after.broken.last().unwrap().0.saturating_sub(after.broken[0].0);
    assert!(gap.as_secs() < 5, "{after:?}");
    site.deploy("v2", "").expect(0);
    assert_eq!(site.serving(), "v2");
}

#[test]
fn a_killed_shim_costs_its_own_instance_only() {
    let site = Site::open();
    let shims = site.processes("shim");
    assert_eq!(shims.len(), 2);
    let (before, lost) = (site.shops(), shims[0].words[2].rsplit('/').next().unwrap().to_owned());
    let traffic = Traffic::start(site.address);
    shims[0].kill();
    until("the service to be whole again", || {
        let service = site.service();
        service["ready"] == 2 && site.processes("shim").iter().filter(|p| p.pid != shims[0].pid).count() == 2
    });
    assert_eq!(site.shops().iter().filter(|now| before.iter().any(|p| p.pid == now.pid)).count(), 1);
    traffic.goes_on();
    let tally = traffic.stop();
    assert!(tally.broken.is_empty() && tally.by_version["v1"].0 > 0, "{tally:?}");
    let why = site.why(&lost);
    assert!(why.contains("is started again"), "{why}");
}

#[test]
fn a_killed_instance_is_started_again_and_its_end_is_explained() {
    let site = Site::open();
    let before = site.shops();
    let is_new = |p: &Process| before.iter().all(|old| old.pid != p.pid);
    before[0].kill();
    until("the service to be whole again", || {
        let now = site.shops();
        now.len() == 2 && now.iter().any(is_new) && site.service()["ready"] == 2
    });
    let why = site.qd(&["why", "shop", "--all"]).expect(0).out;
    assert!(why.contains("SIGKILL"), "{why}");
}

#[test]
fn an_instance_that_hangs_gets_no_requests_and_is_started_again() {
    let mut site = Site::new();
    let probe = |name: &str| {
        format!("{name} = {{ path = \"/healthz\", interval = \"200ms\", timeout = \"200ms\", failures = 2 }}")
    };
    site.edit("ready = \"/healthz\"", &(probe("ready") + "\n" + &probe("live")));
    site.open_shop();
    let hung = site.shops()[0].pid;
    crate::processes::signal(hung, rustix::process::Signal::STOP);
    until("the hung instance to be replaced", || {
        let now = site.shops();
        now.len() == 2 && now.iter().all(|p| p.pid != hung) && site.service()["ready"] == 2
    });
    let traffic = Traffic::start(site.address);
    traffic.goes_on();
    traffic.stop().assert_harmed_only_by(&[]);
    let why = site.qd(&["why", "shop", "--all"]).expect(0).out;
    assert!(why.contains("shall be restarted"), "{why}");
}

#[test]
fn after_everything_was_killed_the_next_start_recovers() {
    let mut site = Site::open();
    site.kill_serve();
    crate::processes::kill_all(site.dir());
    site.serve();
    until("the shop to be open again", || {
        crate::http::get(site.address, "/").is_ok_and(|a| a.version() == "v1") && site.service()["ready"] == 2
    });
    site.qd(&["ledger", "verify"]).expect(0);
    site.deploy("v2", "").expect(0);
    assert_eq!(site.serving(), "v2");
}

#[test]
fn services_go_on_without_quarterdeck_when_asked_to_and_are_taken_over() {
    let mut site = Site::open();
    let before: Vec<u32> = site.shops().iter().map(|p| p.pid).collect();
    let traffic = Traffic::start(site.address);
    site.qd(&["down", "--keep-services", "--yes"]).expect(0);
    assert_eq!(site.serve_ends(), Some(0));
    traffic.goes_on();
    site.serve();
    assert_eq!(site.service()["ready"], 2);
    traffic.stop().assert_harmed_only_by(&[]);
    assert_eq!(site.shops().iter().map(|p| p.pid).collect::<Vec<_>>(), before);
}
