use super::*;
use crate::sample::{grow, signed};
use crate::{Ledger, Place};
use tempfile::TempDir;

fn exported(size: u64) -> (TempDir, PathBuf) {
    let (dir, place) = signed(size);
    let export = dir.path().join("export");
    assert_eq!(Reader::open(&place).unwrap().export(&export, |_| ()).unwrap().size, size);
    (dir, export)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { files.extend(self::files(&entry)) } else { files.push(entry) }
    }
    files.sort();
    files
}

#[test]
fn an_export_verifies_without_the_ledger() {
    for size in [0, 1, 255, 256, 257, 700] {
        let (_dir, export) = exported(size);
        let verified = verify_export(&export, None, |_| ()).unwrap();
        assert_eq!((verified.head.size, verified.signed), (size, size));
    }
}

#[test]
fn an_export_has_the_files_that_the_specification_names() {
    let (_dir, export) = exported(513);
    let names: Vec<_> =
        files(&export).iter().map(|path| path.strip_prefix(&export).unwrap().display().to_string()).collect();
    let expected = [
        "README.txt",
        "checkpoint",
        "ledger.vkey",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/1",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/1",
    ];
    assert_eq!(names, expected);
}

#[test]
fn any_flipped_byte_of_an_export_is_found() {
    let (_dir, export) = exported(4);
    let mut flips = 0;
    for path in files(&export).into_iter().filter(|path| !path.ends_with("README.txt")) {
        let content = fs::read(&path).unwrap();
        // The line end of the key's file says nothing.
        let checked = if path.ends_with(KEY) { content.len() - 1 } else { content.len() };
        for at in 0..checked {
            let mut flipped = content.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            assert!(verify_export(&export, None, |_| ()).is_err(), "{} byte {at}", path.display());
            flips += 1;
        }
        fs::write(&path, content).unwrap();
    }
    assert!(flips > 500, "{flips}");
    verify_export(&export, None, |_| ()).unwrap();
}

#[test]
fn what_is_wrong_with_an_export_is_named() {
    let (_dir, export) = exported(700);
    let error = |path: &str, content: &[u8]| {
        let path = export.join(path);
        let before = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let error = verify_export(&export, None, |_| ()).unwrap_err();
        fs::write(&path, before).unwrap();
        error
    };
    let last = "tile/entries/002.p/188";
    let bundle = fs::read(export.join(last)).unwrap();
    let mut entries: Vec<&[u8]> = tile::read_bundle(&bundle).map(Option::unwrap).collect();
    assert_eq!(entries.len(), 188);

    let cut = error(last, &bundle[..bundle.len() - 1]);
    assert!(matches!(cut, Error::BadFile { what, .. } if what.contains("cut short")), "{cut}");
    let fewer = error(last, &tile::write_bundle(&entries[..187]).unwrap());
    assert!(matches!(fewer, Error::BadFile { what, .. } if what.contains("fewer")), "{fewer}");
    let more = error(last, &[&bundle[..], &bundle[..2 + entries[0].len()]].concat());
    assert!(matches!(more, Error::BadFile { what, .. } if what.contains("more")), "{more}");
    entries.swap(3, 4);
    let swapped = error(last, &tile::write_bundle(&entries).unwrap());
    assert!(matches!(swapped, Error::Damaged { wrong: Wrong::Altered { seq: Seq(515), .. }, .. }), "{swapped}");
    let upper = error("tile/1/000.p/2", &[0; 64]);
    assert!(matches!(upper, Error::Damaged { wrong: Wrong::Subtree { first: Seq(0), last: Seq(255) }, .. }), "{upper}");
    let short = error("tile/0/001", &[0; 31]);
    assert!(matches!(short, Error::BadFile { .. }), "{short}");

    fs::remove_file(export.join("tile/entries/001")).unwrap();
    let missing = verify_export(&export, None, |_| ()).unwrap_err();
    assert!(matches!(&missing, Error::Io { path, .. } if path.ends_with("tile/entries/001")), "{missing}");
}

#[test]
fn an_export_signed_by_another_key_than_the_trusted_one_is_refused() {
    let (_dir, export) = exported(3);
    let (_other_dir, other) = exported(3);
    let key = |dir: &Path| key::parse_verifier(&fs::read(dir.join(KEY)).unwrap()).unwrap();
    verify_export(&export, Some(&key(&export)), |_| ()).unwrap();
    assert!(matches!(verify_export(&export, Some(&key(&other)), |_| ()), Err(Error::OtherKey { .. })));
    fs::copy(other.join(KEY), export.join(KEY)).unwrap();
    let forged = verify_export(&export, None, |_| ()).unwrap_err();
    assert!(matches!(forged, Error::Damaged { wrong: Wrong::Checkpoint(_), .. }), "{forged}");
}

#[test]
fn an_export_is_of_the_signed_state_and_never_mixed_with_another() {
    let (dir, place) = signed(5);
    let mut ledger = Ledger::open(&place).unwrap();
    grow(&mut ledger, 9, "main");
    let export = dir.path().join("export");
    assert_eq!(ledger.reader().unwrap().export(&export, |_| ()).unwrap().size, 5);
    assert!(matches!(ledger.reader().unwrap().export(&export, |_| ()), Err(Error::NotEmpty(_))));
    assert!(matches!(Reader::open(&Place::new(&export)), Err(Error::Absent(_))));
}
