//! Proofs about the tree: that an entry is in it ([`inclusion`]), and that an older tree is the beginning of a newer
//! one ([`consistency`]). Made from the nodes of a tree, checked without it.
//!
//! The two checks are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use super::{Node, TreeHead, node_hash};
use model::Digest;

/// Why a proof proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// What is to be proven cannot be: an entry beyond the end, a newer tree that is smaller.
    #[error("there is no such proof: {0}")]
    Impossible(&'static str),
    /// The proof has more or fewer hashes than one of these positions has.
    #[error("the proof has {0} hashes, which is too many or too few")]
    WrongLength(usize),
    /// The hashes lead to another root.
    #[error("the proof leads to the root {computed}, not to {expected}")]
    WrongRoot {
        /// The root that was to be reached.
        expected: Digest,
        /// The root that the proof leads to.
        computed: Digest,
    },
}

/// The largest power of two below `n`, for `n` of at least 2: where a tree of `n` leaves is split.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// The root over the leaves from `begin` to below `end`, which are a subtree of some tree; for none, the hash of nothing.
///
/// # Errors
/// Those of `nodes`.
pub fn range_root<E>(begin: u64, end: u64, nodes: &mut impl FnMut(Node) -> Result<Digest, E>) -> Result<Digest, E> {
    let count = end.saturating_sub(begin);
    if count == 0 {
        return Ok(Digest::of(b""));
    }
    if count.is_power_of_two() {
        let level = count.ilog2();
        return nodes(Node { level, index: begin >> level });
    }
    let middle = begin + split(count);
    Ok(node_hash(&range_root(begin, middle, nodes)?, &range_root(middle, end, nodes)?))
}

/// The proof that leaf `index` is in the tree of `size` leaves: the siblings on the way to the root, lowest first. Empty
/// when there is no such leaf.
///
/// # Errors
/// Those of `nodes`.
pub fn inclusion<E>(index: u64, size: u64, mut nodes: impl FnMut(Node) -> Result<Digest, E>) -> Result<Vec<Digest>, E> {
    let mut proof = Vec::new();
    let (mut begin, mut end) = (0, size);
    while index < size && end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            proof.push(range_root(middle, end, &mut nodes)?);
            end = middle;
        } else {
            proof.push(range_root(begin, middle, &mut nodes)?);
            begin = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves. Empty when there is nothing to
/// prove: the old tree is empty, or not older.
///
/// # Errors
/// Those of `nodes`.
pub fn consistency<E>(old: u64, new: u64, mut nodes: impl FnMut(Node) -> Result<Digest, E>) -> Result<Vec<Digest>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut begin, mut end) = (0, new);
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            proof.push(range_root(middle, end, &mut nodes)?);
            end = middle;
        } else {
            proof.push(range_root(begin, middle, &mut nodes)?);
            begin = middle;
        }
    }
    // When the old tree is this subtree and nothing else, the verifier has its root already.
    if begin > 0 {
        proof.push(range_root(begin, end, &mut nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

fn same(expected: Digest, computed: Digest) -> Result<(), Error> {
    if expected == computed { Ok(()) } else { Err(Error::WrongRoot { expected, computed }) }
}

/// Checks that `leaf` is leaf `index` of the tree.
///
/// # Errors
/// When the proof does not show it.
pub fn verify_inclusion(leaf: &Digest, index: u64, tree: &TreeHead, proof: &[Digest]) -> Result<(), Error> {
    if index >= tree.size {
        return Err(Error::Impossible("the entry is beyond the end of the tree"));
    }
    let (mut node, mut last) = (index, tree.size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(Error::WrongLength(proof.len()));
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A last node without a sibling is carried up unchanged until it is a right child.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(Error::WrongLength(proof.len()));
    }
    same(tree.root, hash)
}

/// Checks that the tree `old` is the beginning of the tree `new`.
///
/// # Errors
/// When the proof does not show it.
pub fn verify_consistency(old: &TreeHead, new: &TreeHead, proof: &[Digest]) -> Result<(), Error> {
    if old.size > new.size {
        return Err(Error::Impossible("the newer tree is smaller than the older one"));
    }
    if old.size == new.size || old.size == 0 {
        if !proof.is_empty() {
            return Err(Error::WrongLength(proof.len()));
        }
        return if old.size == 0 { same(old.root, Digest::of(b"")) } else { same(old.root, new.root) };
    }
    // When the old tree is perfect it is itself the first node on the way.
    let (first, rest) = match proof.split_first() {
        None => return Err(Error::WrongLength(0)),
        Some(_) if old.size.is_power_of_two() => (&old.root, proof),
        Some((first, rest)) => (first, rest),
    };
    let (mut node, mut last) = (old.size - 1, new.size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(Error::WrongLength(proof.len()));
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(Error::WrongLength(proof.len()));
    }
    same(old.root, old_hash)?;
    same(new.root, new_hash)
}
