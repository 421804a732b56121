use super::*;
use expect_test::{Expect, expect};

pub(super) fn read_one(text: &str) -> Result<Import, Problems> {
    read(vec![File { name: "it.yaml".to_owned(), text: text.to_owned() }], None)
}

/// The settings, and every finding as `class path: what = instead`.
fn check(text: &str, expected: Expect) {
    let import = read_one(text).unwrap_or_else(|problems| panic!("{problems}"));
    let mut shown = import.settings();
    for f in &import.findings {
        let instead = if f.instead.is_empty() { String::new() } else { format!(" = {}", f.instead) };
        let also = if f.also.is_empty() { String::new() } else { format!(" (with {})", f.also.join(", ")) };
        shown += &format!("{} {}:{} {}{also}: {}{instead}\n", f.class.heading(), f.line, f.column, f.path, f.what);
    }
    expected.assert_eq(&shown);
}

fn refused(text: &str, expected: Expect) {
    expected.assert_eq(&read_one(text).unwrap_err().to_string());
}

/// A template with one metric.
fn template(metric: &str) -> String {
    let metric: String = metric.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{name: shop}}\nspec:\n  metrics:\n    -\n{metric}"
    )
}

/// A Rollout of the service `shop` with these steps.
fn rollout(steps: &str) -> String {
    let steps: String = steps.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: shop}}\nspec:\n  strategy:\n    canary:\n      steps:\n{steps}"
    )
}

/// A Canary of the service `shop` with this analysis.
fn canary(analysis: &str) -> String {
    let analysis: String = analysis.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {{name: any}}\nspec:\n  targetRef: {{kind: Deployment, name: shop}}\n  analysis:\n{analysis}"
    )
}

const GOOD_SHARE: &str = "sum(rate(hits_total{code!~\"5..\"}[1m])) / sum(rate(hits_total[1m]))";

#[test]
fn a_success_rate_becomes_a_limit_on_failures() {
    check(
        &template(&format!(
            "name: rate\nsuccessCondition: result[0] >= 0.95\nprovider:\n  prometheus:\n    query: '{GOOD_SHARE}'"
        )),
        expect![[r#"
            [services.shop.rollout]
            limits = [
              # it.yaml line 8, spec.metrics[0].successCondition: result[0] >= 0.95
              "failures < 5 %",
            ]
            taken over 8:25 spec.metrics[0].successCondition (with spec.metrics[0].provider.prometheus.query): `failures < 5 %`
            approximated 3:18 metadata.name: no Rollout among the files names this template, so that the service is called as it is = name it with `--service NAME`
        "#]],
    );
}

#[test]
fn a_range_between_two_conditions_is_said_to_be_narrower_here() {
    check(
        &template(&format!(
            "successCondition: result >= 0.99\nfailureCondition: result < 0.9\nprovider: {{prometheus: {{query: '{GOOD_SHARE}'}}}}"
        )),
        expect![[r#"
            [services.shop.rollout]
            limits = [
              # it.yaml line 7, spec.metrics[0].successCondition: result >= 0.99
              "failures < 1 %",
            ]
            taken over 7:25 spec.metrics[0].successCondition (with spec.metrics[0].provider.prometheus.query): `failures < 1 %`
            approximated 3:18 metadata.name: no Rollout among the files names this template, so that the service is called as it is = name it with `--service NAME`
            approximated 8:25 spec.metrics[0].failureCondition: a result between the two conditions pauses a rollout there; here the limit is the stricter of them, and a release that is proven to break it is undone = write the other one instead if a release may come that far
        "#]],
    );
}

#[test]
fn a_query_that_is_not_known_leaves_its_condition_out_with_it() {
    check(
        &template(
            "failureCondition: result[0] >= 10\nprovider:\n  prometheus:\n    query: sum(rate(errors_total[5m]))",
        ),
        expect![[r#"
            # There is nothing to set.
            approximated 3:18 metadata.name: no Rollout among the files names this template, so that the service is called as it is = name it with `--service NAME`
            left out 10:18 spec.metrics[0].provider.prometheus.query (with spec.metrics[0].failureCondition): this is a number of requests or events, which grows with the traffic = divide it by the number of all requests, or write `failures < …` yourself
        "#]],
    );
}

#[test]
fn a_threshold_that_is_an_argument_is_found_where_a_rollout_gives_it() {
    let template = template(&format!(
        "successCondition: 'result[0] >= {{{{args.least}}}}'\nprovider: {{prometheus: {{query: '{GOOD_SHARE}'}}}}"
    ));
    check(
        &template,
        expect![[r#"
            # There is nothing to set.
            approximated 3:18 metadata.name: no Rollout among the files names this template, so that the service is called as it is = name it with `--service NAME`
            left out 7:25 spec.metrics[0].successCondition (with spec.metrics[0].provider.prometheus.query): the value of an argument is not among the files = give the Rollout that sets it, too, or write the limit yourself
        "#]],
    );
    let rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: till}\nspec:\n  strategy:\n    canary:\n      analysis:\n        templates: [{templateName: shop}]\n        args: [{name: least, value: '0.97'}]\n";
    check(
        &format!("{template}---\n{rollout}"),
        expect![[r#"
        [services.till.rollout]
        limits = [
          # it.yaml line 7, spec.metrics[0].successCondition: result[0] >= {{args.least}}
          "failures < 3 %",
        ]
        taken over 7:25 spec.metrics[0].successCondition (with spec.metrics[0].provider.prometheus.query): `failures < 3 %`
        taken over 17:36 spec.strategy.canary.analysis.templates[0].templateName: its metrics, as limits of till
        not needed here 18:9 spec.strategy.canary.analysis.args: arguments are filled in where they are used; those that select the pods of a release are not needed, because its requests are known here
    "#]],
    );
}

#[test]
fn other_providers_are_left_out_each_with_its_reason() {
    for (provider, what) in [
        ("datadog: {query: x}", "this asks Datadog"),
        ("web: {url: http://x}", "a rollout asks nobody"),
        ("job: {spec: {}}", "a rollout runs none"),
        ("kayenta: {address: x}", "lets Kayenta compare"),
        ("somethingNew: {a: 1}", "this asks `somethingNew`"),
        ("prometheus: {query: up, rangeQuery: {start: x}}", "this asks for many numbers"),
    ] {
        let import = read_one(&template(&format!("successCondition: result > 1\nprovider: {{{provider}}}"))).unwrap();
        let told = import.left_out().unwrap();
        assert!(told.contains(what) && told.contains("with it spec.metrics[0].successCondition"), "{provider}: {told}");
    }
}

#[test]
fn a_metric_that_is_run_dry_is_no_limit() {
    let text = template(&format!(
        "name: rate\nsuccessCondition: result > 0.9\nprovider: {{prometheus: {{query: '{GOOD_SHARE}'}}}}"
    ));
    check(
        &format!("{text}  dryRun: [{{metricName: ra.*}}]\n"),
        expect![[r#"
        # There is nothing to set.
        approximated 3:18 metadata.name: no Rollout among the files names this template, so that the service is called as it is = name it with `--service NAME`
        not needed here 7:7 spec.metrics[0]: it is only tried there (`dryRun`), and decides nothing
        not needed here 10:3 spec.dryRun: metrics that are run dry decide nothing, and are left away
    "#]],
    );
}

#[test]
fn shares_and_pauses_become_steps_and_one_time() {
    check(
        &rollout(
            "- setWeight: 10\n- pause: {duration: 60}\n- setWeight: '50'\n- pause: {duration: 2m}\n- pause: {}\n- setWeight: 100",
        ),
        expect![[r#"
            [services.shop.rollout]
            # it.yaml line 7, spec.strategy.canary.steps
            steps = ["10 %", "50 %"]
            # it.yaml line 11, spec.strategy.canary.steps[3].pause.duration: 2m
            step_time = "2m"
            taken over 8:22 spec.strategy.canary.steps[0].setWeight: a step of 10 %
            taken over 10:22 spec.strategy.canary.steps[2].setWeight: a step of 50 %
            taken over 11:29 spec.strategy.canary.steps[3].pause.duration: `step_time = "2m"`
            approximated 7:7 spec.strategy.canary.steps: 2 steps, 10 %, 50 %: there all of them are gone through, here a release is promoted as soon as it is proven not worse, and the steps after that are not needed
            approximated 9:29 spec.strategy.canary.steps[1].pause.duration: there is one `step_time` for all steps: 10 % is held for 2m, the longest, instead of 1m
            approximated 13:22 spec.strategy.canary.steps[5].setWeight: 100 % is no step: it is the promotion, which follows from the verdict
            left out 12:11 spec.strategy.canary.steps[4].pause: a rollout waits here for a person, and the steps of one here go on by themselves = `qd pause` holds it where it is; `on_deadline = "hold"` leaves one that is not proven to a person
        "#]],
    );
}

#[test]
fn steps_that_take_longer_than_the_deadline_bring_a_longer_one() {
    check(
        &rollout("- setWeight: 10\n- pause: {duration: 1h}\n- setWeight: 20\n- pause: {duration: 1h}"),
        expect![[r#"
            [services.shop.rollout]
            # it.yaml line 7, spec.strategy.canary.steps
            steps = ["10 %", "20 %"]
            # it.yaml line 9, spec.strategy.canary.steps[1].pause.duration: 1h
            step_time = "1h"
            # it.yaml line 7, spec.strategy.canary.steps
            deadline = "4h"
            taken over 8:22 spec.strategy.canary.steps[0].setWeight: a step of 10 %
            taken over 9:29 spec.strategy.canary.steps[1].pause.duration: `step_time = "1h"`
            taken over 10:22 spec.strategy.canary.steps[2].setWeight: a step of 20 %
            taken over 11:29 spec.strategy.canary.steps[3].pause.duration: `step_time = "1h"`
            approximated 7:7 spec.strategy.canary.steps: 2 steps, 10 %, 20 %: there all of them are gone through, here a release is promoted as soon as it is proven not worse, and the steps after that are not needed
            approximated 7:7 spec.strategy.canary.steps: the steps take 2h together, and a release is decided on within 1h by default: `deadline = "4h"` is twice as long as the steps
        "#]],
    );
}

#[test]
fn steps_that_cannot_be_are_left_out_and_the_rest_stays() {
    check(
        &rollout(
            "- setWeight: 10\n- setWeight: ten\n- setWeight: 5\n- setweight: 20\n- pause: {duration: soon}\n- plain\n- setMirrorRoute: {name: x}\n- experiment: {duration: 1h}",
        ),
        expect![[r#"
            [services.shop.rollout]
            # it.yaml line 7, spec.strategy.canary.steps
            steps = ["10 %"]
            taken over 8:22 spec.strategy.canary.steps[0].setWeight: a step of 10 %
            approximated 7:7 spec.strategy.canary.steps: 1 step, 10 %: there all of them are gone through, here a release is promoted as soon as it is proven not worse, and the steps after that are not needed
            approximated 7:7 spec.strategy.canary.steps: nothing says how long: each is held for the default `step_time`
            approximated 10:22 spec.strategy.canary.steps[2].setWeight: steps only grow: this one, 5 % after 10 %, is left away
            left out 9:22 spec.strategy.canary.steps[1].setWeight: this is no share: it goes from 0 to 100 = write the number itself
            left out 11:11 spec.strategy.canary.steps[3].setweight: `setweight` is not a key that is known here = did you mean `setWeight`?
            left out 12:29 spec.strategy.canary.steps[4].pause.duration: this is not a length of time = use a number with s, m or h
            left out 13:11 spec.strategy.canary.steps[5]: this is a plain value, and a map is expected here
            left out 14:11 spec.strategy.canary.steps[6].setMirrorRoute: requests are copied to a canary before it gets any here, and not beside those that it gets = `shadow = "100 %"` under `[services.NAME.rollout]`
            left out 15:11 spec.strategy.canary.steps[7].experiment: no extra copies of releases are run to be compared = the canary is compared with the running release as it is
        "#]],
    );
}

#[test]
fn a_canary_of_flagger_becomes_steps_and_limits() {
    check(
        &canary(
            "interval: 1m\nthreshold: 5\nmaxWeight: 50\nstepWeight: 20\nmetrics:\n- name: request-success-rate\n  thresholdRange: {min: 99}\n  interval: 1m\n- name: request-duration\n  thresholdRange: {max: 500}",
        ),
        expect![[r#"
            [services.shop.rollout]
            # it.yaml line 10, spec.analysis.stepWeight: 20
            steps = ["20 %", "40 %", "60 %"]
            # it.yaml line 7, spec.analysis.interval: 1m
            step_time = "1m"
            limits = [
              # it.yaml line 13, spec.analysis.metrics[0].thresholdRange.min: 99
              "failures < 1 %",
              # it.yaml line 16, spec.analysis.metrics[1].thresholdRange.max: 500
              "p99 < 500ms",
            ]
            taken over 7:15 spec.analysis.interval: `step_time = "1m"`
            taken over 9:16 spec.analysis.maxWeight: 3 steps of 20 %, until 50 % is reached
            taken over 13:29 spec.analysis.metrics[0].thresholdRange.min: `failures < 1 %`
            taken over 16:29 spec.analysis.metrics[1].thresholdRange.max: `p99 < 500ms`
            approximated 10:17 spec.analysis.stepWeight: 3 steps, 20 %, 40 %, 60 %: there all of them are gone through, here a release is promoted as soon as it is proven not worse, and the steps after that are not needed
            not needed here 8:16 spec.analysis.threshold: every request is judged as it comes: there are no measurements to take at intervals, to count, or to forgive
            not needed here 14:17 spec.analysis.metrics[0].interval: every request is judged as it comes: there are no measurements to take at intervals, to count, or to forgive
        "#]],
    );
}

#[test]
fn weights_of_ones_own_are_taken_as_they_are() {
    check(
        &canary("interval: 5s\nstepWeights: [1, 2, 10, 80]\nmaxWeight: 50"),
        expect![[r#"
            [services.shop.rollout]
            # it.yaml line 8, spec.analysis.stepWeights
            steps = ["1 %", "2 %", "10 %", "80 %"]
            # it.yaml line 7, spec.analysis.interval: 5s
            step_time = "10s"
            taken over 8:19 spec.analysis.stepWeights[0]: a step of 1 %
            taken over 8:22 spec.analysis.stepWeights[1]: a step of 2 %
            taken over 8:25 spec.analysis.stepWeights[2]: a step of 10 %
            taken over 8:29 spec.analysis.stepWeights[3]: a step of 80 %
            approximated 7:15 spec.analysis.interval: Flagger looks no more often than every 10s, and each step is held for that time
            approximated 8:5 spec.analysis.stepWeights: 4 steps, 1 %, 2 %, 10 %, 80 %: there all of them are gone through, here a release is promoted as soon as it is proven not worse, and the steps after that are not needed
            not needed here 9:16 spec.analysis.maxWeight: the last of `stepWeights` is the most
        "#]],
    );
}

#[test]
fn what_flagger_does_besides_is_left_out_with_what_to_do_instead() {
    check(
        &canary(
            "interval: 1m\niterations: 10\nmirror: true\nmatch:\n- headers: {cookie: {exact: x}}\nwebhooks:\n- {name: gate, type: confirm-promotion, url: 'http://x'}\n- {name: load, url: 'http://x'}\nalerts: [{name: slack}]",
        ),
        expect![[r##"
            # There is nothing to set.
            not needed here 7:15 spec.analysis.interval: there are no steps that could be held
            left out 8:17 spec.analysis.iterations: a release is looked at so often there before it gets all requests at once = here it gets a growing share of them, by default; `strategy = "blue-green"` moves all at once, and does not judge
            left out 9:13 spec.analysis.mirror: requests are copied to a canary before it gets any here, and not beside those that it gets = `shadow = "100 %"` under `[services.NAME.rollout]`
            left out 10:5 spec.analysis.match: requests are not assigned by what they say = `sticky` under `[services.NAME.traffic]` keeps a user on one release
            left out 13:7 spec.analysis.webhooks[0]: webhook of the type confirm-promotion: nothing is asked before a step or a promotion = `qd pause` holds a rollout, `qd promote` ends it
            left out 14:7 spec.analysis.webhooks[1]: webhook of the type rollout: nothing is called while a release is judged, and no requests are made for it: it is judged on real ones = let CI send requests after `qd deploy --detach` if there are too few
            left out 15:5 spec.analysis.alerts: nobody is told of a rollout = `qd deploy` ends with exit code 3 when a release is undone: let CI tell
        "##]],
    );
}

#[test]
fn a_metric_template_is_read_where_a_canary_names_it() {
    let canary = canary(
        "metrics:\n- name: slow\n  templateRef: {name: slow}\n  thresholdRange: {max: 0.25}\n- name: lost\n  templateRef: {name: lost}\n  thresholdRange: {max: 1}",
    );
    let template = "apiVersion: flagger.app/v1beta1\nkind: MetricTemplate\nmetadata: {name: slow}\nspec:\n  provider: {type: prometheus, address: 'http://x'}\n  query: |\n    histogram_quantile(0.9, sum(rate(\n      took_seconds_bucket{app=\"{{ target }}\"}[{{ interval }}])) by (le))\n";
    check(
        &format!("{canary}---\n{template}"),
        expect![[r#"
        [services.shop.rollout]
        limits = [
          # it.yaml line 10, spec.analysis.metrics[0].thresholdRange.max: 0.25
          "p90 < 250ms",
        ]
        taken over 9:7 spec.analysis.metrics[0].templateRef: the query of its MetricTemplate
        taken over 10:29 spec.analysis.metrics[0].thresholdRange.max (with spec.query): `p90 < 250ms`
        not needed here 19:41 spec.provider.address: requests are measured here, in the proxy that carries them: no other program is asked
        left out 12:7 spec.analysis.metrics[1].templateRef (with spec.analysis.metrics[1].thresholdRange): the MetricTemplate `lost` is not among the files, and so its query is not known = give its file, too
    "#]],
    );
}

#[test]
fn other_documents_and_other_shapes_are_named() {
    check(
        "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 3}\n---\n- a list\n---\nkind: Rollout\n",
        expect![[r#"
            # There is nothing to set.
            left out 2:7 : a document of the kind Deployment of apps/v1 is not read = a Rollout, AnalysisTemplate, ClusterAnalysisTemplate or AnalysisRun of argoproj.io and a Canary or MetricTemplate of flagger.app are read
            left out 5:1 : this document does not say what kind it is = a Rollout, AnalysisTemplate, ClusterAnalysisTemplate or AnalysisRun of argoproj.io and a Canary or MetricTemplate of flagger.app are read
            left out 7:7 : a document of the kind Rollout, without an `apiVersion`, is not read = a Rollout, AnalysisTemplate, ClusterAnalysisTemplate or AnalysisRun of argoproj.io and a Canary or MetricTemplate of flagger.app are read
        "#]],
    );
    check(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: My.App}\nspec: []\n",
        expect![[r#"
        # There is nothing to set.
        approximated 3:18 metadata.name: a service cannot be called that: it is called `service` here = name it with `--service NAME`
        left out 4:1 spec: this is a list, and a map is expected here
    "#]],
    );
}

#[test]
fn a_list_of_documents_is_read_part_by_part() {
    let items = rollout("- setWeight: 5").replace('\n', "\n    ");
    let import = read_one(&format!("apiVersion: v1\nkind: List\nitems:\n  - {}", items.trim_end())).unwrap();
    assert!(import.settings().contains("items[0].spec.strategy.canary.steps"), "{}", import.settings());
}

#[test]
fn files_that_are_no_yaml_or_too_much_of_it_are_refused_with_their_place() {
    refused(
        "",
        expect![[r#"
        there is nothing in this file
         --> it.yaml:1:1
          |
        1 | 
          | ^
          = a Rollout, AnalysisTemplate, ClusterAnalysisTemplate or AnalysisRun of argoproj.io and a Canary or MetricTemplate of flagger.app are read
    "#]],
    );
    refused(
        "kind: Rollout\n  spec: {}\n",
        expect![[r#"
        this is not YAML: mapping values are not allowed in this context
         --> it.yaml:2:7
          |
        2 |   spec: {}
          |       ^
    "#]],
    );
    refused(
        "metadata:\n  name: {{ .Values.name }}\n",
        expect![[r#"
        a key must be a text
         --> it.yaml:2:10
          |
        2 |   name: {{ .Values.name }}
          |          ^^
          = a Helm chart is rendered first (`helm template`); a placeholder `{{…}}` must stand in quotes
    "#]],
    );
    refused(
        "kind: a\nkind: b\n",
        expect![[r#"
        `kind` stands here twice
         --> it.yaml:2:1
          |
        2 | kind: b
          | ^^^^
          = keep one of them
    "#]],
    );
    refused(
        "a: &a [*a]\n",
        expect![[r#"
        this alias stands for what it is a part of
         --> it.yaml:1:8
          |
        1 | a: &a [*a]
          |        ^^
    "#]],
    );
    refused(
        "a: !mine b\n",
        expect![[r#"
        a tag of one's own has no meaning here
         --> it.yaml:1:4
          |
        1 | a: !mine b
          |    ^^^^^^^
          = remove it
    "#]],
    );
    refused(
        "kind: \u{1b}[31mred\n",
        expect![[r#"
        the control character U+001B cannot stand in YAML
         --> it.yaml:1:7
          |
        1 | kind: �[31mred
          |       ^
    "#]],
    );
    let laughs: String =
        (1..12).map(|i| format!("l{i}: &l{i} [{}]\n", vec![format!("*l{}", i - 1); 9].join(", "))).collect();
    refused(
        &format!("l0: &l0 ha\n{laughs}"),
        expect![[r#"
        there are more than 50000 values up to here, with what aliases stand for
         --> it.yaml:6:35
          |
        6 | l5: &l5 [*l4, *l4, *l4, *l4, *l4, *l4, *l4, *l4, *l4]
          |                                   ^^^
          = give the documents that are about rollouts only
    "#]],
    );
    let bounds = ["[".repeat(200), "- a\n".repeat(60_000), "--- a\n".repeat(501), "a".repeat(MAX_BYTES + 1)];
    for text in bounds {
        let said = read_one(&text).unwrap_err().to_string();
        assert!(
            ["64 deep", "50000 values", "500 documents", "1048576 are read"].iter().any(|what| said.contains(what)),
            "{said:.200}"
        );
    }
}

#[test]
fn merged_maps_and_aliases_are_read_as_what_they_stand_for() {
    let text = "x: &base {interval: 1m, threshold: 3}\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: shop}\nspec:\n  analysis:\n    <<: *base\n    stepWeights: [5]\n";
    let import = read_one(text).unwrap();
    assert!(import.settings().contains("step_time = \"1m\""), "{}", import.settings());
}

#[test]
fn what_is_generated_is_what_the_configuration_takes() {
    let import =
        read_one(&rollout("- setWeight: 10\n- pause: {duration: 1h}\n- setWeight: 99.5\n- pause: {duration: 1h}"))
            .unwrap();
    let config = crate::config::Config::parse(Path::new("quarterdeck.toml"), &import.settings());
    let steps = &config.unwrap_or_else(|p| panic!("{p}")).services.into_values().next().unwrap().rollout.steps;
    assert_eq!(steps.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10 %", "99.5 %"]);

    let template =
        template(&format!("successCondition: result > 0.9\nprovider: {{prometheus: {{query: '{GOOD_SHARE}'}}}}"));
    let config = crate::config::Config::parse(Path::new("quarterdeck.toml"), &read_one(&template).unwrap().settings());
    let shop = config.unwrap_or_else(|p| panic!("{p}")).services.into_values().next().unwrap();
    let limits = shop.rollout.judgement.limits.iter().map(ToString::to_string);
    assert_eq!(limits.collect::<Vec<_>>(), ["failures < 10 %"]);
}

#[test]
fn a_template_that_two_rollouts_name_is_a_limit_of_both_and_told_once() {
    let template = template(&format!(
        "successCondition: result > 0.9 && result < 2\nprovider: {{prometheus: {{query: '{GOOD_SHARE}'}}}}"
    ));
    let rollout = |name: &str| {
        format!(
            "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: {name}}}\nspec:\n  strategy:\n    \
             canary: {{analysis: {{templates: [{{templateName: shop}}]}}}}\n"
        )
    };
    check(
        &format!("{template}{}{}", rollout("a"), rollout("b")),
        expect![[r#"
        [services.a.rollout]
        limits = [
          # it.yaml line 7, spec.metrics[0].successCondition: result > 0.9 && result < 2
          "failures < 10 %",
        ]

        [services.b.rollout]
        limits = [
          # it.yaml line 7, spec.metrics[0].successCondition: result > 0.9 && result < 2
          "failures < 10 %",
        ]
        taken over 7:25 spec.metrics[0].successCondition (with spec.metrics[0].provider.prometheus.query): `failures < 10 %`
        taken over 15:52 spec.strategy.canary.analysis.templates[0].templateName: its metrics, as limits of a
        taken over 22:52 spec.strategy.canary.analysis.templates[0].templateName: its metrics, as limits of b
        not needed here 7:25 spec.metrics[0].successCondition: a part of it always holds
        not needed here 8:38 spec.metrics[0].provider.prometheus.query: it is measured here
    "#]],
    );
}
