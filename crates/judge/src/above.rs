//! Bets that a rate is above a level, when nothing runs beside it to be compared with: what watches and limits are made of.

use crate::label;

/// The logarithms of the factors of bets that a rate of hits is higher than `level`, by the given odds: without and with
/// a hit. Their mean is at most one for every rate up to the level. No bets when the level is everything.
pub(crate) fn against<const K: usize>(level: f64, odds: [f64; K]) -> [[f64; K]; 2] {
    if level >= 1.0 {
        return [[0.0; K]; 2];
    }
    let level = level.max(1e-7);
    let higher = odds.map(|times| label::with_odds(level, times).max(level));
    [higher.map(|rate| ((1.0 - rate) / (1.0 - level)).ln()), higher.map(|rate| (rate / level).ln())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rate_up_to_the_level_gains_in_the_mean() {
        for level in [0.0, 1e-6, 0.01, 0.5, 0.999] {
            let [miss, hit] = against(level, [1.5, 5.0, 1_000.0]);
            for rate in [0.0, level / 2.0, level] {
                for (miss, hit) in miss.iter().zip(hit) {
                    let mean = rate * hit.exp() + (1.0 - rate) * miss.exp();
                    assert!(mean <= 1.0 + 1e-9, "{level} {rate}: {mean}");
                }
            }
        }
    }
}
