//! Entries, bundled (C2SP tlog-tiles, "Log entries").

use super::tile::TILE_WIDTH;

/// The longest entry that a bundle can hold: its length is written in 16 bits.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// Why entries cannot be bundled, or bytes are not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An entry is longer than [`MAX_ENTRY_BYTES`].
    #[error("the entry at offset {offset} has {bytes} bytes; a bundle holds at most {MAX_ENTRY_BYTES}")]
    TooLong {
        /// Its place in the bundle, from 0.
        offset: usize,
        /// Its length.
        bytes: usize,
    },
    /// There are more than 256 entries.
    #[error("a bundle holds at most {TILE_WIDTH} entries")]
    TooMany,
    /// The bytes end within an entry.
    #[error("the bundle ends within the entry at offset {offset}")]
    CutShort {
        /// Its place in the bundle, from 0.
        offset: usize,
    },
}

impl BundleError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_BUNDLE"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::TooLong { .. } => "keep entries shorter",
            Self::TooMany | Self::CutShort { .. } => "fetch the bundle again from where it was published",
        }
    }
}

/// Writes entries, each after its length as a big-endian 16-bit number.
pub fn encode_bundle<Entry: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = Entry>,
) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    for (offset, entry) in entries.into_iter().enumerate() {
        if offset >= usize::from(TILE_WIDTH) {
            return Err(BundleError::TooMany);
        }
        let entry = entry.as_ref();
        let too_long = BundleError::TooLong { offset, bytes: entry.len() };
        let length = u16::try_from(entry.len()).map_err(|_| too_long)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle. How many there must be is known to whoever named the bundle.
pub fn decode_bundle(mut bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let offset = entries.len();
        if offset >= usize::from(TILE_WIDTH) {
            return Err(BundleError::TooMany);
        }
        let cut = BundleError::CutShort { offset };
        let (length, rest) = bytes.split_first_chunk().ok_or(cut)?;
        let (entry, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(cut)?;
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}
