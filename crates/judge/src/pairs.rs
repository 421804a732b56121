//! Whether copies of requests fail more often than the requests themselves, from what became of the pairs.
//!
//! Where both did the same, nothing is learned: whatever both releases share, an outage included, counts for neither. Of the
//! other pairs, if a copy is no likelier to fail than its request, at most every second one is a failed copy, whatever the
//! rates are and however they drift. So each is the toss of a coin that is fair, or favours the copies, and each bet on the
//! copies failing gains nothing in the mean. A stake of one is split over such bets; by Ville's inequality it ever reaches
//! `1 / alpha` with probability `alpha` at most, however often one looks (Waudby-Smith and Ramdas, "Estimating means of
//! bounded random variables by betting", 2024, for tests of this kind). It is the sequential form of the sign test that
//! McNemar's is for pairs.
//!
//! What a bet has become depends on how many tosses fell which way, not on their order. So there is no state to keep, and
//! whoever knows the two counts can judge: they may be summed over threads.

/// The odds that are bet on: how much likelier than its request a copy is to be the one that failed.
const ODDS: [f64; 6] = [1.7, 2.5, 5.0, 12.0, 40.0, 150.0];

/// The natural logarithm of the evidence (e-value) that copies fail more often than their requests, from the pairs in which
/// only the copy failed, and in which only the request did.
pub fn copies_fail_more(only_copy_failed: u64, only_user_failed: u64) -> f64 {
    let bet = |odds: f64| {
        let likely = odds / (1.0 + odds);
        only_copy_failed as f64 * (2.0 * likely).ln() + only_user_failed as f64 * (2.0 * (1.0 - likely)).ln()
    };
    let bets = ODDS.map(bet);
    let top = bets.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + (bets.iter().map(|bet| (bet - top).exp()).sum::<f64>() / ODDS.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_pairs_that_differ_there_is_no_evidence() {
        assert!(copies_fail_more(0, 0).abs() < 1e-12);
    }

    #[test]
    fn a_fair_coin_gains_nothing_and_one_that_favours_the_copies_loses() {
        for (a, b) in [(0, 0), (1, 0), (0, 1), (7, 3), (30, 40), (200, 10)] {
            let value = |a, b| copies_fail_more(a, b).exp();
            let mean = |coin: f64| coin * value(a + 1, b) + (1.0 - coin) * value(a, b + 1);
            assert!((mean(0.5) / value(a, b) - 1.0).abs() < 1e-9, "{a} {b}");
            assert!(mean(0.4) < value(a, b), "{a} {b}");
        }
    }

    /// Not drawn but worked out: the probability of every count after every toss, of those who have not convinced yet.
    #[test]
    fn looked_at_after_every_pair_a_good_release_is_called_worse_as_rarely_as_promised() {
        const PAIRS: usize = 1_000;
        for alpha in [0.05_f64, 0.001] {
            let (mut undecided, mut alarms) = (vec![1.0], 0.0);
            for pairs in 1..=PAIRS {
                let mut next = vec![0.0; pairs + 1];
                for (failed, chance) in undecided.iter().enumerate() {
                    next[failed] += chance / 2.0;
                    next[failed + 1] += chance / 2.0;
                }
                for (failed, chance) in next.iter_mut().enumerate() {
                    if copies_fail_more(failed as u64, (pairs - failed) as u64) >= (1.0 / alpha).ln() {
                        alarms += std::mem::take(chance);
                    }
                }
                undecided = next;
            }
            assert!(alarms <= alpha && alarms > alpha / 10.0, "{alarms} of {alpha}");
        }
    }

    #[test]
    fn a_bad_release_is_found_by_a_few_copies_and_excused_by_as_many_failed_requests() {
        let convinces = |copy, user| copies_fail_more(copy, user) >= 2_000_f64.ln();
        assert_eq!((1..).find(|failed| convinces(*failed, 0)), Some(13));
        assert_eq!((1..).find(|failed| convinces(*failed, 3)), Some(24));
        assert!(!convinces(50, 40));
    }

    #[test]
    fn huge_counts_stay_finite() {
        for (a, b) in [(u64::MAX, 0), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            assert!(copies_fail_more(a, b).is_finite(), "{a} {b}");
        }
    }
}
