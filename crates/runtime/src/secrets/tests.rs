use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn some(value: &str) -> Secrets {
    Secrets::new(BTreeMap::from([("API_KEY".to_owned(), value.to_owned())])).unwrap()
}

#[test]
fn what_was_put_is_opened_and_never_on_disk_in_clear() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let digest = store.put(&some("correct-horse")).unwrap();
    assert_eq!(store.put(&some("correct-horse")).unwrap(), digest, "the same secrets are the same release");
    assert_ne!(store.put(&some("battery-staple")).unwrap(), digest);
    let opened = Store::open(data.path()).unwrap().open_set(digest).unwrap();
    assert_eq!(opened.values()["API_KEY"], "correct-horse");
    assert_eq!(format!("{opened:?}"), r#"{"API_KEY"}"#);
    let mut files = 0;
    for entry in fs::read_dir(data.path().join("secrets")).unwrap().flatten() {
        let content = fs::read(entry.path()).unwrap();
        assert!(!content.windows(7).any(|w| w == b"correct" || w == b"API_KEY"));
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        files += 1;
    }
    assert_eq!(files, 3);
}

#[test]
fn changed_missing_and_foreign_secrets_say_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let digest = store.put(&some("x")).unwrap();
    let text = |store: &Store| crate::in_full(&store.open_set(digest).unwrap_err());
    let key = fs::read(store.key_path()).unwrap();

    fs::remove_file(store.key_path()).unwrap();
    assert!(text(&store).contains("key file `secrets/key` is missing"));
    fs::write(store.key_path(), [7; KEY_LENGTH]).unwrap();
    assert!(text(&store).contains("not the one they were sealed with"));
    fs::write(store.key_path(), b"short").unwrap();
    assert!(text(&store).contains("a key has 32 bytes, this file has 5"));
    fs::write(store.key_path(), key).unwrap();

    let path = store.directory.join(digest.to_string());
    let mut blob = fs::read(&path).unwrap();
    *blob.last_mut().unwrap() ^= 1;
    fs::write(&path, blob).unwrap();
    assert!(text(&store).contains("changed or damaged"));
    fs::remove_file(&path).unwrap();
    assert!(text(&store).contains("not stored on this machine"));
}

#[test]
fn names_and_values_that_no_environment_can_hold_are_refused() {
    for (name, value) in [("", "x"), ("1A", "x"), ("A-B", "x"), ("A=B", "x"), ("A", "x\0y")] {
        let error = Secrets::new(BTreeMap::from([(name.to_owned(), value.to_owned())])).unwrap_err();
        assert!(!error.to_string().contains("x\0y"));
    }
}
