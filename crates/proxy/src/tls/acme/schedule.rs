//! Which hosts get a certificate from an authority, and when it is asked. Pure.

use crate::tls::local::is_local;
use model::{Span, Time, Validity};
use std::{collections::BTreeSet, net::IpAddr, time::Duration};

/// The most hosts that have a certificate of an authority.
pub(super) const MAX_HOSTS: usize = 100;

/// The longest pause after a failure that is ours to choose.
const MAX_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// The longest pause that an authority may ask for.
const MAX_WISH: Duration = Duration::from_secs(7 * 86_400);

/// The longest name, and the longest part of one, that DNS allows.
const MAX_NAME: (usize, usize) = (253, 63);

/// Top-level names that no public authority vouches for (RFC 6761, 6762, 7686 and 9476, and what ICANN has set aside).
const NOT_PUBLIC: [&str; 6] = ["alt", "example", "internal", "invalid", "local", "onion"];

/// Which hosts get a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::tls) struct Wanted {
    /// These.
    pub(in crate::tls) hosts: BTreeSet<String>,
    /// So many get none: there are too many.
    pub(in crate::tls) beyond: usize,
}

impl Wanted {
    /// Of the hosts that are named, or else of those in the table that are public; but for those that have one from files.
    /// When there are too many, whoever is `known` comes first.
    pub(in crate::tls) fn new<'a>(
        named: &'a [String],
        table: impl Iterator<Item = &'a str>,
        has_file: impl Fn(&str) -> bool,
        known: &BTreeSet<String>,
    ) -> Wanted {
        let all: BTreeSet<&str> = match named {
            [] => table.filter(|host| is_public(host)).collect(),
            named => named.iter().map(String::as_str).filter(|host| is_name(host)).collect(),
        };
        let (first, then): (Vec<&str>, Vec<&str>) =
            all.into_iter().filter(|host| !has_file(host)).partition(|host| known.contains(*host));
        let beyond = (first.len() + then.len()).saturating_sub(MAX_HOSTS);
        let hosts = first.into_iter().chain(then).take(MAX_HOSTS).map(str::to_owned).collect();
        Wanted { hosts, beyond }
    }
}

/// Whether this is a name of DNS in lower case, and no address. It can be the name of a file.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_NAME.1).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    host.len() <= MAX_NAME.0 && host.split('.').all(is_label) && host.parse::<IpAddr>().is_err()
}

/// Whether a public authority may vouch for a host.
fn is_public(host: &str) -> bool {
    let top = host.rsplit_once('.').map(|(_, top)| top);
    is_name(host)
        && !is_local(host)
        && top.is_some_and(|top| !NOT_PUBLIC.contains(&top) && top.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

/// Whether a certificate is to be asked for: there is none, or two thirds of its time are over.
pub(super) fn is_due(held: Option<Validity>, now: Time) -> bool {
    held.is_none_or(|validity| {
        let whole = validity.until.since(validity.from);
        now >= validity.from + Span(whole.0 / 3 * 2)
    })
}

/// How long not to ask after so many failures, one or more, in a row: `first`, doubled each time, and up to a quarter
/// longer by `chance`, so that hosts that failed together do not come back together. An authority may wish for longer.
pub(super) fn pause(failures: u32, first: Duration, wish: Option<Duration>, chance: u8) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let ours = doubled.min(MAX_PAUSE);
    let ours = ours + ours / 4 * u32::from(chance) / u32::from(u8::MAX);
    ours.max(wish.unwrap_or_default().min(MAX_WISH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(named: &[&str], table: &[&str], files: &[&str], known: &[&str]) -> Wanted {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let known = owned(known).into_iter().collect();
        Wanted::new(&owned(named), table.iter().copied(), |host| files.contains(&host), &known)
    }

    fn check(named: &[&str], table: &[&str], files: &[&str], expected: &[&str]) {
        let found = wanted(named, table, files, &[]);
        assert_eq!((found.hosts.iter().map(String::as_str).collect::<Vec<_>>(), found.beyond), (expected.to_vec(), 0));
    }

    #[test]
    fn public_hosts_of_the_table_are_wanted_unless_some_are_named() {
        check(&[], &["shop.com", "api.shop.com"], &[], &["api.shop.com", "shop.com"]);
        check(&[], &["shop.com", "api.shop.com"], &["shop.com"], &["api.shop.com"]);
        check(&["shop.internal"], &["shop.com"], &[], &["shop.internal"]);
        let not_public = [
            "localhost",
            "shop",
            "shop.localhost",
            "shop.test",
            "shop.internal",
            "shop.local",
            "192.0.2.1",
            "::1",
            "shop.123",
            "a..com",
            "../etc.com",
            "-",
            "",
        ];
        check(&[], &not_public, &[], &[]);
        check(&["../../etc", "*.shop.com", "a b.com"], &[], &[], &[]);
    }

    #[test]
    fn of_too_many_hosts_those_that_have_one_stay() {
        let many: Vec<String> = (0..MAX_HOSTS + 5).map(|n| format!("h{n:03}.shop.com")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let found = wanted(&[], &many, &[], &["h104.shop.com"]);
        assert_eq!((found.hosts.len(), found.beyond), (MAX_HOSTS, 5));
        assert!(found.hosts.contains("h104.shop.com") && !found.hosts.contains("h099.shop.com"));
    }

    #[test]
    fn a_certificate_is_renewed_when_two_thirds_of_its_time_are_over() {
        let day = |n: u64| Time(n * 86_400_000);
        let held = Some(Validity { from: day(100), until: day(190) });
        for (now, due) in [(50, false), (159, false), (160, true), (300, true)] {
            assert_eq!(is_due(held, day(now)), due, "{now}");
        }
        assert!(is_due(None, day(0)));
    }

    #[test]
    fn pauses_double_up_to_six_hours_unless_the_authority_wishes_for_longer() {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let of = |failures, wish, chance| pause(failures, minutes(1), wish, chance);
        assert_eq!([1, 2, 3, 9].map(|n| of(n, None, 0)), [1, 2, 4, 256].map(minutes));
        assert_eq!([10, 33, 34, u32::MAX].map(|n| of(n, None, 0)), [minutes(360); 4]);
        assert_eq!(of(3, None, u8::MAX), minutes(5), "a quarter more at most");
        assert_eq!(of(1, Some(minutes(90)), 9), minutes(90));
        assert_eq!(of(9, Some(minutes(1)), 0), minutes(256), "a shorter wish is not a shorter pause");
        assert_eq!(of(1, Some(Duration::MAX), 0), MAX_WISH);
    }
}
