use super::*;
use proptest::prelude::*;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fact {
    ChangeApproved { plan: String, share: f64 },
    Noted,
}

fn draft(stream: &str, what: Fact) -> Draft<Fact> {
    Draft::new(Actor::person("ada"), stream, what)
}

fn approved() -> Draft<Fact> {
    draft("change/CHG-12", Fact::ChangeApproved { plan: "9f2c".into(), share: 0.25 })
        .at("staging/shop")
        .because("faster checkout")
        .caused_by(Seq(2))
        .on_behalf_of(Actor::program("ci"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The frozen bytes of version 1: whatever later versions do, they read these.
#[test]
fn the_stored_bytes_of_an_entry_never_change() {
    let entry = &Numbering::default().number(vec![approved()], Time(1_700_000_000_000))[0];
    let bytes = encode(entry).unwrap();
    expect_test::expect!["aa6261746c73746167696e672f73686f706373657100637768796f66617374657220636865636b6f75746474696d651b0000018bcfe568006477686174a16f6368616e67655f617070726f766564a264706c616e6439663263657368617265f93400656163746f72a2646b696e6466706572736f6e646e616d656361646165636175736581026673747265616d6d6368616e67652f4348472d31326a73747265616d5f736571006c6f6e5f626568616c665f6f66a2646b696e646770726f6772616d646e616d65626369"].assert_eq(&hex(&bytes));
    assert_eq!(decode::<Fact>(&bytes).unwrap(), *entry);
}

#[test]
fn entries_are_numbered_in_the_ledger_and_in_their_stream() {
    let mut numbering = Numbering::default();
    let drafts = || vec![approved(), draft("service/shop", Fact::Noted), draft("change/CHG-12", Fact::Noted)];
    let places = |entries: &[Entry<Fact>]| entries.iter().map(|e| (e.seq.0, e.stream_seq)).collect::<Vec<_>>();
    let first = numbering.number(drafts(), Time(5));
    assert_eq!(places(&first), [(0, 0), (1, 0), (2, 1)]);
    assert_eq!(places(&numbering.number(drafts(), Time(5))), places(&first), "nothing counts before it is durable");
    first.iter().for_each(|entry| numbering.accept(entry).unwrap());
    assert_eq!(places(&numbering.number(drafts(), Time(6))), [(3, 2), (4, 1), (5, 3)]);
    assert_eq!(numbering.accept(&first[0]), Err(Gap::Seq { expected: Seq(3), found: Seq(0) }));
    let skipping = Entry { seq: Seq(3), stream_seq: 9, ..first[0].clone() };
    let gap = Gap::StreamSeq { stream: "change/CHG-12".into(), expected: 2, found: 9 };
    assert_eq!(numbering.accept(&skipping), Err(gap));
    assert_eq!(numbering.next(), Seq(3));
}

#[test]
fn unknown_fields_are_ignored_and_absent_ones_have_defaults() {
    let newer = serde_json::json!({
        "seq": 7, "time": 1, "actor": {"kind": "person", "name": "ada", "since": 3}, "stream": "s", "stream_seq": 0,
        "what": "noted", "mood": "calm",
    });
    let entry: Entry<Fact> = decode(&cbor::to_vec(&newer).unwrap()).unwrap();
    assert_eq!((entry.seq, entry.what, entry.why, entry.cause), (Seq(7), Fact::Noted, None, vec![]));
}

#[test]
fn an_entry_of_unknown_facts_is_shown_as_its_own_json() {
    let entries = Numbering::default().number(vec![approved(), draft("s", Fact::Noted)], Time(5));
    for (entry, kind) in entries.iter().zip(["change_approved", "noted"]) {
        let bytes = encode(entry).unwrap();
        let any: Entry<AnyFact> = decode(&bytes).unwrap();
        assert_eq!(any.what.kind(), kind);
        assert_eq!(serde_json::to_value(&any).unwrap(), serde_json::to_value(entry).unwrap());
        assert_eq!(encode(&any).unwrap(), bytes);
    }
    let nested = serde_json::json!({"Change": {"Approved": {"plan": 1, "by": 2}}});
    assert_eq!(AnyFact(nested).kind(), "Change.Approved");
    assert_eq!(AnyFact(serde_json::json!([1])).kind(), "");
}

#[test]
fn an_entry_that_is_too_long_is_refused() {
    let long = |n: usize| Numbering::default().number(vec![draft("s", Fact::Noted).because("x".repeat(n))], Time(0));
    let spare = MAX_ENTRY_BYTES - encode(&long(1000)[0]).unwrap().len() + 1000;
    assert_eq!(encode(&long(spare)[0]).unwrap().len(), MAX_ENTRY_BYTES);
    assert!(matches!(encode(&long(spare + 1)[0]), Err(Error::TooLong(n)) if n == MAX_ENTRY_BYTES + 1));
    assert!(matches!(decode::<Fact>(&vec![0; MAX_ENTRY_BYTES + 1]), Err(Error::TooLong(_))));
}

proptest! {
    #[test]
    fn any_entry_comes_back_as_it_was(time: u64, stream in ".*", why in proptest::option::of(".*"), share: f64, cause: Vec<u64>) {
        let mut draft = draft(&stream, Fact::ChangeApproved { plan: stream.clone(), share });
        draft.why = why;
        draft.cause = cause.into_iter().map(Seq).collect();
        let entry = Numbering::default().number(vec![draft], Time(time)).remove(0);
        let bytes = encode(&entry).unwrap();
        let back = decode::<Fact>(&bytes).unwrap();
        prop_assert_eq!(encode(&back).unwrap(), bytes);
        prop_assert!(back == entry || share.is_nan());
    }
}
