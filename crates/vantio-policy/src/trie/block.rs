//! A path in pieces of 64 bytes: where its slashes are, and the hash that it has up to each.

use super::table::{FIRST, SECOND, mix};

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// Some bytes of a path, and what is asked about them.
pub(super) struct Block {
    /// One bit for each slash, and one for the path's end.
    pub(super) slashes: u64,
    /// The last eight bytes of the block before, and all of this one.
    words: [[u8; 8]; 9],
    /// The hash of all that stands before each word.
    before: [u64; 8],
    /// The hash of all up to the block's end, if it is full.
    after: u64,
}

impl Block {
    /// What is before a path.
    #[inline]
    pub(super) const fn new() -> Self {
        Self { slashes: 0, words: [[0; 8]; 9], before: [0; 8], after: 0 }
    }

    /// Goes on to the block that `rest` of the path begins with, the first or the next. False
    /// where there is a NUL.
    #[inline]
    pub(super) fn advance(&mut self, rest: &[u8]) -> bool {
        let bytes = rest.get(..BLOCK).unwrap_or(rest);
        let (mut slashes, mut suspicion) = (0, 0);
        let (words, rest) = bytes.as_chunks::<8>();
        self.words[0] = self.words[8];
        for (index, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            suspicion |= word.wrapping_sub(ONES);
            slashes |= self.add(index, word);
        }
        if words.len() < 8 {
            let bits = 8 * rest.len() as u32;
            let word = match bytes.last_chunk() {
                // INVARIANT: fewer than eight bytes are left, so that fewer than 64 bits stay.
                Some(last) => u64::from_le_bytes(*last).wrapping_shr(56 - bits).wrapping_shr(8),
                None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
            };
            suspicion |= (word | LOWS.wrapping_shl(bits)).wrapping_sub(ONES);
            slashes |= self.add(words.len(), word) | 1_u64.wrapping_shl(bytes.len() as u32);
        }
        self.slashes = slashes;
        // What is not ASCII arouses suspicion, too.
        suspicion & !LOWS == 0 || !has_nul(bytes)
    }

    /// Its slashes.
    #[inline]
    fn add(&mut self, index: usize, word: u64) -> u64 {
        let index = index & 7;
        self.words[index + 1] = word.to_le_bytes();
        self.before[index] = self.after;
        self.after = mix(self.after ^ word, FIRST);
        slashes(word).wrapping_shl(8 * index as u32)
    }

    /// The hash of the path up to the byte of the block with this number.
    #[inline]
    pub(super) fn hash(&self, at: u32) -> u64 {
        let index = (at / 8) as usize & 7;
        let word = u64::from_le_bytes(self.words[index + 1]) & !u64::MAX.wrapping_shl(8 * (at % 8));
        mix(self.before[index] ^ word, SECOND)
    }

    /// The three bytes before the byte of the block with this number, the last one first.
    #[inline]
    pub(super) const fn ending(&self, at: u32) -> [u8; 3] {
        let (at, bytes) = (at as usize % BLOCK, self.words.as_flattened());
        [bytes[at + 7], bytes[at + 6], bytes[at + 5]]
    }
}

#[cold]
fn has_nul(bytes: &[u8]) -> bool {
    bytes.contains(&0)
}

/// The hash of a path, as [`Block::hash`] has it at the path's end.
pub(super) fn hash_path(path: &[u8]) -> u64 {
    let (words, rest) = path.as_chunks::<8>();
    let before = words.iter().fold(0, |hash, word| mix(hash ^ u64::from_le_bytes(*word), FIRST));
    let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    mix(before ^ word, SECOND)
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const LOWS: u64 = u64::from_ne_bytes([0x7f; 8]);

/// One bit for each byte that is a slash.
#[inline]
const fn slashes(word: u64) -> u64 {
    let other = word ^ u64::from_ne_bytes([b'/'; 8]);
    // The highest bit of each byte that is a slash; then these bits, side by side.
    let found = !((other & LOWS).wrapping_add(LOWS) | other | LOWS) >> 7;
    found.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn slashes_and_hashes_are_those_of_the_path() {
        for length in 1..200 {
            for step in 1..70 {
                let mut path: Vec<u8> = (0..length).map(|place| b'a' + place as u8 % 26).collect();
                path.iter_mut().step_by(step).for_each(|byte| *byte = b'/');
                let mut block = Block::new();
                for base in (0..=length).step_by(BLOCK) {
                    assert!(block.advance(&path[base..]));
                    for at in 0..(length - base + 1).min(BLOCK) {
                        let place = base + at;
                        let is_end = place == length || path[place] == b'/';
                        assert_eq!(block.slashes >> at & 1 == 1, is_end, "{length} {step} {place}");
                        assert_eq!(block.hash(at as u32), hash_path(&path[..place]), "{length} {place}");
                        if let Some(bytes) = path[..place].last_chunk::<3>() {
                            assert!(block.ending(at as u32).iter().eq(bytes.iter().rev()));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn no_block_has_a_nul() {
        for length in 1..=64 {
            for place in 0..length {
                for other in [b'/', 1, 0x80, 0xff] {
                    let mut path = vec![other; length];
                    assert!(Block::new().advance(&path));
                    path[place] = 0;
                    assert!(!Block::new().advance(&path), "{length} {place}");
                }
            }
        }
    }
}
