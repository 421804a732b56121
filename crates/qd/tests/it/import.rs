//! What another program judged releases by is read, and the settings that it means here are printed to be pasted.

use crate::site::Site;
use expect_test::expect;
use std::fs;

/// A Rollout with two steps, and the template it names.
const ROLLOUT: &str = r#"apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: shop
spec:
  strategy:
    canary:
      analysis:
        templates:
          - templateName: quality
      steps:
        - setWeight: 10
        - pause: {duration: 1m}
        - setWeight: 50
        - pause: {duration: 1m}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata:
  name: quality
spec:
  metrics:
    - name: answered
      failureLimit: 3
      successCondition: result[0] >= 0.98
      provider:
        prometheus:
          query: |
            sum(rate(http_requests_total{job="shop", code!~"5.."}[2m]))
              / sum(rate(http_requests_total{job="shop"}[2m]))
"#;

/// What is judged elsewhere by a query that nothing here understands.
const ORDERS: &str = r#"apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata:
  name: orders
spec:
  metrics:
    - name: orders
      successCondition: result > 100
      provider:
        datadog:
          query: sum:shop.orders{*}
"#;

fn site() -> Site {
    let site = Site::empty();
    fs::write(site.dir().join("rollout.yaml"), ROLLOUT).unwrap();
    fs::write(site.dir().join("orders.yaml"), ORDERS).unwrap();
    site
}

#[test]
fn settings_are_printed_alone_where_all_is_understood() {
    let site = site();
    let said = site.qd(&["import", "rollout.yaml"]).expect(0);
    expect![[r#"
        [services.shop.rollout]
        # rollout.yaml line 11, spec.strategy.canary.steps
        steps = ["10 %", "50 %"]
        # rollout.yaml line 13, spec.strategy.canary.steps[1].pause.duration: 1m
        step_time = "1m"
        limits = [
          # rollout.yaml line 25, spec.metrics[0].successCondition: result[0] >= 0.98
          "failures < 2 %",
        ]
    "#]]
    .assert_eq(&said.out);
    said.telling("every request is judged as it comes").telling("rollout.yaml:24:21 spec.metrics[0].failureLimit: 3");
    assert!(!site.data().exists());
}

#[test]
fn what_is_left_out_is_told_with_its_place_and_its_exit_code() {
    let site = site();
    let said = site.qd(&["--quiet", "import", "rollout.yaml", "orders.yaml", "--service", "till"]).expect(6);
    assert!(said.out.starts_with("[services.till.rollout]\n") && said.out.contains("failures < 2 %"), "{}", said.out);
    expect![[r#"
        error: 1 part of this is left out

        spec.metrics[0].provider.datadog: this asks Datadog, and only queries of Prometheus are read; and with it spec.metrics[0].successCondition
          --> orders.yaml:10:9
           |
        10 |         datadog:
           |         ^^^^^^^
           = if it is a share of failed requests or a latency, write the limit yourself: `failures < …` or `pNN < …`
    "#]]
    .assert_eq(&said.err);
}

#[test]
fn programs_get_one_document_with_everything() {
    let site = site();
    let said = site.qd(&["import", "--json", "rollout.yaml", "orders.yaml"]).expect(6);
    let document = said.json();
    assert_eq!(document["services"][0]["rollout"]["limits"][0], "failures < 2 %");
    let left = document["findings"].as_array().unwrap().iter().find(|finding| finding["class"] == "left").unwrap();
    assert_eq!((left["file"].as_str(), left["line"].as_u64()), (Some("orders.yaml"), Some(10)));
    assert_eq!(left["also"][0], "spec.metrics[0].successCondition");
}

#[test]
fn a_file_that_is_no_yaml_is_shown_where_it_breaks() {
    let site = site();
    fs::write(site.dir().join("chart.yaml"), "kind: Rollout\nmetadata:\n  name: {{ .Values.name }}\n").unwrap();
    let said = site.qd(&["import", "chart.yaml"]).expect(2).telling("chart.yaml:3:10").telling("helm template");
    assert!(said.out.is_empty(), "{}", said.out);
    site.qd(&["import", "nowhere.yaml"]).expect(1).telling("cannot read nowhere.yaml");
    site.qd(&["import"]).expect(2);
}
