//! The Merkle tree of RFC 6962 over stored entries.

use model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A state of the tree: how many leaves, and the root over them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TreeHead {
    /// How many entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

/// The hash of a leaf: of the stored bytes of an entry.
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
}

/// The hash of an inner node.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The right edge of the tree: the roots of the perfect subtrees that its leaves make up, largest first. It is all that
/// is needed to append, at most 64 hashes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

#[derive(Deserialize)]
struct Unchecked {
    size: u64,
    peaks: Vec<Digest>,
}

impl TryFrom<Unchecked> for Frontier {
    type Error = String;
    fn try_from(Unchecked { size, peaks }: Unchecked) -> Result<Frontier, String> {
        if peaks.len() == size.count_ones() as usize {
            Ok(Frontier { size, peaks })
        } else {
            Err(format!("a tree of {size} leaves has {} peaks, not {}", size.count_ones(), peaks.len()))
        }
    }
}

impl Frontier {
    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        // Each trailing one of the old size is a subtree as large as the one in hand: together they make the next one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves; for no leaves the hash of nothing.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Digest::of(b"") };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Size and root.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }
}
