//! Evidence from requests: figures in, verdict out.
//!
//! [`Test`] compares a canary with the running release beside it, one unit after the other. [`Watch`] compares a release
//! with what was usual before, when nothing runs beside it. [`copies_fail_more`] compares requests with copies of them, whose
//! answers nobody sees. [`theory`] says what is possible at all.
//!
//! What this is not: it reads no clock, draws no random numbers, and acts on nothing. What must always hold:
//!
//! - **Valid at every look.** The probability that a canary which is like the running release is ever called worse is at
//!   most `false_alarm`, whatever the rates are, however they drift, and however often one looks.
//! - **Bets know the past only.** Models are built from earlier units; a unit is learned from after it was bet on.
//! - **Nothing overflows.** Evidence is kept as logarithms within bounds; no input gives a verdict out of a NaN.
//!
//! Start reading at `test`, then `label` (evidence that it is worse) and `not_worse` (evidence that it is not).
//! `docs/concepts/judge.md` explains the method without mathematics.

mod above;
mod confidence;
mod evaluation;
mod exposure;
mod failures;
mod histogram;
mod label;
mod latency;
mod limit;
mod not_worse;
mod outage;
mod pairs;
mod presence;
mod rate;
mod slower;
mod tally;
mod test;
pub mod theory;
mod watch;
mod wealth;

pub use evaluation::Evaluation;
pub use pairs::copies_fail_more;
pub use test::{Test, Unit};
pub use watch::Watch;
