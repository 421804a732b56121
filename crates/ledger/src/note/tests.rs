use super::*;

/// The example of the specification.
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

#[test]
fn the_example_of_the_specification_verifies() {
    let key: Verifier = KEY.parse().unwrap();
    assert_eq!(key.to_string(), KEY);
    assert_eq!(key.open(NOTE), Ok("This is an example message.\n"));
}

#[test]
fn no_flipped_bit_of_a_note_is_accepted() {
    let key: Verifier = KEY.parse().unwrap();
    for at in 0..NOTE.len() {
        for bit in 0..8 {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(note) = String::from_utf8(bytes) {
                assert!(key.open(&note).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn no_flipped_bit_of_a_verifier_key_still_opens_the_note() {
    for at in 0..KEY.len() {
        for bit in 0..7 {
            let mut bytes = KEY.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let opened =
                String::from_utf8(bytes).unwrap().parse::<Verifier>().and_then(|key| key.open(NOTE).map(str::len));
            assert!(opened.is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_signing_key_survives_being_written_and_is_not_shown() {
    let signer = Signer::new("ledger.example/1", &[7; 32]).unwrap();
    let again = Signer::from_secret(&signer.secret()).unwrap();
    let note = again.sign("text\n\nmore\n");
    assert_eq!(signer.verifier().open(&note), Ok("text\n\nmore\n"));
    let material = signer.secret().splitn(5, '+').nth(4).unwrap().to_owned();
    assert!(!format!("{signer:?}").contains(&material));
    let spoilt = signer.secret().replace("PRIVATE+KEY+ledger", "PRIVATE+KEY+other");
    let error = Signer::from_secret(&spoilt).unwrap_err().to_string();
    assert!(!error.contains(&material), "{error}");
}

#[test]
fn signatures_of_others_are_ignored_and_not_enough() {
    let (ours, theirs) = (Signer::new("a.example", &[1; 32]).unwrap(), Signer::new("b.example", &[2; 32]).unwrap());
    let note = ours.sign("text\n");
    assert_eq!(theirs.verifier().open(&note), Err(Error::Unsigned("b.example".into())));
    let theirs_line = theirs.sign("text\n").split_once("\n\n").unwrap().1.to_owned();
    let both = format!("{note}{theirs_line}");
    assert_eq!((ours.verifier().open(&both), theirs.verifier().open(&both)), (Ok("text\n"), Ok("text\n")));
}

#[test]
fn what_is_no_note_is_refused_with_what_is_wrong() {
    let key: Verifier = KEY.parse().unwrap();
    for (note, why) in [
        (String::new(), "no empty line"),
        ("text\n".into(), "no empty line"),
        (NOTE.trim_end().into(), "line end"),
        (NOTE.replace("\u{2014} ", "- "), "signature line"),
        (NOTE.replace("Uw2Q", "U=2Q"), "base64"),
        (NOTE.replace("message", "mess\tage"), "control character"),
        ("x".repeat(MAX_NOTE_BYTES + 1), "64 KiB"),
    ] {
        let error = key.open(&note).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(Signer::new("two words", &[0; 32]).is_err());
    assert!(Signer::new("", &[0; 32]).is_err());
}
