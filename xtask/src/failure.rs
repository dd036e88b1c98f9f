//! Why a task ended early.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a task ended early.
#[derive(Debug, Error)]
pub enum Failure {
    /// A program could not be started.
    #[error("`{program}` could not be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed with {status}\n{output}")]
    Exit {
        /// The whole command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it printed, when it was captured.
        output: String,
    },
    /// A file could not be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that must hold does not.
    #[error("{0}")]
    Check(String),
}

/// Attaches a path to an input or output error.
pub trait AtPath<T> {
    /// The same result, its error naming `path`.
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Failure>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: impl Into<PathBuf>) -> Result<T, Failure> {
        self.map_err(|source| Failure::File { path: path.into(), source })
    }
}
