//! Which users have been bet on: one bet for each user and step of a rollout, in bounded memory and without a lock.
//!
//! Requests of one user tend to fail together, so that a bet on each of them would be a bet on the same thing many times
//! over. The user is what was assigned, so the user is what may be bet on, once. A user is bet on by the first request
//! *assigned*, not by the first to end: which one ends first depends on how fast the releases are.
//!
//! **Steps.** When the canary's share grows from `floor` to `weight`, users with points in between move to the canary and
//! all others stay. So a user seen before can be bet on anew, with the probability that is true for them: given that they
//! were with the running release, their point is even above `floor`, and it is below `weight` with probability
//! `(weight - floor) / (1 - floor)`. Those below `floor` had no choice any more and prove nothing. Without this, the
//! evidence of a service with few and faithful users would stop growing at its first step.
//!
//! **Memory and error.** A table of four million bytes, one of which a user is hashed to: it holds the last step at which
//! anybody of that slot was bet on. Two users who share a slot are taken for one, so that with `n` users a share of about
//! `n / (n + 4 million)` is not bet on where it could have been. It errs on that side only, and cannot raise a false alarm:
//! - nobody is bet on twice in a step, because a slot never forgets one (a rise is atomic, and exactly one thread does it);
//! - whether a user is bet on, and as new or as known, is decided before the outcome, from slots, and slots come from
//!   other bits than points do: given the decision, the arm still has the probability that is passed on;
//! - somebody new who is taken for somebody known gets the known ones' bet, whose probability is true for them as well,
//!   because only points above `floor` are admitted to it.

use crate::assign::{Point, mix};
use model::Ratio;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU8, Ordering::Relaxed},
};

/// How many users can be told apart, more or less: 4 MiB for a guard of a service that tells users apart.
const SLOTS_LOG2: u32 = 22;

/// What makes slots independent of points.
const OTHER: u64 = 0x6a09_e667_f3bc_c908;

/// The users bet on for one guard.
pub(crate) struct Units {
    slots: Box<[AtomicU8]>,
    log2: u32,
    last: Mutex<Stage>,
}

/// One step of a rollout, as far as bets are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stage {
    /// Which step, from 1. The last number there is, 255, is kept when there are more.
    number: u8,
    /// The canary's probability in it.
    weight: Ratio,
    /// The highest probability it had before.
    floor: Ratio,
}

impl Stage {
    const FIRST: Stage = Stage { number: 0, weight: Ratio::ZERO, floor: Ratio::ZERO };

    /// The probability with which somebody seen in an earlier step is now with the canary, when that is not known from
    /// their point already. Rounded up, which can only make evidence smaller.
    fn weight_of_known(self, point: Point) -> Option<Ratio> {
        if point.is_below(self.floor) || self.weight <= self.floor {
            return None;
        }
        let (weight, floor) = (u64::from(self.weight.ppm()), u64::from(self.floor.ppm()));
        let share = ((weight - floor) * 1_000_000).div_ceil(1_000_000 - floor);
        Ratio::from_ppm(u32::try_from(share).ok()?)
    }
}

impl Units {
    /// Nobody was bet on yet.
    pub(crate) fn new() -> Units {
        Units::with_slots(SLOTS_LOG2)
    }

    fn with_slots(log2: u32) -> Units {
        Units { slots: (0..1 << log2).map(|_| AtomicU8::new(0)).collect(), log2, last: Mutex::new(Stage::FIRST) }
    }

    /// The step that begins when a table gives the canary this weight, or the same one as before when it is the same.
    pub(crate) fn stage(&self, weight: Ratio) -> Stage {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.number == 0 || last.weight != weight {
            let floor = last.floor.max(last.weight);
            *last = Stage { number: last.number.saturating_add(1), weight, floor };
        }
        *last
    }

    /// Claims the bet on a user who was just assigned: the probability of the canary it is to be settled with. `None`:
    /// they were bet on in this step, or prove nothing.
    pub(crate) fn claim(&self, user: u64, stage: Stage) -> Option<Ratio> {
        let slot = self.slots.get((mix(user ^ OTHER) >> (64 - self.log2)) as usize)?;
        match slot.fetch_max(stage.number, Relaxed) {
            0 => Some(stage.weight),
            before if before < stage.number => stage.weight_of_known(Point::from_uniform(user)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use judge::{Test, Unit};
    use model::{ArmRole, Judgement};

    fn percent(n: u32) -> Ratio {
        Ratio::from_percent(n).unwrap()
    }

    #[test]
    fn a_user_is_bet_on_once_in_a_step_by_whichever_thread_is_first() {
        let units = Units::new();
        let stage = units.stage(percent(10));
        let claims = std::thread::scope(|scope| {
            let claim = || (0..1_000_u64).filter(|user| units.claim(mix(*user), stage).is_some()).count();
            let threads = [(); 4].map(|()| scope.spawn(claim));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(claims, 1_000);
        assert_eq!(units.stage(percent(10)), stage, "the same weight is the same step");
    }

    #[test]
    fn in_a_later_step_known_users_are_bet_on_with_the_probability_that_is_true_for_them() {
        let units = Units::new();
        let (first, second) = (units.stage(percent(10)), units.stage(percent(40)));
        let (mut known, mut moved, mut new) = (0, 0, 0);
        for user in (0..100_000).map(mix) {
            units.claim(user, first);
        }
        for (n, user) in (0..200_000).map(mix).enumerate() {
            match units.claim(user, second) {
                Some(weight) if n < 100_000 => {
                    // (40 % - 10 %) / (100 % - 10 %)
                    assert_eq!(weight.ppm(), 333_334);
                    known += 1;
                    moved += u32::from(Point::from_uniform(user).is_below(percent(40)));
                }
                Some(weight) => new += u32::from(weight == percent(40)),
                None => {}
            }
        }
        let (share, moved) = (f64::from(known) / 1e5, f64::from(moved) / f64::from(known));
        assert!((share - 0.9).abs() < 0.02 && (moved - 1.0 / 3.0).abs() < 0.01, "{share} {moved}");
        assert!((95_000..100_000).contains(&new), "few of the new ones are taken for known ones: {new}");
    }

    #[test]
    fn nobody_is_bet_on_when_the_share_falls_and_steps_do_not_run_out() {
        let units = Units::new();
        let (high, low) = (units.stage(percent(50)), units.stage(percent(10)));
        assert_eq!((units.claim(7, high), units.claim(7, low)), (Some(percent(50)), None));
        for n in 0..600 {
            units.stage(percent(1 + n % 2));
        }
        let last = units.stage(percent(3));
        assert_eq!(units.claim(8, last), Some(percent(3)));
        assert_eq!(units.claim(8, units.stage(percent(60))), None);
    }

    /// Faithful users, some of whom always fail, over all steps of a ramp: what a set of users seen would make useless after
    /// the first step, and one bet per request would call worse in every tenth rollout.
    #[test]
    fn faithful_users_give_evidence_at_every_step_and_no_false_alarm() {
        let steps = [1, 2, 4, 8, 16, 32, 50].map(percent);
        let (rollouts, users, visits) = (3_000_u64, 400_u64, 1_200_u64);
        let (mut alarms, mut units_at_the_end) = (0, 0);
        for rollout in 0..rollouts {
            // Few slots, so that some users share one.
            let units = Units::with_slots(12);
            let mut test = Test::new(&Judgement { latency_tolerance: Ratio::ZERO, ..Judgement::default() });
            for (number, weight) in steps.into_iter().enumerate() {
                let stage = units.stage(weight);
                for visit in 0..visits {
                    // Some come far more often than others.
                    let dice = mix(rollout << 32 | (number as u64) << 24 | visit);
                    let user = dice % users * (dice >> 32 & 3) / 3;
                    let point = mix(mix(rollout) ^ user);
                    let canary = Point::from_uniform(point).is_below(weight);
                    if let Some(weight) = units.claim(point, stage) {
                        let arm = if canary { ArmRole::Canary } else { ArmRole::Running };
                        test.observe(Unit { arm, weight, failed: user.is_multiple_of(20), latency_us: None });
                    }
                }
            }
            alarms += u32::from(test.verdict().ends_exposure());
            let evidence = test.evidence();
            units_at_the_end += evidence.canary.units + evidence.running.units;
        }
        assert!(alarms <= 6, "{alarms} of {rollouts}");
        let each = units_at_the_end as f64 / (rollouts * users) as f64;
        assert!(each > 3.0, "a user is bet on {each:.1} times in {} steps", steps.len());
    }

    /// With three times as many users as slots, most late ones find their slot taken; nobody is bet on twice.
    #[test]
    fn a_full_table_leaves_users_out_and_arms_as_likely_as_they_are() {
        const SLOTS: u64 = 1 << 20;
        let units = Units::with_slots(20);
        let stage = units.stage(percent(20));
        let (mut bets, mut canaries) = (0_u32, 0_u32);
        for user in (0..3 * SLOTS).map(mix) {
            if units.claim(user, stage).is_some() {
                bets += 1;
                canaries += u32::from(Point::from_uniform(user).is_below(percent(20)));
            }
        }
        let filled = f64::from(bets) / SLOTS as f64;
        assert!((filled - (1.0 - (-3.0_f64).exp())).abs() < 0.01, "{filled}");
        assert!((f64::from(canaries) / f64::from(bets) - 0.2).abs() < 0.002);
    }
}
