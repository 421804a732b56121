use super::*;

#[test]
fn ratios_stay_within_the_whole_and_read_as_percent() {
    assert_eq!(Ratio::from_ppm(1_000_001), None);
    assert_eq!(Ratio::of(1, 3).ppm(), 333_333);
    assert_eq!(Ratio::of(5, 0), Ratio::ZERO);
    assert_eq!(Ratio::of(5, 3), Ratio::ONE);
    assert_eq!(Ratio::from_ppm(1_000).unwrap().to_string(), "0.1 %");
    assert_eq!(Ratio::from_percent(25).unwrap().to_string(), "25 %");
    assert!(serde_json::from_str::<Ratio>("1000001").is_err());
}

#[test]
fn spans_read_what_people_write_and_print_what_people_read() {
    for (text, ms) in [("250ms", 250), ("30s", 30_000), ("1m30s", 90_000), ("2h", 7_200_000), ("7d", 604_800_000)] {
        assert_eq!(Span::parse(text), Some(Span(ms)), "{text}");
    }
    for text in ["", "5", "s", "5x", "5s3", "-1s", "99999999999999999999s", "18446744073709551615d"] {
        assert_eq!(Span::parse(text), None, "{text}");
    }
    for (ms, text) in [(0, "0 s"), (20, "20 ms"), (1_500, "1.5 s"), (60_000, "1m"), (3_900_000, "1h 5m")] {
        assert_eq!(Span(ms).to_string(), text);
    }
}

#[test]
fn sizes_read_what_people_write() {
    assert_eq!(Bytes::parse("64 KiB"), Some(Bytes(65_536)));
    assert_eq!(Bytes::parse("1GB"), Some(Bytes(1_000_000_000)));
    assert_eq!(Bytes::parse("12 parsecs"), None);
    assert_eq!(Bytes::mib(64).to_string(), "64 MiB");
}

#[test]
fn names_are_safe_everywhere_or_refused() {
    assert!(ServiceName::new("shop-2").is_ok());
    for bad in ["", "Shop", "2shop", "shop-", "../x", "a b", &"a".repeat(41)] {
        assert!(ServiceName::new(bad).is_err(), "{bad}");
    }
    let key: ServiceKey = "staging/shop".parse().unwrap();
    assert_eq!(key.to_string(), "staging/shop");
    assert_eq!("production/shop".parse::<ServiceKey>().unwrap().to_string(), "shop");
}

#[test]
fn ids_are_typed_and_readable() {
    assert_eq!("CHG-12".parse(), Ok(ChangeId(12)));
    assert_eq!("chg-12".parse(), Ok(ChangeId(12)));
    assert!("INS-12".parse::<ChangeId>().is_err());
    assert!("CHG-".parse::<ChangeId>().is_err());
    assert!("é".parse::<ChangeId>().is_err());
}

#[test]
fn latency_buckets_ascend_and_hold_their_own_floor() {
    for b in 0..latency::BUCKETS {
        assert_eq!(latency::bucket(latency::bucket_floor(b)), b);
    }
    assert_eq!(latency::bucket(u64::MAX), latency::BUCKETS - 1);
}

#[test]
fn quantiles_are_within_the_stated_error() {
    let mut all = Latencies::default();
    (1..=10_000).for_each(|us| all.record(us));
    for q in [0.5, 0.9, 0.99] {
        let got = all.quantile_us(q).unwrap() as f64;
        assert!((got / (q * 10_000.0) - 1.0).abs() < 0.06, "{q}: {got}");
    }
    let mut later = all.clone();
    later.record(77);
    assert_eq!(later.since(&all).count(), 1);
    all.merge(&later);
    assert_eq!(all.count(), 20_001);
}

#[test]
fn frames_survive_being_cut_anywhere_and_refuse_nonsense() {
    let frame = wire::encode(&wire::ToProxy::Shutdown(Span(5))).unwrap();
    let mut decoder = wire::Decoder::default();
    for byte in &frame[..frame.len() - 1] {
        decoder.push(&[*byte]);
        assert!(decoder.next_message::<wire::ToProxy>().unwrap().is_none());
    }
    decoder.push(&frame[frame.len() - 1..]);
    assert_eq!(decoder.next_message().unwrap(), Some(wire::ToProxy::Shutdown(Span(5))));
    decoder.push(&[0xff; 4]);
    assert!(decoder.next_message::<wire::ToProxy>().is_err());
}
