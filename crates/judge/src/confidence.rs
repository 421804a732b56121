//! Confidence sequences: where a rate or a quantile is, at every look at once.
//!
//! Of a rate `p`, the bets of a mixture over all other rates (Beta with both parameters one half) against `p` are fair
//! if `p` is true, so that by Ville's inequality they ever reach `1 / alpha` with probability `alpha` at most. The rates
//! against which they have not reached it are an interval, and the true one is in all of these intervals together with
//! probability `1 - alpha`. Of a quantile the same holds for the number of units at or below it, whatever the
//! distribution. Source: Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021.
//!
//! They are shown to people and decide nothing. Unlike verdicts they assume that the rate does not change meanwhile.

use crate::histogram::Histogram;
use model::{ArmBounds, LatencyBounds, latency};

/// The probability that an interval ever misses what is true.
const ALPHA: f64 = 0.05;
/// Halvings in the search for a bound: the result is off by less than one in a billion.
const HALVINGS: u32 = 32;

/// The bounds of one arm. `hits` of `units` failed.
pub(crate) fn arm(hits: u64, units: u64, latencies: &Histogram) -> ArmBounds {
    ArmBounds { failure_rate: rate(hits, units), p50: quantile(0.5, latencies), p99: quantile(0.99, latencies) }
}

/// Between which rates the true one is, after `hits` of `units`. All rates when there are no units.
pub(crate) fn rate(hits: u64, units: u64) -> [f64; 2] {
    let hits = hits.min(units);
    if units == 0 {
        return [0.0, 1.0];
    }
    let seen = hits as f64 / units as f64;
    let (hits, units) = (hits as f64, units as f64);
    let mixture = ln_mixture(hits, units);
    let excluded = |p: f64| mixture - ln_likelihood(p, hits, units) >= -ALPHA.ln();
    // The evidence grows with the distance from the rate seen, on either side.
    let bound = |far: f64| {
        if !excluded(far) {
            return far;
        }
        let (mut inside, mut outside) = (seen, far);
        for _ in 0..HALVINGS {
            let middle = (inside + outside) / 2.0;
            *(if excluded(middle) { &mut outside } else { &mut inside }) = middle;
        }
        outside
    };
    [bound(0.0), bound(1.0)]
}

/// Between which latencies the quantile `q` is.
fn quantile(q: f64, latencies: &Histogram) -> LatencyBounds {
    let units = latencies.total();
    if units == 0 {
        return LatencyBounds { at_least_us: 0, at_most_us: None };
    }
    let excluded = |below: u64| {
        let (below, units) = (below as f64, units as f64);
        ln_mixture(below, units) - ln_likelihood(q, below, units) >= -ALPHA.ln()
    };
    let usual = (units as f64 * q).round() as u64;
    // How many units may lie at or below the quantile: the fewest and the most that are not excluded.
    let fewest = boundary(usual, 0, excluded);
    let most = boundary(usual, units, excluded);
    let floor = |rank: u64| latency::bucket_floor(latencies.bucket_of_rank(rank));
    let ceiling = |rank: u64| latency::bucket_floor(latencies.bucket_of_rank(rank) + 1).saturating_sub(1);
    LatencyBounds {
        at_least_us: if fewest == 0 { 0 } else { floor(fewest) },
        at_most_us: (most < units).then(|| ceiling(most + 1)),
    }
}

/// The count farthest from `inside` towards `far` that is not excluded.
fn boundary(inside: u64, far: u64, excluded: impl Fn(u64) -> bool) -> u64 {
    if !excluded(far) {
        return far;
    }
    let (mut inside, mut outside) = (inside, far);
    while inside.abs_diff(outside) > 1 {
        let middle = inside.midpoint(outside);
        *(if excluded(middle) { &mut outside } else { &mut inside }) = middle;
    }
    inside
}

/// The logarithm of how likely the mixture made what was seen; less [`ln_likelihood`], what it has won against a rate.
fn ln_mixture(hits: f64, units: f64) -> f64 {
    // The beta function of one half and one half is pi.
    ln_gamma(hits + 0.5) + ln_gamma(units - hits + 0.5) - ln_gamma(units + 1.0) - std::f64::consts::PI.ln()
}

/// The logarithm of how likely the rate `p` made what was seen. Minus infinity when `p` rules it out.
fn ln_likelihood(p: f64, hits: f64, units: f64) -> f64 {
    let log = |count: f64, p: f64| if count == 0.0 { 0.0 } else { count * p.ln() };
    log(hits, p) + log(units - hits, 1.0 - p)
}

/// The logarithm of the gamma function for `x` above zero: Stirling's series (Abramowitz and Stegun 6.1.41), after
/// moving up to where four of its terms are exact to ten digits.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut moved) = (x, 0.0);
    while x < 10.0 {
        moved += x.ln();
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamma_function_is_the_factorial() {
        for (x, expected) in [(1.0, 1.0_f64), (5.0, 24.0), (0.5, std::f64::consts::PI.sqrt()), (11.0, 3_628_800.0)] {
            assert!((ln_gamma(x) - expected.ln()).abs() < 1e-9, "{x}");
        }
    }

    #[test]
    fn a_rate_is_enclosed_ever_more_closely_and_never_from_nothing() {
        assert_eq!(rate(0, 0), [0.0, 1.0]);
        assert_eq!(rate(7, 5), rate(5, 5));
        let mut width = 1.0;
        for units in [10, 100, 10_000, 1_000_000_000] {
            let [low, high] = rate(units / 10, units);
            assert!(0.0 < low && low < 0.1 && 0.1 < high && high - low < width, "{units}: {low} {high}");
            width = high - low;
        }
        let [low, high] = rate(0, 100);
        assert!(low == 0.0 && (0.03..0.08).contains(&high), "{high}");
    }

    /// The whole promise: at no look of many is the truth outside, but for one sequence in twenty.
    #[test]
    fn the_truth_is_inside_at_every_look() {
        let mut state = 7_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (mut missed_rates, mut missed_quantiles) = (0, 0);
        for _ in 0..400 {
            let (mut hits, mut latencies, mut outside) = (0, Histogram::new(), [false; 2]);
            for units in 1..=1_000 {
                hits += u64::from(random() < 0.05);
                // Even from 0 to 100 ms: half of them are below 50.
                latencies.record((random() * 100_000.0) as u64);
                let [low, high] = rate(hits, units);
                outside[0] |= !(low..=high).contains(&0.05);
                let median = quantile(0.5, &latencies);
                outside[1] |= 50_000 < median.at_least_us || median.at_most_us.is_some_and(|most| most < 50_000);
            }
            missed_rates += u32::from(outside[0]);
            missed_quantiles += u32::from(outside[1]);
        }
        assert!(missed_rates <= 20 && missed_quantiles <= 20, "{missed_rates} {missed_quantiles}");
        assert!(missed_rates + missed_quantiles > 0, "intervals that never miss are too wide to be of use");
    }
}
