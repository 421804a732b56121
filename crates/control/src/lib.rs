//! The pure core that controls production: facts in, state; intent against observation, actions.
//!
//! One turn: [`decide`] looks at the state, at what is observed and at an [`Input`], and returns drafts of entries or a
//! [`Refusal`]. The shell appends them to the ledger; once they are durable [`apply`] folds each into [`State`]; then
//! [`plan`] compares the whole state with the whole observation and returns [`Planned`] actions. Nothing here reads a
//! clock, a file or a socket: the same inputs give the same outputs on every machine, so the path after a crash is the
//! everyday path.
//!
//! Every feature is a module with the same four functions: `decide`, `apply`, `plan` and `view` (a module that has
//! nothing to say for one of them leaves it out):
//! [`service`] what is intended to run · [`release`] what it can be · [`change`] who wants what altered, and how far it is ·
//! [`rollout`] how traffic moves · [`instance`] the running copies · [`cache`] what is purged of
//! stored responses · [`sleep`] who rests while nobody asks · [`route`] the table the data plane obeys.
//!
//! Invariants: only [`apply`] changes [`State`], and it cannot fail on an entry that `decide` drafted; `decide` and
//! `plan` change nothing.

pub mod cache;
pub mod change;
pub mod clock;
pub mod command;
pub mod fact;
pub mod instance;
pub mod metrics;
pub mod observed;
pub mod refusal;
pub mod release;
pub mod rollout;
pub mod route;
pub mod service;
pub mod sleep;
pub mod state;
pub mod story;
pub mod view;

mod fold;
#[cfg(test)]
mod testing;
mod turn;

pub use command::{Command, Request};
pub use fact::{Draft, Entry, Fact};
pub use fold::apply;
pub use observed::Observed;
pub use refusal::{Code, Refusal};
pub use state::State;
pub use turn::{Input, Planned, batches, changes_of, decide, plan};

/// The version of the fold: raised whenever [`apply`] gives another state for the same entries, so that snapshots made
/// by an older one are thrown away.
pub const FOLD_VERSION: u32 = 3;
