use super::*;
use crate::{AnyFact, Draft, Entry, Numbering, decode, encode, entry::Gap};
use model::{Actor, Time};

fn entries(count: usize) -> Vec<Vec<u8>> {
    let drafts = (0..count).map(|i| {
        Draft::new(Actor::person("ada"), format!("change/CHG-{}", i % 3), serde_json::json!({"happened": {"n": i}}))
            .at("shop")
            .because("it had to be")
            .caused_by(Seq(0))
    });
    Numbering::default().number(drafts.collect(), Time(1)).iter().map(|entry| encode(entry).unwrap()).collect()
}

fn leaves(entries: &[Vec<u8>]) -> Vec<Digest> {
    entries.iter().map(|bytes| leaf_hash(bytes)).collect()
}

fn head(entries: &[Vec<u8>]) -> TreeHead {
    let mut frontier = Frontier::default();
    leaves(entries).into_iter().for_each(|leaf| frontier.push(leaf));
    frontier.head()
}

fn verify(entries: &[Vec<u8>], leaves: &[Digest], signed: TreeHead) -> Result<Verified, Wrong> {
    let mut verifier = Verifier::new(Some(signed));
    entries.iter().zip(leaves).try_for_each(|(bytes, leaf)| verifier.check(bytes, leaf))?;
    verifier.finish()
}

#[test]
fn a_sound_ledger_verifies_also_beyond_what_is_signed() {
    let all = entries(20);
    for signed in [0, 1, 8, 19, 20] {
        let verified = verify(&all, &leaves(&all), head(&all[..signed])).unwrap();
        assert_eq!(verified, Verified { head: head(&all), signed: signed as u64 });
    }
}

#[test]
fn any_flipped_bit_is_found_and_its_entry_named() {
    let all = entries(12);
    let (leaves, signed) = (leaves(&all), head(&all));
    for (n, entry) in all.iter().enumerate() {
        for at in 0..entry.len() {
            for bit in 0..8 {
                let mut flipped = all.clone();
                flipped[n][at] ^= 1 << bit;
                let wrong = verify(&flipped, &leaves, signed).unwrap_err();
                assert!(matches!(wrong, Wrong::Altered { seq, .. } if seq == Seq(n as u64)), "{n}, {at}: {wrong}");
            }
        }
    }
}

#[test]
fn an_altered_entry_whose_hash_was_altered_too_is_found_by_the_signature() {
    let mut all = entries(12);
    let signed = head(&all);
    let mut entry: Entry<AnyFact> = decode(&all[5]).unwrap();
    entry.why = Some("another reason".into());
    all[5] = encode(&entry).unwrap();
    assert!(matches!(verify(&all, &leaves(&all), signed), Err(Wrong::Rewritten { size: 12, .. })));
}

/// As [`verify`], with hashes that fit the entries, as one has them who altered both.
fn verify_rehashed(entries: &[Vec<u8>], signed: TreeHead) -> Wrong {
    verify(entries, &leaves(entries), signed).unwrap_err()
}

#[test]
fn entries_that_were_removed_swapped_or_inserted_are_named() {
    let all = entries(12);
    let signed = head(&all);
    for cut in 0..12 {
        let wrong = verify_rehashed(&all[..cut], signed);
        assert!(matches!(wrong, Wrong::Truncated { has, signed: 12 } if has == Seq(cut as u64)), "{wrong}");
    }
    let named = |entries: &[Vec<u8>], at: usize| {
        let wrong = verify_rehashed(entries, signed);
        assert!(matches!(wrong, Wrong::Misplaced { seq, .. } if seq == Seq(at as u64)), "{at}: {wrong}");
    };
    for at in 0..11 {
        let mut removed = all.clone();
        removed.remove(at);
        named(&removed, at);
        let mut swapped = all.clone();
        swapped.swap(at, at + 1);
        named(&swapped, at);
        let mut inserted = all.clone();
        inserted.insert(at + 1, all[at].clone());
        named(&inserted, at + 1);
    }
}

#[test]
fn an_entry_that_skips_a_number_of_its_stream_is_named() {
    let mut all = entries(12);
    let signed = head(&all);
    let mut entry: Entry<AnyFact> = decode(&all[7]).unwrap();
    entry.stream_seq += 1;
    all[7] = encode(&entry).unwrap();
    let wrong = verify_rehashed(&all, signed);
    assert!(matches!(&wrong, Wrong::Misplaced { seq: Seq(7), reason: Error::Gap(Gap::StreamSeq { .. }) }), "{wrong}");
}

#[test]
fn a_recorded_subtree_that_does_not_fit_is_named() {
    let all = entries(12);
    let mut verifier = Verifier::new(None);
    let spoilt = Node { level: 2, index: 1 };
    let found = all.iter().zip(leaves(&all)).try_for_each(|(bytes, leaf)| {
        let checked =
            verifier.check_with(bytes, &leaf, |node| Ok::<_, ()>((node == spoilt).then_some(Digest::of(b"x"))));
        checked.unwrap()
    });
    assert!(matches!(found, Err(Wrong::Subtree { first: Seq(4), last: Seq(7) })));
}

#[test]
fn an_empty_ledger_fits_only_the_state_of_no_entries() {
    let empty = TreeHead { size: 0, root: Digest::of(b"") };
    assert!(verify(&[], &[], empty).is_ok());
    assert!(matches!(verify(&[], &[], TreeHead { size: 0, root: Digest::of(b"x") }), Err(Wrong::Rewritten { .. })));
}

#[test]
fn a_subtree_that_cannot_be_read_is_not_taken_for_sound() {
    let all = entries(1);
    let unreadable = Verifier::new(None).check_with(&all[0], &leaves(&all)[0], |_| Err("unreadable"));
    assert_eq!(unreadable.map(drop), Err("unreadable"));
}
