//! What can go wrong, with stable codes and a way out.

use std::{error, io, path::PathBuf, sync::Arc};

use crate::Malformed;

/// Why a ledger could not be opened, written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// There is no such file.
    #[error("there is no ledger at `{}`", path.display())]
    NotFound {
        /// Where one was expected.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("`{}` is not a Vantio ledger", path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by another version.
    #[error("`{}` is a ledger of format {found}; this program knows format {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The format it declares.
        found: i64,
        /// The format of this program.
        known: i64,
    },
    /// The file is cut short or its pages contradict each other.
    #[error("`{}` is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A table, index or trigger is not the one this format defines.
    #[error("`{}`: the definition of `{object}` was changed", path.display())]
    Unprotected {
        /// The file.
        path: PathBuf,
        /// The table, index, trigger or view.
        object: String,
    },
    /// The device has no room left.
    #[error("no space left to append to `{}`", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder may not be written.
    #[error("`{}` cannot be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// It was closed: what comes after is in its successor.
    #[error("`{}` was closed; its successor goes on", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// Another process kept the write lock for too long.
    #[error("another process holds the write lock of `{}`", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Any other answer of SQLite.
    #[error("cannot use `{}`: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// SQLite's answer.
        source: Arc<rusqlite::Error>,
    },
    /// The server cannot be reached, or refused.
    #[error("cannot use `{}`: {reason}", path.display())]
    Server {
        /// What the server is called.
        path: PathBuf,
        /// What it said.
        reason: String,
        /// Its answer.
        source: Arc<dyn error::Error + Send + Sync>,
    },
    /// The address is not one.
    #[error("`{}` cannot be used: {reason}", path.display())]
    Address {
        /// The address, without its parameters.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The program was built without this kind of store.
    #[error("`{}` cannot be used: this program was built without the feature `{feature}`", path.display())]
    Absent {
        /// The address.
        path: PathBuf,
        /// What it takes.
        feature: &'static str,
    },
    /// The server would acknowledge what it may lose.
    #[error("`{}` has `{setting}` set to `{found}`, not `{wanted}`", path.display())]
    Setting {
        /// What the server is called.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// The certificates to trust cannot be read.
    #[error("the certificates in `{}` cannot be used: {reason}", path.display())]
    Trust {
        /// The file, as `PGSSLROOTCERT` names it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier commit failed; nothing is accepted any more.
    #[error("the ledger stopped accepting entries: {cause}")]
    Failed {
        /// The failure that stopped it.
        cause: Arc<LedgerError>,
    },
    /// The key beside the ledger cannot be used.
    #[error("`{}` cannot be used as the ledger's key: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint cannot be made.
    #[error("a checkpoint cannot be made: {reason}")]
    Checkpoint {
        /// Why.
        reason: String,
    },
    /// The draft has no canonical form, or exceeds a limit.
    #[error("an entry cannot be recorded: {reason}")]
    Draft {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The proof of a record's decision does not verify.
    #[error("a record is refused, because the proof of its decision does not verify: {reason}")]
    Unproved {
        /// What the verifier said.
        reason: &'static str,
    },
    /// A stored entry is not what the format says.
    #[error("entry {seq} cannot be read: {fault}")]
    Entry {
        /// Its sequence number.
        seq: u64,
        /// What is wrong with it.
        fault: Malformed,
    },
    /// The ledger was opened by the process that this one was forked from.
    #[error("the ledger was opened before a fork")]
    Forked,
    /// The writer thread is gone.
    #[error("the ledger's writer ended")]
    Stopped,
    /// The operating system's random number generator failed.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl LedgerError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "E_LEDGER_IO",
            Self::NotFound { .. } => "E_LEDGER_NOT_FOUND",
            Self::NotALedger { .. } => "E_LEDGER_FORMAT",
            Self::Version { .. } => "E_LEDGER_VERSION",
            Self::Damaged { .. } => "E_LEDGER_DAMAGED",
            Self::Unprotected { .. } => "E_LEDGER_UNPROTECTED",
            Self::Full { .. } => "E_LEDGER_FULL",
            Self::ReadOnly { .. } => "E_LEDGER_READ_ONLY",
            Self::Closed { .. } => "E_LEDGER_CLOSED",
            Self::Busy { .. } => "E_LEDGER_BUSY",
            Self::Store { .. } => "E_LEDGER_STORE",
            Self::Server { .. } => "E_LEDGER_SERVER",
            Self::Address { .. } => "E_LEDGER_ADDRESS",
            Self::Absent { .. } => "E_LEDGER_ABSENT",
            Self::Setting { .. } => "E_LEDGER_SETTING",
            Self::Trust { .. } => "E_LEDGER_TRUST",
            Self::Failed { .. } => "E_LEDGER_FAILED",
            Self::Key { .. } => "E_LEDGER_KEY",
            Self::Checkpoint { .. } => "E_LEDGER_CHECKPOINT",
            Self::Draft { .. } => "E_LEDGER_DRAFT",
            Self::Unproved { .. } => "E_LEDGER_PROOF",
            Self::Entry { .. } => "E_LEDGER_ENTRY",
            Self::Forked => "E_LEDGER_FORKED",
            Self::Stopped => "E_LEDGER_STOPPED",
            Self::Randomness(_) => "E_LEDGER_RANDOMNESS",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::Store { .. } => "check the file, its folder and the disk beneath them",
            Self::NotFound { .. } => "the first governed run creates it; check the state folder",
            Self::NotALedger { .. } => "point to another file",
            Self::Version { .. } => {
                "use a version of vantio that knows this format; the file was left as it is"
            }
            Self::Damaged { .. } => {
                "keep the file as evidence, and restore a copy that verifies against a checkpoint"
            }
            Self::Unprotected { .. } => {
                "keep the file as evidence: `vantio ledger verify` says whether its entries are intact"
            }
            Self::Full { .. } => {
                "free space on the device; acknowledged entries are safe, and runs stay stopped until then"
            }
            Self::ReadOnly { .. } => {
                "make the state folder writable for this user, or name another state folder"
            }
            Self::Closed { .. } => {
                "an archive is for reading; where it is the ledger itself, `vantio ledger archive` was interrupted: run it again"
            }
            Self::Busy { .. } => "find the process that holds the file open, and end it",
            Self::Server { .. } => {
                "check the address and the server; what was acknowledged is there, and runs stay stopped until then"
            }
            Self::Trust { .. } => "PGSSLROOTCERT must name a file with certificates in PEM",
            Self::Address { .. } => {
                "write spanner://projects/PROJECT/instances/INSTANCE/databases/DATABASE, and perhaps ?role=ROLE"
            }
            Self::Absent { .. } => {
                "build it with `cargo build --release -p vantio --features spanner`, or use another store"
            }
            Self::Setting { .. } => "set it in the server's configuration, and restart the server",
            Self::Failed { cause } => cause.help(),
            Self::Key { .. } => {
                "restore the key from a copy, for its owner only; a new one begins where this file is moved away"
            }
            Self::Checkpoint { .. } => "run `vantio ledger verify`, and keep what it says",
            Self::Draft { .. } => "shorten or flatten what is recorded",
            Self::Unproved { .. } => "write the record without a proof: it counts as pending",
            Self::Entry { .. } => "the entry was changed after it was written: run `vantio ledger verify`",
            Self::Forked => "open the ledger in the process that uses it",
            Self::Stopped => "open the ledger again",
            Self::Randomness(_) => "the kernel must provide getrandom(2)",
        }
    }
}
