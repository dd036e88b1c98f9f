//! A sieve before look-ups: most things asked for are nowhere, and a few bits tell so.

use alloc::{boxed::Box, vec};

/// Bits for some hashes.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// A power of two of words.
    words: Box<[u64]>,
}

impl Filter {
    /// At least sixteen bits for each hash, so that few others seem to be there.
    pub(super) fn new(hashes: &[u64]) -> Self {
        let words = vec![0; (hashes.len() / 4).next_power_of_two()].into_boxed_slice();
        let mut filter = Self { words };
        for hash in hashes {
            let word = filter.word(*hash);
            filter.words[word] |= bit(*hash);
        }
        filter
    }

    /// Whether something of this hash may be there.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.words.get(self.word(hash)).is_some_and(|word| word & bit(hash) != 0)
    }

    #[inline]
    const fn word(&self, hash: u64) -> usize {
        (hash >> 38) as usize & self.words.len().wrapping_sub(1)
    }
}

/// Not among the bits that choose the word.
#[inline]
const fn bit(hash: u64) -> u64 {
    1 << (hash >> 32 & 63)
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;
    use crate::trie::block::hash_path;

    #[test]
    fn what_is_there_passes_and_little_else() {
        let hash = |parent: &str, number| hash_path(format!("/{parent}/{number}").as_bytes());
        for count in [0, 1, 5, 100, 10_000] {
            let hashes: Vec<u64> = (0..count).map(|number| hash("a", number)).collect();
            let filter = Filter::new(&hashes);
            assert!(hashes.iter().all(|hash| filter.may_have(*hash)));
            let passing = (0..1_000).filter(|number| filter.may_have(hash("b", *number))).count();
            assert!(passing < 100, "{count}: {passing}");
        }
    }
}
