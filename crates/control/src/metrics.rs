//! What there is to measure, in the text format that Prometheus and others read (exposition format 0.0.4).
//!
//! Names and labels are an interface: people build dashboards and alerts on them. They are listed in [`FAMILIES`], from
//! which the reference is generated; a name is added, never changed. Counts of requests are the data plane's since it
//! started: whoever reads them expects counters to begin anew.

use crate::{Observed, State, rollout::Rollout, sleep};
use model::{Certificate, Copies, ReleaseTraffic, RouteTraffic, ServiceKey, Tally};
use std::{collections::BTreeMap, fmt::Write as _};

/// A metric: its name, its kind, and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, with its unit last.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static str,
    /// What it says, one sentence.
    pub help: &'static str,
}

const fn family(name: &'static str, kind: &'static str, labels: &'static str, help: &'static str) -> Family {
    Family { name, kind, labels, help }
}

/// Every metric there is, in the order in which they are written.
#[rustfmt::skip]
pub const FAMILIES: &[Family] = &[
    family("quarterdeck_up", "gauge", "", "1 while the control plane hears from the data plane, else 0."),
    family("quarterdeck_ledger_entries", "gauge", "", "Entries of the ledger."),
    family("quarterdeck_service_replicas", "gauge", "environment, service", "Instances wanted."),
    family("quarterdeck_service_ready", "gauge", "environment, service", "Instances of the running release that are ready."),
    family("quarterdeck_service_changing", "gauge", "environment, service", "1 while a change of it is under way, else 0."),
    family("quarterdeck_service_asleep", "gauge", "environment, service", "1 while it sleeps because nobody asks for it, else 0."),
    family("quarterdeck_requests_total", "counter", "environment, service, release, outcome", "Requests by how they ended: answered, status_5xx, refused, reset, timeout, no_instance, cancelled, cut."),
    family("quarterdeck_retries_total", "counter", "environment, service, release", "First tries that were tried again on another connection or instance."),
    family("quarterdeck_hedged_requests_total", "counter", "environment, service, release", "Requests that were sent to a second instance as well because the first was slow. Each ends once."),
    family("quarterdeck_hedges_won_total", "counter", "environment, service, release", "Hedged requests in which the second instance was first."),
    family("quarterdeck_request_duration_seconds", "histogram", "environment, service, release", "How long answered requests took, first byte in to last byte out. The sum is within 3 %."),
    family("quarterdeck_requests_in_flight", "gauge", "environment, service, release", "Requests and upgraded connections under way."),
    family(
        "quarterdeck_route_requests_total",
        "counter",
        "environment, service, route, outcome",
        "Requests of the routes of one name by how they ended: as above, or cached, limited, shed, too_large, or ours, which the data plane \
         answered for another reason (sent elsewhere, under maintenance, no release).",
    ),
    family("quarterdeck_route_request_duration_seconds", "histogram", "environment, service, route", "How long the answered ones of them took, first byte in to last byte out. The sum is within 3 %."),
    family("quarterdeck_connections", "gauge", "", "Open client connections."),
    family(
        "quarterdeck_limited_requests_total",
        "counter",
        "",
        "Requests refused because their client had sent as many as it may.",
    ),
    family(
        "quarterdeck_shed_requests_total",
        "counter",
        "",
        "Requests refused because their service had as much to do as it could.",
    ),
    family(
        "quarterdeck_cached_requests_total",
        "counter",
        "",
        "Requests to which a cache had the answer: they reached no instance, and count for no release.",
    ),
    family("quarterdeck_cache_used_bytes", "gauge", "environment, service, on", "What a cache uses of the memory and the disk that it may use."),
    family(
        "quarterdeck_access_log_dropped_total",
        "counter",
        "",
        "Lines of the access log that were dropped because it could not be written as fast.",
    ),
    family("quarterdeck_unrouted_requests_total", "counter", "", "Requests that matched no route."),
    family("quarterdeck_refused_requests_total", "counter", "", "Requests refused before routing: malformed, too large, too slow."),
    family("quarterdeck_certificate_expires_timestamp_seconds", "gauge", "certificate", "When a certificate ends, in seconds since 1970. Labelled by its file, or its host and who issued it."),
    family("quarterdeck_certificate_failing", "gauge", "certificate", "1 while there is no certificate, or the next one cannot be had or used, else 0."),
    family("quarterdeck_shadow_copies_total", "counter", "environment, service, change, release, outcome", "Copies of requests to a release that gets no request yet, by how they ended. They count in no other metric of requests."),
    family("quarterdeck_shadow_compared_total", "counter", "environment, service, change, release, result", "Pairs of a request and its copy: both_fine, only_copy_failed, only_user_failed, both_failed."),
    family("quarterdeck_shadow_statuses_differ_total", "counter", "environment, service, change, release", "Pairs whose statuses are of different classes, such as 200 and 404."),
    family("quarterdeck_shadow_crowded_out_total", "counter", "environment, service, change, release", "Requests that were not copied because too many copies were under way."),
    family("quarterdeck_rollout_share", "gauge", "environment, service, change, release", "The share of the requests that the new release gets, from 0 to 1."),
    family("quarterdeck_rollout_evidence", "gauge", "environment, service, change, metric, against", "How far the proof is that the new release is `worse`, or `not_worse`: 1 convinces."),
    family("quarterdeck_rollout_excess_failures", "gauge", "environment, service, change", "Failed requests of the new release beyond what the old one's rate explains."),
];

/// Upper ends of the histogram's buckets, in microseconds.
const ENDS_US: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// All of them, with their values now. `entries`: how many the ledger has.
pub fn text(state: &State, observed: &Observed, entries: u64) -> String {
    let mut text = Text::default();
    text.value("quarterdeck_up", "", f64::from(u8::from(observed.proxy.is_some())));
    text.value("quarterdeck_ledger_entries", "", entries as f64);
    for (key, service) in state.services.iter().filter(|(_, service)| !service.removed) {
        let labels = of_service(key);
        text.value("quarterdeck_service_replicas", &labels, f64::from(service.spec.replicas));
        let ready = service.running.map_or(0, |release| state.ready(release));
        text.value("quarterdeck_service_ready", &labels, f64::from(ready));
        text.value("quarterdeck_service_changing", &labels, f64::from(u8::from(service.active.is_some())));
        text.value("quarterdeck_service_asleep", &labels, f64::from(u8::from(sleep::is_asleep(service))));
    }
    if let Some(proxy) = &observed.proxy {
        proxy.releases.iter().for_each(|traffic| release(&mut text, state, observed, traffic));
        proxy.certificates.iter().for_each(|found| certificate(&mut text, found));
        proxy.routes.iter().flatten().for_each(|traffic| route(&mut text, traffic));
        text.value("quarterdeck_connections", "", proxy.connections as f64);
        text.value("quarterdeck_limited_requests_total", "", proxy.limited as f64);
        text.value("quarterdeck_shed_requests_total", "", proxy.shed as f64);
        text.value("quarterdeck_cached_requests_total", "", proxy.cached as f64);
        for cache in &proxy.caches {
            for (on, used) in [("memory", cache.memory), ("disk", cache.disk)] {
                let labels = format!("{},on=\"{on}\"", of_service(&cache.service));
                text.value("quarterdeck_cache_used_bytes", &labels, used.0 as f64);
            }
        }
        text.value("quarterdeck_access_log_dropped_total", "", proxy.unwritten as f64);
        text.value("quarterdeck_unrouted_requests_total", "", proxy.unrouted as f64);
        text.value("quarterdeck_refused_requests_total", "", proxy.refused as f64);
    }
    for change in state.open_changes() {
        if let Some(rollout) = &change.rollout {
            self::rollout(&mut text, observed, &change.service, change.id, rollout);
        }
    }
    text.whole()
}

fn release(text: &mut Text, state: &State, observed: &Observed, traffic: &ReleaseTraffic) {
    let labels = format!("{},release=\"{}\"", of_service(&traffic.service), traffic.release);
    for (outcome, count) in outcomes(&traffic.tally) {
        text.value("quarterdeck_requests_total", &format!("{labels},outcome=\"{outcome}\""), count as f64);
    }
    text.value("quarterdeck_retries_total", &labels, traffic.tally.retried as f64);
    text.value("quarterdeck_hedged_requests_total", &labels, traffic.tally.hedged as f64);
    text.value("quarterdeck_hedges_won_total", &labels, traffic.tally.hedges_won as f64);
    text.histogram("quarterdeck_request_duration_seconds", &labels, traffic.latencies.buckets());
    let in_flight: u64 = state.instances_of(traffic.release).filter_map(|i| observed.in_flight(i.id)).sum();
    text.value("quarterdeck_requests_in_flight", &labels, in_flight as f64);
}

fn outcomes(tally: &Tally) -> [(&'static str, u64); 8] {
    [
        ("answered", tally.answered),
        ("status_5xx", tally.status_5xx),
        ("refused", tally.refused),
        ("reset", tally.reset),
        ("timeout", tally.timeout),
        ("no_instance", tally.no_instance),
        ("cancelled", tally.cancelled),
        ("cut", tally.cut),
    ]
}

fn route(text: &mut Text, traffic: &RouteTraffic) {
    let labels = format!("{},route=\"{}\"", of_service(&traffic.service), traffic.route);
    let without_release = [
        ("cached", traffic.cached),
        ("limited", traffic.limited),
        ("shed", traffic.shed),
        ("too_large", traffic.too_large),
        ("ours", traffic.ours),
    ];
    for (outcome, count) in outcomes(&traffic.tally).into_iter().chain(without_release) {
        text.value("quarterdeck_route_requests_total", &format!("{labels},outcome=\"{outcome}\""), count as f64);
    }
    text.histogram("quarterdeck_route_request_duration_seconds", &labels, traffic.latencies.buckets());
}

fn certificate(text: &mut Text, certificate: &Certificate) {
    let labels = format!("certificate=\"{}\"", escaped(&certificate.source));
    if let Some(validity) = certificate.validity {
        let seconds = (validity.until.0 / 1000) as f64;
        text.value("quarterdeck_certificate_expires_timestamp_seconds", &labels, seconds);
    }
    let is_failing = certificate.validity.is_none() || certificate.problem.is_some();
    text.value("quarterdeck_certificate_failing", &labels, f64::from(u8::from(is_failing)));
}

fn copies(text: &mut Text, labels: &str, copies: &Copies) {
    for (outcome, count) in outcomes(&copies.tally) {
        text.value("quarterdeck_shadow_copies_total", &format!("{labels},outcome=\"{outcome}\""), count as f64);
    }
    for (result, count) in [
        ("both_fine", copies.both_fine),
        ("only_copy_failed", copies.only_copy_failed),
        ("only_user_failed", copies.only_user_failed),
        ("both_failed", copies.both_failed),
    ] {
        text.value("quarterdeck_shadow_compared_total", &format!("{labels},result=\"{result}\""), count as f64);
    }
    text.value("quarterdeck_shadow_statuses_differ_total", labels, copies.statuses_differ as f64);
    text.value("quarterdeck_shadow_crowded_out_total", labels, copies.crowded_out as f64);
}

fn rollout(text: &mut Text, observed: &Observed, service: &ServiceKey, change: model::ChangeId, rollout: &Rollout) {
    let labels = format!("{},change=\"{change}\"", of_service(service));
    let share = format!("{labels},release=\"{}\"", rollout.to);
    text.value("quarterdeck_rollout_share", &share, rollout.weight.as_f64());
    if let Some(copies) = observed.copies(change).filter(|_| rollout.shadow.is_some()) {
        self::copies(text, &share, copies);
    }
    let Some(evidence) = observed.evidence(change) else { return };
    for finding in &evidence.findings {
        for (against, is, convinces) in
            [("worse", finding.worse, finding.worse_bound), ("not_worse", finding.not_worse, finding.not_worse_bound)]
        {
            let labels = format!("{labels},metric=\"{}\",against=\"{against}\"", finding.metric);
            text.value("quarterdeck_rollout_evidence", &labels, is / convinces);
        }
    }
    text.value("quarterdeck_rollout_excess_failures", &labels, evidence.excess_failures);
}

/// Names of environments, services and routes need no escaping.
fn of_service(key: &ServiceKey) -> String {
    format!("environment=\"{}\",service=\"{}\"", key.environment, key.name)
}

/// A text as the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Samples by family, so that those of one family stand together, as readers demand.
#[derive(Default)]
struct Text {
    samples: BTreeMap<&'static str, String>,
}

impl Text {
    fn value(&mut self, family: &'static str, labels: &str, value: f64) {
        self.sample(family, "", labels, value);
    }

    fn sample(&mut self, family: &'static str, part: &str, labels: &str, value: f64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.samples.entry(family).or_default(), "{family}{part}{labels} {value}");
    }

    /// Buckets as `(lowest, highest, count)` in microseconds, ascending.
    fn histogram(&mut self, family: &'static str, labels: &str, buckets: impl Iterator<Item = (u64, u64, u64)>) {
        let (mut counts, mut total, mut sum_us) = ([0_u64; ENDS_US.len()], 0, 0.0);
        for (low, high, count) in buckets {
            // Where a bucket of ours lies across an end of theirs, it counts as above: never faster than it was.
            for (end, sum) in ENDS_US.iter().zip(&mut counts) {
                *sum += if high <= *end { count } else { 0 };
            }
            total += count;
            sum_us += count as f64 * (low as f64 + high as f64) / 2.0;
        }
        for (end, count) in ENDS_US.iter().zip(counts) {
            let labels = format!("{labels},le=\"{}\"", *end as f64 / 1e6);
            self.sample(family, "_bucket", &labels, count as f64);
        }
        self.sample(family, "_bucket", &format!("{labels},le=\"+Inf\""), total as f64);
        self.sample(family, "_sum", labels, sum_us / 1e6);
        self.sample(family, "_count", labels, total as f64);
    }

    fn whole(mut self) -> String {
        let mut text = String::new();
        for Family { name, kind, help, .. } in FAMILIES {
            if let Some(samples) = self.samples.remove(name) {
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
            }
        }
        text
    }
}

/// The reference of all metrics.
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\nGenerated by `cargo xtask gen`. `GET /metrics` of the API answers them in the text format that Prometheus reads, \
         to whoever may look. Names are added, never changed. Counters are the data plane's since it started.\n\n\
         | metric | kind | labels | what it says |\n|---|---|---|---|\n",
    );
    for Family { name, kind, labels, help } in FAMILIES {
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use expect_test::expect;
    use model::{Latencies, ProxyReport, ReleaseId, Tally, Time, Validity};

    #[test]
    fn certificates_say_when_they_end_and_whether_the_next_one_fails() {
        let mut b = Bench::with_shop();
        let certificate = |source: &str, until: Option<u64>, problem: Option<&str>| Certificate {
            source: source.to_owned(),
            names: Vec::new(),
            validity: until.map(|until| Validity { from: Time(0), until: Time(until) }),
            problem: problem.map(str::to_owned),
            next_try: None,
        };
        let certificates = vec![
            certificate("a \"b\" \\.pem", Some(1_800_000_000_999), None),
            certificate("shop.example.com from ca", Some(1_700_000_000_000), Some("it is refused")),
            certificate("new.pem", None, None),
        ];
        b.observed.take_report(ProxyReport { certificates, ..ProxyReport::default() });
        let text = text(&b.state, &b.observed, 12);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("quarterdeck_certificate")).collect();
        expect![[r#"
            quarterdeck_certificate_expires_timestamp_seconds{certificate="a \"b\" \\.pem"} 1800000000
            quarterdeck_certificate_expires_timestamp_seconds{certificate="shop.example.com from ca"} 1700000000
            quarterdeck_certificate_failing{certificate="a \"b\" \\.pem"} 0
            quarterdeck_certificate_failing{certificate="shop.example.com from ca"} 1
            quarterdeck_certificate_failing{certificate="new.pem"} 1"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn requests_are_counted_by_service_release_and_outcome() {
        let mut b = Bench::with_shop();
        let mut latencies = Latencies::default();
        [400, 3_000, 3_000, 60_000_000].into_iter().for_each(|us| latencies.record(us));
        let traffic = ReleaseTraffic {
            service: "shop".parse().unwrap(),
            release: ReleaseId(1),
            tally: Tally { answered: 4, status_5xx: 2, ..Tally::default() },
            latencies,
            waiting: 0,
        };
        b.observed.take_report(ProxyReport { releases: vec![traffic], connections: 7, ..ProxyReport::default() });
        let text = text(&b.state, &b.observed, 12);
        let some: String = text
            .lines()
            .filter(|line| {
                ["shop_", "duration", "5xx", "answered", "connections", "entries", "ready"]
                    .iter()
                    .any(|part| line.contains(part))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        expect![[r##"
            # HELP quarterdeck_ledger_entries Entries of the ledger.
            # TYPE quarterdeck_ledger_entries gauge
            quarterdeck_ledger_entries 12
            # HELP quarterdeck_service_ready Instances of the running release that are ready.
            # TYPE quarterdeck_service_ready gauge
            quarterdeck_service_ready{environment="production",service="shop"} 2
            # HELP quarterdeck_requests_total Requests by how they ended: answered, status_5xx, refused, reset, timeout, no_instance, cancelled, cut.
            quarterdeck_requests_total{environment="production",service="shop",release="REL-1",outcome="answered"} 4
            quarterdeck_requests_total{environment="production",service="shop",release="REL-1",outcome="status_5xx"} 2
            # HELP quarterdeck_request_duration_seconds How long answered requests took, first byte in to last byte out. The sum is within 3 %.
            # TYPE quarterdeck_request_duration_seconds histogram
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.0005"} 1
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.001"} 1
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.0025"} 1
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.005"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.01"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.025"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.05"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.1"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.25"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="0.5"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="1"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="2.5"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="5"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="10"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="30"} 3
            quarterdeck_request_duration_seconds_bucket{environment="production",service="shop",release="REL-1",le="+Inf"} 4
            quarterdeck_request_duration_seconds_sum{environment="production",service="shop",release="REL-1"} 59.775254
            quarterdeck_request_duration_seconds_count{environment="production",service="shop",release="REL-1"} 4
            # HELP quarterdeck_requests_in_flight Requests and upgraded connections under way.
            # HELP quarterdeck_connections Open client connections.
            # TYPE quarterdeck_connections gauge
            quarterdeck_connections 7
        "##]].assert_eq(&some);
    }

    #[test]
    fn caches_say_how_full_they_are() {
        let mut b = Bench::with_shop();
        let shop = model::CacheUse {
            service: "shop".parse().unwrap(),
            memory: model::Bytes(4096),
            disk: model::Bytes::mib(3),
        };
        b.observed.take_report(ProxyReport { caches: vec![shop], ..ProxyReport::default() });
        let text = text(&b.state, &b.observed, 12);
        let some: String =
            text.lines().filter(|line| line.contains("_cache_")).map(|line| format!("{line}\n")).collect();
        expect![[r##"
            # HELP quarterdeck_cache_used_bytes What a cache uses of the memory and the disk that it may use.
            # TYPE quarterdeck_cache_used_bytes gauge
            quarterdeck_cache_used_bytes{environment="production",service="shop",on="memory"} 4096
            quarterdeck_cache_used_bytes{environment="production",service="shop",on="disk"} 3145728
        "##]]
        .assert_eq(&some);
    }

    #[test]
    fn routes_with_a_name_are_counted_by_it_as_long_as_they_were_reported_once() {
        let mut b = Bench::with_shop();
        let mut latencies = Latencies::default();
        [400, 3_000].into_iter().for_each(|us| latencies.record(us));
        let traffic = RouteTraffic {
            service: "shop".parse().unwrap(),
            route: "upload".parse().unwrap(),
            tally: Tally { answered: 2, timeout: 1, ..Tally::default() },
            cached: 3,
            limited: 4,
            shed: 5,
            too_large: 6,
            ours: 7,
            latencies,
        };
        b.observed.take_report(ProxyReport { routes: Some(vec![traffic]), ..ProxyReport::default() });
        b.observed.take_report(ProxyReport { connections: 1, ..ProxyReport::default() });
        let text = text(&b.state, &b.observed, 12);
        let some: String = text
            .lines()
            .filter(|line| line.contains("_route_") && !line.starts_with('#'))
            .filter(|line| !line.contains("le=") || line.contains("le=\"0.005\"") || line.contains("Inf"))
            .map(|line| format!("{line}\n"))
            .collect();
        expect![[r#"
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="answered"} 2
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="status_5xx"} 0
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="refused"} 0
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="reset"} 0
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="timeout"} 1
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="no_instance"} 0
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="cancelled"} 0
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="cut"} 0
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="cached"} 3
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="limited"} 4
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="shed"} 5
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="too_large"} 6
            quarterdeck_route_requests_total{environment="production",service="shop",route="upload",outcome="ours"} 7
            quarterdeck_route_request_duration_seconds_bucket{environment="production",service="shop",route="upload",le="0.005"} 2
            quarterdeck_route_request_duration_seconds_bucket{environment="production",service="shop",route="upload",le="+Inf"} 2
            quarterdeck_route_request_duration_seconds_sum{environment="production",service="shop",route="upload"} 0.003415
            quarterdeck_route_request_duration_seconds_count{environment="production",service="shop",route="upload"} 2
        "#]].assert_eq(&some);
    }

    #[test]
    fn every_sample_belongs_to_a_family_and_is_well_formed() {
        let text = text(&Bench::with_shop().state, &Observed::default(), 3);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            assert!(FAMILIES.iter().any(|family| name.starts_with(family.name)), "{line}");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        }
    }
}
