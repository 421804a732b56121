//! How many requests each client of a service may send, in bounded memory, for all threads alike.
//!
//! Each client has a cell in each of two rows, by two independent hashes of its address. A cell holds the moment until which
//! what came through it is spread out at the allowed rate (the generic cell rate algorithm): a request moves that on by one
//! interval, and is refused where that lies further ahead than a whole allowance. Clients share cells, so a cell can only be
//! ahead of what one of them sent; the one that is less ahead is believed. So nobody gets more than is allowed, and somebody
//! gets less only when others use up both of its cells: with k such clients at a time, with probability (k / 8192)² about.

use crate::assign::unit_hash;
use model::Rate;
use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How many cells a row has.
const CELLS: usize = 8192;

/// How much of an IPv6 address is one client: what providers give to one customer.
const IPV6_PREFIX: u32 = 64;

/// One limit of one service.
pub(crate) struct Limiter {
    /// What each client may send.
    pub(crate) rate: Rate,
    began: Instant,
    rows: [Box<[AtomicU64]>; 2],
}

impl Limiter {
    /// Of which nobody has used anything.
    pub(crate) fn new(rate: Rate) -> Limiter {
        let row = || (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Limiter { rate, began: Instant::now(), rows: [row(), row()] }
    }

    /// Lets a client's request pass, and counts it.
    ///
    /// # Errors
    /// When the client has used up what it may send: how long until it may send the next one.
    pub(crate) fn pass(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let now = nanos(now.saturating_duration_since(self.began));
        let allowance = nanos(self.rate.per.duration()).max(1);
        let interval = (allowance / u64::from(self.rate.requests.max(1))).max(1);
        let key = key(client);
        let cells = [0, 1].map(|row| {
            let at = unit_hash(&key, row as u64) as usize % CELLS;
            self.rows.get(row).and_then(|row| row.get(at))
        });
        let ahead = cells.iter().flatten().map(|cell| cell.load(Relaxed).saturating_sub(now)).min().unwrap_or(0);
        // One interval is this request's own.
        let over = (ahead + interval).saturating_sub(allowance);
        if over > 0 {
            return Err(Duration::from_nanos(over));
        }
        for cell in cells.into_iter().flatten() {
            // Losing to another thread again and again would only delay this request; it is let pass uncounted then.
            for _ in 0..4 {
                let before = cell.load(Relaxed);
                if cell.compare_exchange_weak(before, before.max(now) + interval, Relaxed, Relaxed).is_ok() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// What makes an address a client.
fn key(client: IpAddr) -> [u8; 16] {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => (u128::from(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)).to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Span;

    fn limiter(requests: u32, per_ms: u64) -> Limiter {
        Limiter::new(Rate { requests, per: Span(per_ms) })
    }

    fn client(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn an_allowance_may_be_used_at_once_and_comes_back_bit_by_bit() {
        let limiter = limiter(10, 1_000);
        let at = |ms| limiter.began + Duration::from_millis(ms);
        let passed = |ms, tries| (0..tries).filter(|_| limiter.pass(client(1), at(ms)).is_ok()).count();
        assert_eq!(passed(0, 50), 10);
        assert_eq!(limiter.pass(client(1), at(0)), Err(Duration::from_millis(100)));
        assert_eq!(passed(99, 5), 0);
        assert_eq!(passed(300, 5), 3);
        assert_eq!(passed(10_000, 50), 10);
        assert!(limiter.pass(client(2), at(10_000)).is_ok(), "another client");
    }

    #[test]
    fn a_client_never_gets_more_than_its_rate_however_many_there_are() {
        let limiter = limiter(5, 1_000);
        let mut passed = 0;
        for ms in 0..3_000 {
            for other in 0..30 {
                let _ = limiter
                    .pass(client(1_000 + (ms * 30 + other) % 50_000), limiter.began + Duration::from_millis(ms.into()));
            }
            passed += u32::from(limiter.pass(client(1), limiter.began + Duration::from_millis(ms.into())).is_ok());
        }
        assert!((1..=5 + 15).contains(&passed), "{passed}");
    }

    #[test]
    fn hardly_anybody_pays_for_what_others_do() {
        let limiter = limiter(5, 1_000);
        // Four hundred clients use up all they may.
        for n in 0..400 {
            while limiter.pass(client(n), limiter.began).is_ok() {}
        }
        let wronged = (10_000..20_000).filter(|n| limiter.pass(client(*n), limiter.began).is_err()).count();
        // (400 / 8192)² of 10,000 are 24; those who are tried first use up a little, too.
        assert!(wronged < 150, "{wronged}");
    }

    #[test]
    fn the_addresses_of_one_customer_are_one_client() {
        let limiter = limiter(1, 1_000);
        let pass = |address: &str| limiter.pass(address.parse().unwrap(), limiter.began).is_ok();
        assert!(pass("2001:db8::1") && !pass("2001:db8::2") && pass("2001:db8:0:1::1"));
        assert!(pass("192.0.2.1") && !pass("::ffff:192.0.2.1") && pass("192.0.2.2"));
    }
}
