//! Checking a ledger from its first entry to its last, wherever it is kept: a database, an export, a network. The
//! caller brings entries, the hashes that were recorded for them and the signed state; [`Verifier`] names the first
//! thing that is wrong.

use crate::{Error, Frontier, TreeHead, cbor, entry::Numbering, leaf_hash, tree::Node};
use model::{Digest, Seq};
use serde::Deserialize;
use std::borrow::Cow;

/// The first thing that is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// The bytes are not those that were recorded.
    #[error(
        "entry {seq} was altered: its bytes hash to {found}, and {recorded} was recorded when it was written. Everything before it is sound"
    )]
    Altered {
        /// Which entry.
        seq: Seq,
        /// The hash that was recorded.
        recorded: Digest,
        /// The hash of what is there.
        found: Digest,
    },
    /// The bytes are what was recorded but not an entry that can follow here.
    #[error("entry {seq} is not one that can stand here: an entry was swapped, inserted or removed")]
    Misplaced {
        /// The position.
        seq: Seq,
        /// What does not fit.
        #[source]
        reason: Error,
    },
    /// There is a hole.
    #[error("entry {seq} is missing, though later ones are there")]
    Missing {
        /// Which entry.
        seq: Seq,
    },
    /// Recorded hashes contradict one another.
    #[error(
        "the hash recorded for the entries {first} to {last} does not fit them: they, or what was recorded for them, were altered together with their hashes"
    )]
    Subtree {
        /// The first entry below it.
        first: Seq,
        /// The last entry below it.
        last: Seq,
    },
    /// Signed entries are not there any more.
    #[error("the ledger ends before entry {has}, but a state of {signed} entries was signed: its tail was deleted")]
    Truncated {
        /// The first entry that is missing.
        has: Seq,
        /// How many entries there must be.
        signed: u64,
    },
    /// Everything fits together, but it is not what was signed.
    #[error(
        "the {size} entries agree with one another, but not with the signed state: their root is {found} and {signed} was signed. They were rewritten as a whole, after the signature"
    )]
    Rewritten {
        /// How many entries were signed.
        size: u64,
        /// The signed root.
        signed: Digest,
        /// Their root.
        found: Digest,
    },
    /// The signed state itself cannot be trusted.
    #[error("the signed state of the ledger cannot be trusted")]
    Checkpoint(#[source] crate::note::Error),
}

/// What a check found when nothing is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The state of the whole ledger.
    pub head: TreeHead,
    /// How many of its entries, from the first on, are covered by the signed state.
    pub signed: u64,
}

/// As much of an entry as its place needs. Reading it checks the form of all of it.
#[derive(Deserialize)]
struct Place<'a> {
    seq: Seq,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    stream_seq: u64,
}

/// A check in progress: entries are brought in order.
#[derive(Debug, Default)]
pub struct Verifier {
    numbering: Numbering,
    frontier: Frontier,
    signed: Option<TreeHead>,
}

impl Verifier {
    /// Begins at the first entry. The state is the one that was signed, if there is one.
    pub fn new(signed: Option<TreeHead>) -> Verifier {
        Verifier { signed, ..Verifier::default() }
    }

    /// Checks the next entry: its stored bytes, against the leaf hash that was recorded for them.
    ///
    /// # Errors
    /// What is wrong with it, or with the signed state that ends with it.
    pub fn check(&mut self, bytes: &[u8], recorded: &Digest) -> Result<(), Wrong> {
        let Ok(checked) = self.check_with(bytes, recorded, |_| Ok::<_, std::convert::Infallible>(None));
        checked
    }

    /// As [`Verifier::check`], and checks every node of the tree that is complete now against what was recorded for it.
    /// `subtrees` gives that, `None` for nodes for which nothing is.
    ///
    /// # Errors
    /// The outer one is that of `subtrees`, the inner one as for [`Verifier::check`], and [`Wrong::Subtree`].
    pub fn check_with<E>(
        &mut self,
        bytes: &[u8],
        recorded: &Digest,
        mut subtrees: impl FnMut(Node) -> Result<Option<Digest>, E>,
    ) -> Result<Result<(), Wrong>, E> {
        if let Err(wrong) = self.check_place(bytes, recorded) {
            return Ok(Err(wrong));
        }
        let mut unfit = Ok(None);
        self.frontier.push_with(*recorded, |node, hash| {
            if let Ok(None) = unfit {
                unfit = subtrees(node).map(|recorded| recorded.filter(|recorded| recorded != hash).map(|_| node));
            }
        });
        Ok(match unfit? {
            Some(Node { level, index }) => {
                Err(Wrong::Subtree { first: Seq(index << level), last: Seq(((index + 1) << level) - 1) })
            }
            None => self.check_signed(),
        })
    }

    fn check_place(&mut self, bytes: &[u8], recorded: &Digest) -> Result<(), Wrong> {
        let seq = self.numbering.next();
        let found = leaf_hash(bytes);
        if found != *recorded {
            return Err(Wrong::Altered { seq, recorded: *recorded, found });
        }
        let misplaced = |reason| Wrong::Misplaced { seq, reason };
        let place: Place<'_> = cbor::from_slice(bytes).map_err(|error| misplaced(Error::Cbor(error)))?;
        let accepted = self.numbering.accept_place(place.seq, &place.stream, place.stream_seq);
        accepted.map_err(|gap| misplaced(Error::Gap(gap)))
    }

    fn check_signed(&self) -> Result<(), Wrong> {
        match self.signed {
            Some(TreeHead { size, root }) if size == self.frontier.size() && root != self.frontier.root() => {
                Err(Wrong::Rewritten { size, signed: root, found: self.frontier.root() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The position of the next entry to check.
    pub fn next(&self) -> Seq {
        self.numbering.next()
    }

    /// Ends the check: there are no more entries.
    ///
    /// # Errors
    /// When there must be more, because they were signed.
    pub fn finish(self) -> Result<Verified, Wrong> {
        let head = self.frontier.head();
        let signed = self.signed.map_or(0, |signed| signed.size);
        if head.size < signed {
            return Err(Wrong::Truncated { has: Seq(head.size), signed });
        }
        // A signed state of no entries has no entry after which it was checked.
        if signed == 0 && head.size == 0 {
            self.check_signed()?;
        }
        Ok(Verified { head, signed })
    }
}

#[cfg(test)]
mod tests;
