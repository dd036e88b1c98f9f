//! Verifying a stored chain and its tree, entry by entry, in flat memory.

use std::{collections::VecDeque, io, sync::Arc};

use vantio_core::Hash;

use crate::{
    Fault, LedgerError, Malformed, Reader,
    chain::Chains,
    entry::{Text, nonce},
    note::{SignedNote, TreeHead, VerifierKey},
    seal::Seals,
    store::{Column, Contents, Stored},
    tree::{Builder, FullTile, TILE_WIDTH, encode_tile},
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
    /// How many checkpoints the ledger has; that of the terms is none of them.
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
        let _held = self.source.hold().map_err(|source| VerifyError::Store { source })?;
        let (stored, signed) = self.heads(terms)?;
        let covered = stored.last().map_or(0, |(size, _)| *size);
        let mut audit = Audit::new(stored, terms);
        let mut contents = Contents::new(nonce().map_err(|source| VerifyError::Store { source })?);
        let mut fault = None;
        let walked = self.source.walk(&mut |row| {
            let stepped =
                audit.step(|chains, seals| row.step(chains, seals), |full| self.tile_fault(full, covered));
            contents.add(row);
            fault = stepped.err();
            fault.is_none()
        });
        walked.map_err(|source| VerifyError::Unreadable { seq: audit.seq(), source })?;
        fault.map_or(Ok(()), Err)?;
        let verified = audit.finish()?;
        self.source.check(&contents).map_err(|source| VerifyError::Store { source })?;
        Ok(Verified { signed, ..verified })
    }

    /// Sizes and roots of the stored checkpoints, and how many of them are signed by a known key.
    fn heads(&self, terms: &Terms) -> Result<(Vec<(u64, Hash)>, u64), VerifyError> {
        let notes = self.source.checkpoints().map_err(|source| VerifyError::Store { source })?;
        let mut signed = 0;
        let mut heads = Vec::with_capacity(notes.len());
        for (size, note) in notes {
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

    /// The first entry at which a tile that the entries fill is not the stored one.
    fn tile_fault(&self, full: &FullTile<'_>, covered: u64) -> Option<VerifyError> {
        let span = u64::from(TILE_WIDTH).pow(u32::from(full.tile.level()));
        let first = full.tile.index() * u64::from(TILE_WIDTH) * span;
        let fault = |seq| Some(VerifyError::Tile { seq, tile: full.tile.to_string() });
        match self.source.tile(full.tile) {
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
}

/// A walk along a chain, with the tree that grows over it and the checkpoints it must pass.
#[derive(Clone)]
pub(crate) struct Audit {
    chains: Chains,
    seals: Seals,
    tree: Builder,
    /// Sizes and roots that are still to come, smallest first.
    ahead: VecDeque<(u64, Hash)>,
    /// How many of them are the ledger's own.
    own: u64,
}

impl Audit {
    /// A walk past checkpoints, ordered by size, and that of the terms.
    pub fn new(mut heads: Vec<(u64, Hash)>, terms: &Terms) -> Self {
        let own = heads.len() as u64;
        heads.extend(terms.checkpoint.as_ref().map(|head| (head.size(), head.root())));
        heads.sort_by_key(|(size, _)| *size);
        let (chains, seals, tree) = (Chains::default(), Seals::default(), Builder::new());
        Self { chains, seals, tree, ahead: heads.into(), own }
    }

    /// The entry that comes next.
    pub fn seq(&self) -> u64 {
        self.tree.size()
    }

    /// Takes one step with `step`, which must move a chain by one entry and return the hash of its
    /// leaf; `tile_fault` says what is wrong with a tile that this fills.
    pub fn step(
        &mut self,
        step: impl FnOnce(&mut Chains, &mut Seals) -> Result<Hash, Fault>,
        tile_fault: impl Fn(&FullTile<'_>) -> Option<VerifyError>,
    ) -> Result<(), VerifyError> {
        self.pass()?;
        let seq = self.seq();
        let leaf =
            step(&mut self.chains, &mut self.seals).map_err(|fault| VerifyError::Entry { seq, fault })?;
        let mut fault = None;
        self.tree.push(leaf, |full| fault = fault.take().or_else(|| tile_fault(&full)));
        fault.map_or(Ok(()), Err)
    }

    /// Ends the walk where the chain ends.
    pub fn finish(mut self) -> Result<Verified, VerifyError> {
        self.pass()?;
        let (next, head) = (self.tree.size(), self.chains.head());
        match self.ahead.pop_front() {
            Some((size, _)) => Err(VerifyError::Truncated { seq: next, size }),
            None => Ok(Verified {
                size: next,
                head,
                root: self.tree.root(),
                checkpoints: self.own,
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
        }
        Ok(())
    }
}

impl Stored<'_> {
    /// Steps over the row along its chain, and returns the hash of its leaf.
    fn step(&self, chains: &mut Chains, seals: &mut Seals) -> Result<Hash, Fault> {
        if self.place != Some(self.next) {
            return Err(Fault::Misplaced { found: self.place.unwrap_or(u64::MAX) });
        }
        if (self.this_hash, self.body) == (Column::Null, Column::Null) {
            return Err(Fault::Gone);
        }
        let this_hash = self.this_hash.bytes().and_then(|bytes| bytes.try_into().ok());
        let this_hash = Hash(this_hash.ok_or(Fault::Column("this_hash"))?);
        let body = self.body.text().ok_or(Malformed::NotCanonical)?;
        let (entry, leaf) = chains.step(body, this_hash)?;
        self.check_columns(&entry)?;
        seals.check(&entry)?;
        match self.detail {
            Column::Null => {}
            detail => entry.check_detail(detail.text().ok_or(Malformed::NotCanonical)?)?,
        }
        Ok(leaf)
    }

    fn check_columns(&self, entry: &Text<'_>) -> Result<(), Fault> {
        let decision = entry.decision.map(|decision| Column::Text(decision.name().as_bytes()));
        let record_id = entry.record.as_ref().map(|record| Column::Bytes(record.id.as_bytes()));
        let is_equal = [
            ("writer", self.writer == entry.writer),
            ("seq", self.seq == Some(entry.seq)),
            ("run_id", self.run_id == Column::Bytes(entry.run_id.as_bytes())),
            ("op", self.op == Column::Text(entry.op.as_bytes())),
            ("decision", self.decision == decision.unwrap_or(Column::Null)),
            ("record_id", self.record_id == record_id.unwrap_or(Column::Null)),
        ];
        is_equal.iter().find(|(_, is_equal)| !is_equal).map_or(Ok(()), |(name, _)| Err(Fault::Column(name)))
    }
}
