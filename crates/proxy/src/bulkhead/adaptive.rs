//! Finds how many requests a service can work on at once. Pure.
//!
//! A service that is given more than it can work on answers no more of them, only later. So the limit follows how long requests take
//! (a gradient, as in TCP Vegas and its descendants): by windows, the mean time is compared with what it is when nothing waits.
//! While it is less than [`TOLERANCE`] times that, the limit grows by its square root, which is what random arrivals need; beyond, it
//! shrinks in proportion. What it is when nothing waits is not known for ever. A service that is not at its limit shows it; of one that
//! is, every [`PROBE`] windows one is spent at half the limit to look again.

use super::Ending;
use std::time::{Duration, Instant};

/// Where the limit begins, and between which numbers it stays.
const BEGIN: f64 = 50.0;
const LEAST: f64 = 4.0;
const MOST: f64 = 20_000.0;

/// A window has at least so many requests, and lasts at least so long.
const WINDOW: (u32, Duration) = (30, Duration::from_millis(100));

/// How much longer than without waiting requests may take before the limit shrinks.
const TOLERANCE: f64 = 1.5;

/// How much of a new limit is taken over at once.
const WEIGHT: f64 = 0.3;

/// How much is left of the limit after a window in which requests were refused, or not answered in time.
const BACK_OFF: f64 = 0.9;

/// After so many windows at the limit, one is spent at half of it.
const PROBE: u32 = 50;

/// How much of the time that requests take now is taken over at once into what they take when nothing waits.
const FOLLOW: f64 = 0.1;

/// A limit that is found.
pub(super) struct Adaptive {
    limit: f64,
    /// How long requests take when nothing waits, in seconds.
    floor: Option<f64>,
    /// How many windows were spent at the limit since the last one that was spent below it on purpose.
    at_limit: u32,
    window: Window,
}

/// What was seen of late.
struct Window {
    began: Instant,
    count: u32,
    /// In seconds.
    sum: f64,
    /// The most that were under way.
    together: u32,
    overloaded: bool,
}

impl Window {
    fn new(began: Instant) -> Window {
        Window { began, count: 0, sum: 0.0, together: 0, overloaded: false }
    }
}

impl Adaptive {
    pub(super) fn new(now: Instant) -> Adaptive {
        Adaptive { limit: BEGIN, floor: None, at_limit: 0, window: Window::new(now) }
    }

    /// How many requests may be under way now.
    pub(super) fn limit(&self) -> u32 {
        let part = if self.is_probing() { 0.5 } else { 1.0 };
        (self.limit * part).max(LEAST) as u32
    }

    /// A request has ended, after so long, with so many under way when it began.
    pub(super) fn ended(&mut self, now: Instant, took: Duration, together: u32, ending: Ending) {
        if self.is_probing() && together > self.limit() {
            // It waited among those from before.
            return;
        }
        let window = &mut self.window;
        window.count += 1;
        window.sum += took.as_secs_f64();
        window.together = window.together.max(together);
        window.overloaded |= ending == Ending::Overloaded;
        if window.count >= WINDOW.0 && now.saturating_duration_since(window.began) >= WINDOW.1 {
            self.follow();
            self.window = Window::new(now);
        }
    }

    fn is_probing(&self) -> bool {
        self.at_limit >= PROBE
    }

    fn follow(&mut self) {
        let Window { count, sum, together, overloaded, .. } = self.window;
        let mean = (sum / f64::from(count)).max(1e-6);
        let was_probing = self.is_probing();
        let is_at_limit = f64::from(together) >= 0.9 * self.limit.floor();
        self.at_limit = if was_probing { 0 } else { self.at_limit + u32::from(is_at_limit) };
        let floor = match self.floor {
            Some(floor) if is_at_limit => floor.min(mean),
            Some(floor) if !was_probing => (floor + FOLLOW * (mean - floor)).min(mean),
            Some(_) | None => mean,
        };
        self.floor = Some(floor);
        if was_probing {
            return;
        }
        let wanted = if overloaded {
            self.limit * BACK_OFF
        } else {
            let gradient = (TOLERANCE * floor / mean).clamp(0.5, 1.0);
            let wanted = self.limit * gradient + self.limit.sqrt();
            // What was not used says nothing about whether more would do.
            if f64::from(together) * 2.0 < self.limit { wanted.min(self.limit) } else { wanted }
        };
        self.limit = (self.limit + WEIGHT * (wanted - self.limit)).clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    /// A service that works on so many requests at once, each for so long, while the others wait in order; asked so often a
    /// second for so long. What it answered within a second after they came, by the second, and the slowest of them.
    fn overload(at_once: usize, each_us: u64, per_second: u64, seconds: u64, limited: bool) -> (f64, f64, u32) {
        let start = Instant::now();
        let at = |us: u64| start + Duration::from_micros(us);
        let mut adaptive = Adaptive::new(start);
        let mut workers: BinaryHeap<Reverse<u64>> = (0..at_once).map(|_| Reverse(0)).collect();
        // When each request that is under way ends, when it came, and with how many.
        let mut under_way: BinaryHeap<Reverse<(u64, u64, u32)>> = BinaryHeap::new();
        let (mut good, mut slowest, mut seed) = (0u64, 0u64, 1u64);
        let mut now = 0;
        while now < seconds * 1_000_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Twice the mean at most: bursts and gaps.
            now += (seed >> 33) % (2_000_000 / per_second) + 1;
            while let Some(Reverse((end, came, together))) = under_way.peek().copied().filter(|r| r.0.0 <= now) {
                under_way.pop();
                let took = end - came;
                adaptive.ended(at(end), Duration::from_micros(took), together, Ending::Answered);
                if came > seconds * 500_000 {
                    good += u64::from(took < 1_000_000);
                    slowest = slowest.max(took);
                }
            }
            if limited && under_way.len() >= adaptive.limit() as usize {
                continue;
            }
            let Some(Reverse(free)) = workers.pop() else { continue };
            let end = free.max(now) + each_us;
            workers.push(Reverse(end));
            under_way.push(Reverse((end, now, under_way.len() as u32 + 1)));
        }
        (good as f64 / (seconds as f64 / 2.0), slowest as f64 / 1e6, adaptive.limit())
    }

    #[test]
    fn an_overloaded_service_goes_on_answering_as_many_as_it_can() {
        for (at_once, each_us) in [(1, 1_000), (8, 10_000), (64, 50_000), (200, 5_000)] {
            let capacity = at_once as f64 * 1e6 / each_us as f64;
            let (good, slowest, limit) = overload(at_once, each_us, (capacity * 3.0) as u64, 60, true);
            assert!(good > 0.9 * capacity, "{at_once} × {each_us}: {good:.0} of {capacity:.0} with {limit}");
            assert!(slowest < 6.0 * each_us as f64 / 1e6 + 0.05, "{at_once} × {each_us}: {slowest:.3} s with {limit}");
        }
        let (good, _, _) = overload(8, 10_000, 2_400, 60, false);
        assert!(good < 100.0, "without a limit nobody is answered in time: {good:.0}");
    }

    #[test]
    fn a_service_that_is_not_busy_loses_nothing() {
        let (good, _, _) = overload(8, 10_000, 500, 60, true);
        assert!((490.0..=510.0).contains(&good), "{good}");
    }

    #[test]
    fn a_service_that_has_become_slower_for_good_is_believed_in_time() {
        let start = Instant::now();
        let mut adaptive = Adaptive::new(start);
        let mut now = start;
        let mut limits = Vec::new();
        for took_ms in [10, 40] {
            for _ in 0..100_000 {
                now += Duration::from_millis(1);
                let together = adaptive.limit();
                adaptive.ended(now, Duration::from_millis(took_ms), together, Ending::Answered);
            }
            limits.push(adaptive.limit());
        }
        // Forty milliseconds are what it takes now, and no sign that something waits.
        assert!(limits[1] > 50, "{limits:?}");
    }

    #[test]
    fn requests_that_are_not_answered_make_it_shrink() {
        let start = Instant::now();
        let mut adaptive = Adaptive::new(start);
        for n in 0..10_000 {
            let now = start + Duration::from_millis(n);
            adaptive.ended(now, Duration::from_millis(5), 50, Ending::Overloaded);
        }
        assert!(adaptive.limit() < 10, "{}", adaptive.limit());
    }
}
