//! Log lines that cannot flood.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// How often one kind of trouble is told, in each thread.
const EVERY: Duration = Duration::from_secs(5);

/// Lets one message of a kind through every few seconds and counts the others.
#[derive(Default)]
pub(crate) struct Quiet {
    next: Cell<Option<Instant>>,
    withheld: Cell<u64>,
}

impl Quiet {
    /// Whether to tell it now; if so, how many times it was not told since it was last.
    pub(crate) fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        if self.next.get().is_some_and(|next| now < next) {
            self.withheld.set(self.withheld.get() + 1);
            return None;
        }
        self.next.set(Some(now + EVERY));
        Some(self.withheld.take())
    }
}
