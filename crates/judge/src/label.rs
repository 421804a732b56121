//! Betting on labels: given what a unit's outcome was, which release was it sent to?
//!
//! When both releases are alike, the outcome says nothing about that: it was the canary with the probability `weight`
//! that was in force, whatever the rate of failure, however it drifts. Whoever guesses better than that has found a
//! difference. The factor of a unit is the probability our model gave to the label it had, over the one chance gave.

use model::ArmRole;

/// The index of an arm in a table of factors.
pub(crate) const fn index(arm: ArmRole) -> usize {
    match arm {
        ArmRole::Running => 0,
        ArmRole::Canary => 1,
    }
}

/// Logarithms of the factors of `K` bets by arm and by whether the unit was a hit (failed, slow).
pub(crate) type Factors<const K: usize> = [[[f64; K]; 2]; 2];

/// No bet at all.
pub(crate) const fn no_bet<const K: usize>() -> Factors<K> {
    [[[0.0; K]; 2]; 2]
}

/// Plans bet `k`: hits have probability `rates[0]` on the running release and `rates[1]` on the canary. Both rates and
/// the weight are strictly between zero and one. A canary that is not worse is nothing to bet on here.
pub(crate) fn plan<const K: usize>(factors: &mut Factors<K>, k: usize, weight: f64, rates: [f64; 2]) {
    let worse = rates[1] > rates[0];
    let chance = weight * rates[1] + (1.0 - weight) * rates[0];
    for (arm, rate) in rates.into_iter().enumerate() {
        factors[arm][0][k] = if worse { ((1.0 - rate) / (1.0 - chance)).ln() } else { 0.0 };
        factors[arm][1][k] = if worse { (rate / chance).ln() } else { 0.0 };
    }
}

/// The rate whose odds are `times` those of `rate`.
pub(crate) fn with_odds(rate: f64, times: f64) -> f64 {
    (times * rate / (1.0 - rate + times * rate)).clamp(1e-7, 1.0 - 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The property everything rests on: whatever the outcome, the mean factor under chance is one.
    #[test]
    fn chance_gains_nothing_from_any_outcome() {
        for weight in [1e-6, 0.01, 0.5, 0.999_999] {
            for rates in [[1e-7, 0.5], [0.01, 0.02], [0.3, 0.999_999]] {
                let mut factors = no_bet::<1>();
                plan(&mut factors, 0, weight, rates);
                let [running, canary] = factors;
                for (running, canary) in running.iter().zip(&canary) {
                    let mean = weight * canary[0].exp() + (1.0 - weight) * running[0].exp();
                    assert!((mean - 1.0).abs() < 1e-9, "{weight} {rates:?}: {mean}");
                }
            }
        }
    }
}
