//! What a checkpoint says (C2SP tlog-checkpoint, "Note text").

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vantio_core::Hash;

use super::{
    error::{NoteError, TreeHeadError},
    signed::SignedNote,
    signing::SigningKey,
};

/// A log's tree at some moment: the text of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl TreeHead {
    /// The tree of `size` entries and this root, of the log that `origin` names.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, TreeHeadError> {
        if !is_line(origin) {
            return Err(TreeHeadError::Origin);
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// The same with a further line, which monitors cannot audit.
    pub fn with_extension(mut self, line: &str) -> Result<Self, TreeHeadError> {
        if !is_line(line) {
            return Err(TreeHeadError::Extension);
        }
        self.extensions.push(line.to_owned());
        Ok(self)
    }

    /// Which log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The lines after the root.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The checkpoint, signed by the log.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedNote, NoteError> {
        let mut note = SignedNote::new(&self.to_string())?;
        note.sign(key)?;
        Ok(note)
    }
}

impl fmt::Display for TreeHead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root.0))?;
        self.extensions.iter().try_for_each(|line| writeln!(formatter, "{line}"))
    }
}

impl FromStr for TreeHead {
    type Err = TreeHeadError;

    fn from_str(text: &str) -> Result<Self, TreeHeadError> {
        let mut lines = text.strip_suffix('\n').ok_or(TreeHeadError::Shape)?.split('\n');
        let mut next = || lines.next().ok_or(TreeHeadError::Shape);
        let (origin, size, root) = (next()?, next()?, next()?);
        let size = parse_decimal(size).ok_or(TreeHeadError::Size)?;
        let root = parse_hash(root).ok_or(TreeHeadError::Root)?;
        lines.try_fold(Self::new(origin, size, root)?, Self::with_extension)
    }
}

/// A number without sign or leading zeros.
pub fn parse_decimal(text: &str) -> Option<u64> {
    let is_decimal =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_decimal { text.parse().ok() } else { None }
}

/// 32 bytes in base64.
pub fn parse_hash(text: &str) -> Option<Hash> {
    // The decoded length is known before anything is decoded.
    if text.len() != 44 {
        return None;
    }
    Some(Hash(STANDARD.decode(text).ok()?.try_into().ok()?))
}

fn is_line(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte >= b' ')
}
