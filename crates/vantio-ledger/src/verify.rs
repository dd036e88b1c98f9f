//! Verifying a stored chain, entry by entry, in flat memory.

use rusqlite::{Row, types::ValueRef};
use vantio_core::Hash;

use crate::{
    Checkpoint, Entry, Fault, LedgerError, Malformed, Reader,
    chain::Chain,
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
            | Self::Unreadable { seq, .. } => Some(*seq),
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
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unreadable { source, .. } | Self::Store { source } => source.help(),
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
        let mut chain = Chain::GENESIS;
        let walked = self.walk(&mut chain, checkpoint);
        let unreadable =
            |source| VerifyError::Unreadable { seq: chain.next, source: store_error(&self.path)(source) };
        walked.map_err(unreadable)??;
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| chain.next < checkpoint.size) {
            return Err(VerifyError::Truncated { seq: chain.next, size: checkpoint.size });
        }
        self.check_indexes().map_err(|source| VerifyError::Store { source })?;
        Ok(Verified { size: chain.next, head: chain.head })
    }

    fn walk(
        &self,
        chain: &mut Chain,
        checkpoint: Option<&Checkpoint>,
    ) -> rusqlite::Result<Result<(), VerifyError>> {
        let mut statement = self.connection.prepare(
            "SELECT seq, time, run_id, op, decision, record_id, this_hash, body FROM entries ORDER BY seq",
        )?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let seq = chain.next;
            if let Err(fault) = step(chain, row) {
                return Ok(Err(VerifyError::Entry { seq, fault }));
            }
            if checkpoint.is_some_and(|point| point.size == chain.next && point.head != chain.head) {
                return Ok(Err(VerifyError::Rewritten { seq }));
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

fn step(chain: &mut Chain, row: &Row<'_>) -> Result<(), Fault> {
    let column = |index| row.get_ref(index).unwrap_or(ValueRef::Null);
    let seq = column(0).as_i64().map_or(u64::MAX, i64::cast_unsigned);
    if seq != chain.next {
        return Err(Fault::Misplaced { found: seq });
    }
    let this_hash = column(6).as_blob().ok().and_then(|bytes| bytes.try_into().ok());
    let this_hash = Hash(this_hash.ok_or(Fault::Column("this_hash"))?);
    let body = column(7).as_str().map_err(|_| Malformed::NotCanonical)?;
    let entry = chain.step(body, this_hash)?;
    check_columns(&entry, &column)
}

fn check_columns<'a>(entry: &Entry, column: &impl Fn(usize) -> ValueRef<'a>) -> Result<(), Fault> {
    let expected = [
        ("time", Some(format!("{:.9}", entry.time))),
        ("run_id", Some(entry.run_id.to_string())),
        ("op", Some(entry.op.clone())),
        ("decision", entry.decision.map(|decision| decision.name().to_owned())),
        ("record_id", entry.anomaly.as_ref().map(|anomaly| anomaly.record_id.to_string())),
    ];
    for (index, (name, text)) in expected.iter().enumerate() {
        if column(index + 1).as_str_or_null() != Ok(text.as_deref()) {
            return Err(Fault::Column(name));
        }
    }
    Ok(())
}
