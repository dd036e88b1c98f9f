//! Where a ledger is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    LedgerError,
    store::{postgres, spanner},
};

/// Where a ledger is: a file, or a server.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file.
    File(PathBuf),
    /// A database on a PostgreSQL server.
    Postgres {
        /// How to connect: `postgres://USER@HOST/DATABASE`. It may have a password in it.
        url: Zeroizing<String>,
        /// The folder with the keys that checkpoints are signed with, each named by its log.
        keys: PathBuf,
    },
    /// A database on Google Cloud Spanner, for a program that was built with the feature `spanner`.
    Spanner {
        /// Which one: `spanner://projects/P/instances/I/databases/D`. It has no secret in it.
        address: String,
        /// The folder with the keys that checkpoints are signed with, each named by its log.
        keys: PathBuf,
    },
}

impl Location {
    /// The location that `text` names: an address that begins with `postgres://`, `postgresql://`
    /// or `spanner://`, or else a file. `keys` is the folder with the keys for servers.
    pub fn parse(text: &str, keys: &Path) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Self::Postgres { url: Zeroizing::new(text.into()), keys: keys.into() };
        }
        if text.starts_with("spanner://") {
            return Self::Spanner { address: text.into(), keys: keys.into() };
        }
        Self::File(text.into())
    }

    /// What the location is called, without a password.
    pub fn name(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Postgres { url, .. } => postgres::name(url),
            Self::Spanner { address, .. } => spanner::name(address),
        }
    }

    /// Makes the tables of a ledger on a server, as their owner, where they are not there yet. A
    /// file is made when it is first opened for appending.
    pub fn prepare(&self) -> Result<(), LedgerError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Postgres { url, .. } => postgres::prepare(url),
            Self::Spanner { address, .. } => spanner::prepare(address),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Location").field(&self.name()).finish()
    }
}
