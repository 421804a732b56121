use super::*;

fn batch(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| n.to_be_bytes().to_vec()).collect()
}

#[test]
fn what_was_appended_is_read_back_in_order_with_the_head_over_it() {
    let mut store = Memory::new();
    let head = store.append(Seq(0), &batch(5)).unwrap();
    assert_eq!((head, head.size), (store.head(), 5));
    assert_eq!(store.read_from(Seq(1), 2).unwrap(), batch(5)[1..3]);
    assert!(store.read_from(Seq(5), 9).unwrap().is_empty());
}

#[test]
fn refused_appends_change_nothing() {
    let mut store = Memory::new();
    let head = store.append(Seq(0), &batch(2)).unwrap();
    assert!(matches!(store.append(Seq(0), &batch(1)), Err(Error::Moved { expected: Seq(0), actual: Seq(2) })));
    assert!(matches!(store.append(Seq(2), &batch(MAX_BATCH + 1)), Err(Error::TooMany(257))));
    store.inject(Fault::DiskFull);
    assert!(matches!(store.append(Seq(2), &batch(1)), Err(Error::DiskFull)));
    assert_eq!(store.head(), head);
    store.heal();
    assert_eq!(store.append(Seq(2), &batch(1)).unwrap().size, 3);
}

#[test]
fn a_failed_sync_stops_the_store_and_only_reopening_tells_what_survived() {
    for (fault, survived) in [(Fault::SyncFailsAndLoses, 2), (Fault::SyncFailsAndKeeps, 3)] {
        let mut store = Memory::new();
        store.append(Seq(0), &batch(2)).unwrap();
        store.inject(fault);
        assert!(matches!(store.append(Seq(2), &batch(1)), Err(Error::Stopped { .. })));
        store.heal();
        assert!(matches!(store.append(Seq(2), &batch(1)), Err(Error::Stopped { .. })), "never retried");
        let mut reopened = store.reopen();
        assert_eq!(reopened.head().size, survived);
        assert!(reopened.append(Seq(survived), &batch(1)).is_ok());
    }
}
