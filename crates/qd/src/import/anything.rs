//! Texts and documents made of anything, for tests: nothing makes the reading panic, and nothing that a document says is
//! without a finding.

use super::{spot::Spot, tests::read_one, yaml::Value, *};
use crate::render::Ink;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The paths of all plain values below a place, but for those that only name something.
fn leaves(spot: &Spot<'_>, paths: &mut BTreeSet<String>) {
    match &spot.node.value {
        Value::Scalar(_) => drop(paths.insert(spot.path.clone())),
        Value::Map(_) => {
            const NAMES: &[&str] = &["apiVersion", "kind", "name", "generateName", "targetRef", "type", "clusterScope"];
            spot.entries().filter(|(key, _)| !NAMES.contains(key)).for_each(|(_, inner)| leaves(&inner, paths));
        }
        Value::List(_) => spot.items().for_each(|item| leaves(&item, paths)),
        Value::Null => {}
    }
}

/// Parts of documents, so that what is made of them is nearly right.
fn value() -> BoxedStrategy<String> {
    let plain = prop::sample::select(vec![
        "1",
        "99",
        "0.95",
        "'50'",
        "true",
        "2m",
        "30",
        "{}",
        "[]",
        "~",
        "x",
        "prometheus",
        "request-success-rate",
        "shop",
        "result[0] >= 0.95",
        "'result < 1 || len(result) == 0'",
        "'{{args.a}}'",
        "'sum(rate(h{code!~\"5..\"}[1m])) / sum(rate(h[1m]))'",
        "'histogram_quantile(0.9, rate(h_seconds_bucket[1m]))'",
    ]);
    let key = prop::sample::select(vec![
        "name",
        "metrics",
        "provider",
        "prometheus",
        "query",
        "successCondition",
        "failureCondition",
        "interval",
        "steps",
        "setWeight",
        "pause",
        "duration",
        "analysis",
        "templates",
        "templateName",
        "args",
        "value",
        "dryRun",
        "metricName",
        "strategy",
        "canary",
        "blueGreen",
        "trafficRouting",
        "maxTrafficWeight",
        "stepWeight",
        "stepWeights",
        "maxWeight",
        "threshold",
        "thresholdRange",
        "min",
        "max",
        "webhooks",
        "templateRef",
        "provider",
        "unknown",
        "rangeQuery",
        "web",
        "scaleDownDelaySeconds",
        "skipAnalysis",
        "canaryAnalysis",
        "iterations",
        "autoPromotionEnabled",
        "startingStep",
    ]);
    plain
        .prop_map(str::to_owned)
        .prop_recursive(6, 60, 5, move |inner| {
            let map = prop::collection::btree_map(key.clone(), inner.clone(), 0..5);
            let map = map.prop_map(|m| m.iter().map(|(k, v)| format!("{k}: {v}")).collect::<Vec<_>>().join(", "));
            prop_oneof![
                2 => map.prop_map(|inner| format!("{{{inner}}}")),
                1 => prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            ]
        })
        .boxed()
}

/// Specs that are more often right than those made of anything.
fn spec() -> impl Strategy<Value = String> {
    let list = prop::collection::vec(value(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))).boxed();
    let metric = (value(), value(), list.clone()).prop_map(|(query, condition, extra)| {
        format!("{{metrics: [{{name: a, provider: {{prometheus: {{query: {query}}}}}, successCondition: {condition}}}], args: {extra}}}")
    });
    let steps = (list.clone(), value())
        .prop_map(|(steps, analysis)| format!("{{strategy: {{canary: {{steps: {steps}, analysis: {analysis}}}}}}}"));
    let canary = (list, value(), value()).prop_map(|(metrics, weight, most)| {
        format!("{{analysis: {{interval: 1m, stepWeight: {weight}, maxWeight: {most}, metrics: {metrics}}}}}")
    });
    prop_oneof![value(), metric, steps, canary]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = read_one(&text).map(|import| import.left_out());
        let _ = condition::read(&text, condition::Passes::WhenTrue);
        let _ = promql::read(&text).and_then(|query| measured::measured(&query));
        let _ = pattern::Pattern::read(&text);
        let _ = measure::go_duration(&text);
    }

    #[test]
    fn no_text_of_signs_and_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "result", "[0]", ">=", "0.5", "&&", "||", "(", ")", "!", "len", "{", "}", "sum", "rate", "a_seconds_bucket", "[1m]", "/", "-",
        "*", "1", "by", "le", ",", "or", "vector", "histogram_quantile", "code=~\"5..\"", "code", "=~", "\"5.*|(4", ".", "&a", "*a", ":", " ",
        "\n", "- ", "? ", "|", ">", "'", "%", "---", "<<", "{{", "}}", "#", "é",
    ]), 0..40)) {
        let text = words.concat();
        let _ = read_one(&text).map(|import| import.left_out());
        let _ = condition::read(&text, condition::Passes::WhenFalse);
        let _ = promql::read(&text).and_then(|query| measured::measured(&query));
        let _ = pattern::Pattern::read(&text);
    }

    #[test]
    fn nothing_that_a_document_says_is_dropped(kind in prop::sample::select(vec![
        "argoproj.io/v1alpha1\nkind: AnalysisTemplate", "argoproj.io/v1alpha1\nkind: AnalysisRun", "argoproj.io/v1alpha1\nkind: Rollout",
        "flagger.app/v1beta1\nkind: Canary", "flagger.app/v1beta1\nkind: MetricTemplate", "v1\nkind: Service",
    ]), spec in spec()) {
        let text = format!("apiVersion: {kind}\nmetadata: {{name: shop}}\nspec: {spec}\n");
        if let Ok(import) = read_one(&text) {
            let documents = yaml::documents(&text).unwrap();
            let mut paths = BTreeSet::new();
            leaves(&Spot::root(0, &documents[0]), &mut paths);
            let told: Vec<&String> = import.findings.iter().flat_map(|f| f.also.iter().chain([&f.path])).collect();
            for path in paths {
                let covers = |told: &&String| told.is_empty() || path.strip_prefix(told.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
                prop_assert!(told.iter().any(covers), "nothing is said about {path}\n{text}");
            }
            let _ = (import.to_json(), import.told(Ink { colour: false, width: 40 }), import.left_out());
        }
    }
}
