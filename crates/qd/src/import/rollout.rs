//! A Rollout of Argo Rollouts: its canary's shares and pauses as steps, the analyses that it begins as limits.

use super::{
    argo::{Catalog, Given, named},
    finding::Findings,
    known::{BEGUN, BLUE_GREEN, CANARY, PAUSE, ROLLOUT_SPEC, STEP, STRATEGY, TRAFFIC_ROUTING},
    measure::{go_duration, written},
    service::{Service, Set},
    spot::Spot,
    steps::Steps,
};
use model::Span;

/// Weights are percentages unless a Rollout says otherwise.
const WHOLE: f64 = 100.0;

pub(super) fn rollout(spec: &Spot<'_>, catalog: &mut Catalog<'_>, service: &mut Service, findings: &mut Findings) {
    if !spec.account(ROLLOUT_SPEC, findings) {
        return;
    }
    let Some(strategy) = spec.get("strategy") else { return };
    if !strategy.account(STRATEGY, findings) {
        return;
    }
    if let Some(blue_green) = strategy.get("blueGreen").filter(|b| b.account(BLUE_GREEN, findings)) {
        findings.taken(&blue_green, "`strategy = \"blue-green\"`");
        service.set("strategy", Set::Text("blue-green".to_owned()), &blue_green, findings);
        hold_back(&blue_green, service, findings);
        if let Some(auto) = blue_green.get("autoPromotionEnabled") {
            if auto.text() == Some("true") {
                findings.taken(&auto, "requests move as soon as every instance is ready");
            } else {
                let instead = "`approvals` under `[access]` lets others agree before it begins; `qd rollback` returns within `hold_back`";
                findings.left(&auto, "requests move as soon as every instance is ready, without a person", instead);
            }
        }
    }
    if let Some(canary) = strategy.get("canary").filter(|c| c.account(CANARY, findings)) {
        hold_back(&canary, service, findings);
        let whole = whole(&canary, findings);
        if let Some(list) = canary.get("steps") {
            steps(&list, whole, catalog, service, findings);
        }
        if let Some(analysis) = canary.get("analysis") {
            begun(&analysis, catalog, service, findings);
        }
    }
}

/// What a weight is a part of.
fn whole(canary: &Spot<'_>, findings: &mut Findings) -> f64 {
    let Some(routing) = canary.get("trafficRouting") else { return WHOLE };
    if !routing.account(TRAFFIC_ROUTING, findings) {
        return WHOLE;
    }
    let Some(most) = routing.get("maxTrafficWeight") else { return WHOLE };
    match most.number().filter(|n| *n >= 1.0) {
        Some(number) => {
            findings.taken(&most, format!("weights are parts of {number}"));
            number
        }
        None => {
            findings.left(&most, "this is not a number above zero", "");
            WHOLE
        }
    }
}

fn hold_back(strategy: &Spot<'_>, service: &mut Service, findings: &mut Findings) {
    let Some(delay) = strategy.get("scaleDownDelaySeconds") else { return };
    match length(&delay) {
        Some(span) => {
            findings.taken(&delay, format!("`hold_back = \"{}\"`", written(span)));
            service.set("hold_back", Set::Text(written(span)), &delay, findings);
        }
        None => {
            findings.left(&delay, "this is not a number of seconds", "");
        }
    }
}

/// A length of time, in seconds where there is no unit.
fn length(spot: &Spot<'_>) -> Option<Span> {
    let text = spot.text()?.trim();
    if text.chars().all(|c| c.is_ascii_digit()) { go_duration(&format!("{text}s")) } else { go_duration(text) }
}

/// An analysis that is begun beside the steps or as one of them.
fn begun(analysis: &Spot<'_>, catalog: &mut Catalog<'_>, service: &mut Service, findings: &mut Findings) {
    if !analysis.account(BEGUN, findings) {
        return;
    }
    let given = Given::default().with(analysis, findings);
    match analysis.get("templates") {
        Some(templates) => named(&templates, &given, catalog, service, findings),
        None => {
            findings.left(analysis, "no templates are named here", "name them under `templates`");
        }
    }
}

fn steps(list: &Spot<'_>, whole: f64, catalog: &mut Catalog<'_>, service: &mut Service, findings: &mut Findings) {
    let mut steps = Steps::default();
    for step in list.list(findings) {
        if !step.account(STEP, findings) {
            continue;
        }
        if let Some(weight) = step.get("setWeight") {
            steps.share(&weight, whole, findings);
        }
        if let Some(pause) = step.get("pause") {
            self::pause(&pause, &mut steps, findings);
        }
        if let Some(analysis) = step.get("analysis") {
            let what = "it is one step there; here its limits hold through the whole rollout";
            findings.approximated(&analysis, what, "");
            begun(&analysis, catalog, service, findings);
        }
    }
    steps.finish(list, service, findings);
}

fn pause<'d>(pause: &Spot<'d>, steps: &mut Steps<'d>, findings: &mut Findings) {
    if !pause.account(PAUSE, findings) {
        return;
    }
    match pause.get("duration") {
        None => {
            let what = "a rollout waits here for a person, and the steps of one here go on by themselves";
            let instead =
                "`qd pause` holds it where it is; `on_deadline = \"hold\"` leaves one that is not proven to a person";
            findings.left(pause, what, instead);
        }
        Some(duration) => match length(&duration) {
            Some(span) => steps.hold(span, &duration, findings),
            None => {
                findings.left(&duration, "this is not a length of time", "use a number with s, m or h");
            }
        },
    }
}
