//! A chain's length and head, to be kept where the ledger's owner cannot reach.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use vantio_core::Hash;

/// The state of a chain at some moment.
///
/// The text has the layout of a C2SP checkpoint's body: an origin line, the
/// number of entries in decimal, a hash in base64, and one extension line with
/// the time. The hash is the chain's head, *not* a Merkle root, and the origin
/// line says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many entries the chain had.
    pub size: u64,
    /// `this_hash` of the last of them; zeros when there was none.
    pub head: Hash,
    /// When the checkpoint was made.
    pub time: Timestamp,
}

/// First line of a checkpoint.
const ORIGIN: &str = "vantio ledger: chain head, format 1";

impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = STANDARD.encode(self.head.0);
        writeln!(formatter, "{ORIGIN}\n{}\n{head}\ntime {:.9}", self.size, self.time)
    }
}

/// Why a text is not a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCheckpointError {
    /// The first line names something else.
    #[error("the first line is not `{ORIGIN}`")]
    Origin,
    /// The second line is not a decimal number without leading zeros.
    #[error("line 2 is not a number of entries")]
    Size,
    /// The third line is not 32 bytes in base64.
    #[error("line 3 is not a SHA-256 hash in base64")]
    Hash,
    /// The fourth line is not `time` and an RFC 3339 time.
    #[error("line 4 is not `time` and an RFC 3339 time")]
    Time,
    /// The text is cut short or goes on.
    #[error("a checkpoint is four lines, each ended by a line feed")]
    Shape,
}

impl ParseCheckpointError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_CHECKPOINT"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        "`vantio ledger verify` prints a checkpoint; keep its lines as they are"
    }
}

impl FromStr for Checkpoint {
    type Err = ParseCheckpointError;

    fn from_str(text: &str) -> Result<Self, ParseCheckpointError> {
        let body = text.strip_suffix('\n').ok_or(ParseCheckpointError::Shape)?;
        let mut lines = body.split('\n');
        if lines.next() != Some(ORIGIN) {
            return Err(ParseCheckpointError::Origin);
        }
        let mut next = || lines.next().ok_or(ParseCheckpointError::Shape);
        let size = parse_size(next()?)?;
        let head = parse_hash(next()?)?;
        let time = parse_time(next()?)?;
        if lines.next().is_some() {
            return Err(ParseCheckpointError::Shape);
        }
        Ok(Self { size, head, time })
    }
}

fn parse_size(line: &str) -> Result<u64, ParseCheckpointError> {
    let size: u64 = line.parse().map_err(|_| ParseCheckpointError::Size)?;
    if size.to_string() == line { Ok(size) } else { Err(ParseCheckpointError::Size) }
}

fn parse_hash(line: &str) -> Result<Hash, ParseCheckpointError> {
    let bytes = STANDARD.decode(line).map_err(|_| ParseCheckpointError::Hash)?;
    Ok(Hash(bytes.try_into().map_err(|_| ParseCheckpointError::Hash)?))
}

fn parse_time(line: &str) -> Result<Timestamp, ParseCheckpointError> {
    let time = line.strip_prefix("time ").ok_or(ParseCheckpointError::Time)?;
    time.parse().map_err(|_| ParseCheckpointError::Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "vantio ledger: chain head, format 1\n7\n\
        47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\ntime 2026-01-02T03:04:05.000000006Z\n";

    #[test]
    fn a_checkpoint_round_trips() {
        let checkpoint: Checkpoint = TEXT.parse().unwrap();
        assert_eq!(checkpoint.to_string(), TEXT);
        assert_eq!((checkpoint.size, checkpoint.head), (7, Hash::of(b"")));
    }

    #[test]
    fn other_texts_are_refused_with_the_line() {
        use ParseCheckpointError as E;
        let cases = [
            (String::new(), E::Shape),
            (TEXT.trim_end().to_owned(), E::Shape),
            (format!("{TEXT}more\n"), E::Shape),
            ("vantio ledger: chain head, format 1\n7\n".to_owned(), E::Shape),
            (TEXT.replace("format 1", "format 2"), E::Origin),
            (TEXT.replace("\n7\n", "\n07\n"), E::Size),
            (TEXT.replace("\n7\n", "\n-7\n"), E::Size),
            (TEXT.replace("47DE", "47D"), E::Hash),
            (TEXT.replace("time ", "when "), E::Time),
            (TEXT.replace("2026", "yyyy"), E::Time),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Checkpoint>(), Err(error), "{text}");
        }
    }
}
