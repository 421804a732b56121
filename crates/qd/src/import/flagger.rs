//! A Canary of Flagger, with the MetricTemplates it names: its weights as steps, its metrics as limits.

use super::{
    argo::take,
    finding::Findings,
    known::{FLAGGER_ANALYSIS, FLAGGER_METRIC, FLAGGER_SPEC, METRIC_PROVIDER, METRIC_TEMPLATE_SPEC, RANGE},
    measure::{Bound, Comparison, Measure, Unread, go_duration},
    measured::measured,
    promql,
    service::{Figure, Service},
    spot::Spot,
    steps::Steps,
    yaml::cut,
};
use model::Ratio;
use std::collections::{BTreeMap, BTreeSet};

/// The MetricTemplates among the documents, by name.
pub(super) struct Templates<'d> {
    pub(super) by_name: BTreeMap<&'d str, Spot<'d>>,
    /// Those that were named somewhere.
    pub(super) used: BTreeSet<String>,
}

pub(super) fn canary<'d>(
    spec: &Spot<'d>,
    templates: &mut Templates<'d>,
    service: &mut Service,
    findings: &mut Findings,
) {
    if !spec.account(FLAGGER_SPEC, findings) {
        return;
    }
    truth(
        spec,
        "skipAnalysis",
        "releases are promoted there without being judged",
        "`strategy = \"blue-green\"` does that here",
        findings,
    );
    truth(spec, "suspend", "a rollout is paused by a person here", "`qd pause`", findings);
    // Flagger knew it by the longer name before, and takes the shorter one where both are given.
    let (analysis, older) = (spec.get("analysis"), spec.get("canaryAnalysis"));
    if let (Some(_), Some(older)) = (&analysis, &older) {
        findings.not_needed(older, "`analysis` takes its place");
    }
    let Some(analysis) = analysis.or(older) else { return };
    if !analysis.account(FLAGGER_ANALYSIS, findings) {
        return;
    }
    steps(&analysis, service, findings);
    if let Some(metrics) = analysis.get("metrics") {
        for one in metrics.list(findings) {
            metric(&one, templates, service, findings);
        }
    }
    if let Some(webhooks) = analysis.get("webhooks") {
        for one in webhooks.list(findings) {
            webhook(&one, findings);
        }
    }
}

/// A key that is left out when it is true.
fn truth(spec: &Spot<'_>, key: &str, what: &str, instead: &str, findings: &mut Findings) {
    match spec.get(key) {
        Some(spot) if spot.text() == Some("false") => findings.not_needed(&spot, "it is off"),
        Some(spot) => {
            findings.left(&spot, what, instead);
        }
        None => {}
    }
}

fn steps(analysis: &Spot<'_>, service: &mut Service, findings: &mut Findings) {
    let numbers = |key: &str| analysis.get(key).map(|spot| (spot.number(), spot));
    let is_switch = analysis.get("match").is_some() || analysis.get("iterations").is_some();
    let (step, most, list) = (numbers("stepWeight"), numbers("maxWeight"), analysis.get("stepWeights"));
    if let Some(iterations) = analysis.get("iterations") {
        let what = "a release is looked at so often there before it gets all requests at once";
        let instead = "here it gets a growing share of them, by default; `strategy = \"blue-green\"` moves all at once, and does not judge";
        findings.left(&iterations, what, instead);
    }
    let mut steps = Steps::default();
    let mut at = None;
    if is_switch {
        for spot in [step.map(|(_, s)| s), most.map(|(_, s)| s), list].into_iter().flatten() {
            findings.not_needed(&spot, "Flagger does not use it beside `iterations` or `match`");
        }
    } else if let Some((number, spot)) = step {
        let size = number.filter(|n| (1.0..=100.0).contains(n));
        let end = most.as_ref().map_or(Some(100.0), |(n, _)| *n).filter(|n| (1.0..=100.0).contains(n));
        match (size, end) {
            (Some(size), Some(end)) => {
                // Flagger goes on until a step reaches the most, which may be beyond it.
                let count = (end / size).ceil() as u32;
                for n in 1..=count {
                    steps.add(
                        Ratio::from_f64((f64::from(n) * size / 100.0).min(1.0)).unwrap_or(Ratio::ONE),
                        &spot,
                        findings,
                    );
                }
                if let Some((_, most)) = &most {
                    findings.taken(most, format!("{count} steps of {size} %, until {end} % is reached"));
                }
            }
            (_, _) => {
                for spot in [Some(&spot), most.as_ref().map(|(_, spot)| spot)].into_iter().flatten() {
                    findings.left(spot, "this and `maxWeight` must be percentages above 0", "write `steps` yourself");
                }
            }
        }
        if let Some(list) = &list {
            findings.not_needed(list, "`stepWeight` takes its place");
        }
        at = Some(spot);
    } else if let Some(list) = list {
        for weight in list.list(findings) {
            steps.share(&weight, 100.0, findings);
        }
        if let Some((_, most)) = &most {
            findings.not_needed(most, "the last of `stepWeights` is the most");
        }
        at = Some(list);
    } else if let Some((_, most)) = &most {
        findings.left(most, "there is no `stepWeight` that leads there", "write `steps` yourself");
    }
    interval(analysis, &mut steps, is_switch, findings);
    if let Some(at) = at {
        steps.finish(&at, service, findings);
    }
}

fn interval<'d>(analysis: &Spot<'d>, steps: &mut Steps<'d>, is_switch: bool, findings: &mut Findings) {
    let Some(interval) = analysis.get("interval") else { return };
    if is_switch || steps.is_empty() {
        return findings.not_needed(&interval, "there are no steps that could be held");
    }
    match interval.text().and_then(go_duration) {
        Some(span) => steps.hold_each(span, &interval, findings),
        None => {
            findings.left(&interval, "this is not a length of time", "use a number with s, m or h");
        }
    }
}

fn metric<'d>(metric: &Spot<'d>, templates: &mut Templates<'d>, service: &mut Service, findings: &mut Findings) {
    if !metric.account(FLAGGER_METRIC, findings) {
        return;
    }
    let name = metric.get("name").and_then(|spot| spot.text()).unwrap_or_default();
    let range = metric.get("thresholdRange");
    let threshold = metric.get("threshold");
    let paths: Vec<String> = [&range, &threshold].into_iter().flatten().map(|spot| spot.path.clone()).collect();
    let (measure, query) = match name {
        "request-success-rate" => (Measure::new(Figure::Failures).times(-100.0).plus(100.0), None),
        "request-duration" => (Measure::new(Figure::Latency { percent: 99 }), None),
        _ => {
            let Some(query) = query(metric, templates, &paths, findings) else { return };
            match promql::read(query.text().unwrap_or_default()).and_then(|query| measured(&query)) {
                Ok(measure) => (measure, Some(query)),
                Err(Unread { what, instead }) => {
                    findings.left_also(&query, what, instead, paths);
                    return;
                }
            }
        }
    };
    if query.is_none() {
        for key in ["query", "templateRef"] {
            if let Some(spot) = metric.get(key) {
                findings.not_needed(&spot, "Flagger has a query of its own for a metric of this name");
            }
        }
    }
    let mut bounds = Vec::new();
    if let Some(range) = &range {
        if range.account(RANGE, findings) {
            let side = |key, comparison| range.get(key).map(|spot| (spot, comparison));
            bounds.extend(
                [side("min", Comparison::GreaterOrEqual), side("max", Comparison::LessOrEqual)].into_iter().flatten(),
            );
        }
        if let Some(threshold) = &threshold {
            findings.not_needed(threshold, "`thresholdRange` takes its place");
        }
    } else if let Some(threshold) = threshold {
        let is_least = name == "request-success-rate";
        bounds.push((threshold, if is_least { Comparison::GreaterOrEqual } else { Comparison::LessOrEqual }));
    }
    if bounds.is_empty() {
        findings.left(metric, "nothing says what is acceptable", "give `thresholdRange`");
    }
    for (spot, comparison) in bounds {
        match spot.number() {
            Some(number) => {
                let query = query.as_ref().unwrap_or(&spot);
                take(&measure, Bound { comparison, number }, &spot, query, service, findings);
            }
            None => {
                let also = query.as_ref().map(|query| query.path.clone()).into_iter().collect();
                findings.left_also(&spot, "this is not a number", "", also);
            }
        }
    }
}

/// The query of a metric of one's own: its own, or that of the template it names.
fn query<'d>(
    metric: &Spot<'d>,
    templates: &mut Templates<'d>,
    paths: &[String],
    findings: &mut Findings,
) -> Option<Spot<'d>> {
    let Some(reference) = metric.get("templateRef") else {
        let query = metric.get("query").filter(|query| query.text().is_some());
        if query.is_none() {
            let instead =
                "Flagger itself measures `request-success-rate` and `request-duration`; others need a `templateRef`";
            findings.left(metric, "what this metric measures is not said", instead);
        }
        return query;
    };
    let also = || paths.iter().cloned().chain(metric.get("query").map(|query| query.path)).collect::<Vec<_>>();
    let name = reference.get("name").and_then(|spot| spot.text()).unwrap_or_default();
    let Some(template) = templates.by_name.get(name).and_then(|template| template.get("spec")) else {
        let what = format!("the MetricTemplate `{}` is not among the files, and so its query is not known", cut(name));
        findings.left_also(&reference, what, "give its file, too", also());
        return None;
    };
    templates.used.insert(name.to_owned());
    if let Some(query) = metric.get("query") {
        findings.not_needed(&query, "`templateRef` takes its place");
    }
    if !template.account(METRIC_TEMPLATE_SPEC, findings) {
        findings.left_also(&reference, "its MetricTemplate is not understood", "", also());
        return None;
    }
    let provider = template.get("provider").filter(|provider| provider.account(METRIC_PROVIDER, findings));
    let asks = provider.and_then(|provider| provider.get("type")?.text()).unwrap_or_default();
    let query = template.get("query").filter(|query| query.text().is_some());
    match query {
        Some(query) if asks == "prometheus" => {
            findings.taken(&reference, "the query of its MetricTemplate");
            Some(query)
        }
        Some(query) => {
            let what = format!("this asks `{}`, and only queries of Prometheus are read", cut(asks));
            let instead = "if it is a share of failed requests or a latency, write the limit yourself: `failures < …` or `pNN < …`";
            findings.left_also(&query, what, instead, also().into_iter().chain([reference.path]).collect());
            None
        }
        None => {
            findings.left_also(&reference, "its MetricTemplate has no query", "", also());
            None
        }
    }
}

/// What Flagger would call, which nothing here does.
fn webhook(webhook: &Spot<'_>, findings: &mut Findings) {
    let sort = webhook.get("type").and_then(|spot| spot.text()).unwrap_or("rollout");
    let (what, instead) = match sort {
        "rollout" => (
            "nothing is called while a release is judged, and no requests are made for it: it is judged on real ones",
            "let CI send requests after `qd deploy --detach` if there are too few",
        ),
        "pre-rollout" => (
            "nothing is called before a rollout",
            "check in CI before `qd deploy`, or by `ready` under `[services.NAME]`",
        ),
        "post-rollout" | "event" => {
            ("nothing is called after a rollout", "`qd deploy` ends when it is over, with exit code 0 or 3")
        }
        "confirm-rollout" => {
            ("nothing is asked before a rollout", "`approvals = 1` under `[access]` lets another person agree")
        }
        "confirm-traffic-increase" | "confirm-promotion" => {
            ("nothing is asked before a step or a promotion", "`qd pause` holds a rollout, `qd promote` ends it")
        }
        "rollback" => (
            "nothing is asked whether to roll back",
            "`qd cancel` undoes a change, `qd rollback` returns to the release before",
        ),
        _ => ("nothing is called during a rollout", ""),
    };
    findings.left(webhook, format!("webhook of the type {}: {what}", cut(sort)), instead);
}
