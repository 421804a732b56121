//! The bodies of one service's stored responses that are on disk: blocks of one file that has no name.
//!
//! What is where is known in memory only, and the system takes the file back when the last process that has it open ends, however it ends.
//! So nothing is left after a crash, nobody else finds it, and nothing is forced out to the disk: it is given away only by the
//! process that wrote it, and only where its sum is right.
//!
//! Blocks are handed out by whichever thread stores something, and written by one thread for all services ([`Writer`]) in the order
//! of that: one that was given back and handed out again ends as its last holder wrote it. They are read in place where the system has
//! them in memory, else by threads that may wait ([`Reading`]). No lock is held while anything is read or written.

mod reading;
mod writer;

pub(crate) use reading::Reading;
pub(crate) use writer::Writer;

use super::store::Store;
use bytes::Bytes;
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// How much is read and written at once, and the least that a body takes.
pub(super) const BLOCK: usize = 32 << 10;

/// How much of the file system stays free for others at least: a part of it, but no more than so many bytes.
const SPARED: (u64, u64) = (20, 1 << 30);

/// How many responses are forgotten at most so that one more block can be written. Those that are being sent keep theirs.
const FORGOTTEN: usize = 8;

/// The stored responses of one service whose bodies are on disk.
pub(super) struct Disk {
    /// All of them.
    pub(super) index: Store,
    volume: Arc<Volume>,
}

/// The file.
struct Volume {
    file: File,
    /// How many blocks it may have.
    most: u32,
    blocks: Mutex<Blocks>,
    writer: Arc<Writer>,
}

/// Which blocks are to be had.
#[derive(Default)]
struct Blocks {
    /// Those that were given back.
    free: Vec<u32>,
    /// From here on none was ever handed out.
    fresh: u32,
}

/// A body on disk. Its blocks are given back when nobody has it any more.
pub(crate) struct Extent {
    volume: Arc<Volume>,
    blocks: Vec<Block>,
    len: u64,
    /// Whether some of it could not be written, or not be read again.
    damaged: Arc<AtomicBool>,
}

struct Block {
    at: u32,
    sum: u32,
}

impl Disk {
    /// A new file, of `size` bytes at most, in the directory of the writer. What is known of what is in it takes `memory` bytes.
    ///
    /// # Errors
    /// When the file cannot be made, or nobody can write into it.
    pub(super) fn open(writer: &Arc<Writer>, size: u64, memory: u64) -> io::Result<Disk> {
        writer.begin()?;
        let file = tempfile::tempfile_in(writer.dir())?;
        let most = u32::try_from(size / BLOCK as u64).unwrap_or(u32::MAX);
        let volume = Volume { file, most, blocks: Mutex::default(), writer: Arc::clone(writer) };
        Ok(Disk { index: Store::new(memory), volume: Arc::new(volume) })
    }

    /// The largest body that is stored, in bytes: several have room.
    pub(super) fn largest(&self) -> u64 {
        u64::from(self.volume.most) * BLOCK as u64 / 8
    }

    /// How many bytes of the file are used.
    pub(super) fn used(&self) -> u64 {
        let blocks = self.volume.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        u64::from(blocks.fresh).saturating_sub(blocks.free.len() as u64) * BLOCK as u64
    }

    /// A body that is still empty.
    pub(super) fn begin(&self) -> Extent {
        Extent { volume: Arc::clone(&self.volume), blocks: Vec::new(), len: 0, damaged: Arc::default() }
    }

    /// Writes what comes next of a body: whole blocks, and a shorter one only at its end. `false`: there is no room, or the disk does not
    /// keep up.
    pub(super) fn append(&self, extent: &mut Extent, mut bytes: Bytes) -> bool {
        debug_assert!(extent.len.is_multiple_of(BLOCK as u64), "what is behind a shorter block is never found");
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(BLOCK));
            let Some(at) = self.room() else { return false };
            extent.blocks.push(Block { at, sum: crc32fast::hash(&piece) });
            extent.len += piece.len() as u64;
            if !self.volume.writer.write(&self.volume, at, piece, &extent.damaged) {
                return false;
            }
        }
        true
    }

    /// Does this when all that was handed in before is written, in the thread that writes. `false`: it does not keep up.
    pub(super) fn then(&self, act: impl FnOnce() + Send + 'static) -> bool {
        self.volume.writer.then(Box::new(act))
    }

    fn room(&self) -> Option<u32> {
        let forgotten = || (0..FORGOTTEN).take_while(|_| self.index.evict());
        self.volume.take().or_else(|| forgotten().find_map(|_| self.volume.take()))
    }
}

impl Volume {
    fn take(&self) -> Option<u32> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.free.pop().or_else(|| {
            let at = blocks.fresh;
            let grows = at < self.most && !is_nearly_full(&self.file);
            blocks.fresh += u32::from(grows);
            grows.then_some(at)
        })
    }
}

/// Whether the file system has no more room for what may as well not be stored.
fn is_nearly_full(file: &File) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|fs| {
        let (part, most) = SPARED;
        fs.f_bavail < (fs.f_blocks / part).min(most / fs.f_frsize.max(1))
    })
}

fn offset(at: u32) -> u64 {
    u64::from(at) * BLOCK as u64
}

impl Extent {
    /// How many bytes it has.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How much memory is taken by what is known of it.
    pub(super) fn memory(&self) -> usize {
        size_of::<Extent>() + self.blocks.capacity() * size_of::<Block>()
    }

    /// Whether some of it could not be written, or not be read again.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Relaxed)
    }

    /// A block, its size and where it is.
    fn block(&self, index: usize) -> Option<(&Block, usize)> {
        let before = index as u64 * BLOCK as u64;
        let size = usize::try_from(self.len.saturating_sub(before)).unwrap_or(BLOCK).min(BLOCK);
        self.blocks.get(index).map(|block| (block, size))
    }

    /// Reads a block, and waits for the disk.
    fn read(&self, index: usize) -> io::Result<Bytes> {
        let (block, size) = self.block(index).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut bytes = vec![0; size];
        self.volume.file.read_exact_at(&mut bytes, offset(block.at))?;
        block.checked(bytes)
    }
}

impl Block {
    /// What was read, if it is what was written.
    fn checked(&self, bytes: Vec<u8>) -> io::Result<Bytes> {
        match crc32fast::hash(&bytes) == self.sum {
            true => Ok(bytes.into()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "what was read is not what was written")),
        }
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut blocks = self.volume.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one given back is handed out first: they are read in the order of the file again.
        blocks.free.extend(self.blocks.iter().rev().map(|block| block.at));
    }
}

impl std::fmt::Debug for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes on disk", self.len)
    }
}

#[cfg(test)]
mod tests;
