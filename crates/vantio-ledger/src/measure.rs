//! The two steps that giving an entry its place costs, one by one: for the bench.

use vantio_core::Hash;

use crate::{
    Draft, LedgerError,
    entry::{self, Prepared, Salts, Stamp},
};

/// An entry that is about to be linked into a chain.
pub struct Link {
    prepared: Prepared,
    stamp: Stamp,
}

impl Link {
    /// The first entry of a chain.
    pub fn new(draft: Draft) -> Result<Self, LedgerError> {
        let time = *b"2026-01-02T03:04:05.000000006Z";
        let stamp = Stamp { seq: 0, prev_hash: Hash::ZERO, writer: None, time, record: None };
        Ok(Self { prepared: Prepared::new(draft, &Salts::new()?)?, stamp })
    }

    /// Writes its canonical text.
    pub fn write(&self) -> String {
        entry::text(&self.prepared, &self.stamp)
    }

    /// Hashes its text with the hash before it.
    pub fn hash(&self, text: &str) -> Hash {
        Hash::of_parts(&[&self.stamp.prev_hash.0, text.as_bytes()])
    }
}
