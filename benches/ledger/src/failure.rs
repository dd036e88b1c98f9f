//! Why the bench ended early.

use std::{io, path::PathBuf};

use thiserror::Error;
use vantio_ledger::{LedgerError, VerifyError};

/// Why the bench ended early.
#[derive(Debug, Error)]
pub enum Failure {
    /// Syncing costs nothing there.
    #[error("`{}` is in memory ({kind}): name a folder on a disk with --folder", folder.display())]
    InMemory {
        /// The folder.
        folder: PathBuf,
        /// The kind of its file system.
        kind: &'static str,
    },
    /// The system refused something.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A process of the bench did not say what it measured.
    #[error("a part of the bench failed: {0}")]
    Part(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A ledger that was just written does not verify.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A peer failed.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A peer failed.
    #[error("PostgreSQL: {0}")]
    Postgres(#[from] postgres::Error),
    /// A canonical form is not the other's.
    #[error("{0}")]
    Form(String),
}

/// Says what was tried when the system refuses.
pub fn system(action: &'static str) -> impl Fn(io::Error) -> Failure {
    move |source| Failure::System { action, source }
}
