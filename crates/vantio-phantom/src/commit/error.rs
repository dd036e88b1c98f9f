//! Why a commit, an undo or a discard did not happen.

use std::io;

use thiserror::Error;

use crate::changes::{Escaped, RunFolderError, ScanError};

/// Nothing on the host was changed, or everything was put back, unless the
/// variant says otherwise.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The run's folder cannot be used; committing a discarded run is among this.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// The changes could not be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A selected path has no change.
    #[error("E_NO_SUCH_CHANGE: `{}` has no pending change", Escaped(path))]
    NoSuchChange {
        /// The path.
        path: Vec<u8>,
    },
    /// Hunks were chosen of what has none.
    #[error(
        "E_NO_HUNKS: `{}` is no changed text of at most 1 MiB and 40,000 lines with one name",
        Escaped(path)
    )]
    NoHunks {
        /// The path.
        path: Vec<u8>,
    },
    /// Hunks were chosen that are not those of now.
    #[error("E_OTHER_HUNKS: `{}` has other hunks than those that were chosen from", Escaped(path))]
    OtherHunks {
        /// The path.
        path: Vec<u8>,
    },
    /// There is not enough room for a second copy of what changed.
    #[error("E_NO_SPACE: {needed} bytes are needed to commit and {available} are free")]
    NoSpace {
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// A step failed; what was done before it was put back.
    #[error("E_COMMIT: {what} `{}`: {source}", Escaped(path))]
    Step {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: Vec<u8>,
        /// The system's reason.
        source: io::Error,
    },
    /// What was there before a commit could not be copied beside where it goes: nothing was taken back.
    #[error("E_COMMIT: cannot put what was there before below `{}`: {source}", Escaped(path))]
    NotUndone {
        /// The folder.
        path: Vec<u8>,
        /// The system's reason.
        source: io::Error,
    },
    /// An undo stopped; the next goes on with it.
    #[error("E_COMMIT: cannot undo `{}`: {source}", Escaped(path))]
    Undo {
        /// The run's folder.
        path: Vec<u8>,
        /// The system's reason.
        source: io::Error,
    },
    /// The journal of a commit cannot be read, so what a crash left cannot be told.
    #[error("E_COMMIT_JOURNAL: `{path}` cannot be used: {what}")]
    Journal {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A restore of the run began and could not be finished: what waits is of no one moment.
    #[error("E_HALF_RESTORED: the run is half way back to a checkpoint")]
    HalfRestored,
    /// There is no commit of this run that could be taken back.
    #[error("E_NOTHING_TO_UNDO: the run has no commit that can be taken back")]
    NothingToUndo,
    /// No commit that could be taken back brought the path.
    #[error("E_NOT_COMMITTED: no commit that could be taken back brought `{}`", Escaped(path))]
    NotCommitted {
        /// The path.
        path: Vec<u8>,
    },
    /// The paths to take back are of different commits.
    #[error("E_SEVERAL_COMMITS: not all of these paths were brought by one commit")]
    SeveralCommits,
    /// A path cannot be taken back without the directory that it came or went with.
    #[error("E_CAME_WITH: `{}` came or went with `{}`", Escaped(path), Escaped(with))]
    CameWith {
        /// The path.
        path: Vec<u8>,
        /// The directory.
        with: Vec<u8>,
    },
    /// It was called off, and taken back.
    #[error("E_INTERRUPTED: the commit was interrupted and taken back")]
    CalledOff,
    /// A fault that a test asked for: the state is what a crash leaves.
    #[error("E_INTERRUPTED: stopped where a crash was asked for")]
    Interrupted,
}
