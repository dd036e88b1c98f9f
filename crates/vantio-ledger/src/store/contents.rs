//! What an index over the entries must have.

use vantio_core::Hash;

use super::{Column, Stored};

/// How many entries, by their places, are a block.
pub(crate) const BLOCK: u64 = 64;

/// What the block that is being written or read has, of what entries are looked up by: their run, their
/// operation, and their verdict where it is no permit.
#[derive(Default)]
pub(crate) struct Keys {
    block: u64,
    found: Vec<Key>,
}

/// A key: an identifier's bytes or a name.
struct Key {
    is_text: bool,
    bytes: Vec<u8>,
}

impl Keys {
    /// Tells `new` what the entry at `place` adds to what its block has, and to which block.
    pub fn add<Failure>(
        &mut self,
        place: u64,
        keys: [Column<'_>; 3],
        mut new: impl FnMut(Column<'_>, u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let block = place / BLOCK;
        if block != self.block {
            *self = Self { block, found: Vec::new() };
        }
        for key in keys {
            let (is_text, bytes) = match key {
                Column::Text(b"Permit") | Column::Null | Column::Other => continue,
                Column::Text(bytes) => (true, bytes),
                Column::Bytes(bytes) => (false, bytes),
            };
            if self.found.iter().any(|found| found.is_text == is_text && found.bytes == bytes) {
                continue;
            }
            self.found.push(Key { is_text, bytes: bytes.to_vec() });
            new(key, block)?;
        }
        Ok(())
    }

    /// Others may have written: what the block has is no longer known.
    pub fn forget(&mut self) {
        self.found.clear();
    }
}

/// Rows that an index must have, or that it has: as a set, in little memory.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    salt: [u8; 32],
    count: u64,
    /// The digests of all rows, combined by exclusive or. Nobody knows the salt before, so nobody can
    /// choose rows whose digests cancel out.
    sum: [u8; 32],
}

impl Rows {
    /// No rows yet.
    pub fn none(salt: [u8; 32]) -> Self {
        Self { salt, count: 0, sum: [0; 32] }
    }

    /// As many as none, to be compared with these.
    pub fn again(&self) -> Self {
        Self::none(self.salt)
    }

    /// Adds the row of `key` and `number`.
    pub fn add(&mut self, key: Column<'_>, number: u64) {
        let (kind, bytes): (u8, &[u8]) = match key {
            Column::Null => (0, &[]),
            Column::Other => (1, &[]),
            Column::Text(bytes) => (2, bytes),
            Column::Bytes(bytes) => (3, bytes),
        };
        let Hash(digest) = Hash::of_parts(&[&self.salt, &[kind], &number.to_be_bytes(), bytes]);
        self.sum.iter_mut().zip(digest).for_each(|(sum, byte)| *sum ^= byte);
        self.count += 1;
    }
}

/// What the entries that were walked over are looked up by.
pub(crate) struct Contents {
    keys: Keys,
    /// Their keys, by block.
    pub blocks: Rows,
    /// Their records' identifiers, by place.
    pub records: Rows,
}

impl Contents {
    /// Of no entries yet. Nobody else may know `salt`.
    pub fn new(salt: [u8; 32]) -> Self {
        Self { keys: Keys::default(), blocks: Rows::none(salt), records: Rows::none(salt) }
    }

    /// Adds a row whose columns are those of its text.
    pub fn add(&mut self, row: &Stored<'_>) {
        let blocks = &mut self.blocks;
        let add = |key: Column<'_>, block| {
            blocks.add(key, block);
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(()) = self.keys.add(row.next, [row.run_id, row.op, row.decision], add);
        if row.record_id != Column::Null {
            self.records.add(row.record_id, row.next);
        }
    }
}
