//! The root of the hash tree: `policy_hash`.
//!
//! It is over what a verdict of the lists depends on besides nodes, over the roots of the
//! tries, and over the digest of the canonical bytes, which have everything.

use alloc::vec::Vec;

use vantio_core::Hash;

use crate::{
    Mode,
    trie::{Hasher, Lengths, ROOTS},
};

const ROOT: &[u8] = b"vantio policy root 1\0";

/// What the root is over, besides nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) mode: Mode,
    pub(crate) lengths: Lengths,
    /// The guards in their canonical bytes.
    pub(crate) guards: Vec<u8>,
    /// SHA-256 over the canonical bytes of the whole.
    pub(crate) meaning: Hash,
}

impl Header {
    /// The root over the header and the tries that have these hashes.
    pub(crate) fn root(&self, tries: &[Hash; ROOTS]) -> Hash {
        let mut hasher = Hasher::new(ROOT);
        self.encode(&mut hasher);
        for hash in tries {
            hasher.hash(*hash);
        }
        hasher.finish()
    }

    pub(crate) fn encode(&self, bytes: &mut Hasher) {
        bytes.0.push(self.mode as u8);
        bytes.0.extend(self.lengths.v4.to_be_bytes());
        for word in self.lengths.v6 {
            bytes.0.extend(word.to_be_bytes());
        }
        bytes.bytes(&self.guards);
        bytes.hash(self.meaning);
    }
}
