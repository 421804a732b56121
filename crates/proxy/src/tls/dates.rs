//! When a certificate is valid, read from its bytes. Pure.
//!
//! Only the way to the two dates is read (RFC 5280, section 4.1); whether the rest can be used is for rustls to say.

use model::{Time, Validity};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which version 1 certificates do not have.
const VERSION: u8 = 0xa0;

/// The dates of a certificate in DER. `None`: it is not one.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut outer = Der(certificate).expect(SEQUENCE)?;
    let mut signed = outer.expect(SEQUENCE)?;
    if signed.0.first() == Some(&VERSION) {
        signed.expect(VERSION)?;
    }
    signed.expect(INTEGER)?;
    // The algorithm of the signature, and who issued it.
    signed.expect(SEQUENCE)?;
    signed.expect(SEQUENCE)?;
    let mut dates = signed.expect(SEQUENCE)?;
    Some(Validity { from: time(&mut dates)?, until: time(&mut dates)? })
}

/// Bytes that hold one element after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<Der<'a>> {
        let (found, content) = self.next()?;
        (found == tag).then_some(Der(content))
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            // The low bits say how many bytes have the length. Four are more than any certificate needs.
            let count = usize::from(first & 0x7f);
            let (bytes, after) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

/// The next element as a moment: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(der: &mut Der<'_>) -> Option<Time> {
    let (tag, content) = der.next()?;
    let digits = content.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let (year, rest) = match (tag, digits.len()) {
        // Two digits mean 1950 to 2049.
        (UTC_TIME, 12) => (number(&digits[..2]) + if number(&digits[..2]) < 50 { 2000 } else { 1900 }, &digits[2..]),
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        (_, _) => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    // What began before 1970 has begun.
    Some(Time(u64::try_from(seconds).unwrap_or(0) * 1000))
}

fn number(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// Days since 1970 in the Gregorian calendar. Years are counted from March, so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let before = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + before - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tag: u8, text: &str, seconds: Option<u64>) {
        let mut der = vec![tag, text.len() as u8];
        der.extend_from_slice(text.as_bytes());
        assert_eq!(time(&mut Der(&der)), seconds.map(|seconds| Time(seconds * 1000)), "{text}");
    }

    #[test]
    fn moments_are_read_as_the_standard_says() {
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "000229235959Z", Some(951_868_799));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "500101000000Z", Some(0));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in ["", "Z", "7001010000Z", "701301000000Z", "700101240000Z", "70010100000+Z", "700101000000"] {
            check(UTC_TIME, text, None);
        }
        check(INTEGER, "700101000000Z", None);
    }

    #[test]
    fn a_certificate_tells_its_dates_and_anything_shorter_does_not() {
        let mut params = rcgen::CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2054, 1, 2);
        let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let der = der.der();
        let expected = Validity { from: Time(1_709_164_800_000), until: Time(2_650_924_800_000) };
        assert_eq!(validity(der), Some(expected));
        for end in 0..der.len() {
            assert_eq!(validity(&der[..end]), None, "{end}");
        }
    }
}
