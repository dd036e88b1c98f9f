//! The ledger: an append-only, hash-chained log in one SQLite file, on a PostgreSQL server, or with
//! the feature `spanner` and as an experiment on Google Cloud Spanner.
//!
//! [`Ledger`] appends: [`Ledger::append`] returns when the entry is on disk,
//! [`Ledger::record`] batches within a bounded window. [`Reader`] reads,
//! exports and verifies, and needs no right to write.
//!
//! An entry's hash covers its predecessor's, so a change, a removal or a swap
//! breaks the chain at a sequence number that [`Reader::verify`] names; a
//! checkpoint kept elsewhere ([`Terms`]) shows a truncated tail or a rewritten log
//! too. Over the entries stands a Merkle [`tree`], whose head is signed as a
//! [`note`]: [`Reader::prove`] and [`Reader::publish`] give others what they need.
//! Triggers refuse UPDATE, DELETE and REPLACE: they guard against mistakes. The
//! evidence against malice is the chain and the checkpoints, because whoever may
//! write the file may drop a trigger.
//!
//! ```
//! use vantio_core::{Decision, Hash, RunId, json::Value};
//! use vantio_ledger::{Draft, Filter, Ledger, Terms};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("ledger.db");
//! let ledger = Ledger::open(&path)?;
//! let receipt = ledger.append(Draft {
//!     run_id: RunId::new(1_700_000_000_000, [7; 10]),
//!     pid: 12,
//!     op: "fs.open".into(),
//!     request: Value::object([("path", Value::from("/home/alice/notes.txt"))]),
//!     response: Value::object([("rule", Value::from("fs.read: /work"))]),
//!     keeps_detail: true,
//!     policy_hash: Hash::of(b"a policy program"),
//!     decision: Some(Decision::Permit),
//!     anomaly: None,
//! })?;
//!
//! let reader = ledger.reader()?;
//! let filter = Filter { op: Some("fs.open".into()), ..Filter::default() };
//! for entry in reader.entries(&filter) {
//!     assert_eq!(entry?.this_hash, receipt.this_hash);
//! }
//! assert_eq!(reader.verify(&Terms::default())?.size, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Who the agent is and why it was refused is the business of others.

#![forbid(unsafe_code)]

mod archive;
pub mod bundle;
mod chain;
mod clock;
mod entry;
mod error;
mod export;
mod foreign;
mod key;
mod ledger;
mod link;
mod location;
#[cfg(feature = "measure")]
pub mod measure;
#[cfg(test)]
mod mutations;
pub mod note;
mod prove;
mod publish;
mod queue;
mod reader;
mod seal;
mod store;
mod tiles;
pub mod tree;
mod verify;
mod whole;

pub use archive::{Archive, RETENTION_DAYS, archive, archives, expire, no_run};
pub use chain::{Fault, Malformed};
pub use clock::Interval;
pub use entry::{AgentSvid, Anomaly, AnomalyRecord, Detail, Draft, Entry, ProofState, Seal};
pub use error::LedgerError;
pub use export::{ExportError, MAX_LINE, verify_export};
pub use foreign::{Source, ocsf_event, otlp_logs, to_serde};
pub use jiff::Timestamp;
pub use ledger::{Ledger, Options, Pending, Receipt, Recorded};
pub use location::Location;
pub use prove::{GrowthProof, ProveError, Proved, Signer, UnprovenError, verify_proof};
pub use publish::{PublishError, Published};
pub use reader::{Entries, Filter, Reader};
pub use uuid::Uuid;
pub use vantio_core::ClockError;
pub use verify::{Terms, Verified, VerifyError};
