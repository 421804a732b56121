use super::*;
use model::ReleaseId;
use proptest::prelude::*;

fn arms(running: u32, canary: u32) -> Vec<Arm> {
    let arm = |release, role, ppm| Arm {
        release: ReleaseId(release),
        role,
        weight: Ratio::from_ppm(ppm).unwrap(),
        endpoints: Vec::new(),
    };
    vec![arm(1, ArmRole::Running, running), arm(2, ArmRole::Canary, canary)]
}

#[test]
fn a_share_is_met_within_its_binomial_spread() {
    let split = Split::new(&arms(950_000, 50_000));
    let random = Random::new(Some(7));
    let n = 200_000;
    let canary = (0..n).filter(|_| split.arm(Point::from_uniform(random.next())) == Some(1)).count() as f64;
    let (mean, deviation) = (n as f64 * 0.05, (n as f64 * 0.05 * 0.95).sqrt());
    assert!((canary - mean).abs() < 4.0 * deviation, "{canary} of {n}");
}

#[test]
fn every_point_belongs_to_the_arm_that_owns_it() {
    let split = Split::new(&arms(999_999, 1));
    assert_eq!(split.arm(Point(0)), Some(1));
    assert_eq!(split.arm(Point(1)), Some(0));
    assert_eq!(split.arm(Point(WHOLE - 1)), Some(0));
    assert_eq!(Point::from_uniform(u64::MAX), Point(WHOLE - 1));
}

#[test]
fn an_arm_without_weight_gets_nothing() {
    let split = Split::new(&arms(WHOLE, 0));
    assert_eq!(split.arm(Point(0)), Some(0));
    assert_eq!(split.canary_weight(), Ratio::ZERO);
    assert_eq!(Split::new(&[]).arm(Point(0)), None);
}

#[test]
fn sticky_users_spread_evenly_even_when_their_keys_are_alike() {
    let split = Split::new(&arms(900_000, 100_000));
    let n = 50_000;
    for salt in [1, 2, 1_000] {
        let canary = (0..n)
            .filter(|user| split.arm(Point::from_uniform(unit_hash(format!("u{user}").as_bytes(), salt))) == Some(1))
            .count() as f64;
        assert!((canary - 5_000.0).abs() < 4.0 * (5_000.0_f64 * 0.9).sqrt(), "{canary} at salt {salt}");
    }
}

#[test]
fn another_change_tries_other_users() {
    let first =
        |salt| (0..1_000u32).filter(move |u| Point::from_uniform(unit_hash(&u.to_be_bytes(), salt)).0 < 100_000);
    let both = first(1).filter(|u| first(2).any(|other| other == *u)).count();
    assert!(both < 40, "{both} of about 100 users are first again");
}

#[test]
fn hashes_are_the_same_in_every_version() {
    // Frozen: a change here moves users of rollouts that are running while a proxy is replaced.
    assert_eq!(unit_hash(b"alice", 12), 13_887_405_546_614_731_637);
}

proptest! {
    #[test]
    fn growing_the_weight_never_moves_a_canary_user_back(key: Vec<u8>, salt: u64, low in 0u32..=WHOLE, more in 0u32..=WHOLE) {
        let high = (low + more).min(WHOLE);
        let point = Point::from_uniform(unit_hash(&key, salt));
        let arm = |canary| Split::new(&arms(WHOLE - canary, canary)).arm(point);
        if arm(low) == Some(1) {
            prop_assert_eq!(arm(high), Some(1));
        }
    }
}
