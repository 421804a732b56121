//! An AnalysisTemplate, ClusterAnalysisTemplate or AnalysisRun of Argo Rollouts: metrics with conditions, as limits.

use super::{
    condition::{self, Passes},
    finding::Findings,
    known::{ANALYSIS_SPEC, METRIC, PROMETHEUS, REFERENCE},
    measure::{Meaning, Measure, Unread, meaning},
    measured::measured,
    pattern::Pattern,
    promql,
    service::Service,
    spot::Spot,
};
use std::collections::{BTreeMap, BTreeSet};

/// The deepest that templates may name templates.
const MAX_DEPTH: usize = 8;

/// The templates among the documents, by name and whether they are for the whole cluster.
pub(super) struct Catalog<'d> {
    pub(super) templates: BTreeMap<(bool, &'d str), Spot<'d>>,
    /// Those that were named somewhere.
    pub(super) used: BTreeSet<(bool, String)>,
}

/// What is given to a template where it is named.
#[derive(Clone, Default)]
pub(super) struct Given {
    pub(super) args: BTreeMap<String, String>,
    /// Names or patterns of metrics that decide nothing.
    pub(super) dry: Vec<String>,
    depth: usize,
}

impl Given {
    /// With the arguments and the dry runs that stand here; what was given before wins over defaults.
    pub(super) fn with(&self, place: &Spot<'_>, findings: &mut Findings) -> Given {
        let mut given = self.clone();
        if let Some(args) = place.get("args") {
            for arg in args.list(findings) {
                let named = |key: &str| arg.get(key).and_then(|spot| spot.text()).map(str::to_owned);
                if let (Some(name), Some(value)) = (named("name"), named("value")) {
                    given.args.entry(name).or_insert(value);
                }
            }
            findings.not_needed(&args, "arguments are filled in where they are used; those that select the pods of a release are not needed, because its requests are known here");
        }
        if let Some(dry) = place.get("dryRun") {
            for metric in dry.list(findings) {
                given.dry.extend(metric.get("metricName").and_then(|spot| spot.text()).map(str::to_owned));
            }
            findings.not_needed(&dry, "metrics that are run dry decide nothing, and are left away");
        }
        given
    }

    /// A text with the arguments in it that are known.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            filled += before;
            let Some((inner, next)) = after.split_once("}}") else {
                rest = &rest[before.len()..];
                break;
            };
            match inner.trim().strip_prefix("args.").and_then(|name| self.args.get(name)) {
                Some(value) => filled += value,
                None => filled.extend(["{{", inner, "}}"]),
            }
            rest = next;
        }
        filled + rest
    }

    fn is_dry(&self, name: &str) -> bool {
        self.dry.iter().any(|dry| dry == name || Pattern::read(dry).is_some_and(|pattern| pattern.occurs_in(name)))
    }
}

/// The metrics of the spec of an analysis, as limits of a service.
pub(super) fn analysis(
    spec: &Spot<'_>,
    given: &Given,
    catalog: &mut Catalog<'_>,
    service: &mut Service,
    findings: &mut Findings,
) {
    if !spec.account(ANALYSIS_SPEC, findings) {
        return;
    }
    let given = given.with(spec, findings);
    if let Some(metrics) = spec.get("metrics") {
        for one in metrics.list(findings) {
            metric(&one, &given, service, findings);
        }
    }
    if let Some(templates) = spec.get("templates") {
        named(&templates, &given, catalog, service, findings);
    }
}

/// The templates that a list names.
pub(super) fn named(
    list: &Spot<'_>,
    given: &Given,
    catalog: &mut Catalog<'_>,
    service: &mut Service,
    findings: &mut Findings,
) {
    for reference in list.list(findings) {
        if !reference.account(REFERENCE, findings) {
            continue;
        }
        let Some(name) = reference.get("templateName") else {
            findings.left(&reference, "no template is named here", "name it with `templateName`");
            continue;
        };
        let cluster = reference.get("clusterScope").and_then(|spot| spot.text()) == Some("true");
        let kind = if cluster { "ClusterAnalysisTemplate" } else { "AnalysisTemplate" };
        let Some(template) = name.text().and_then(|text| catalog.templates.get(&(cluster, text)).cloned()) else {
            let what = format!("this {kind} is not among the files, and so its metrics are not known");
            findings.left(&name, what, "give its file, too");
            continue;
        };
        if given.depth >= MAX_DEPTH {
            findings.left(&name, "templates name each other too deep, or in a circle", "");
            continue;
        }
        catalog.used.insert((cluster, name.text().unwrap_or_default().to_owned()));
        findings.taken(&name, format!("its metrics, as limits of {}", service.name));
        if let Some(spec) = template.get("spec") {
            analysis(&spec, &Given { depth: given.depth + 1, ..given.clone() }, catalog, service, findings);
        }
    }
}

/// A condition on a metric, and whether it tells good releases or bad ones.
const CONDITIONS: &[(&str, Passes)] =
    &[("successCondition", Passes::WhenTrue), ("failureCondition", Passes::WhenFalse)];

fn metric(metric: &Spot<'_>, given: &Given, service: &mut Service, findings: &mut Findings) {
    if !metric.account(METRIC, findings) {
        return;
    }
    let conditions: Vec<_> = CONDITIONS.iter().filter_map(|(key, passes)| Some((metric.get(key)?, *passes))).collect();
    let paths = || conditions.iter().map(|(spot, _)| spot.path.clone()).collect::<Vec<_>>();
    let covered = |mut also: Vec<String>, query: &Spot<'_>| {
        also.retain(|path| *path != query.path);
        also
    };
    let name = metric.get("name").and_then(|spot| spot.text()).unwrap_or_default();
    if given.is_dry(name) {
        return findings.not_needed(metric, "it is only tried there (`dryRun`), and decides nothing");
    }
    let Some(provider) = metric.get("provider") else {
        findings.left_also(metric, "nothing says where this metric comes from", "", paths());
        return;
    };
    let Some(query) = prometheus(&provider, paths(), findings) else { return };
    if conditions.is_empty() {
        return findings.not_needed(&query, "there is no condition on it: it decides nothing");
    }
    let text = given.fill(query.text().unwrap_or_default());
    let measure = match promql::read(&text).and_then(|query| measured(&query)) {
        Ok(measure) => measure,
        Err(Unread { what, instead }) => {
            findings.left_also(&query, what, instead, covered(paths(), &query));
            return;
        }
    };
    let mut limits = 0;
    for (spot, passes) in &conditions {
        if limits > 0 {
            let what = "a result between the two conditions pauses a rollout there; here the limit is the stricter of them, and a release that is proven to break it is undone";
            findings.approximated(spot, what, "write the other one instead if a release may come that far");
            continue;
        }
        let text = given.fill(spot.text().unwrap_or_default());
        let with_query = vec![query.path.clone()];
        if text.contains("{{") {
            let instead = "give the Rollout that sets it, too, or write the limit yourself";
            findings.left_also(spot, "the value of an argument is not among the files", instead, with_query);
            continue;
        }
        match condition::read(&text, *passes) {
            Err(Unread { what, instead }) => findings.left_also(spot, what, instead, with_query),
            Ok(asked) if asked.bounds.is_empty() => {
                let why = "it only asks whether there is a result, and missing data decides nothing here";
                findings.not_needed(spot, why);
                findings.not_needed(&query, why);
            }
            Ok(asked) => {
                let mut measure = measure.clone();
                if asked.without_result {
                    measure = measure
                        .noting("it also says what holds without a result, and here missing data decides nothing");
                }
                for bound in asked.bounds {
                    limits += usize::from(take(&measure, bound, spot, &query, service, findings));
                }
            }
        }
    }
}

/// Takes a bound over as a limit, or says why not. Whether it is one.
pub(super) fn take(
    measure: &Measure,
    bound: super::measure::Bound,
    spot: &Spot<'_>,
    query: &Spot<'_>,
    service: &mut Service,
    findings: &mut Findings,
) -> bool {
    let also = if query.path == spot.path { Vec::new() } else { vec![query.path.clone()] };
    match meaning(measure, bound) {
        Ok(Meaning::Limit(limit, notes)) => {
            findings.limit(spot, &limit, &notes, also);
            service.limit(limit, spot);
            return true;
        }
        Ok(Meaning::Always) => {
            findings.not_needed(spot, "a part of it always holds");
            if !also.is_empty() {
                findings.not_needed(query, "it is measured here");
            }
        }
        Err(Unread { what, instead }) => findings.left_also(spot, what, instead, also),
    }
    false
}

/// The query of a metric that asks Prometheus; whatever else it asks is told.
fn prometheus<'d>(provider: &Spot<'d>, conditions: Vec<String>, findings: &mut Findings) -> Option<Spot<'d>> {
    let asked: Vec<_> = provider.entries().collect();
    let [(name, spot)] = &asked[..] else {
        findings.left_also(provider, "one provider is expected here", "", conditions);
        return None;
    };
    if *name != "prometheus" {
        let (what, instead) = not_prometheus(name);
        findings.left_also(spot, what, instead, conditions);
        return None;
    }
    if !spot.account(PROMETHEUS, findings) {
        return None;
    }
    if let Some(range) = spot.get("rangeQuery") {
        let also = conditions.into_iter().chain(spot.get("query").map(|query| query.path)).collect();
        findings.left_also(
            &range,
            "this asks for many numbers, and a limit is on one",
            "write the limit yourself",
            also,
        );
        return None;
    }
    let query = spot.get("query").filter(|query| query.text().is_some());
    if query.is_none() {
        findings.left_also(spot, "there is no query", "", conditions);
    }
    query
}

/// Why another provider is left out, and what to do instead.
fn not_prometheus(name: &str) -> (String, &'static str) {
    let query = |who: &str| {
        (
            format!("this asks {who}, and only queries of Prometheus are read"),
            "if it is a share of failed requests or a latency, write the limit yourself: `failures < …` or `pNN < …`",
        )
    };
    match name {
        "datadog" => query("Datadog"),
        "newRelic" => query("New Relic"),
        "wavefront" => query("Wavefront"),
        "cloudWatch" => query("CloudWatch"),
        "graphite" => query("Graphite"),
        "influxdb" => query("InfluxDB"),
        "skywalking" => query("SkyWalking"),
        "kayenta" => (
            "this lets Kayenta compare the releases".to_owned(),
            "the comparison is made here in any case, on every request; `tolerance` and `latency_tolerance` say how much worse is acceptable",
        ),
        "web" => (
            "this asks a web address, and a rollout asks nobody".to_owned(),
            "let the service answer its readiness check (`ready`) by it, or ask before `qd promote`",
        ),
        "job" => (
            "this runs a program, and a rollout runs none".to_owned(),
            "run it in CI before `qd deploy`, or let `ready` run a command",
        ),
        "plugin" => (
            "this asks a plugin, and there are none here".to_owned(),
            "write the limit yourself if it is one on failures or latency",
        ),
        other => query(&format!("`{}`", super::yaml::cut(other))),
    }
}
