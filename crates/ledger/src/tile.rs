//! How a ledger is served and exported so that standard tools can read it: C2SP `tlog-tiles`. A tile is up to 256
//! consecutive hashes of every eighth level of the tree; an entry bundle is up to 256 consecutive stored entries. Both
//! are static files whose paths follow from the size of the tree.

use crate::{MAX_ENTRY_BYTES, tree::Node};

/// How many hashes or entries a full tile has.
pub const WIDTH: u64 = 256;

/// How many levels of the tree are between one level of tiles and the next.
pub const HEIGHT: u32 = 8;

/// The level of tiles that has the hash of this node, if one has it. Level 0 has those of the leaves.
pub fn level_with(node: Node) -> Option<u8> {
    node.level.is_multiple_of(HEIGHT).then_some((node.level / HEIGHT) as u8)
}

/// What is in a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Stored entries.
    Entries,
    /// Hashes of this level of tiles; at level 0 those of the leaves.
    Hashes(u8),
}

/// A tile or an entry bundle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tile {
    /// What is in it.
    pub kind: Kind,
    /// Its position among those of its kind, from 0.
    pub index: u64,
    /// How much is in it: [`WIDTH`] when it is full, else 1 to 255.
    pub width: u64,
}

impl Tile {
    /// Where its first hash or entry is among those of its level.
    pub fn start(&self) -> u64 {
        self.index * WIDTH
    }

    /// Its path below the prefix of the ledger: `tile/0/x001/067.p/12`.
    pub fn path(&self) -> String {
        let kind = match self.kind {
            Kind::Entries => "entries".to_owned(),
            Kind::Hashes(level) => level.to_string(),
        };
        let mut index = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            index = format!("x{:03}/{index}", rest % 1000);
            rest /= 1000;
        }
        if self.width == WIDTH {
            format!("tile/{kind}/{index}")
        } else {
            format!("tile/{kind}/{index}.p/{}", self.width)
        }
    }

    /// The tile that a path names. `None` when it is not a path that [`Tile::path`] writes.
    pub fn from_path(path: &str) -> Option<Tile> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(level.parse().ok().filter(|level| *level < 64)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok().filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let index = index.split('/').try_fold(0_u64, |sum, part| {
            let digits = part.strip_prefix('x').unwrap_or(part);
            sum.checked_mul(1000)?.checked_add(digits.parse().ok().filter(|n| *n < 1000)?)
        })?;
        let tile = Tile { kind, index, width };
        (tile.path() == path).then_some(tile)
    }

    /// The tiles of one kind that a tree of this size has, in order.
    pub fn all(kind: Kind, size: u64) -> impl Iterator<Item = Tile> {
        let hashes = match kind {
            Kind::Entries => size,
            Kind::Hashes(level) => size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0),
        };
        let full = (0..hashes / WIDTH).map(move |index| Tile { kind, index, width: WIDTH });
        let rest = Tile { kind, index: hashes / WIDTH, width: hashes % WIDTH };
        full.chain((rest.width > 0).then_some(rest))
    }

    /// The levels of tiles that a tree of this size has.
    pub fn levels(size: u64) -> impl Iterator<Item = u8> {
        (0..8).take_while(move |level| size >> (HEIGHT * u32::from(*level)) > 0)
    }
}

/// The bytes of an entry bundle: each entry after its length in two bytes.
///
/// # Errors
/// The position in `entries` of one that is longer than [`MAX_ENTRY_BYTES`], which no stored entry is.
pub fn write_bundle<B: AsRef<[u8]>>(entries: &[B]) -> Result<Vec<u8>, usize> {
    let mut bundle = Vec::new();
    for (position, entry) in entries.iter().map(AsRef::as_ref).enumerate() {
        let length = u16::try_from(entry.len()).map_err(|_| position)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle, in order. The bundle is cut short when the last of them is `None`.
pub fn read_bundle(mut bundle: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    const { assert!(MAX_ENTRY_BYTES == u16::MAX as usize) };
    std::iter::from_fn(move || {
        if bundle.is_empty() {
            return None;
        }
        let entry = bundle
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let Some((entry, rest)) = entry else {
            bundle = &[];
            return Some(None);
        };
        bundle = rest;
        Some(Some(entry))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(level: u8, index: u64, width: u64) -> Tile {
        Tile { kind: Kind::Hashes(level), index, width }
    }

    /// The examples in the text of the specification.
    #[test]
    fn paths_and_tiles_are_those_of_the_specification() {
        assert_eq!(hashes(0, 1_234_067, WIDTH).path(), "tile/0/x001/x234/067");
        assert_eq!(Tile { kind: Kind::Entries, index: 0, width: 7 }.path(), "tile/entries/000.p/7");
        let level = |level| Tile::all(Kind::Hashes(level), 70_000).collect::<Vec<_>>();
        assert_eq!((level(0).len(), level(0)[273]), (274, hashes(0, 273, 112)));
        assert_eq!(level(1), [hashes(1, 0, WIDTH), hashes(1, 1, 17)]);
        assert_eq!(level(2), [hashes(2, 0, 1)]);
        assert_eq!(Tile::levels(70_000).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(Tile::levels(256).map(|l| Tile::all(Kind::Hashes(l), 256).count()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(Tile::levels(0).count(), 0);
        assert_eq!(Tile::levels(u64::MAX).count(), 8);
    }

    #[test]
    fn a_path_is_read_back_and_no_other_spelling_is() {
        for tile in [hashes(0, 0, 1), hashes(3, 999, WIDTH), hashes(63, 1_000, 255), hashes(1, 123_456_789, 17)] {
            assert_eq!(Tile::from_path(&tile.path()), Some(tile), "{}", tile.path());
        }
        for bad in [
            "tile/0/67",
            "tile/0/1067",
            "tile/00/067",
            "tile/64/067",
            "tile/0/x000/067",
            "tile/0/x001/x067",
            "tile/0/067.p/0",
            "tile/0/067.p/256",
            "tile/0/067.p/01",
            "tile/0/+67",
            "tile/0/../067",
            "tile/x/067",
            "0/067",
            "tile/0/",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::from_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bundle_gives_back_its_entries_or_says_where_it_is_cut() {
        let entries = [b"one".to_vec(), Vec::new(), vec![7; MAX_ENTRY_BYTES]];
        let bundle = write_bundle(&entries).unwrap();
        assert_eq!(read_bundle(&bundle).map(Option::unwrap).collect::<Vec<_>>(), entries);
        let cut = &bundle[..bundle.len() - 1];
        assert_eq!(read_bundle(cut).map(|e| e.is_some()).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(write_bundle(&[vec![0; MAX_ENTRY_BYTES + 1]]), Err(0));
    }
}
