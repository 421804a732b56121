//! Plans: what would be done, why, who would feel it and how it is undone.

use super::{
    figures::many,
    ink::{Ink, wrap},
};
use control::{
    change::{Plan, PlannedChange},
    view::ChangeView,
};

/// A plan, before anything is done.
pub(crate) fn plan(plan: &Plan, ink: Ink) -> String {
    let mut text: String = plan.changes.iter().map(|change| planned(change, ink) + "\n").collect();
    if plan.changes.is_empty() {
        return "Nothing would change.\n".to_owned();
    }
    text += &match plan.approvals {
        0 => String::new(),
        n => wrap(&ink.warn(format!("It waits for {} by others.", many(n.into(), "approval"))), ink.width, ""),
    };
    text + &format!("{}\n", ink.dim(format!("plan {}", plan.digest)))
}

/// The plan of a change that exists, with the digest that approvals bind to.
pub(crate) fn change_plan(view: &ChangeView, ink: Ink) -> String {
    format!("{}{}\n", planned(&view.plan, ink), ink.dim(format!("plan {}", view.plan.digest)))
}

fn planned(change: &PlannedChange, ink: Ink) -> String {
    let mut text = format!("{}\n", ink.bold(format!("{} {}", change.kind, change.service)));
    for (number, step) in (1..).zip(&change.steps) {
        let number = format!("  {number}. ");
        let indent = " ".repeat(number.len());
        let what = wrap(&step.what, ink.width, &indent);
        text += &format!("{number}{}", what.trim_start());
        text += &wrap(&ink.dim(&step.because), ink.width, &format!("{indent}  "));
    }
    text += &wrap(&format!("If it goes wrong: {}.", change.blast_radius), ink.width, "  ");
    text += &wrap(&format!("To undo it: {}.", change.reversibility), ink.width, "  ");
    text
}
