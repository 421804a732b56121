//! How a canary's share grows when no steps are set: as fast as the evidence allows.
//!
//! What is known of a canary is where its failure rate can be at most: everything, before its first request; about three
//! divided by the number of its requests, when none failed. That bound, above what the running release does, times the
//! share is the part of all requests that may be failing because of it without anybody knowing yet. The share is as
//! large as keeps this part small: at a share of 1 % everything may fail; after a hundred good requests, half of the
//! traffic is no larger a risk. With an exposure budget, what may fail unnoticed within a [`NOTICE`] stays within the
//! rest of the budget too, so that a busy service grows more slowly.
//!
//! This bounds what is risked, and decides nothing else: whether a canary is worse is the guard's to say.

use model::{Evidence, Ratio, Span};

/// The share that every canary begins with.
pub(crate) const FIRST: Ratio = percent(1);
/// The share that evidence is gathered at until it suffices: no other decides as soon.
pub(crate) const MOST: Ratio = percent(50);
/// The same while the evidence leans against the canary. It takes about as many failures to find it at any share, but
/// longer at a smaller one: a share at which nobody waits for the verdict, and few are concerned if it is a bad one.
pub(crate) const MOST_IN_DOUBT: Ratio = percent(5);
/// How long a share is held at least, so that each is seen, by people and by the next report of the data plane.
pub(crate) const PACE: Span = Span::seconds(1);

/// The part of all requests that may be failing because of the canary, as far as is known.
const RISK: f64 = 0.03;
/// Within which time a canary that breaks is noticed, in seconds: until requests on their way have ended, and been judged.
const NOTICE: f64 = 1.0;
/// The share at most doubles, and a step is not worth taking for less than a quarter more.
const GROWTH: (f64, f64) = (1.25, 2.0);

/// The next share, when it may grow, up to `limit`. `per_second`: the requests to both releases together.
pub(super) fn next(share: Ratio, limit: Ratio, evidence: &Evidence, per_second: f64) -> Option<Ratio> {
    let (canary, running) = (evidence.canary_bounds.as_ref()?, evidence.running_bounds.as_ref()?);
    let unknown = (canary.failure_rate[1] - running.failure_rate[0]).clamp(1e-6, 1.0);
    let mut most = RISK / unknown;
    if let Some(budget) = evidence.exposure {
        let left = (f64::from(budget) - evidence.excess_failures.max(0.0)).max(0.0);
        most = most.min(left / (per_second * NOTICE * unknown).max(1e-9));
    }
    let now = share.as_f64();
    let next = rounded(most.min(GROWTH.1 * now).min(limit.as_f64()));
    // The last step may be a small one.
    let worth_it = next.as_f64() >= GROWTH.0 * now || (next > share && next >= limit);
    worth_it.then_some(next)
}

/// In whole percent, or tenths of one below two, for people to read; never up.
fn rounded(share: f64) -> Ratio {
    let unit = if share < 0.02 { 1_000.0 } else { 10_000.0 };
    Ratio::from_ppm(((share * 1e6 + 1.0) / unit).floor() as u32 * unit as u32).unwrap_or(MOST)
}

const fn percent(n: u32) -> Ratio {
    match Ratio::from_percent(n) {
        Some(ratio) => ratio,
        None => Ratio::ONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ArmBounds, LatencyBounds};

    fn seen(canary_at_most: f64, running_at_least: f64) -> Evidence {
        let unknown = LatencyBounds { at_least_us: 0, at_most_us: None };
        let bounds = |low, high| Some(ArmBounds { failure_rate: [low, high], p50: unknown, p99: unknown });
        Evidence {
            canary_bounds: bounds(0.0, canary_at_most),
            running_bounds: bounds(running_at_least, 1.0),
            ..Evidence::default()
        }
    }

    fn grown(percent_now: u32, evidence: &Evidence, per_second: f64) -> String {
        let next = next(percent(percent_now), MOST, evidence, per_second);
        next.map_or("stays".to_owned(), |share| share.to_string())
    }

    #[test]
    fn the_share_grows_as_the_unknown_shrinks_and_at_most_doubles() {
        assert_eq!(grown(1, &Evidence::default(), 10.0), "stays", "nothing is known");
        assert_eq!(grown(2, &seen(1.0, 0.0), 10.0), "3 %", "not one canary request need have been good");
        assert_eq!(grown(3, &seen(1.0, 0.0), 10.0), "stays");
        assert_eq!(grown(3, &seen(0.79, 0.0), 10.0), "stays", "3.8 % is 3 %, and that is no step");
        assert_eq!(grown(3, &seen(0.5, 0.0), 10.0), "6 %");
        assert_eq!(grown(8, &seen(0.2, 0.0), 10.0), "15 %");
        assert_eq!(grown(16, &seen(0.01, 0.0), 10.0), "32 %");
        assert_eq!(grown(45, &seen(0.01, 0.0), 10.0), "50 %");
        assert_eq!(grown(50, &seen(0.01, 0.0), 10.0), "stays");
    }

    #[test]
    fn in_doubt_the_share_grows_no_further_than_it_takes_to_decide() {
        let next = |now| next(percent(now), MOST_IN_DOUBT, &seen(0.01, 0.0), 10.0).map(|share| share.to_string());
        assert_eq!(
            [1, 2, 4, 5, 16].map(next),
            [Some("2 %"), Some("4 %"), Some("5 %"), None, None].map(|s| s.map(str::to_owned))
        );
    }

    #[test]
    fn what_the_running_release_fails_anyway_is_no_risk_of_the_canary() {
        assert_eq!(grown(10, &seen(0.5, 0.0), 10.0), "stays");
        assert_eq!(grown(10, &seen(0.5, 0.4), 10.0), "20 %");
        assert_eq!(grown(10, &seen(0.3, 0.6), 10.0), "20 %", "a better canary is no risk at all");
    }

    #[test]
    fn a_budget_slows_a_busy_service_and_stops_it_when_it_is_spent() {
        let budget = |excess_failures| Evidence { exposure: Some(20), excess_failures, ..seen(0.1, 0.0) };
        assert_eq!(grown(1, &budget(0.0), 10.0), "2 %");
        assert_eq!(grown(10, &budget(0.0), 1_000.0), "20 %");
        assert_eq!(grown(10, &budget(8.0), 1_000.0), "stays");
        assert_eq!(grown(1, &budget(-8.0), 20_000.0), "stays");
        assert_eq!(grown(1, &budget(20.0), 10.0), "stays");
    }
}
