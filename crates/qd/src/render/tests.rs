use super::*;
use control::{
    change::{Class, Outcome, Phase, Plan, PlannedChange, propose::Step},
    release::Standing,
    view::{
        ChangeView, Health, InstanceView, ProxyView, ReleaseView, RolloutView, ServiceView, ShadowView, Status,
        TrafficView,
    },
};
use expect_test::{Expect, expect};
use model::{
    AbsoluteLimit, ArmBounds, ArmFigures, ChangeId, ClosedAddress, Copies, Digest, Evidence, Finding, InstanceId,
    Latencies, LatencyBounds, LimitFinding, Metric, Ratio, ReleaseId, RouteMatch, Span, Strategy, Tally, Time, Verdict,
};

const PLAIN: Ink = Ink { colour: false, width: 80 };
const NOW: Time = Time(1_790_000_000_000);

/// The text is as expected, and no line of it is wider than it may be.
fn check(text: &str, expected: Expect) {
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    assert!(widest <= PLAIN.width, "a line of {widest} characters in\n{text}");
    expected.assert_eq(text);
}

fn ago(span: Span) -> Time {
    Time(NOW.0 - span.0)
}

fn service(health: Health, ready: u32) -> ServiceView {
    ServiceView {
        service: "shop".parse().unwrap(),
        health,
        running: Some(ReleaseView {
            id: ReleaseId(3),
            label: Some("v2".to_owned()),
            artifact: Digest::of(b"v2"),
            standing: Standing::Proven,
        }),
        rollback_target: Some(ReleaseId(2)),
        asleep_since: None,
        replicas: 2,
        ready,
        instances: Vec::new(),
        routes: vec![RouteMatch::prefix(Some("shop.localhost"), "/"), RouteMatch::prefix(None, "/api")],
        tcp: Vec::new(),
        traffic: Some(TrafficView {
            window: Span::seconds(30),
            per_second: 1_124.4,
            failure_rate: 0.0021,
            tally: Tally { answered: 33_600, status_5xx: 70, reset: 1, ..Tally::default() },
            latency_ms_p50: Some(3.12),
            latency_ms_p99: Some(18.0),
        }),
        change: Some(ChangeId(4)),
    }
}

fn latencies(ms: &[u64]) -> Latencies {
    let mut all = Latencies::default();
    ms.iter().for_each(|ms| all.record(ms * 1_000));
    all
}

fn planned() -> PlannedChange {
    let step = |what: &str, because: &str| Step { what: what.to_owned(), because: because.to_owned() };
    PlannedChange {
        service: "shop".parse().unwrap(),
        kind: "deploy".to_owned(),
        class: Class::Normal,
        steps: vec![
            step("create a release of shop from artifact 0123456789ab", "with the configuration ba9876543210"),
            step(
                "send the new release 1 %, 5 %, 10 %, 25 %, 50 % of the requests, each for at least 10 s",
                "every request is evidence; few users feel a bad release",
            ),
        ],
        blast_radius: "at most 1 % of the requests to shop until the first verdict".to_owned(),
        reversibility: "at once, REL-3 keeps running".to_owned(),
        digest: Digest::of(b"plan"),
    }
}

fn deploy(phase: Phase) -> ChangeView {
    let finding =
        Finding { metric: Metric::Failures, worse: 0.83, worse_bound: 6.9, not_worse: 1.8, not_worse_bound: 3.0 };
    ChangeView {
        id: ChangeId(4),
        service: "shop".parse().unwrap(),
        kind: "deploy".to_owned(),
        class: Class::Normal,
        phase,
        open: phase.is_open(),
        outcome: phase.outcome(),
        actor: "ann".to_owned(),
        reason: "faster checkout".to_owned(),
        proposed_at: ago(Span::seconds(130)),
        ended_at: None,
        progress: "REL-4 gets 10 % of the requests; not decided yet".to_owned(),
        plan: planned(),
        approvals_needed: 0,
        approvals: Vec::new(),
        rollout: Some(RolloutView {
            strategy: Strategy::Canary,
            from: Some(ReleaseId(3)),
            to: ReleaseId(4),
            ready: 2,
            replicas: 2,
            weight: Ratio::from_percent(10).unwrap(),
            step: Some(3),
            steps: 5,
            shadow: None,
            deadline: Some(NOW + Span::minutes(58)),
            warm_until: None,
            evidence: Some(Evidence {
                verdict: Verdict::Undecided,
                running: ArmFigures { units: 10_822, failed: 40, latencies: latencies(&[3, 3, 18]) },
                canary: ArmFigures { units: 1_203, failed: 5, latencies: latencies(&[3, 3, 20]) },
                findings: vec![finding],
                units_needed: Some(4_000),
                running_bounds: bounds([0.0026, 0.0051], (2_900, Some(3_200)), (17_000, Some(21_000))),
                canary_bounds: bounds([0.0011, 0.0121], (2_800, Some(3_300)), (16_000, None)),
                limits: vec![LimitFinding {
                    limit: AbsoluteLimit::Latency { quantile: Ratio::from_percent(99).unwrap(), below: Span(400) },
                    units: 1_198,
                    beyond: 3,
                    broken: -2.0,
                    broken_bound: 8.3,
                }],
                excess_failures: 0.55,
                exposure: Some(20),
                ..Evidence::default()
            }),
            units_per_second: Some(800.0),
            time_needed: Some(Span::seconds(5)),
        }),
    }
}

fn bounds(failure_rate: [f64; 2], p50: (u64, Option<u64>), p99: (u64, Option<u64>)) -> Option<ArmBounds> {
    let of = |(at_least_us, at_most_us)| LatencyBounds { at_least_us, at_most_us };
    Some(ArmBounds { failure_rate, p50: of(p50), p99: of(p99) })
}

fn proxy() -> ProxyView {
    ProxyView {
        listening: vec!["0.0.0.0:8080".parse().unwrap()],
        listening_tls: Vec::new(),
        closed_tcp: Vec::new(),
        certificates: Vec::new(),
        up_to_date: true,
        connections: 12,
        unrouted: 0,
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_shown_with_its_service() {
    let address = "127.0.0.1:5432".parse().unwrap();
    let why = "127.0.0.1:5432 is already taken by another program".to_owned();
    let db = ServiceView { routes: Vec::new(), tcp: vec![address], traffic: None, ..service(Health::Ok, 2) };
    let proxy = ProxyView { closed_tcp: vec![ClosedAddress { address, why }], ..proxy() };
    let view = Status { at: NOW, services: vec![db], changes: Vec::new(), proxy: Some(proxy) };
    check(
        &status(&view, PLAIN),
        expect![[r#"
        The service that runs is well.

        shop  ok · REL-3 “v2” · 2 of 2 ready
          no requests lately
          tcp://127.0.0.1:5432
          no connection comes in: 127.0.0.1:5432 is already taken by another program
          `qd rollback shop` returns to REL-2
    "#]],
    );
}

#[test]
fn a_service_that_is_well_while_it_changes() {
    let view = Status {
        at: NOW,
        services: vec![service(Health::Ok, 2)],
        changes: vec![deploy(Phase::Running)],
        proxy: Some(proxy()),
    };
    check(
        &status(&view, PLAIN),
        expect![[r#"
            The service that runs is well.

            shop  ok · REL-3 “v2” · 2 of 2 ready
              1,124 req/s · 0.21 % failed · p50 3.1 ms · p99 18 ms · last 30 s
              70 requests answered with 5xx · 1 request broke off
              http://shop.localhost:8080/ · http://127.0.0.1:8080/api
              `qd rollback shop` returns to REL-2

              CHG-4  deploy shop  running · by ann · 2m 10s ago
                “faster checkout”
                step 3 of 5: REL-4 gets 10 % of the requests; not decided yet
                REL-4  5 of 1,203 failed (0.42 %) · p50 3.0 ms · p99 20 ms
                  likely 0.11 % to 1.2 % fail · p50 2.8 ms to 3.3 ms · p99 at least 16 ms
                REL-3  40 of 10,822 failed (0.37 %) · p50 3.0 ms · p99 18 ms
                  likely 0.26 % to 0.51 % fail · p50 2.9 ms to 3.2 ms · p99 17 ms to 21 ms
                proof that it is worse      █░░░░░░░░░ 12 % · e-value 2.3 of 992
                proof that it is not worse  ██████░░░░ 60 %
                about 4,000 requests more, 5 s at this rate
                limit p99 < 400 ms · 3 of 1,198 beyond · proof that it is broken 0 %
                0.6 of 20 failed requests of its exposure spent
                to be decided within 58m
                qd promote CHG-4 · qd pause CHG-4 · qd cancel CHG-4
        "#]],
    );
}

#[test]
fn a_service_that_sleeps_is_well_and_says_so() {
    let since = Some(ago(Span::minutes(8)));
    let asleep = ServiceView { asleep_since: since, traffic: None, change: None, ..service(Health::Asleep, 0) };
    let view = Status { at: NOW, services: vec![asleep], changes: Vec::new(), proxy: None };
    check(
        &status(&view, PLAIN),
        expect![[r#"
        The data plane is silent. It goes on with its last table; nothing is judged
        meanwhile. `qd doctor` shows more.
        The service that runs is well.

        shop  asleep · REL-3 “v2” · 0 of 2 ready
          no requests lately
          shop.localhost/ · /api
          asleep for 8m, because nobody asks for it; a request wakes it up
          `qd rollback shop` returns to REL-2
    "#]],
    );
}

#[test]
fn what_is_wrong_comes_first() {
    let mut down = service(Health::Down, 0);
    down.service = "billing".parse().unwrap();
    down.traffic = None;
    let waiting = |id, condition: &str, detail: &str| InstanceView {
        id: InstanceId(id),
        release: ReleaseId(3),
        condition: condition.to_owned(),
        since: ago(Span::seconds(12)),
        detail: detail.to_owned(),
        address: None,
        attempt: 3,
    };
    down.instances = vec![
        waiting(7, "starting", "listens on 127.0.0.1:9000, not on PORT=31007, and has done so since it was started"),
        waiting(8, "ready", ""),
    ];
    let mut empty = service(Health::Empty, 0);
    empty.service = "staging/new".parse().unwrap();
    (empty.running, empty.traffic, empty.rollback_target) = (None, None, None);
    let view =
        Status { at: NOW, services: vec![down, service(Health::Ok, 2), empty], changes: Vec::new(), proxy: None };
    check(
        &status(&view, PLAIN),
        expect![[r#"
            The data plane is silent. It goes on with its last table; nothing is judged
            meanwhile. `qd doctor` shows more.
            1 of 3 services: billing is down

            billing  down · REL-3 “v2” · 0 of 2 ready
              no requests lately
              shop.localhost/ · /api
              INS-7 of REL-3 starting for 12 s, run 3: listens on 127.0.0.1:9000, not on
              PORT=31007, and has done so since it was started
              `qd rollback billing` returns to REL-2

            shop  ok · REL-3 “v2” · 2 of 2 ready
              1,124 req/s · 0.21 % failed · p50 3.1 ms · p99 18 ms · last 30 s
              70 requests answered with 5xx · 1 request broke off
              shop.localhost/ · /api
              `qd rollback shop` returns to REL-2

            staging/new  not deployed yet
              shop.localhost/ · /api
              run it with `qd deploy staging/new PATH`
        "#]],
    );
}

#[test]
fn nothing_yet() {
    let view = Status { at: NOW, services: Vec::new(), changes: Vec::new(), proxy: Some(proxy()) };
    check(
        &status(&view, PLAIN),
        expect![[r#"
        Nothing is declared yet: write services into quarterdeck.toml and run `qd
        apply`.
    "#]],
    );
}

#[test]
fn colour_changes_no_word() {
    let view = Status {
        at: NOW,
        services: vec![service(Health::Degraded, 1)],
        changes: vec![deploy(Phase::Paused)],
        proxy: Some(proxy()),
    };
    let coloured = status(&view, Ink { colour: true, ..PLAIN });
    assert!(coloured.contains('\x1b'));
    let mut plain = String::new();
    let mut parts = coloured.split('\x1b');
    plain.extend(parts.next());
    plain.extend(parts.map(|part| part.split_once('m').unwrap().1));
    assert_eq!(plain, status(&view, PLAIN));
}

#[test]
fn a_plan_says_what_why_who_feels_it_and_how_to_undo_it() {
    let view = Plan { changes: vec![planned()], digest: Digest::of(b"all"), approvals: 2 };
    check(
        &plan(&view, PLAIN),
        expect![[r#"
        deploy shop
          1. create a release of shop from artifact 0123456789ab
               with the configuration ba9876543210
          2. send the new release 1 %, 5 %, 10 %, 25 %, 50 % of the requests, each for
             at least 10 s
               every request is evidence; few users feel a bad release
          If it goes wrong: at most 1 % of the requests to shop until the first verdict.
          To undo it: at once, REL-3 keeps running.

        It waits for 2 approvals by others.
        plan 5ef5ef0364b6939c4ca61f34b393f7b368d1be8619647aaf83d5b395919ab629
    "#]],
    );
    let nothing = Plan { changes: Vec::new(), digest: Digest::of(b""), approvals: 0 };
    assert_eq!(plan(&nothing, PLAIN), "Nothing would change.\n");
}

#[test]
fn a_change_that_waits_says_for_whom_and_what_can_be_done() {
    let mut view = deploy(Phase::WaitingApproval);
    view.rollout = None;
    view.progress = "1 of 2 approvals".to_owned();
    view.approvals = vec!["bob".to_owned()];
    check(
        &change(&view, NOW, PLAIN),
        expect![[r#"
        CHG-4  deploy shop  waiting for approval · by ann · 2m 10s ago
          “faster checkout”
          1 of 2 approvals
          approved by bob
          qd approve CHG-4 · qd cancel CHG-4
    "#]],
    );
}

#[test]
fn a_log_gets_one_line_for_each_event() {
    let view = deploy(Phase::Running);
    expect!["CHG-4: step 3 of 5, REL-4 gets 10 % of the requests; not decided yet (REL-4 5 of 1,203 failed, REL-3 40 of 10,822 failed; proof of worse 12 %, of not worse 60 %)"]
        .assert_eq(&(progress_line(&view) + &figures_line(&view)));
}

#[test]
fn a_release_that_gets_copies_shows_what_became_of_them() {
    let mut view = deploy(Phase::Running);
    view.progress = "REL-4 gets copies of 10 % of the safe requests, and no request, until 200 are compared".to_owned();
    if let Some(rollout) = &mut view.rollout {
        let copies = Copies {
            both_fine: 130,
            only_copy_failed: 4,
            statuses_differ: 5,
            crowded_out: 3,
            latencies: latencies(&[3, 3, 18]),
            ..Copies::default()
        };
        let share = Ratio::from_percent(10).unwrap();
        rollout.shadow = Some(ShadowView { share, requests: 200, copies, worse: 2.0, worse_bound: 7.6 });
        (rollout.step, rollout.evidence, rollout.weight) = (None, None, Ratio::ZERO);
    }
    check(
        &change(&view, NOW, PLAIN),
        expect![[r#"
        CHG-4  deploy shop  running · by ann · 2m 10s ago
          “faster checkout”
          REL-4 gets copies of 10 % of the safe requests, and no request, until 200 are
          compared
          134 of 200 copies compared · p50 3.0 ms · p99 18 ms
          both fine 130 · only REL-4 failed 4 · only REL-3 failed 0 · both failed 0
          statuses differ 5
          proof that copies fail more  ███░░░░░░░ 26 %
          3 requests not copied: too many copies were under way
          to be decided within 58m
          qd promote CHG-4 · qd pause CHG-4 · qd cancel CHG-4
    "#]],
    );
    expect!["CHG-4: REL-4 gets copies of 10 % of the safe requests, and no request, until 200 are compared (134 copies compared: both fine 130, only REL-4 failed 4, only REL-3 failed 0, both failed 0; statuses differ 5, p99 of the copies 17.9 ms)"].assert_eq(&(progress_line(&view) + &figures_line(&view)));
}

#[test]
fn what_an_instance_waits_for_has_a_subject() {
    let mut view = deploy(Phase::Running);
    (view.rollout, view.progress) = (None, "0 of 2 instances are ready: is being launched".to_owned());
    assert_eq!(progress_line(&view), "CHG-4: 0 of 2 instances are ready; one is being launched");
    view.progress = "0 of 2 instances are ready: nothing listens on port 31007".to_owned();
    assert_eq!(progress_line(&view), "CHG-4: 0 of 2 instances are ready: nothing listens on port 31007");
}

#[test]
fn an_outcome_says_how_why_and_what_next() {
    let mut undone = deploy(Phase::RolledBack);
    undone.progress = "REL-4 fails more often: 61 of 1,203 against 40 of 10,822".to_owned();
    assert_eq!(undone.outcome, Some(Outcome::RolledBack));
    check(
        &outcome(&undone, PLAIN),
        expect![[r#"
            CHG-4 was rolled back: REL-4 fails more often: 61 of 1,203 against 40 of 10,822
              REL-4  5 of 1,203 failed (0.42 %) · p50 3.0 ms · p99 20 ms
                likely 0.11 % to 1.2 % fail · p50 2.8 ms to 3.3 ms · p99 at least 16 ms
              REL-3  40 of 10,822 failed (0.37 %) · p50 3.0 ms · p99 18 ms
                likely 0.26 % to 0.51 % fail · p50 2.9 ms to 3.2 ms · p99 17 ms to 21 ms
              proof that it is worse      █░░░░░░░░░ 12 % · e-value 2.3 of 992
              proof that it is not worse  ██████░░░░ 60 %
              about 4,000 requests more, 5 s at this rate
              limit p99 < 400 ms · 3 of 1,198 beyond · proof that it is broken 0 %
              0.6 of 20 failed requests of its exposure spent
            `qd why CHG-4` tells the whole story
        "#]],
    );
    check(
        &outcome(&deploy(Phase::HoldingBack), PLAIN),
        expect![[r#"
        CHG-4: REL-4 is promoted; REL-3 stays warm, `qd rollback shop` returns to it at
        once
    "#]],
    );
}

#[test]
fn changes_are_listed_in_two_lines_each() {
    check(
        &change_rows(&[deploy(Phase::Running), deploy(Phase::Succeeded)], NOW, PLAIN),
        expect![[r#"
        CHG-4  deploy shop  running · ann · 2m 10s ago
          “faster checkout” REL-4 gets 10 % of the requests; not decided yet
        CHG-4  deploy shop  succeeded · ann · 2m 10s ago
          “faster checkout” REL-4 gets 10 % of the requests; not decided yet
    "#]],
    );
    assert_eq!(change_rows(&[], NOW, PLAIN), "There are none.\n");
}

#[test]
fn texts_are_broken_between_words_and_pieces_between_dots() {
    assert_eq!(wrap("one two three", 8, "  "), "  one\n  two\n  three\n");
    assert_eq!(wrap("", 8, "  "), "");
    let narrow = Ink { colour: false, width: 14 };
    assert_eq!(narrow.flow("  ", ["aaaa".to_owned(), "bbbb".to_owned(), "cc".to_owned()]), "  aaaa · bbbb\n  cc\n");
}

#[test]
fn figures_read_well() {
    assert_eq!(
        [(1, "entry"), (2, "entry"), (1_200, "instance")].map(|(n, one)| many(n, one)),
        ["1 entry", "2 entries", "1,200 instances"]
    );
    assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([0.0, 0.00001, 0.0042, 0.12].map(figures::percent), ["0 %", "< 0.01 %", "0.42 %", "12 %"]);
    assert_eq!([3.12, 18.0, 12_000.0].map(figures::latency), ["3.1 ms", "18 ms", "12.0 s"]);
}
