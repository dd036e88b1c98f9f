//! SHA-256 digests.

use core::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::message::{Message, digests};

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

    /// The digests of two messages, each a prefix shorter than 64 bytes and a body, in two thirds of the time
    /// that one after the other takes.
    pub fn of_two<const ONE: usize, const OTHER: usize>(
        (prefix, body): (&[u8; ONE], &[u8]),
        (other_prefix, other_body): (&[u8; OTHER], &[u8]),
    ) -> [Self; 2] {
        digests(&[Message::new(prefix, body), Message::new(other_prefix, other_body)]).map(Self)
    }
}

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
        let bytes: [u8; 300] = core::array::from_fn(|place| place as u8);
        for length in 0..bytes.len() {
            two_are_as_each_alone(&[], &bytes[..length]);
            two_are_as_each_alone(&[1], &bytes[..length]);
            two_are_as_each_alone(&[2; 32], &bytes[..length]);
            two_are_as_each_alone(&[3; 63], &bytes[..length]);
        }
    }

    fn two_are_as_each_alone<const LENGTH: usize>(prefix: &[u8; LENGTH], body: &[u8]) {
        for other in [0, 1, body.len() / 2, body.len()] {
            let other = &body[..other.min(body.len())];
            let expected = [Hash::of_parts(&[prefix, body]), Hash::of_parts(&[&[0], other])];
            assert_eq!(Hash::of_two((prefix, body), (&[0], other)), expected, "{LENGTH} and {}", body.len());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!("E3".parse::<Hash>(), Err(ParseHashError));
        assert_eq!("G".repeat(64).parse::<Hash>(), Err(ParseHashError));
    }
}
