//! Verifying a stored chain, entry by entry, in flat memory.

use std::{io, sync::Arc};

use rusqlite::{Row, types::ValueRef};
use vantio_core::Hash;

use crate::{
    Checkpoint, Fault, LedgerError, Malformed, Reader,
    chain::Chain,
    entry::Text,
    seal::Seals,
    store::{check_schema, store_error},
};

/// A chain that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries it has.
    pub size: u64,
    /// `this_hash` of the last one; zeros when there is none.
    pub head: Hash,
}

/// Why a ledger does not verify.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    /// An entry was changed, removed, added or moved; it is the first that is wrong.
    #[error("entry {seq}: {fault}")]
    Entry {
        /// Where the chain breaks.
        seq: u64,
        /// How.
        fault: Fault,
    },
    /// The chain is shorter than a checkpoint says.
    #[error("entry {seq} and what follows it are gone: the checkpoint counts {size} entries")]
    Truncated {
        /// The first missing entry.
        seq: u64,
        /// The checkpoint's count.
        size: u64,
    },
    /// The chain holds by itself, but is not the one of the checkpoint.
    #[error("entry {seq} is not the one the checkpoint names: the log was rewritten up to there")]
    Rewritten {
        /// The entry the checkpoint names.
        seq: u64,
    },
    /// The file cannot be read on.
    #[error("entry {seq} cannot be read: {source}")]
    Unreadable {
        /// The first entry that was not verified.
        seq: u64,
        /// Why.
        source: LedgerError,
    },
    /// An export cannot be read on.
    #[error("entry {seq} cannot be read: {source}")]
    Read {
        /// The first entry that was not verified.
        seq: u64,
        /// Why.
        source: Arc<io::Error>,
    },
    /// Every entry holds, but an index or the schema contradicts the entries.
    #[error("{source}")]
    Store {
        /// What contradicts them.
        source: LedgerError,
    },
}

impl VerifyError {
    /// The first entry that is wrong, where one is.
    pub const fn seq(&self) -> Option<u64> {
        match self {
            Self::Entry { seq, .. }
            | Self::Truncated { seq, .. }
            | Self::Rewritten { seq }
            | Self::Unreadable { seq, .. }
            | Self::Read { seq, .. } => Some(*seq),
            Self::Store { .. } => None,
        }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "E_LEDGER_TAMPERED",
            Self::Truncated { .. } => "E_LEDGER_TRUNCATED",
            Self::Rewritten { .. } => "E_LEDGER_REWRITTEN",
            Self::Unreadable { source, .. } | Self::Store { source } => source.code(),
            Self::Read { .. } => "E_LEDGER_EXPORT",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { source, .. } | Self::Store { source } => source.help(),
            Self::Read { .. } => "check the file and the disk beneath it",
            _ => "keep the file as evidence; entries before the named one are intact, nothing from it on is",
        }
    }
}

impl Reader {
    /// Recomputes every hash from the stored text, and compares every column
    /// with it.
    pub fn verify(&self) -> Result<Verified, VerifyError> {
        self.verify_chain(None)
    }

    /// Verifies, and holds the chain against a checkpoint that was kept elsewhere.
    pub fn verify_against(&self, checkpoint: &Checkpoint) -> Result<Verified, VerifyError> {
        self.verify_chain(Some(checkpoint))
    }

    fn verify_chain(&self, checkpoint: Option<&Checkpoint>) -> Result<Verified, VerifyError> {
        let mut audit = Audit::new(checkpoint);
        let walked = self.walk(&mut audit);
        walked.map_err(|source| VerifyError::Unreadable {
            seq: audit.seq(),
            source: store_error(&self.path)(source),
        })??;
        let verified = audit.finish()?;
        self.check_indexes().map_err(|source| VerifyError::Store { source })?;
        Ok(verified)
    }

    fn walk(&self, audit: &mut Audit<'_>) -> rusqlite::Result<Result<(), VerifyError>> {
        let mut statement = self.connection.prepare(
            "SELECT seq, run_id, op, decision, record_id, this_hash, body, detail FROM entries ORDER BY seq",
        )?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            if let Err(error) = audit.step(|chain, seals| step(chain, seals, row)) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// A tampered index would hide entries from a filtered list.
    fn check_indexes(&self) -> Result<(), LedgerError> {
        check_schema(&self.connection, &self.path)?;
        let answer: String = self
            .connection
            .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
            .map_err(store_error(&self.path))?;
        if answer == "ok" {
            return Ok(());
        }
        Err(LedgerError::Damaged { path: self.path.clone(), detail: answer })
    }
}

/// A walk along a chain, with the checkpoint it must pass.
pub(crate) struct Audit<'a> {
    chain: Chain,
    seals: Seals,
    checkpoint: Option<&'a Checkpoint>,
}

impl<'a> Audit<'a> {
    pub fn new(checkpoint: Option<&'a Checkpoint>) -> Self {
        Self { chain: Chain::GENESIS, seals: Seals::default(), checkpoint }
    }

    /// The entry that comes next.
    pub fn seq(&self) -> u64 {
        self.chain.next
    }

    /// Takes one step with `step`, which must move the chain by one entry.
    pub fn step(
        &mut self,
        step: impl FnOnce(&mut Chain, &mut Seals) -> Result<(), Fault>,
    ) -> Result<(), VerifyError> {
        let seq = self.seq();
        step(&mut self.chain, &mut self.seals).map_err(|fault| VerifyError::Entry { seq, fault })?;
        match self.checkpoint {
            Some(checkpoint) if checkpoint.size == self.chain.next && checkpoint.head != self.chain.head => {
                Err(VerifyError::Rewritten { seq })
            }
            _ => Ok(()),
        }
    }

    /// Ends the walk where the chain ends.
    pub fn finish(self) -> Result<Verified, VerifyError> {
        let Chain { next, head, .. } = self.chain;
        match self.checkpoint {
            Some(checkpoint) if next < checkpoint.size => {
                Err(VerifyError::Truncated { seq: next, size: checkpoint.size })
            }
            _ => Ok(Verified { size: next, head }),
        }
    }
}

fn step(chain: &mut Chain, seals: &mut Seals, row: &Row<'_>) -> Result<(), Fault> {
    let column = |index| row.get_ref(index).unwrap_or(ValueRef::Null);
    let seq = column(0).as_i64().map_or(u64::MAX, i64::cast_unsigned);
    if seq != chain.next {
        return Err(Fault::Misplaced { found: seq });
    }
    let this_hash = column(5).as_blob().ok().and_then(|bytes| bytes.try_into().ok());
    let this_hash = Hash(this_hash.ok_or(Fault::Column("this_hash"))?);
    let body = column(6).as_str().map_err(|_| Malformed::NotCanonical)?;
    let entry = chain.step(body, this_hash)?;
    check_columns(&entry, &column)?;
    seals.check(&entry)?;
    match column(7) {
        ValueRef::Null => Ok(()),
        detail => Ok(entry.check_detail(detail.as_str().map_err(|_| Malformed::NotCanonical)?)?),
    }
}

fn check_columns<'a>(entry: &Text<'_>, column: &impl Fn(usize) -> ValueRef<'a>) -> Result<(), Fault> {
    let is_equal = [
        ("run_id", column(1) == ValueRef::Blob(entry.run_id.as_bytes())),
        ("op", column(2) == ValueRef::Text(entry.op.as_bytes())),
        (
            "decision",
            column(3) == optional(entry.decision.map(|decision| ValueRef::Text(decision.name().as_bytes()))),
        ),
        (
            "record_id",
            column(4) == optional(entry.record.as_ref().map(|record| ValueRef::Blob(record.id.as_bytes()))),
        ),
    ];
    is_equal.iter().find(|(_, is_equal)| !is_equal).map_or(Ok(()), |(name, _)| Err(Fault::Column(name)))
}

fn optional(value: Option<ValueRef<'_>>) -> ValueRef<'_> {
    value.unwrap_or(ValueRef::Null)
}
