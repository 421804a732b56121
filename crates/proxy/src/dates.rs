//! What day it is, as HTTP says it: made once a second.

use httpdate::HttpDate;
use std::{cell::Cell, io::Write as _, time::SystemTime, time::UNIX_EPOCH};

/// The length of a date.
const LENGTH: usize = 29;

/// One thread's date.
#[derive(Default)]
pub(crate) struct Dates(Cell<(u64, [u8; LENGTH])>);

impl Dates {
    /// The date now.
    pub(crate) fn now(&self) -> [u8; LENGTH] {
        self.at(SystemTime::now())
    }

    fn at(&self, now: SystemTime) -> [u8; LENGTH] {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (known, text) = self.0.get();
        if known == second && known != 0 {
            return text;
        }
        let mut text = [b' '; LENGTH];
        // It has this length for the next 8000 years.
        let _ = write!(&mut text[..], "{}", HttpDate::from(now));
        self.0.set((second, text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_date_is_made_anew_every_second() {
        let dates = Dates::default();
        let at = |millis| dates.at(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(&at(784_111_777_000), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&at(784_111_777_999), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&at(784_111_778_000), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
