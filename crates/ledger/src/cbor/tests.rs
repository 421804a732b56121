use super::*;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The examples of RFC 8949, appendix A, that are within the subset.
#[test]
fn the_examples_of_the_standard_are_met() {
    let json: [(&str, serde_json::Value); 21] = [
        ("00", 0.into()),
        ("17", 23.into()),
        ("1818", 24.into()),
        ("1903e8", 1000.into()),
        ("1a000f4240", 1_000_000.into()),
        ("1b000000e8d4a51000", 1_000_000_000_000_u64.into()),
        ("1bffffffffffffffff", u64::MAX.into()),
        ("20", (-1).into()),
        ("3903e7", (-1000).into()),
        ("f90000", 0.0.into()),
        ("f98000", (-0.0).into()),
        ("f93c00", 1.0.into()),
        ("fb3ff199999999999a", 1.1.into()),
        ("f97bff", 65504.0.into()),
        ("fa47c35000", 100_000.0.into()),
        ("fa7f7fffff", 3.402_823_466_385_288_6e38.into()),
        ("f90001", 5.960_464_477_539_063e-8.into()),
        ("f90400", 0.000_061_035_156_25.into()),
        ("f6", serde_json::Value::Null),
        ("62c3bc", "\u{fc}".into()),
        ("a26161016162820203", serde_json::json!({"a": 1, "b": [2, 3]})),
    ];
    for (text, value) in &json {
        assert_eq!(hex(&to_vec(value).unwrap()), *text, "{value}");
        assert_eq!(from_slice::<serde_json::Value>(&unhex(text)).unwrap(), *value, "{text}");
    }
    assert_eq!(hex(&to_vec(&f64::INFINITY).unwrap()), "f97c00");
    assert_eq!(hex(&to_vec(&f64::NAN).unwrap()), "f97e00");
    assert!(from_slice::<f64>(&unhex("f97e00")).unwrap().is_nan());
}

#[test]
fn any_other_encoding_of_the_same_value_is_refused() {
    for (text, why) in [
        ("1800", "short"),
        ("190017", "short"),
        ("1a0000ffff", "short"),
        ("fa3f800000", "short"),
        ("fb3ff0000000000000", "short"),
        ("f97e01", "not-a-number"),
        ("5f42010243030405ff", "indefinite"),
        ("9f01ff", "indefinite"),
        ("a2616201616101", "order"),
        ("a2616101616102", "order"),
        ("61ff", "UTF-8"),
        ("c074", "null, a boolean"),
        ("4101", "null, a boolean"),
        ("a10101", "expected text"),
        ("8201", "end too early"),
        ("62c3", "end too early"),
        ("1bffff", "end too early"),
        ("0000", "after the end"),
        ("3bffffffffffffffff", "64 bits"),
    ] {
        let error = from_slice::<serde_json::Value>(&unhex(text)).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let deep = vec![0x81; 100_000];
    assert!(from_slice::<serde_json::Value>(&deep).unwrap_err().to_string().contains("64 levels"));
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
enum Fact {
    Nothing,
    One(u8),
    Two(i8, Option<f64>),
    Named { long_name: String, a: BTreeMap<String, Vec<Fact>> },
}

#[test]
fn enums_are_written_and_shown_as_in_json() {
    let a = BTreeMap::from([("x".to_owned(), vec![Fact::Nothing, Fact::One(7)])]);
    let facts = vec![Fact::Nothing, Fact::One(9), Fact::Two(-3, None), Fact::Named { long_name: "n".into(), a }];
    let bytes = to_vec(&facts).unwrap();
    assert_eq!(from_slice::<Vec<Fact>>(&bytes).unwrap(), facts);
    let any: serde_json::Value = from_slice(&bytes).unwrap();
    assert_eq!(any, serde_json::to_value(&facts).unwrap());
    assert_eq!(to_vec(&any).unwrap(), bytes);
}

#[test]
fn what_json_cannot_show_is_not_written() {
    assert!(to_vec(&BTreeMap::from([(1, 2)])).unwrap_err().to_string().contains("key that is not text"));
    assert!(to_vec(&1_u128).is_err());
}

proptest! {
    #[test]
    fn floats_come_back_with_the_same_bits(bits: u64) {
        let value = f64::from_bits(bits);
        let bytes = to_vec(&value).unwrap();
        let back: f64 = from_slice(&bytes).unwrap();
        prop_assert!(back.to_bits() == bits || (value.is_nan() && back.is_nan()));
    }

    #[test]
    fn halves_come_back_with_the_same_bits(bits: u16) {
        let value = float::from_half(bits);
        prop_assert!(value.is_nan() || float::to_half(value) == Some(bits));
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_are_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(value) = from_slice::<serde_json::Value>(&bytes) {
            // Infinities and not-a-number have no JSON, so they are shown as null.
            if !bytes.windows(2).any(|two| matches!(two, [0xf9, 0x7c | 0xfc | 0x7e])) {
                prop_assert_eq!(to_vec(&value).unwrap(), bytes);
            }
        }
    }
}
