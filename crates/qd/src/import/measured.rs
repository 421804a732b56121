//! What a query measures: the share of requests that fail, or a quantile of their latency. Which requests fail is told by
//! the labels of their status, over every status there is, so that nothing is guessed from a name.
//!
//! What always holds: what the query counts and what is counted here are compared status by status, and every
//! difference becomes a note.

use super::{
    measure::{Measure, Unread},
    pattern::Pattern,
    promql::{Matcher, Query, Selector},
    service::Figure,
};
use std::ops::RangeInclusive;

/// What is asked for where nothing else helps.
const YOURSELF: &str = "write the limit yourself: `failures < …` or `pNN < …`";

/// What a query measures.
pub(super) fn measured(query: &Query) -> Result<Measure, Unread> {
    match query {
        Query::Number(_) => Err(Unread::new("the query is a plain number", YOURSELF)),
        Query::Or(inner) => Ok(measured(inner)?
            .noting("the query gives a number where there is no data, here missing data decides nothing")),
        Query::Both { sign, left, right } => match (&**left, *sign, &**right) {
            (left, '*', Query::Number(n)) | (Query::Number(n), '*', left) => Ok(measured(left)?.times(*n)),
            (left, '/', Query::Number(n)) => Ok(measured(left)?.times(1.0 / n)),
            (left, '+', Query::Number(n)) | (Query::Number(n), '+', left) => Ok(measured(left)?.plus(*n)),
            (left, '-', Query::Number(n)) => Ok(measured(left)?.plus(-n)),
            (Query::Number(n), '-', right) => Ok(measured(right)?.times(-1.0).plus(*n)),
            (part, '/', whole) => share(part, whole),
            (_, _, _) => Err(Unread::new(format!("`{sign}` between two measured numbers is not known"), YOURSELF)),
        },
        Query::Call { name, of } => match (name.as_str(), &of[..]) {
            ("histogram_quantile", [Query::Number(quantile), histogram]) => latency(*quantile, histogram),
            ("scalar", [inner]) => measured(inner),
            ("sum" | "rate" | "irate" | "increase" | "count", [_]) => Err(Unread::new(
                "this is a number of requests or events, which grows with the traffic",
                "divide it by the number of all requests, or write `failures < …` yourself",
            )),
            ("avg" | "avg_over_time", [_]) => Err(average()),
            (name, _) => Err(Unread::new(
                format!("what `{name}` gives is neither a share of the requests nor a quantile"),
                YOURSELF,
            )),
        },
        Query::Selector(_) => Err(Unread::new("this is a stored number, and what it measures is not known", YOURSELF)),
    }
}

fn average() -> Unread {
    Unread::new("this is an average, and limits are on quantiles", "say what half of the requests may take: `p50 < …`")
}

/// Requests with some outcome, multiplied.
struct Count<'q> {
    of: &'q Selector,
    factor: f64,
    defaulted: bool,
}

/// Through sums and rates down to what is counted.
fn count(query: &Query) -> Result<Count<'_>, Unread> {
    match query {
        Query::Selector(of) => Ok(Count { of, factor: 1.0, defaulted: false }),
        Query::Or(inner) => Ok(Count { defaulted: true, ..count(inner)? }),
        Query::Both { sign: '*', left, right } => match (&**left, &**right) {
            (Query::Number(n), counted) | (counted, Query::Number(n)) => {
                let counted = count(counted)?;
                Ok(Count { factor: counted.factor * n, ..counted })
            }
            (_, _) => Err(Unread::new("a product of two measured numbers is not known", YOURSELF)),
        },
        Query::Call { name, of } => match (name.as_str(), &of[..]) {
            ("sum" | "rate" | "irate" | "increase" | "scalar", [inner]) => count(inner),
            (name, _) => Err(Unread::new(format!("`{name}` in a share of the requests is not known"), YOURSELF)),
        },
        Query::Both { sign, .. } => {
            Err(Unread::new(format!("`{sign}` in a share of the requests is not known"), YOURSELF))
        }
        Query::Number(_) => Err(Unread::new("a plain number is no number of requests", YOURSELF)),
    }
}

/// Some requests out of all of them.
fn share(part: &Query, whole: &Query) -> Result<Measure, Unread> {
    // All but the failed ones.
    if let Query::Both { sign: '-', left, right } = part {
        let rest = share(right, whole)?;
        return match &share(left, whole) {
            Err(unread) if unread.what == EVERY_REQUEST => Ok(rest.times(-1.0).plus(1.0)),
            Ok(_) | Err(_) => Err(Unread::new("`-` between these two numbers is not known", YOURSELF)),
        };
    }
    let (part, whole) = (count(part)?, count(whole)?);
    if part.of.metric.ends_with("_sum") && whole.of.metric.ends_with("_count") {
        return Err(average());
    }
    if part.of.metric != whole.of.metric {
        let what = format!(
            "this divides `{}` by `{}`: which requests fail is not known from a name",
            part.of.metric, whole.of.metric
        );
        return Err(Unread::new(what, "if it is the share of failed requests, write `failures < …` yourself"));
    }
    let (counted, others) = outcomes(part.of)?;
    let (all, whole_others) = outcomes(whole.of)?;
    if others != whole_others {
        return Err(Unread::new("the two sides of the division select different requests", YOURSELF));
    }
    let mut measure = judged(&counted, &all)?.times(part.factor / whole.factor);
    if part.defaulted || whole.defaulted {
        measure = measure.noting("the query gives a number where there is no data, here missing data decides nothing");
    }
    let narrow: Vec<String> = others.iter().filter(|m| NARROWING.contains(&m.label.as_str())).map(shown).collect();
    if !narrow.is_empty() {
        measure = measure
            .noting(format!("there only of requests with {}, here of all requests of the service", narrow.join(", ")));
    }
    Ok(measure)
}

/// Labels that select some of the requests of a service, rather than a service.
const NARROWING: &[&str] = &[
    "path",
    "route",
    "handler",
    "uri",
    "url",
    "endpoint",
    "method",
    "http_route",
    "http_method",
    "request_path",
    "rt_route",
];

fn shown(matcher: &Matcher) -> String {
    format!("{}{}\"{}\"", matcher.label, matcher.sign, super::yaml::cut(&matcher.value))
}

/// The statuses that an answer can end with.
const FIRST: u32 = 200;
const LAST: u32 = 599;
/// What counts as failed here, of what has a status.
const FAILED: RangeInclusive<u32> = 500..=LAST;
const EVERY_REQUEST: &str = "this counts every request, whatever became of it";

/// For each status from [`FIRST`] on, whether it is selected.
type Outcomes = Vec<bool>;

/// The share of the failed ones, told by which statuses are counted out of which.
fn judged(counted: &Outcomes, all: &Outcomes) -> Result<Measure, Unread> {
    let counted: Outcomes = counted.iter().zip(all).map(|(c, a)| *c && *a).collect();
    if counted == *all {
        return Err(Unread::new(EVERY_REQUEST, YOURSELF));
    }
    let is = |outcomes: &Outcomes, status: u32| outcomes[(status - FIRST) as usize];
    let counts_good = is(&counted, 200);
    let failing: Outcomes = counted.iter().zip(all).map(|(c, a)| *a && *c != counts_good).collect();
    let here = |status: u32| FAILED.contains(&status);
    let list = |wanted: &dyn Fn(u32) -> bool| ranges((FIRST..=LAST).filter(|status| wanted(*status)));
    if !FAILED.into_iter().any(|status| is(&failing, status)) {
        let what =
            format!("this takes requests answered with {} for failed, and none with 5xx", list(&|s| is(&failing, s)));
        return Err(Unread::new(
            what,
            "only 5xx, refused, broken and timed out requests are failed here; write `failures < …` if that is meant",
        ));
    }
    let mut measure = Measure::new(Figure::Failures);
    if counts_good {
        measure = measure.times(-1.0).plus(1.0);
    }
    let more = list(&|s| is(&failing, s) && !here(s));
    let fewer = list(&|s| here(s) && !is(&failing, s));
    let ignored = list(&|s| !here(s) && !is(all, s));
    if !more.is_empty() {
        measure = measure.noting(format!("there {more} are failed, too, here only 5xx and what was never answered"));
    }
    if !fewer.is_empty() {
        measure = measure.noting(format!("there {fewer} are not failed, here all 5xx are"));
    }
    if !ignored.is_empty() {
        measure =
            measure.noting(format!("there a share without the requests answered with {ignored}, here of all requests"));
    }
    Ok(measure)
}

/// Numbers as ranges: `400 to 499, 503`.
fn ranges(numbers: impl Iterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a} to {b}") });
    shown.collect::<Vec<_>>().join(", ")
}

/// The labels that hold a status.
const STATUS: &[&str] = &[
    "code",
    "status",
    "status_code",
    "response_code",
    "response_status",
    "http_status",
    "http_code",
    "http_status_code",
    "http_response_status_code",
    "envoy_response_code",
    "status_class",
    "response_code_class",
    "envoy_response_code_class",
];

/// How a label writes this status; `None` for a label that says nothing of it.
fn written(label: &str, status: u32) -> Option<Vec<String>> {
    let class = status / 100;
    match label {
        label if STATUS.contains(&label) && label.ends_with("_class") => {
            Some(vec![class.to_string(), format!("{class}xx")])
        }
        label if STATUS.contains(&label) => Some(vec![status.to_string(), format!("{class}xx")]),
        // Micrometer and Linkerd have words for it.
        "outcome" => Some(vec![match class {
            2 => "SUCCESS".to_owned(),
            3 => "REDIRECTION".to_owned(),
            4 => "CLIENT_ERROR".to_owned(),
            _ => "SERVER_ERROR".to_owned(),
        }]),
        "classification" => Some(vec![if class == 5 { "failure" } else { "success" }.to_owned()]),
        _ => None,
    }
}

/// Which statuses are selected, and the other conditions, sorted.
fn outcomes(selector: &Selector) -> Result<(Outcomes, Vec<Matcher>), Unread> {
    let mut selected = vec![true; (LAST - FIRST + 1) as usize];
    let mut others = Vec::new();
    for matcher in &selector.matchers {
        if written(&matcher.label, 200).is_none() {
            others.push(matcher.clone());
            continue;
        }
        let pattern = if matcher.sign.ends_with('~') {
            let read = Pattern::read(&matcher.value);
            Some(read.ok_or_else(|| Unread::new(format!("the pattern in {} is not known", shown(matcher)), YOURSELF))?)
        } else {
            None
        };
        let matches = |text: &String| pattern.as_ref().map_or(*text == matcher.value, |pattern| pattern.matches(text));
        for (status, selected) in (FIRST..=LAST).zip(&mut selected) {
            let is = written(&matcher.label, status).is_some_and(|texts| texts.iter().any(matches));
            *selected &= is != matcher.sign.starts_with('!');
        }
    }
    others.sort();
    Ok((selected, others))
}

/// A quantile of what a histogram has.
fn latency(quantile: f64, histogram: &Query) -> Result<Measure, Unread> {
    let percent = quantile * 100.0;
    let whole = percent.round();
    if !(1.0..=99.0).contains(&whole) || (percent - whole).abs() > 1e-6 {
        let what = format!("{quantile} is no quantile that a limit can be on: `p1` to `p99` are");
        return Err(Unread::new(what, "choose one, and say what it may be: `p99 < …`"));
    }
    let counted = count(histogram)?;
    let Some(ms) = unit_ms(&counted.of.metric) else {
        let what = format!("in what unit `{}` measures is not known from its name", counted.of.metric);
        return Err(Unread::new(what, format!("write `p{whole} < …` yourself, with ms or s")));
    };
    let mut measure = Measure::new(Figure::Latency { percent: whole as u8 }).times(1.0 / ms);
    if counted.of.matchers.iter().any(|m| written(&m.label, 200).is_some()) {
        measure = measure.noting("there only of requests with some status, here of all requests");
    }
    if counted.of.matchers.iter().any(|m| NARROWING.contains(&m.label.as_str())) {
        measure = measure.noting("there only of some requests, here of all requests of the service");
    }
    Ok(measure)
}

/// The unit in the name of a metric, in milliseconds.
fn unit_ms(metric: &str) -> Option<f64> {
    metric.split(['_', ':']).find_map(|word| match word {
        "seconds" => Some(1e3),
        "milliseconds" | "ms" | "millis" => Some(1.0),
        "microseconds" | "us" => Some(1e-3),
        "nanoseconds" | "ns" => Some(1e-6),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::promql;
    use expect_test::{Expect, expect};

    fn check(query: &str, expected: Expect) {
        let shown = match promql::read(query).and_then(|query| measured(&query)) {
            Ok(Measure { figure, factor, offset, notes }) => {
                let notes: String = notes.iter().map(|note| format!("\n- {note}")).collect();
                format!("{factor} x {figure} + {offset}{notes}")
            }
            Err(unread) => format!("not read: {}", unread.what),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_share_of_requests_is_told_by_their_status() {
        check(
            "sum(rate(hits_total{app=\"a\",code!~\"5.*\"}[5m])) / sum(rate(hits_total{app=\"a\"}[5m]))",
            expect!["-1 x failures + 1"],
        );
        check(
            "100 * sum by (app) (irate(hits_total{status=~\"5..\"}[1m])) / sum(irate(hits_total[1m])) by (app)",
            expect!["100 x failures + 0"],
        );
        check(
            "1 - (sum(rate(hits{code=~\"5xx\"}[1m])) or vector(0)) / sum(rate(hits[1m]))",
            expect![[r#"
            -1 x failures + 1
            - the query gives a number where there is no data, here missing data decides nothing"#]],
        );
        check(
            "(sum(rate(hits[1m])) - sum(rate(hits{outcome=\"SERVER_ERROR\"}[1m]))) / sum(rate(hits[1m])) * 100",
            expect!["-100 x failures + 100"],
        );
        check(
            "sum(rate(response_total{classification=\"success\"}[1m])) / sum(rate(response_total[1m]))",
            expect!["-1 x failures + 1"],
        );
    }

    #[test]
    fn what_is_counted_differently_is_said() {
        check(
            "sum(rate(hits{code=~\"2..\"}[1m])) / sum(rate(hits[1m]))",
            expect![[r#"
            -1 x failures + 1
            - there 300 to 499 are failed, too, here only 5xx and what was never answered"#]],
        );
        check(
            "sum(rate(hits{code=\"503\",path=\"/pay\"}[1m])) / sum(rate(hits{path=\"/pay\"}[1m]))",
            expect![[r#"
            1 x failures + 0
            - there 500 to 502, 504 to 599 are not failed, here all 5xx are
            - there only of requests with path="/pay", here of all requests of the service"#]],
        );
        check(
            "sum(rate(hits{code=~\"5..\"}[1m])) / sum(rate(hits{code!~\"4..\"}[1m]))",
            expect![[r#"
            1 x failures + 0
            - there a share without the requests answered with 400 to 499, here of all requests"#]],
        );
    }

    #[test]
    fn a_quantile_has_the_unit_of_its_metric() {
        check("histogram_quantile(0.99, sum(rate(a_duration_seconds_bucket[5m])) by (le))", expect!["0.001 x p99 + 0"]);
        check(
            "histogram_quantile(0.5, sum by (le) (rate(a_milliseconds_bucket[5m]))) / 1000",
            expect!["0.001 x p50 + 0"],
        );
        check("histogram_quantile(.95, rate(response_latency_ms_bucket{app=~\"x-.+\",}[30s]))", expect!["1 x p95 + 0"]);
        check(
            "histogram_quantile(0.99, rate(latency_bucket[5m]))",
            expect!["not read: in what unit `latency_bucket` measures is not known from its name"],
        );
        check(
            "histogram_quantile(0.999, rate(a_seconds_bucket[5m]))",
            expect!["not read: 0.999 is no quantile that a limit can be on: `p1` to `p99` are"],
        );
    }

    #[test]
    fn everything_else_is_not_read_and_says_why() {
        for (query, what) in [
            ("sum(rate(errors_total[5m]))", "this is a number of requests or events, which grows with the traffic"),
            (
                "sum(rate(errors_total[5m])) / sum(rate(hits_total[5m]))",
                "this divides `errors_total` by `hits_total`: which requests fail is not known from a name",
            ),
            ("rate(t_seconds_sum[5m]) / rate(t_seconds_count[5m])", "this is an average, and limits are on quantiles"),
            (
                "sum(rate(h{a=\"1\",code=~\"5..\"}[5m])) / sum(rate(h{a=\"2\"}[5m]))",
                "the two sides of the division select different requests",
            ),
            (
                "sum(rate(h{code=~\"4..\"}[5m])) / sum(rate(h[5m]))",
                "this takes requests answered with 400 to 499 for failed, and none with 5xx",
            ),
            ("sum(rate(h{code=~\"(?i)5\"}[5m])) / sum(rate(h[5m]))", "the pattern in code=~\"(?i)5\" is not known"),
            ("sum(rate(h[5m])) / sum(rate(h[5m]))", "this counts every request, whatever became of it"),
            ("up == 1", "`==` is not known in a query here"),
            ("{{ metric }}", "a placeholder stands in the query outside of a text"),
            ("sum(rate(h[5m]", "the query ends where `)` is expected"),
            ("", "the query ends where a value is expected"),
            ("5", "the query is a plain number"),
        ] {
            let unread = promql::read(query).and_then(|query| measured(&query)).unwrap_err();
            assert_eq!(unread.what, what, "{query}");
        }
        assert!(promql::read(&"(".repeat(200)).is_err());
        assert!(promql::read(&"-".repeat(9_000)).is_err());
    }
}
