//! The time, as the loop sees it: it starts at the machine's clock and then runs evenly, so that setting that clock
//! neither expires a deadline nor keeps one for ever. A step is reported once, recorded, and then followed.

use model::{Span, Time};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A difference from the machine's clock that is a step and not drift.
const STEP: Span = Span::seconds(2);
/// How much drift is followed at each look.
const SLEW: Span = Span(5);

/// A clock that never jumps by itself.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Time,
    started: Instant,
}

/// The machine's clock.
pub(crate) fn wall() -> Time {
    // A clock before 1970 is a machine that has not set its clock yet.
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
}

impl Clock {
    /// A clock that goes on where the ledger ended. When the machine's clock is behind that, its step is found at the
    /// first look.
    pub(crate) fn since(last_entry: Option<Time>) -> Clock {
        let wall = wall();
        Clock { base: last_entry.map_or(wall, |last| last.max(wall)), started: Instant::now() }
    }

    /// Now.
    pub(crate) fn now(&self) -> Time {
        self.base + Span(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Looks at the machine's clock. Follows drift slowly; a step is returned, in milliseconds, and followed at once.
    pub(crate) fn stepped(&mut self) -> Option<i64> {
        self.compare(wall())
    }

    fn compare(&mut self, wall: Time) -> Option<i64> {
        let now = self.now();
        let by = i64::try_from(wall.0).ok()?.checked_sub_unsigned(now.0)?;
        if by.unsigned_abs() >= STEP.0 {
            self.base = wall;
            self.started = Instant::now();
            return Some(by);
        }
        let slew = by.clamp(-(SLEW.0 as i64), SLEW.0 as i64);
        self.base = Time(self.base.0.saturating_add_signed(slew));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_followed_and_a_step_is_reported_once() {
        let mut clock = Clock::since(None);
        let now = clock.now();
        assert_eq!(clock.compare(now + Span(500)), None);
        let hour = Span::minutes(60);
        let step = clock.compare(now + hour).unwrap();
        assert!((step - hour.0 as i64).abs() < 1_000, "{step}");
        assert_eq!(clock.compare(clock.now()), None);
        assert!(clock.compare(Time(clock.now().0 - hour.0)).unwrap() < -3_000_000);
    }

    #[test]
    fn a_ledger_from_the_future_is_a_step_back_and_not_a_jump() {
        let future = wall() + Span::minutes(10);
        let mut clock = Clock::since(Some(future));
        assert!(clock.now() >= future);
        assert!(clock.stepped().unwrap() < 0);
    }
}
