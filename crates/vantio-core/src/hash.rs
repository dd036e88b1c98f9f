//! SHA-256 digests.

use core::{fmt, mem, slice, str::FromStr};

use sha2::{Digest, Sha256, block_api::compress256};

/// A SHA-256 digest (FIPS 180-4), written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// 32 zero bytes: the predecessor of a chain's first entry.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// The digest of the parts, one after another without separators.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The digests of two messages, each as [`Hash::of_parts`] takes it, in two thirds of the time: each
    /// step of a digest waits for the one before, and meanwhile the processor takes one of the other's.
    pub fn of_two(one: &[&[u8]], other: &[&[u8]]) -> [Self; 2] {
        let mut messages = [Message::new(one), Message::new(other)];
        while messages.iter_mut().fold(false, |goes_on, message| message.step() | goes_on) {}
        messages.map(Message::digest)
    }
}

/// A message on its way into a digest, block by block (FIPS 180-4, section 6.2).
struct Message<'m> {
    state: [u32; 8],
    /// What is left of the part that was begun, and the parts after it.
    rest: &'m [u8],
    parts: slice::Iter<'m, &'m [u8]>,
    length: u64,
    padding: Padding,
}

/// What of the padding is still to come (section 5.1.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    All,
    Length,
    Nothing,
}

impl<'m> Message<'m> {
    fn new(parts: &'m [&'m [u8]]) -> Self {
        let length = parts.iter().map(|part| part.len() as u64).sum();
        Self { state: INITIAL, rest: &[], parts: parts.iter(), length, padding: Padding::All }
    }

    /// Takes a block. False when there was none.
    fn step(&mut self) -> bool {
        if let Some((block, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
            compress256(&mut self.state, slice::from_ref(block));
            return true;
        }
        if self.padding == Padding::Nothing {
            return false;
        }
        let block = self.gather();
        compress256(&mut self.state, &[block]);
        true
    }

    /// A block of what no single part fills: the ends of parts, and the padding.
    fn gather(&mut self) -> [u8; 64] {
        let (mut block, mut filled) = ([0; 64], 0);
        loop {
            let (taken, rest) = self.rest.split_at(self.rest.len().min(block.len() - filled));
            block[filled..filled + taken.len()].copy_from_slice(taken);
            filled += taken.len();
            self.rest = rest;
            if filled == block.len() {
                return block;
            }
            match self.parts.next() {
                Some(part) => self.rest = part,
                None => break,
            }
        }
        if mem::replace(&mut self.padding, Padding::Length) == Padding::All {
            block[filled] = 0x80;
            filled += 1;
        }
        if let Some((_, length)) = block[filled..].split_last_chunk_mut::<8>() {
            *length = (8 * self.length).to_be_bytes();
            self.padding = Padding::Nothing;
        }
        block
    }

    fn digest(self) -> Hash {
        let mut bytes = [0; 32];
        for (word, bytes) in self.state.iter().zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Hash(bytes)
    }
}

/// The initial hash value (section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseHashError;

impl fmt::Display for ParseHashError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a hash is 64 lower-case hexadecimal digits")
    }
}

impl core::error::Error for ParseHashError {}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(ParseHashError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Result<u8, ParseHashError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ParseHashError),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn empty_digest_is_the_published_one() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Hash::of(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Hash::of(b"")));
    }

    #[test]
    fn two_at_once_are_as_each_alone() {
        let bytes: [u8; 200] = core::array::from_fn(|place| place as u8);
        for length in 0..bytes.len() {
            for cut in [0, 1, 32, 63, 64, 65, length] {
                let (one, other) = bytes[..length].split_at(cut.min(length));
                let parts: [&[u8]; 3] = [one, &[], other];
                let expected = [Hash::of_parts(&parts), Hash::of(other)];
                assert_eq!(Hash::of_two(&parts, &[other]), expected, "{length} cut at {cut}");
                assert_eq!(Hash::of_two(&[], &[]), [Hash::of(b""); 2]);
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!("E3".parse::<Hash>(), Err(ParseHashError));
        assert_eq!("G".repeat(64).parse::<Hash>(), Err(ParseHashError));
    }
}
