//! A proof that fits in one file (C2SP tlog-proof).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::Hash;

use super::{
    error::ParseProofError,
    head::{parse_decimal, parse_hash},
    signed::SignedNote,
};

/// First line of a proof.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// More siblings than the way to the root of any tree has.
const MAX_HASHES: usize = 63;

/// The proof that an entry is in a log: with the entry and the log's verifier key, it is all that
/// a verifier needs.
///
/// Nothing is verified here: see [`SignedNote::verify`] and [`crate::tree::verify_inclusion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// Data for the verifier which the proof does not cover.
    pub extra: Option<Vec<u8>>,
    /// The index of the entry.
    pub index: u64,
    /// The siblings on its way to the root, from the leaf up: at most 63.
    pub hashes: Vec<Hash>,
    /// The checkpoint of a tree that has the entry.
    pub checkpoint: SignedNote,
}

impl fmt::Display for EntryProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{FORMAT}")?;
        if let Some(extra) = &self.extra {
            writeln!(formatter, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(formatter, "index {}", self.index)?;
        write_hashes(&self.hashes, formatter)?;
        write!(formatter, "\n{}", self.checkpoint)
    }
}

impl FromStr for EntryProof {
    type Err = ParseProofError;

    fn from_str(text: &str) -> Result<Self, ParseProofError> {
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(ParseProofError::Shape)?;
        let mut lines = proof.split('\n').peekable();
        if lines.next() != Some(FORMAT) {
            return Err(ParseProofError::Format);
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.map(|line| STANDARD.decode(&line["extra ".len()..])).transpose();
        let extra = extra.map_err(|_| ParseProofError::Extra)?;
        let index =
            lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(ParseProofError::Shape)?;
        let index = parse_decimal(index).ok_or(ParseProofError::Index)?;
        Ok(Self { extra, index, hashes: parse_hashes(lines)?, checkpoint: checkpoint.parse()? })
    }
}

/// The hashes of a proof, a line each.
pub(crate) fn parse_hashes<'t>(lines: impl Iterator<Item = &'t str>) -> Result<Vec<Hash>, ParseProofError> {
    let parse = |(place, line)| {
        let hash = parse_hash(line).filter(|_| place < MAX_HASHES);
        hash.ok_or(ParseProofError::Hash(place + 1))
    };
    lines.enumerate().map(parse).collect()
}

pub(crate) fn write_hashes(hashes: &[Hash], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    hashes.iter().try_for_each(|hash| writeln!(formatter, "{}", STANDARD.encode(hash.0)))
}
