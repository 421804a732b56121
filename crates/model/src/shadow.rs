//! Copies of requests that a new release gets before any user does: what the data plane is to copy, and what became of it.
//! Nobody sees the answers; they are compared with what the users were given.

use crate::{ChangeId, Endpoint, Latencies, Ratio, ReleaseId, Span, Tally};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The release of a service that gets copies of its requests, and no request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Shadow {
    /// For which change. A table with the same change and release keeps what was compared so far.
    pub change: ChangeId,
    /// Which release.
    pub release: ReleaseId,
    /// The probability that a request which may be copied is.
    pub share: Ratio,
    /// For how long after an instance became ready copies are not compared.
    pub warm_up: Span,
    /// Its ready instances.
    pub endpoints: Vec<Endpoint>,
}

/// What became of copies, and of the requests that they are copies of. Pairs of which one says nothing, because its client
/// or its instance left, are not compared.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Copies {
    /// Pairs in which neither failed.
    pub both_fine: u64,
    /// Pairs in which the copy failed and the request did not.
    pub only_copy_failed: u64,
    /// Pairs in which the request failed and the copy did not.
    pub only_user_failed: u64,
    /// Pairs in which both failed.
    pub both_failed: u64,
    /// Of all pairs, those that were answered with statuses of different classes, such as 200 and 404.
    pub statuses_differ: u64,
    /// Copies that ended and were not compared.
    pub uncompared: u64,
    /// Requests that were not copied because too many copies were under way.
    pub crowded_out: u64,
    /// How the copies ended, compared or not.
    pub tally: Tally,
    /// How long those took that were answered.
    pub latencies: Latencies,
}

impl Copies {
    /// How many pairs were compared.
    pub const fn compared(&self) -> u64 {
        self.both_fine + self.only_copy_failed + self.only_user_failed + self.both_failed
    }

    /// The figures, for people. `shadow` and `running`: the releases that had the copies and the requests.
    pub fn sentence(&self, running: ReleaseId, shadow: ReleaseId) -> String {
        let Copies { both_fine, only_copy_failed, only_user_failed, both_failed, statuses_differ, .. } = self;
        let p99 = self.latencies.quantile_us(0.99).map(|us| format!(", p99 of the copies {:.1} ms", us as f64 / 1e3));
        format!(
            "{} copies compared: both fine {both_fine}, only {shadow} failed {only_copy_failed}, only {running} failed \
             {only_user_failed}, both failed {both_failed}; statuses differ {statuses_differ}{}",
            self.compared(),
            p99.unwrap_or_default()
        )
    }
}
