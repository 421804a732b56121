use super::*;
use model::{ReleaseTraffic, Time};

fn report(started: u64, at: u64, generation: u64, answered: u64) -> ProxyReport {
    let traffic = ReleaseTraffic {
        service: "shop".parse().unwrap(),
        release: ReleaseId(1),
        tally: Tally { answered, ..Tally::default() },
        latencies: Latencies::default(),
        waiting: 0,
    };
    ProxyReport { started: Time(started), at: Time(at), generation, releases: vec![traffic], ..ProxyReport::default() }
}

#[test]
fn a_window_is_the_difference_of_two_reports_of_one_process() {
    let mut observed = Observed::default();
    observed.take_report(report(1, 1_000, 1, 100));
    observed.take_report(report(1, 3_000, 1, 150));
    let recent = observed.recent(ReleaseId(1));
    assert_eq!((recent.window, recent.tally.answered), (Span::seconds(2), 50));
    // Another process counts anew.
    observed.take_report(report(2, 4_000, 1, 7));
    assert_eq!(observed.recent(ReleaseId(1)).tally.answered, 0);
    observed.take_report(report(2, 5_000, 1, 9));
    assert_eq!(observed.recent(ReleaseId(1)).tally.answered, 2);
}

#[test]
fn a_report_under_an_earlier_table_is_late() {
    let mut observed = Observed::default();
    observed.take_report(report(1, 1_000, 5, 100));
    observed.take_report(report(1, 1_100, 4, 90));
    assert_eq!(observed.proxy.as_ref().unwrap().generation, 5);
    // A new process may well begin with an older table that it found on disk.
    observed.take_report(report(2, 1_200, 4, 0));
    assert_eq!(observed.proxy.unwrap().generation, 4);
}

#[test]
fn a_clock_that_goes_back_does_not_stop_the_windows() {
    let mut observed = Observed::default();
    observed.take_report(report(1, 9_000_000, 1, 100));
    observed.take_report(report(1, 1_000, 1, 110));
    observed.take_report(report(1, 2_000, 1, 130));
    let recent = observed.recent(ReleaseId(1));
    assert_eq!((recent.window, recent.tally.answered), (Span::seconds(1), 20));
}

#[test]
fn silence_is_not_nothing() {
    let mut observed = Observed::default();
    assert_eq!(observed.in_flight(InstanceId(1)), None);
    observed.take_report(report(1, 1_000, 1, 0));
    assert_eq!(observed.in_flight(InstanceId(1)), Some(0));
    observed.lose_proxy();
    assert_eq!(observed.in_flight(InstanceId(1)), None);
}
