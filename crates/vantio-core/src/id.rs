//! Identifiers.

use core::{fmt, str::FromStr};

/// A run's identifier: a UUIDv7 (RFC 9562, section 5.7), so that identifiers
/// sort by time of creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId([u8; 16]);

impl RunId {
    /// Builds the identifier for `unix_ms` milliseconds since the epoch from ten
    /// random bytes.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The identifier with these bytes, where they are a UUIDv7.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes[6] >> 4 == 7 && bytes[8] >> 6 == 2).then_some(Self(bytes))
    }

    /// The sixteen bytes, in network order.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Milliseconds since the Unix epoch at which the run began.
    pub fn unix_ms(&self) -> u64 {
        self.0[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The text is not a UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseRunIdError;

impl fmt::Display for ParseRunIdError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a run id is a UUID of version 7")
    }
}

impl core::error::Error for ParseRunIdError {}

impl FromStr for RunId {
    type Err = ParseRunIdError;

    fn from_str(text: &str) -> Result<Self, ParseRunIdError> {
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (position, character) in text.char_indices() {
            if matches!(position, 8 | 13 | 18 | 23) {
                if character != '-' {
                    return Err(ParseRunIdError);
                }
                continue;
            }
            let value = character.to_digit(16).ok_or(ParseRunIdError)? as u8;
            let byte = bytes.get_mut(digits / 2).ok_or(ParseRunIdError)?;
            *byte = *byte << 4 | value;
            digits += 1;
        }
        Self::from_bytes(bytes).filter(|_| digits == 32).ok_or(ParseRunIdError)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_example_of_rfc_9562_round_trips() {
        let text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        let id: RunId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.unix_ms(), 0x017f_22e2_79b0);
    }

    #[test]
    fn other_versions_and_shapes_are_refused() {
        for text in ["", "last", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f", "017f22e279b07cc398c4dc0c0c07398f"] {
            assert_eq!(text.parse::<RunId>(), Err(ParseRunIdError), "{text}");
        }
    }
}
