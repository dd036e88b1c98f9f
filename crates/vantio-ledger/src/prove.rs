//! Proofs that fit in a file, and their verification with nothing but the file and a key.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use vantio_core::Hash;

use crate::{
    Entry, LedgerError, Malformed, Reader,
    entry::{self, Text},
    note::{
        EntryProof, NoteError, ParseProofError, SignedNote, TreeHead, TreeHeadError, VerifierKey,
        VerifyNoteError, parse_decimal, parse_hashes, write_hashes,
    },
    tree::{self, ProofError, TreeError, leaf_hash, verify_consistency, verify_inclusion},
};

/// Why a proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No checkpoint covers it yet.
    #[error("no checkpoint covers entry {0}")]
    Uncovered(u64),
    /// The older tree is no beginning of this one.
    #[error("the tree of {size} entries here has another root than the one given")]
    Fork {
        /// The size of the older tree.
        size: u64,
    },
    /// The tree cannot be read.
    #[error("{0}")]
    Tree(#[from] TreeError<LedgerError>),
}

impl ProveError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.code(),
            Self::Uncovered(_) => "E_LEDGER_UNCOVERED",
            Self::Fork { .. } => "E_LEDGER_FORK",
            Self::Tree(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.help(),
            Self::Uncovered(_) => "`vantio ledger checkpoint` makes a checkpoint of all entries",
            Self::Fork { .. } => {
                "keep both: they are evidence that the log was rewritten, or that there are two"
            }
            Self::Tree(error) => error.help(),
        }
    }
}

/// Why a proof does not hold.
#[derive(Debug, thiserror::Error)]
pub enum UnprovenError {
    /// The file is no proof.
    #[error("it is not a proof: {0}")]
    Proof(#[from] ParseProofError),
    /// Its checkpoint is no signed note.
    #[error("its checkpoint is not a signed note: {0}")]
    Note(#[from] NoteError),
    /// No given key has signed the checkpoint.
    #[error("its checkpoint is not signed by a given key: {0}")]
    Signature(#[from] VerifyNoteError),
    /// The checkpoint says nothing about a tree.
    #[error("its checkpoint is not one: {0}")]
    Head(#[from] TreeHeadError),
    /// The hashes do not lead to the root.
    #[error("{0}")]
    Tree(#[from] ProofError),
    /// The proof is of something that is no entry.
    #[error("what it proves is not an entry: {0}")]
    Entry(#[from] Malformed),
    /// The proof has no entry with it.
    #[error("it has no entry in it")]
    Nothing,
    /// The entry says that it is at another place.
    #[error("the entry is number {seq}, the proof is for number {index}")]
    Place {
        /// By the entry.
        seq: u64,
        /// By the proof.
        index: u64,
    },
    /// The checkpoints are of different logs.
    #[error("the checkpoints are of the logs `{one}` and `{other}`")]
    Origin {
        /// One log.
        one: String,
        /// The other.
        other: String,
    },
}

impl UnprovenError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        "E_LEDGER_PROOF"
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Proof(_) | Self::Nothing => "give a file that `vantio ledger prove` wrote",
            Self::Signature(_) => "ask the log's operator for the key that `vantio ledger key` prints",
            _ => "keep the file as evidence: it was changed, or made for another log",
        }
    }
}

/// What a proof proves.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The entry, without its detail.
    pub entry: Entry,
    /// The tree that it is in.
    pub head: TreeHead,
    /// The given keys that have signed the checkpoint.
    pub signers: Vec<Signer>,
}

/// A given key that has signed a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The key's name.
    pub name: String,
    /// Of a witness, when it cosigned, in seconds since 1970.
    pub time: Option<u64>,
}

impl Signer {
    /// When a witness cosigned, where that is a time at all.
    pub fn moment(&self) -> Option<Timestamp> {
        Timestamp::from_second(i64::try_from(self.time?).ok()?).ok()
    }
}

impl Reader {
    /// The proof that the entry at `seq` is in the tree of the newest checkpoint, with the entry.
    pub fn prove(&self, seq: u64) -> Result<EntryProof, ProveError> {
        let (checkpoint, head) = self.newest_head()?.ok_or(ProveError::Uncovered(seq))?;
        let size = head.size();
        if seq >= size {
            return Err(ProveError::Uncovered(seq));
        }
        let hashes = tree::inclusion(seq, size, self)?;
        let text = self.texts(seq..seq + 1)?.pop().unwrap_or_default();
        Ok(EntryProof { extra: Some(text.into_bytes()), index: seq, hashes, checkpoint })
    }

    /// The proof that the tree of the newest checkpoint continues the tree `old`.
    pub fn prove_growth(&self, old: &TreeHead) -> Result<GrowthProof, ProveError> {
        let proof = self.prove_growth_from(old.size())?;
        if tree::root(old.size(), self)? != old.root() {
            return Err(ProveError::Fork { size: old.size() });
        }
        Ok(proof)
    }

    /// The proof that the tree of the newest checkpoint continues the tree of its first `old` entries:
    /// what a witness asks for, which knows that tree's root itself.
    pub fn prove_growth_from(&self, old: u64) -> Result<GrowthProof, ProveError> {
        let uncovered = || ProveError::Uncovered(old.saturating_sub(1));
        let (checkpoint, head) = self.newest_head()?.ok_or_else(uncovered)?;
        let size = head.size();
        if old > size {
            return Err(uncovered());
        }
        Ok(GrowthProof { old, hashes: tree::consistency(old, size, self)?, checkpoint })
    }
}

/// Verifies a proof that [`Reader::prove`] made, with nothing but the log's key.
pub fn verify_proof(proof: &EntryProof, keys: &[VerifierKey]) -> Result<Proved, UnprovenError> {
    let signers = signers(&proof.checkpoint, keys)?;
    let head: TreeHead = proof.checkpoint.text().parse()?;
    let text = proof.extra.as_deref().ok_or(UnprovenError::Nothing)?;
    verify_inclusion(leaf_hash(text), proof.index, head.size(), &proof.hashes, head.root())?;
    let text = str::from_utf8(text).map_err(|_| Malformed::NotCanonical)?;
    let scanned = Text::scan(text)?;
    // Where a store has several chains, the tree alone says where an entry is.
    if scanned.writer.is_none() && scanned.seq != proof.index {
        return Err(UnprovenError::Place { seq: scanned.seq, index: proof.index });
    }
    let this_hash = Hash::of_parts(&[&scanned.prev_hash.0, text.as_bytes()]);
    let entry = Entry { index: proof.index, ..entry::entry(&scanned, this_hash, None)? };
    Ok(Proved { entry, head, signers })
}

/// The keys that have signed `note`, of which there is at least one.
pub(crate) fn signers(note: &SignedNote, keys: &[VerifierKey]) -> Result<Vec<Signer>, VerifyNoteError> {
    Ok(note
        .verify(keys)?
        .iter()
        .map(|signed| Signer { name: signed.key.name().to_owned(), time: signed.time })
        .collect())
}

/// The proof that a checkpoint's tree continues a smaller one: the body of a request to a witness
/// (C2SP tlog-witness, "add-checkpoint").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowthProof {
    /// The size of the smaller tree.
    pub old: u64,
    /// The proof (RFC 9162, section 2.1.4): at most 63 hashes.
    pub hashes: Vec<Hash>,
    /// The checkpoint of the larger tree.
    pub checkpoint: SignedNote,
}

impl GrowthProof {
    /// Verifies that the checkpoint is signed by one of `keys` and continues `old`. Returns its tree,
    /// and who signed it.
    pub fn verify(
        &self,
        old: &TreeHead,
        keys: &[VerifierKey],
    ) -> Result<(TreeHead, Vec<Signer>), UnprovenError> {
        let signers = signers(&self.checkpoint, keys)?;
        let head: TreeHead = self.checkpoint.text().parse()?;
        if head.origin() != old.origin() {
            let (one, other) = (old.origin().to_owned(), head.origin().to_owned());
            return Err(UnprovenError::Origin { one, other });
        }
        if old.size() != self.old {
            return Err(ProofError::Sizes { old: old.size(), new: self.old }.into());
        }
        verify_consistency(self.old, head.size(), &self.hashes, old.root(), head.root())?;
        Ok((head, signers))
    }
}

impl fmt::Display for GrowthProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "old {}", self.old)?;
        write_hashes(&self.hashes, formatter)?;
        write!(formatter, "\n{}", self.checkpoint)
    }
}

impl FromStr for GrowthProof {
    type Err = UnprovenError;

    fn from_str(text: &str) -> Result<Self, UnprovenError> {
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(ParseProofError::Shape)?;
        let mut lines = proof.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(ParseProofError::Format)?;
        let old = parse_decimal(old).ok_or(ParseProofError::Index)?;
        Ok(Self { old, hashes: parse_hashes(lines)?, checkpoint: checkpoint.parse()? })
    }
}
