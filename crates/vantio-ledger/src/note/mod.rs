//! Signed notes: texts with signatures that name their keys, as public tools read them.
//!
//! - [`SignedNote`], [`VerifierKey`] and [`SigningKey`]: C2SP signed-note, with Ed25519 (RFC 8032).
//! - [`SigningKey::cosign`], and keys of [`Algorithm::CosignatureV1`]: C2SP tlog-cosignature,
//!   by which witnesses say when they saw a tree.
//! - [`TreeHead`]: the text of a checkpoint, C2SP tlog-checkpoint.
//! - [`EntryProof`]: a checkpoint with the proof that an entry is below it, C2SP tlog-proof.
//!
//! Of other kinds of signatures (ECDSA, ML-DSA-44, RFC 6962 tree heads) there are no keys here:
//! they are ignored, as those of unknown keys are.

mod error;
mod head;
mod key;
mod proof;
mod signed;
mod signing;

pub use error::{KeyError, NoteError, ParseProofError, TreeHeadError, VerifyNoteError};
pub use head::TreeHead;
pub(crate) use head::parse_decimal;
pub use key::{Algorithm, VerifierKey};
pub use proof::EntryProof;
pub(crate) use proof::{parse_hashes, write_hashes};
pub use signed::{MAX_NOTE_BYTES, MAX_SIGNATURES, Signature, SignedNote, Verified};
pub use signing::SigningKey;
