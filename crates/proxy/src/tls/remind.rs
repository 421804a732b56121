//! Says, now and then, that a certificate should have been renewed.

use super::certificate::Loaded;
use model::{Standing, Time, Validity};
use std::time::{Duration, Instant};

/// How often it is said.
const REMIND: Duration = Duration::from_secs(12 * 3600);

/// What was said of one certificate.
#[derive(Default)]
pub(super) struct Reminder(Option<Instant>);

impl Reminder {
    /// Says it, unless it was said lately or there is nothing to say. `source`: where the certificate comes from.
    pub(super) fn remind(&mut self, source: &str, loaded: &Loaded, now: Time) {
        let Some(text) = text(loaded.validity, now) else { return };
        if self.0.is_none_or(|last| last.elapsed() >= REMIND) {
            self.0 = Some(Instant::now());
            tracing::warn!(certificate = source, hosts = loaded.names.join(", "), "a certificate {text}");
        }
    }
}

/// What there is to say of it.
fn text(validity: Validity, now: Time) -> Option<String> {
    match validity.standing(now) {
        Standing::Valid(_) => None,
        Standing::Ending(left) => Some(format!("ends in {left}: renew it")),
        Standing::Ended(since) => Some(format!("ended {since} ago, and clients refuse it: renew it")),
        Standing::Early(until) => Some(format!("begins in {until}, and clients refuse it until then: check the clock")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_soon_has_ended_or_has_not_begun_is_told_of() {
        let day = |n: u64| Time(n * 86_400_000);
        let at = |now| text(Validity { from: day(10), until: day(100) }, day(now));
        assert_eq!(at(80), None);
        assert_eq!(at(95).as_deref(), Some("ends in 5d: renew it"));
        assert_eq!(at(102).as_deref(), Some("ended 2d ago, and clients refuse it: renew it"));
        assert_eq!(at(9).as_deref(), Some("begins in 1d, and clients refuse it until then: check the clock"));
    }
}
