//! Verifying a stored chain and its tree, entry by entry, in flat memory.

use std::{collections::VecDeque, io, sync::Arc};

use rusqlite::{Row, types::ValueRef};
use vantio_core::Hash;

use crate::{
    Fault, LedgerError, Malformed, Reader,
    chain::Chain,
    entry::Text,
    note::{SignedNote, TreeHead, VerifierKey},
    seal::Seals,
    store::{self, check_schema, store_error},
    tree::{Builder, FullTile, TILE_WIDTH, encode_tile, leaf_hash},
};

/// What a ledger is held against. By default it is only held against itself.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Keys that may sign checkpoints. Without any, signatures are not verified.
    pub keys: Vec<VerifierKey>,
    /// A checkpoint that was kept elsewhere.
    pub checkpoint: Option<TreeHead>,
}

/// A ledger that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries it has.
    pub size: u64,
    /// `this_hash` of the last one; zeros when there is none.
    pub head: Hash,
    /// The root of the tree over the entries.
    pub root: Hash,
    /// How many checkpoints were found among the entries.
    pub checkpoints: u64,
    /// How many of them a known key has signed.
    pub signed: u64,
    /// How many anomaly records are sealed.
    pub seals: u64,
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
    /// The chain holds by itself, but is not the one of a checkpoint.
    #[error("entry {seq} or one before it is not what the checkpoint of {size} entries covers: the log was rewritten", size = seq + 1)]
    Rewritten {
        /// The last entry that the checkpoint covers.
        seq: u64,
    },
    /// The chain is longer than the checkpoint that proves it.
    #[error("entry {seq} is beyond the {size} entries of the checkpoint")]
    Beyond {
        /// The first entry that nothing proves.
        seq: u64,
        /// The checkpoint's count.
        size: u64,
    },
    /// A stored tile is not what the entries make, or is missing.
    #[error("entry {seq} is not the one in the tree: {tile} does not match")]
    Tile {
        /// The first entry that differs.
        seq: u64,
        /// Where it is.
        tile: String,
    },
    /// A stored checkpoint is malformed, or no known key has signed it.
    #[error("the checkpoint of {size} entries does not hold: {reason}")]
    Checkpoint {
        /// How many entries it claims to cover.
        size: u64,
        /// What is wrong.
        reason: String,
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
            | Self::Beyond { seq, .. }
            | Self::Tile { seq, .. }
            | Self::Unreadable { seq, .. }
            | Self::Read { seq, .. } => Some(*seq),
            Self::Store { .. } | Self::Checkpoint { .. } => None,
        }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "E_LEDGER_TAMPERED",
            Self::Truncated { .. } => "E_LEDGER_TRUNCATED",
            Self::Rewritten { .. } | Self::Beyond { .. } | Self::Tile { .. } => "E_LEDGER_REWRITTEN",
            Self::Checkpoint { .. } => "E_LEDGER_CHECKPOINT",
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
    /// Recomputes every hash from the stored text, compares every column with it, and holds the
    /// entries against the stored tree, its checkpoints and the terms.
    pub fn verify(&self, terms: &Terms) -> Result<Verified, VerifyError> {
        let unreadable =
            |seq, source| VerifyError::Unreadable { seq, source: store_error(&self.path)(source) };
        let (stored, signed) = self.heads(terms)?;
        let covered = stored.last().map_or(0, |(size, _)| *size);
        let mut audit = Audit::new(stored, terms);
        let walked = self.walk(&mut audit, covered);
        walked.map_err(|source| unreadable(audit.seq(), source))??;
        let verified = audit.finish()?;
        self.check_indexes().map_err(|source| VerifyError::Store { source })?;
        Ok(Verified { signed, ..verified })
    }

    /// Sizes and roots of the stored checkpoints, and how many of them are signed by a known key.
    fn heads(&self, terms: &Terms) -> Result<(Vec<(u64, Hash)>, u64), VerifyError> {
        let read = || -> rusqlite::Result<Vec<(i64, String)>> {
            let mut statement =
                self.connection.prepare("SELECT size, note FROM checkpoints ORDER BY size")?;
            statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let notes =
            read().map_err(|source| VerifyError::Store { source: store_error(&self.path)(source) })?;
        let mut signed = 0;
        let mut heads = Vec::with_capacity(notes.len());
        for (size, note) in notes {
            let size = size.cast_unsigned();
            let wrong = |reason: String| VerifyError::Checkpoint { size, reason };
            let note: SignedNote = note.parse().map_err(|error| wrong(format!("{error}")))?;
            let head: TreeHead = note.text().parse().map_err(|error| wrong(format!("{error}")))?;
            if head.size() != size {
                return Err(wrong(format!("it is of {} entries", head.size())));
            }
            if !terms.keys.is_empty() {
                note.verify(&terms.keys).map_err(|error| wrong(format!("{error}")))?;
                signed += 1;
            }
            heads.push((size, head.root()));
        }
        Ok((heads, signed))
    }

    fn walk(&self, audit: &mut Audit, covered: u64) -> rusqlite::Result<Result<(), VerifyError>> {
        let mut statement = self.connection.prepare(
            "SELECT seq, run_id, op, decision, record_id, this_hash, body, detail FROM entries ORDER BY seq",
        )?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let stepped =
                audit.step(|chain, seals| step(chain, seals, row), |full| self.tile_fault(full, covered));
            if let Err(error) = stepped {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// The first entry at which a tile that the entries fill is not the stored one.
    fn tile_fault(&self, full: &FullTile<'_>, covered: u64) -> Option<VerifyError> {
        let span = u64::from(TILE_WIDTH).pow(u32::from(full.tile.level()));
        let first = full.tile.index() * u64::from(TILE_WIDTH) * span;
        let fault = |seq| Some(VerifyError::Tile { seq, tile: full.tile.to_string() });
        match store::tile(&self.connection, full.tile) {
            Ok(Some((hashes, root))) => {
                let wanted = encode_tile(full.hashes);
                let pairs = wanted.chunks(32).zip(hashes.chunks(32));
                let same = pairs.take_while(|(wanted, stored)| wanted == stored).count() as u64;
                if wanted == hashes && root == full.root { None } else { fault(first + same * span) }
            }
            // What no checkpoint covers need not be there yet.
            Ok(None) if first + u64::from(TILE_WIDTH) * span > covered => None,
            _ => fault(first),
        }
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

/// A walk along a chain, with the tree that grows over it and the checkpoints it must pass.
#[derive(Clone)]
pub(crate) struct Audit {
    chain: Chain,
    seals: Seals,
    tree: Builder,
    /// Sizes and roots that are still to come, smallest first.
    ahead: VecDeque<(u64, Hash)>,
    passed: u64,
}

impl Audit {
    /// A walk past checkpoints, ordered by size, and that of the terms.
    pub fn new(mut heads: Vec<(u64, Hash)>, terms: &Terms) -> Self {
        heads.extend(terms.checkpoint.as_ref().map(|head| (head.size(), head.root())));
        heads.sort_by_key(|(size, _)| *size);
        let (chain, seals, tree) = (Chain::GENESIS, Seals::default(), Builder::new());
        Self { chain, seals, tree, ahead: heads.into(), passed: 0 }
    }

    /// The entry that comes next.
    pub fn seq(&self) -> u64 {
        self.chain.next
    }

    /// Takes one step with `step`, which must move the chain by one entry and return its text;
    /// `tile_fault` says what is wrong with a tile that this fills.
    pub fn step<Text: AsRef<[u8]>>(
        &mut self,
        step: impl FnOnce(&mut Chain, &mut Seals) -> Result<Text, Fault>,
        tile_fault: impl Fn(&FullTile<'_>) -> Option<VerifyError>,
    ) -> Result<(), VerifyError> {
        self.pass()?;
        let seq = self.seq();
        let text =
            step(&mut self.chain, &mut self.seals).map_err(|fault| VerifyError::Entry { seq, fault })?;
        let mut fault = None;
        self.tree.push(leaf_hash(text.as_ref()), |full| fault = fault.take().or_else(|| tile_fault(&full)));
        fault.map_or(Ok(()), Err)
    }

    /// Ends the walk where the chain ends.
    pub fn finish(mut self) -> Result<Verified, VerifyError> {
        self.pass()?;
        let Chain { next, head, .. } = self.chain;
        match self.ahead.pop_front() {
            Some((size, _)) => Err(VerifyError::Truncated { seq: next, size }),
            None => Ok(Verified {
                size: next,
                head,
                root: self.tree.root(),
                checkpoints: self.passed,
                signed: 0,
                seals: self.seals.count(),
            }),
        }
    }

    /// Passes the checkpoints of the tree as it is.
    fn pass(&mut self) -> Result<(), VerifyError> {
        while let Some((size, root)) = self.ahead.front() {
            if *size > self.tree.size() {
                break;
            }
            if *root != self.tree.root() {
                return Err(VerifyError::Rewritten { seq: size.saturating_sub(1) });
            }
            self.ahead.pop_front();
            self.passed += 1;
        }
        Ok(())
    }
}

fn step<'r>(chain: &mut Chain, seals: &mut Seals, row: &'r Row<'_>) -> Result<&'r str, Fault> {
    let column = |index| -> ValueRef<'r> { row.get_ref(index).unwrap_or(ValueRef::Null) };
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
        ValueRef::Null => {}
        detail => entry.check_detail(detail.as_str().map_err(|_| Malformed::NotCanonical)?)?,
    }
    Ok(body)
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
