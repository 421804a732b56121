//! The Merkle tree of RFC 6962 (section 2.1, SHA-256) over stored entries: its right edge, and in [`proof`] what can be
//! proven about it. The tree itself is kept by no one: a store keeps the hashes of some nodes and computes the others.

pub mod proof;

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

/// A perfect subtree: the leaves from `index << level` to below `(index + 1) << level`. At level 0 it is a leaf.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Node {
    /// How many levels of the tree are below.
    pub level: u32,
    /// Its position among the nodes of its level, from 0.
    pub index: u64,
}

/// The hash of a leaf: of the stored bytes of an entry.
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
}

/// The hash of an inner node.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of a tree over consecutive nodes of one level that begin it. `None` when there are none.
pub fn root_over(hashes: &[Digest]) -> Option<Digest> {
    match hashes {
        [] => None,
        [only] => Some(*only),
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            Some(node_hash(&root_over(left)?, &root_over(right)?))
        }
    }
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
    /// The right edge of the tree of this size, from its nodes.
    ///
    /// # Errors
    /// Those of `nodes`.
    pub fn from_nodes<E>(size: u64, mut nodes: impl FnMut(Node) -> Result<Digest, E>) -> Result<Frontier, E> {
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        // The subtree of a level begins where the larger ones end, which is what the higher bits say.
        let peaks = levels.map(|level| nodes(Node { level, index: (size >> level) - 1 })).collect::<Result<_, _>>()?;
        Ok(Frontier { size, peaks })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.push_with(leaf, |_, _| ());
    }

    /// Appends a leaf and tells every node that is complete now, from the leaf up.
    pub fn push_with(&mut self, leaf: Digest, mut complete: impl FnMut(Node, &Digest)) {
        let mut hash = leaf;
        let mut node = Node { level: 0, index: self.size };
        complete(node, &hash);
        // Each trailing one of the old size is a subtree as large as the one in hand: together they make the next one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
                node = Node { level: node.level + 1, index: node.index / 2 };
                complete(node, &hash);
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

#[cfg(test)]
mod tests;
