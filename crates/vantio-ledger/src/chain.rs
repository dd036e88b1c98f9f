//! One step along the chain: the checks every entry must pass.

use std::{collections::HashMap, mem};

use uuid::Uuid;
use vantio_core::Hash;

use crate::{
    entry::{FORMAT, Text},
    tree::LEAF,
};

/// A field of an entry is missing, of another type, or one that the format does
/// not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The text is not the canonical text of an entry: not JSON, not in the one
    /// form that RFC 8785 gives it, without a member or with an unknown one.
    #[error("it is not an entry in canonical JSON")]
    NotCanonical,
    /// A field has no valid value.
    #[error("field `{0}` has no valid value")]
    Field(&'static str),
    /// The entry declares another format.
    #[error("it has format {0}; this program knows format {FORMAT}")]
    Version(i64),
    /// The hash does not match.
    #[error("its hash does not match its content and the entry before it")]
    Hash,
    /// A digest in the entry does not match what was asked or answered.
    #[error("`{0}` does not match its detail")]
    Detail(&'static str),
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not a valid entry by itself.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Another entry stands in its place: it was removed, or entries were swapped.
    #[error("entry {found} stands in its place")]
    Misplaced {
        /// The sequence number found instead.
        found: u64,
    },
    /// It was removed.
    #[error("it is gone")]
    Gone,
    /// `prev_hash` is not the hash of the entry before.
    #[error("it does not follow from the entry before it")]
    Unlinked,
    /// Its time or its record's identifier is not after the one before.
    #[error("its {0} is not after the one before it")]
    Backdated(&'static str),
    /// The seal of its anomaly record does not hold.
    #[error("the SVID in its anomaly record {0}")]
    Seal(&'static str),
    /// A column of the store contradicts the entry's text.
    #[error("column `{0}` contradicts its text")]
    Column(&'static str),
}

/// A position in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The sequence number that comes next; the number of entries so far.
    pub next: u64,
    /// `this_hash` of the last entry.
    pub head: Hash,
    /// The last entry's time, as written; it sorts as times do.
    pub time: TimeText,
    /// The newest record's identifier.
    pub record_id: Option<Uuid>,
}

/// A time in RFC 3339, in UTC with nanoseconds.
pub(crate) type TimeText = [u8; 30];

impl Chain {
    pub const GENESIS: Self =
        Self { next: 0, head: Hash::ZERO, time: *b"0000-01-01T00:00:00.000000000Z", record_id: None };

    /// Steps over an entry that [`read`] gave.
    pub fn follow(&mut self, entry: &Text<'_>, this_hash: Hash) -> Result<(), Fault> {
        if entry.seq != self.next {
            return Err(Fault::Misplaced { found: entry.seq });
        }
        if entry.prev_hash != self.head {
            return Err(Fault::Unlinked);
        }
        if entry.time.as_bytes() <= &self.time[..] && self.next > 0 {
            return Err(Fault::Backdated("time"));
        }
        let record_id = entry.record.as_ref().map(|record| record.id);
        if record_id.is_some() && record_id <= self.record_id {
            return Err(Fault::Backdated("record_id"));
        }
        let time = entry.time.as_bytes().try_into().unwrap_or(self.time);
        self.advance(this_hash, time, record_id);
        Ok(())
    }

    /// The chain, one entry further.
    pub fn after(mut self, this_hash: Hash, time: &str) -> Self {
        let time = time.as_bytes().try_into().unwrap_or(self.time);
        self.advance(this_hash, time, None);
        self
    }

    /// Steps over an entry that is known to follow.
    pub fn advance(&mut self, this_hash: Hash, time: TimeText, record_id: Option<Uuid>) {
        self.next += 1;
        self.head = this_hash;
        self.time = time;
        self.record_id = record_id.or(self.record_id);
    }
}

/// The chains of a store, each by its writer; a file has one, which has no name.
#[derive(Clone)]
pub(crate) struct Chains {
    /// The one that was stepped along last.
    writer: Option<Uuid>,
    chain: Chain,
    others: HashMap<Option<Uuid>, Chain>,
}

impl Default for Chains {
    fn default() -> Self {
        Self { writer: None, chain: Chain::GENESIS, others: HashMap::new() }
    }
}

impl Chains {
    /// Steps over the entry whose text is `text`, along its chain. Returns the hash of its leaf too.
    pub fn step<'t>(&mut self, text: &'t str, this_hash: Hash) -> Result<(Text<'t>, Hash), Fault> {
        let entry = Text::scan(text)?;
        let [found, leaf] = hashes(&entry.prev_hash, text);
        if found != this_hash {
            return Err(Malformed::Hash.into());
        }
        if entry.writer != self.writer {
            let next = self.others.remove(&entry.writer).unwrap_or(Chain::GENESIS);
            self.others.insert(self.writer, mem::replace(&mut self.chain, next));
            self.writer = entry.writer;
        }
        self.chain.follow(&entry, this_hash)?;
        Ok((entry, leaf))
    }

    /// `this_hash` of the entry that was stepped over last.
    pub fn head(&self) -> Hash {
        self.chain.head
    }
}

/// `this_hash` of the entry with this text, and the hash of its leaf in the tree.
pub(crate) fn hashes(prev_hash: &Hash, text: &str) -> [Hash; 2] {
    Hash::of_two((&prev_hash.0, text.as_bytes()), (LEAF, text.as_bytes()))
}

/// Takes an entry's text apart, and checks its hash.
pub(crate) fn read(text: &str, this_hash: Hash) -> Result<Text<'_>, Malformed> {
    let entry = Text::scan(text)?;
    if Hash::of_parts(&[&entry.prev_hash.0, text.as_bytes()]) != this_hash {
        return Err(Malformed::Hash);
    }
    Ok(entry)
}
