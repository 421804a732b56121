//! The share that grows with the evidence, and what may end it besides the comparison.

use crate::story::Story;
use control::change::Phase;
use expect_test::expect;
use model::{AbsoluteLimit, OnDeadline, Ratio, ServiceSpec, Span};

fn percent(n: u32) -> Ratio {
    Ratio::from_percent(n).expect("at most 100")
}

/// A service whose canaries grow by evidence.
fn by_evidence(spec: &mut ServiceSpec) {
    spec.rollout.steps = Vec::new();
}

#[test]
fn a_good_canary_gets_more_as_more_is_known_of_it() {
    let mut s = Story::with_shop(by_evidence);
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 1 % of the requests
        +2.000 s  the new release gets 2 % of the requests
        +3.000 s  the new release gets 3 % of the requests
        +4.000 s  the new release gets 5 % of the requests
        +5.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 18 % of the requests
        +7.000 s  the new release gets 28 % of the requests
        +8.000 s  the new release gets 50 % of the requests
        +9.000 s  judged: REL-2 is not worse (e-value 23, 20 needed); REL-2 0 of 177 failed (0.00 %, likely at most 3.4 %), p99 30.2 ms; REL-1 6 of 1323 failed (0.45 %, likely 0.06 % to 1.5 %), p99 30.2 ms
        +9.000 s  REL-2 gets all requests: it is not worse than REL-1
        +29.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
    assert_eq!(s.lost(), 0);
}

#[test]
fn a_broken_canary_costs_a_few_requests_whatever_the_traffic_is() {
    for per_second in [20, 2_000] {
        let mut s = Story::with_shop(by_evidence);
        s.traffic("shop", per_second);
        s.version("v2").fails(1.0);
        let change = s.deploy("shop", "v2");
        s.run_until_phase(change, Phase::RolledBack);
        let failed: u64 = s.requests().lines().filter(|line| line.starts_with("REL-2")).map(failed).sum();
        assert!((2..12).contains(&failed), "{per_second} requests/s: {}", s.requests());
    }
}

fn failed(line: &str) -> u64 {
    let count = line.split(", ").nth(1).and_then(|part| part.split(' ').next());
    count.and_then(|count| count.parse().ok()).expect("a count of failed requests")
}

#[test]
fn a_busy_service_with_a_small_exposure_grows_more_slowly() {
    let weight_after = |exposure| {
        let mut s = Story::with_shop(|spec| {
            by_evidence(spec);
            spec.rollout.judgement.exposure = exposure;
            spec.rollout.min_time = Span::minutes(1);
        });
        s.traffic("shop", 1_000);
        let change = s.deploy("shop", "v2");
        s.run(Span::seconds(6));
        s.state().changes[&change].rollout.as_ref().map(|r| r.weight)
    };
    assert!(weight_after(Some(3)) < weight_after(None), "{:?} {:?}", weight_after(Some(3)), weight_after(None));
}

#[test]
fn a_canary_is_stopped_when_its_exposure_is_spent_although_nothing_is_proven() {
    let mut s = Story::with_shop(|spec| {
        spec.rollout.steps = vec![percent(10)];
        spec.rollout.judgement.exposure = Some(5);
        spec.rollout.judgement.false_alarm = Ratio::from_ppm(1).expect("a ratio");
    });
    s.version("v2").fails(0.03);
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +7.100 s  judged: undecided, and its exposure budget is spent; REL-2 6 of 134 failed (4.48 %, likely 0.77 % to 13 %), p99 30.2 ms; REL-1 1 of 1056 failed (0.09 %, likely at most 0.95 %), p99 29.2 ms
        +7.100 s  REL-2 gets no requests any more: undecided when its exposure was spent: 5.9 more requests failed than with REL-1, 5 were allowed
        +7.100 s  CHG-3 was rolled back: undecided when its exposure was spent: 5.9 more requests failed than with REL-1, 5 were allowed
    "#]]);
}

#[test]
fn a_limit_that_is_shown_to_be_broken_ends_a_rollout_though_both_releases_are_alike() {
    let mut s = Story::with_shop(|spec| {
        let limit = AbsoluteLimit::Latency { quantile: percent(90), below: Span(25) };
        spec.rollout.judgement.limits = vec![limit, AbsoluteLimit::Failures(percent(5))];
        spec.rollout.on_deadline = OnDeadline::Hold;
    });
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +8.100 s  judged: REL-2 breaks “p90 < 25 ms” (e-value 16109, 8000 needed); REL-2 0 of 126 failed (0.00 %, likely at most 4.6 %), p99 30.2 ms; REL-1 6 of 1257 failed (0.48 %, likely 0.06 % to 1.6 %), p99 30.2 ms
        +8.100 s  REL-2 gets no requests any more: it breaks “p90 < 25 ms”: 32 of 126 took 25 ms or more
        +8.100 s  CHG-3 was rolled back: it breaks “p90 < 25 ms”: 32 of 126 took 25 ms or more
    "#]]);
}

#[test]
fn a_good_canary_waits_for_its_minimum_time() {
    let mut s = Story::with_shop(|spec| spec.rollout.min_time = Span::minutes(2));
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 50 % of the requests
        +121.000 s  judged: REL-2 is not worse (e-value 386, 20 needed); REL-2 25 of 11519 failed (0.22 %, likely 0.09 % to 0.44 %), p99 30.2 ms; REL-1 26 of 12381 failed (0.21 %, likely 0.09 % to 0.42 %), p99 30.2 ms
        +121.000 s  REL-2 gets all requests: it is not worse than REL-1
        +141.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);
}

#[test]
fn the_old_release_keeps_a_share_after_the_promotion_and_the_two_are_compared_further() {
    let keep = |spec: &mut ServiceSpec| {
        spec.rollout.hold_back = Span::seconds(60);
        spec.rollout.hold_back_share = percent(10);
    };
    let mut s = Story::with_shop(keep);
    s.deploy("shop", "v2");
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 50 % of the requests
        +11.000 s  judged: REL-2 is not worse (e-value 142, 20 needed); REL-2 2 of 571 failed (0.35 %, likely 0.01 % to 2.1 %), p99 29.2 ms; REL-1 5 of 1329 failed (0.38 %, likely 0.04 % to 1.4 %), p99 30.2 ms
        +11.000 s  REL-2 gets 90 % of the requests, the old release keeps the rest for now: it is not worse than REL-1
        +71.000 s  CHG-3 succeeded: REL-2 has all requests
    "#]]);

    // Compared with what runs beside it, a release that turns slow is found, and not only one that fails.
    let mut s = Story::with_shop(keep);
    let change = s.deploy("shop", "v2");
    s.run_until_phase(change, Phase::HoldingBack);
    s.run(Span::seconds(5));
    s.version("v2").takes(Span(60));
    s.run_until_settled();
    s.expect(expect![[r#"
        +0.000 s  ann proposed CHG-3: deploy shop (plan …) — “because”
        +0.000 s  CHG-3 started
        +0.000 s  REL-2 “v2” of shop: artifact …, configuration …
        +0.000 s  REL-2 begins to take over from REL-1 (canary)
        +1.000 s  INS-3 is ready
        +1.000 s  INS-4 is ready
        +1.000 s  the new release gets 10 % of the requests
        +6.000 s  the new release gets 50 % of the requests
        +11.000 s  judged: REL-2 is not worse (e-value 142, 20 needed); REL-2 2 of 571 failed (0.35 %, likely 0.01 % to 2.1 %), p99 29.2 ms; REL-1 5 of 1329 failed (0.38 %, likely 0.04 % to 1.4 %), p99 30.2 ms
        +11.000 s  REL-2 gets 90 % of the requests, the old release keeps the rest for now: it is not worse than REL-1
        +17.000 s  judged: REL-2 is worse by its latency (e-value 3107, 3000 needed); REL-2 4 of 1675 failed (0.24 %, likely 0.02 % to 0.99 %), p99 84.0 ms; REL-1 6 of 1496 failed (0.40 %, likely 0.05 % to 1.3 %), p99 30.2 ms
        +17.000 s  REL-2 gets no requests any more: it is slower than REL-1
        +17.000 s  CHG-3 was rolled back: it is slower than REL-1
    "#]]);
    assert_eq!(s.lost(), 0);
}
