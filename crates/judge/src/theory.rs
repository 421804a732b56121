//! What is possible: information between rates of failure, and how many units any test must see.
//!
//! Nothing here looks at data of a rollout. The benchmarks compare the judge with these limits, and [`crate::Test`] uses
//! the bounds for its estimates. Natural logarithms throughout; information is in nats.

/// The information in nats by which one unit with failure probability `a` speaks against the probability `b`.
/// Not negative; infinite when `b` excludes what `a` allows.
pub fn kl(a: f64, b: f64) -> f64 {
    let term = |a: f64, b: f64| if a <= 0.0 { 0.0 } else { a * (a / b).ln() };
    (term(a, b) + term(1.0 - a, 1.0 - b)).max(0.0)
}

/// The information in nats per unit that tells a canary failing with `p1` from a running release failing with `p0`, when
/// a share `weight` of the units goes to the canary and neither rate is known beforehand.
pub fn contrast(weight: f64, p0: f64, p1: f64) -> f64 {
    let both = weight * p1 + (1.0 - weight) * p0;
    weight * kl(p1, both) + (1.0 - weight) * kl(p0, both)
}

/// The mean number of units, both arms together, below which no test can find that `p1` is not `p0` with at most
/// `false_alarm` false alarms and `miss` misses.
pub fn limit_units(weight: f64, p0: f64, p1: f64, false_alarm: f64, miss: f64) -> f64 {
    kl(1.0 - miss, false_alarm) / contrast(weight, p0, p1)
}

/// The failures more than with the running release that have happened by [`limit_units`]. Independent of traffic.
pub fn limit_excess(weight: f64, p0: f64, p1: f64, false_alarm: f64, miss: f64) -> f64 {
    (p1 - p0) * weight * limit_units(weight, p0, p1, false_alarm, miss)
}

/// The mean number of units, both arms together, below which no test can accept a canary that fails with `p` like the
/// running release, if it must reject (but for `miss`) every one that is worse by `tolerance`.
pub fn accept_units(weight: f64, p: f64, tolerance: f64, false_alarm: f64, miss: f64) -> f64 {
    // The hardest case to exclude: a running release at `a` and a canary at `a + tolerance`. Convex in `a`.
    let against = |a: f64| weight * kl(p, a + tolerance) + (1.0 - weight) * kl(p, a);
    let (mut low, mut high) = (0.0, (1.0 - tolerance).max(0.0));
    for _ in 0..100 {
        let third = (high - low) / 3.0;
        if against(low + third) <= against(high - third) {
            high -= third;
        } else {
            low += third;
        }
    }
    kl(false_alarm, 1.0 - miss) / against((low + high) / 2.0)
}

/// The largest rate that `hits` of `units` do not exclude by more than `nats`: an upper confidence bound with error
/// `exp(-nats)`. One when there are no units.
pub fn upper_bound(hits: u64, units: u64, nats: f64) -> f64 {
    if units == 0 {
        return 1.0;
    }
    let rate = hits.min(units) as f64 / units as f64;
    let (mut low, mut high) = (rate, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if units as f64 * kl(rate, middle) > nats {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The smallest rate that `hits` of `units` do not exclude by more than `nats`; zero when there are no units.
pub fn lower_bound(hits: u64, units: u64, nats: f64) -> f64 {
    1.0 - upper_bound(units.saturating_sub(hits), units, nats)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of limits that the judge is measured against, to the digits it is quoted with.
    #[test]
    fn limits_are_those_of_the_published_table() {
        let table = [
            (0.001, 0.01, [4.7, 5.3, 6.6]),
            (0.001, 0.05, [2.8, 3.4, 4.6]),
            (0.01, 0.02, [17.4, 18.6, 21.5]),
            (0.0, 1.0, [1.6, 2.0, 2.5]),
        ];
        assert!((kl(0.95, 0.001) - 6.364).abs() < 1e-3);
        for (p0, p1, excess) in table {
            for (weight, expected) in [0.05, 0.1, 0.2].into_iter().zip(excess) {
                let limit = limit_excess(weight, p0, p1, 0.001, 0.05);
                assert!((limit - expected).abs() < 0.06, "{p0} -> {p1} at {weight}: {limit}, not {expected}");
            }
        }
    }

    /// With no failures at all, accepting is the rule of three: three canary units per tolerated failure.
    #[test]
    fn acceptance_without_failures_is_the_rule_of_three() {
        let canary_units = 0.1 * accept_units(0.1, 0.0, 0.01, 0.001, 0.05);
        assert!((canary_units - 297.0).abs() < 1.0, "{canary_units}");
    }

    #[test]
    fn bounds_enclose_the_rate_and_are_total() {
        for (hits, units) in [(0, 0), (0, 10), (3, 10), (10, 10), (12, 10), (1, 1_000_000)] {
            let (low, high) = (lower_bound(hits, units, 6.9), upper_bound(hits, units, 6.9));
            let rate = hits.min(units) as f64 / units.max(1) as f64;
            assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
            assert!(low <= rate + 1e-9 && rate <= high + 1e-9, "{hits}/{units}: {low} {high}");
        }
    }
}
