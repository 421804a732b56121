use super::*;
use std::{future::poll_fn, sync::mpsc, time::Duration};

fn disk(blocks: u64) -> Disk {
    let writer = Arc::new(Writer::new(&std::env::temp_dir()));
    Disk::open(&writer, blocks * BLOCK as u64, 1 << 20).unwrap()
}

/// A body of so many bytes, none of whose blocks is like another.
fn body(size: usize, seed: u8) -> Bytes {
    (0..size).map(|at| (at / BLOCK) as u8 ^ (at as u8).wrapping_mul(31) ^ seed).collect()
}

/// A body that was written.
fn written(disk: &Disk, body: &Bytes) -> Option<Arc<Extent>> {
    let mut extent = disk.begin();
    disk.append(&mut extent, body.clone()).then(|| {
        settled(disk);
        Arc::new(extent)
    })
}

/// Waits until all that was handed in is written.
fn settled(disk: &Disk) {
    let (done, all) = mpsc::channel();
    assert!(disk.then(move || done.send(()).unwrap()));
    all.recv_timeout(Duration::from_secs(20)).unwrap();
}

impl Extent {
    /// Changes it on disk, behind everybody's back.
    pub(in crate::cache) fn spoil(&self) {
        let last = self.blocks.last().unwrap();
        self.volume.file.write_all_at(b"spoilt", offset(last.at) + 9).unwrap();
    }
}

async fn read(extent: &Arc<Extent>) -> io::Result<Bytes> {
    let mut reading = Reading::new(Arc::clone(extent), 0..extent.len());
    let mut read = Vec::new();
    while let Some(piece) = poll_fn(|cx| reading.poll_block(cx)).await.transpose()? {
        read.extend(piece);
        assert_eq!(reading.left() + read.len() as u64, extent.len());
    }
    Ok(read.into())
}

#[tokio::test]
async fn what_was_written_is_read() {
    let disk = disk(64);
    for size in [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 5 * BLOCK + 7] {
        let body = body(size, 3);
        let extent = written(&disk, &body).unwrap();
        assert_eq!(read(&extent).await.unwrap(), body, "{size}");
    }
}

#[tokio::test]
async fn any_part_of_it_is_read() {
    let disk = disk(8);
    let body = body(3 * BLOCK + 9, 5);
    let extent = written(&disk, &body).unwrap();
    let edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, 3 * BLOCK + 8, 3 * BLOCK + 9];
    for (from, to) in edges.iter().flat_map(|from| edges.iter().map(move |to| (*from, *to))).filter(|(a, b)| a <= b) {
        let mut reading = Reading::new(Arc::clone(&extent), from as u64..to as u64);
        reading.begin().await.unwrap();
        assert_eq!(reading.left(), (to - from) as u64);
        let mut read = Vec::new();
        while let Some(piece) = poll_fn(|cx| reading.poll_block(cx)).await.transpose().unwrap() {
            read.extend(piece);
        }
        assert!(read == body[from..to], "{from}-{to}");
    }
}

#[tokio::test]
async fn its_beginning_can_be_had_ahead() {
    let disk = disk(8);
    let body = body(2 * BLOCK, 0);
    let mut reading = Reading::new(written(&disk, &body).unwrap(), 0..body.len() as u64);
    reading.begin().await.unwrap();
    assert_eq!(reading.left(), body.len() as u64);
    let first = poll_fn(|cx| reading.poll_block(cx)).await.unwrap().unwrap();
    assert_eq!((first, reading.left()), (body.slice(..BLOCK), BLOCK as u64));
}

#[tokio::test]
async fn what_the_disk_has_changed_is_given_to_nobody() {
    let disk = disk(8);
    let extent = written(&disk, &body(3 * BLOCK, 0)).unwrap();
    extent.spoil();
    assert!(!extent.is_damaged());
    let error = read(&extent).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(extent.is_damaged());
}

#[tokio::test]
async fn what_is_missing_of_a_file_is_an_error() {
    let disk = disk(8);
    let extent = written(&disk, &body(3 * BLOCK, 0)).unwrap();
    disk.volume.file.set_len(BLOCK as u64 + 5).unwrap();
    assert!(read(&extent).await.is_err());
}

#[tokio::test]
async fn a_block_is_handed_out_again_when_nobody_has_it() {
    let disk = disk(4);
    let first = written(&disk, &body(3 * BLOCK, 1)).unwrap();
    assert!(written(&disk, &body(2 * BLOCK, 2)).is_none(), "there is one left");
    let again = Arc::clone(&first);
    drop(first);
    assert!(written(&disk, &body(2 * BLOCK, 2)).is_none(), "it is still being sent");
    drop(again);
    let second = body(4 * BLOCK, 2);
    assert_eq!(read(&written(&disk, &second).unwrap()).await.unwrap(), second);
    assert!(disk.volume.file.metadata().unwrap().len() <= 4 * BLOCK as u64);
}

#[tokio::test]
async fn blocks_in_many_hands_are_never_mixed_up() {
    let disk = disk(16);
    let mut held: Vec<(Bytes, Arc<Extent>)> = Vec::new();
    for n in 0..200_u8 {
        let body = body(BLOCK / 2 * usize::from(1 + n % 5), n);
        if held.len() > usize::from(n % 4) {
            held.remove(0);
        }
        let mut extent = disk.begin();
        assert!(disk.append(&mut extent, body.clone()), "{n}");
        held.push((body, Arc::new(extent)));
        settled(&disk);
        for (body, extent) in &held {
            assert_eq!(read(extent).await.unwrap(), body, "{n}");
        }
    }
}

#[test]
fn a_disk_that_cannot_be_written_stores_nothing() {
    let writer = Arc::new(Writer::new(std::path::Path::new("/nowhere/at/all")));
    assert!(Disk::open(&writer, 1 << 20, 1 << 20).is_err());
}
