//! Texts for people, made from what the API shows. Nothing here decides, asks or reads a clock: the same view and the same
//! `now` give the same text, so that every text is tested.
//!
//! What always holds: no line is longer than the width it is given, except for a single word that is; colour repeats
//! what a word already says.
//!
//! Start reading at [`mod@status`].

mod certificate;
mod change;
mod entry;
mod evidence;
mod figures;
mod ink;
mod plan;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use certificate::trouble;
pub(crate) use change::{change, change_row, change_rows, figures_line, outcome, progress_line};
pub(crate) use entry::entry;
pub(crate) use figures::{count, many};
pub(crate) use ink::{Ink, wrap};
pub(crate) use plan::{change_plan, plan};
pub(crate) use status::status;
