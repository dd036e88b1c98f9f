//! Proofs, verified with nothing but hashes.

use vantio_core::Hash;

use super::hash::{EMPTY_ROOT, node_hash};

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The entry is not within the tree.
    #[error("entry {index} is beyond a tree of {size}")]
    Index {
        /// The index of the entry.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The older tree is the larger one.
    #[error("a tree of {new} entries cannot continue one of {old}")]
    Sizes {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer tree.
        new: u64,
    },
    /// A proof for these numbers has more or fewer hashes.
    #[error("{0} hashes are not as many as the proof needs")]
    Length(usize),
    /// The proof leads to another root; for two trees, to another root of the newer one.
    #[error("the proof does not lead to the root")]
    Root,
    /// The proof leads to another root of the older tree.
    #[error("the proof does not lead to the older root")]
    OldRoot,
}

impl ProofError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_PROOF"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Index { .. } | Self::Sizes { .. } | Self::Length(_) => {
                "check that the proof was made for this entry and these sizes"
            }
            Self::Root | Self::OldRoot => {
                "either the proof was made for another tree, or the log was changed: keep both as evidence"
            }
        }
    }
}

/// Verifies that the entry whose leaf hash is `leaf` is at `index` of the tree of `size` entries
/// and of that `root` (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let mut climb = Climb { node: index, last: size - 1 };
    let mut hash = leaf;
    for sibling in proof {
        hash = match climb.up().ok_or(ProofError::Length(proof.len()))? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    if climb.last != 0 {
        return Err(ProofError::Length(proof.len()));
    }
    if hash == root { Ok(()) } else { Err(ProofError::Root) }
}

/// Verifies that the tree of `new` entries and `new_root` has the one of `old` entries and
/// `old_root` as its beginning (RFC 9162, section 2.1.4.2).
///
/// Every tree continues the empty one, whose root must be [`EMPTY_ROOT`]; a tree continues itself.
/// Both with an empty proof.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: Hash,
    new_root: Hash,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Sizes { old, new });
    }
    if old == 0 || old == new {
        return without_proof(old, new, proof, old_root, new_root);
    }
    let length = ProofError::Length(proof.len());
    let mut climb = Climb { node: old - 1, last: new - 1 };
    climb.skip_right();
    // Where the older tree is complete, its root is the first hash.
    let (first, proof) =
        if old.is_power_of_two() { (&old_root, proof) } else { proof.split_first().ok_or(length)? };
    let (mut older, mut newer) = (*first, *first);
    for sibling in proof {
        match climb.up().ok_or(length)? {
            Side::Left => {
                older = node_hash(sibling, &older);
                newer = node_hash(sibling, &newer);
            }
            Side::Right => newer = node_hash(&newer, sibling),
        }
    }
    if climb.last != 0 {
        return Err(length);
    }
    if older != old_root {
        return Err(ProofError::OldRoot);
    }
    if newer == new_root { Ok(()) } else { Err(ProofError::Root) }
}

fn without_proof(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: Hash,
    new_root: Hash,
) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::Length(proof.len()));
    }
    if old == 0 && old_root != EMPTY_ROOT {
        return Err(ProofError::OldRoot);
    }
    if old == new && old_root != new_root { Err(ProofError::Root) } else { Ok(()) }
}

/// The way from a node to the root: `fn` and `sn` of the RFC.
struct Climb {
    node: u64,
    last: u64,
}

/// Where the sibling stands.
enum Side {
    Left,
    Right,
}

impl Climb {
    /// Goes one level up, further where the node has no sibling. None at the root.
    fn up(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node & 1 == 1 || self.node == self.last { Side::Left } else { Side::Right };
        if matches!(side, Side::Left) && self.node & 1 == 0 {
            // The last node of its level has a sibling only where it is a right child.
            self.shift(self.node.trailing_zeros());
        }
        self.shift(1);
        Some(side)
    }

    /// Goes up while the node is a right child.
    fn skip_right(&mut self) {
        self.shift(self.node.trailing_ones());
    }

    fn shift(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}
