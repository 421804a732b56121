//! Guards: what they are shown, when they trip, and what that changes.

use crate::{
    rig::{Rig, canary},
    upstream::{good, nobody, rude},
};
use http::Request;
use model::{ChangeId, Evidence, Guard, Judgement, Metric, Sticky, Verdict, wire::FromProxy};

fn guard() -> Option<Guard> {
    Some(Guard { change: ChangeId(7), judgement: Judgement::default(), baseline: None })
}

/// Sends requests until the guard trips; gives how many that took.
async fn requests_until_tripped(rig: &mut Rig, most: u32) -> u32 {
    for sent in 0..most {
        if !rig.control.until("a report", |_| true).await.tripped.is_empty() {
            return sent;
        }
        for _ in 0..20 {
            rig.get("/").await;
        }
    }
    panic!("the guard did not trip within {most} rounds")
}

#[tokio::test]
async fn a_canary_that_fails_is_cut_off_in_every_thread_without_asking_anyone() {
    let mut rig = Rig::with(|config| config.threads = 2).await;
    let (one, broken) = (good("one").await, nobody().await);
    rig.serve(vec![canary(20, &[one], &[broken], guard())]).await;
    let mut failed = 0;
    let tripped = loop {
        for _ in 0..10 {
            failed += u32::from(rig.get("/").await.0 != 200);
        }
        assert!(failed < 60, "the guard has not tripped after {failed} failures");
        let heard = tokio::time::timeout(std::time::Duration::from_millis(20), rig.control.hear()).await;
        if let Ok(Some(FromProxy::Tripped { change, evidence })) = heard {
            break (change, evidence.verdict);
        }
    };
    assert_eq!(tripped, (ChangeId(7), Verdict::Worse(Metric::Failures)));
    // In force before it was told.
    for _ in 0..100 {
        assert_eq!(rig.get("/").await, (200, "one".into()));
    }

    // It stays so with a later table of the same change, and after a restart, until a table comes without the guard.
    rig.serve(vec![canary(50, &[one], &[broken], guard())]).await;
    for _ in 0..30 {
        assert_eq!(rig.get("/").await, (200, "one".into()));
    }
    let dir = rig.stop().await;
    let mut rig = Rig::on(dir, |_| {}).await;
    let report = rig.control.until("a report", |_| true).await;
    assert_eq!(report.tripped, [ChangeId(7)]);
    for _ in 0..30 {
        assert_eq!(rig.get("/").await, (200, "one".into()));
    }
    let two = good("two").await;
    rig.serve(vec![canary(100, &[one], &[two], None)]).await;
    assert_eq!(rig.get("/").await, (200, "two".into()));
}

#[tokio::test]
async fn a_canary_without_instances_counts_as_failing_and_harms_nobody() {
    let mut rig = Rig::start().await;
    rig.serve(vec![canary(50, &[good("one").await], &[], guard())]).await;
    for _ in 0..200 {
        assert_eq!(rig.get("/").await, (200, "one".into()));
    }
    requests_until_tripped(&mut rig, 10).await;
    rig.tally(2, |tally| tally.no_instance > 0 && tally.answered == 0).await;
}

#[tokio::test]
async fn a_good_canary_is_left_alone_and_its_evidence_is_reported() {
    let mut rig = Rig::start().await;
    rig.serve(vec![canary(50, &[good("one").await], &[good("two").await], guard())]).await;
    for _ in 0..300 {
        assert_eq!(rig.get("/").await.0, 200);
    }
    let report = rig
        .control
        .until("evidence of every request", |report| {
            report.evidence.iter().any(|(_, e)| e.running.units + e.canary.units == 300)
        })
        .await;
    assert!(report.tripped.is_empty());
}

#[tokio::test]
async fn requests_to_instances_that_warm_up_are_not_judged() {
    let mut rig = Rig::start().await;
    let judgement = Judgement { warm_up: model::Span::minutes(10), ..Judgement::default() };
    let guard = Some(Guard { change: ChangeId(7), judgement, baseline: None });
    rig.serve(vec![canary(50, &[good("one").await], &[nobody().await], guard)]).await;
    for _ in 0..100 {
        rig.get("/").await;
    }
    let report = rig
        .control
        .until("all of them unjudged", |report| report.evidence.iter().any(|(_, e)| e.unjudged == 100))
        .await;
    assert!(report.tripped.is_empty());
    assert_eq!(report.evidence[0].1.canary.units, 0);
}

/// Evidence once so many requests have been judged or left out.
async fn evidence_of(rig: &mut Rig, requests: u64) -> Evidence {
    let all = |e: &Evidence| e.running.units + e.canary.units + e.unjudged == requests;
    let report = rig.control.until("evidence", |report| report.evidence.iter().any(|(_, e)| all(e))).await;
    report.evidence[0].1.clone()
}

#[tokio::test]
async fn one_user_is_judged_once_and_again_when_the_share_has_grown() {
    let mut rig = Rig::start().await;
    let (one, two) = (good("one").await, good("two").await);
    let shared = |percent| {
        let mut routes = canary(percent, &[one], &[two], guard());
        routes.traffic.sticky = Some(Sticky::Header("x-user".into()));
        vec![routes]
    };
    rig.serve(shared(10)).await;
    for _ in 0..100 {
        rig.send(Request::get("/").header("x-user", "ada")).await;
    }
    let evidence = evidence_of(&mut rig, 100).await;
    assert_eq!((evidence.running.units + evidence.canary.units, evidence.unjudged), (1, 99));

    // Whoever was with the running release is judged once more.
    let (_, body) = rig.send(Request::get("/").header("x-user", "ada")).await;
    rig.serve(shared(60)).await;
    for _ in 0..10 {
        rig.send(Request::get("/").header("x-user", "ada")).await;
    }
    let evidence = evidence_of(&mut rig, 111).await;
    let judged = if body == "one" { 2 } else { 1 };
    assert_eq!(evidence.running.units + evidence.canary.units, judged);
}

#[tokio::test]
async fn clients_that_do_not_keep_the_cookie_are_judged_by_request_and_that_is_said() {
    let mut rig = Rig::start().await;
    let mut routes = canary(50, &[good("one").await], &[good("two").await], guard());
    routes.traffic.sticky = Some(Sticky::Cookie("arm".into()));
    rig.serve(vec![routes]).await;
    for _ in 0..300 {
        rig.get("/").await;
    }
    let evidence = evidence_of(&mut rig, 300).await;
    assert_eq!(evidence.cookies_not_kept, Some(300));
    assert!(evidence.running.units > 100 && evidence.canary.units > 100, "{evidence:?}");
}

#[tokio::test]
async fn a_client_told_by_its_address_stays_on_one_release_and_is_judged_once() {
    let mut rig = Rig::start().await;
    let mut routes = canary(50, &[good("one").await], &[good("two").await], guard());
    routes.traffic.sticky = Some(Sticky::Client);
    rig.serve(vec![routes]).await;
    let first = rig.get("/").await;
    for _ in 0..20 {
        assert_eq!(rig.get("/").await, first);
    }
    let evidence = evidence_of(&mut rig, 21).await;
    assert_eq!(evidence.running.units + evidence.canary.units, 1);
}

#[tokio::test]
async fn a_canary_that_hangs_is_found_by_clients_who_give_up() {
    let mut rig = Rig::start().await;
    let hangs = rude(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    rig.serve(vec![canary(20, &[good("one").await], &[hangs], guard())]).await;
    let patience = std::time::Duration::from_millis(100);
    for _ in 0..1_000 {
        // Dropped with its connection when it takes too long, as by a browser whose user goes elsewhere.
        let _ = tokio::time::timeout(patience, rig.get("/")).await;
    }
    let report = rig.control.until("the guard tripped", |report| !report.tripped.is_empty()).await;
    assert_eq!(report.evidence[0].1.verdict, Verdict::Worse(Metric::Latency));
}
