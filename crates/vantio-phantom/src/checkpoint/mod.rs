//! Checkpoints of a run: what its upper layers were at a moment, kept by what changed since.
//!
//! Taking one copies nothing but what may change without a further call: files that are open for writing. From then
//! on the supervisor, which performs every change of a name and opens every file, first saves what the layers
//! had ([`Keeper`]). [`restore`] walks these journals backwards. A checkpoint is a folder below
//! `checkpoints` in the run's: `info.json`, a journal, and slots with what was saved.

mod back;
mod keeper;
mod record;
mod restore;
mod segment;
mod shadow;
mod shelf;
mod touch;
mod trash;
mod undo;
mod upper;
mod writers;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::changes::RunFolderError;

pub(crate) use back::{Former, STEPS, Step, folder as steps_folder, read as read_steps};
pub use back::{forget, prepare};
pub(crate) use keeper::{Change, Keeper, Setup, Standing};
pub use restore::{Options, Restored, erase, is_restoring, recover, restore};
pub use shadow::Shadow;
pub use shelf::{drop_all, find, list, take_ended};
pub(crate) use upper::{Ground, NotesSource, notes};

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The format of its folder.
    version: u32,
    /// Its number within the run, from 1.
    pub id: u64,
    /// What its taker called it.
    pub label: Option<String>,
    /// Why it was taken.
    pub cause: Cause,
    /// When, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Files that were open for writing, and so were copied.
    pub copied: u64,
    /// Those of them that changed while they were copied: what was kept of one may be of no single moment.
    pub moving: u64,
    /// The last commit before it; 0 when there was none.
    #[serde(default)]
    commits: u64,
}

/// Why a checkpoint was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// A tool of the agent's was about to start.
    Exec,
    /// As many changes as the policy says were made.
    Writes,
    /// An action was approved.
    Approval,
}

impl Cause {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Exec => "exec",
            Self::Writes => "writes",
            Self::Approval => "approval",
        }
    }
}

/// When checkpoints are taken without being asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Automatic {
    /// Before each start of a program by the agent's first process.
    pub exec: bool,
    /// After so many changes.
    pub writes: Option<u64>,
}

/// Who takes the checkpoints of a run that lives.
pub trait Checkpoints: Send + Sync {
    /// Takes one.
    ///
    /// # Errors
    ///
    /// When the label is taken, or something could not be saved.
    fn take(&self, label: Option<&str>, cause: Cause) -> Result<Checkpoint, CheckpointError>;

    /// Takes one with the processes that the run has, where they can be kept.
    ///
    /// # Errors
    ///
    /// As [`Checkpoints::take`], and when the processes cannot be kept.
    fn take_whole(&self, label: Option<&str>) -> Result<Checkpoint, CheckpointError>;

    /// Makes what the next one will need, once nobody waits.
    fn lay_ahead(&self);

    /// The checkpoints whose processes are kept, ascending.
    fn kept(&self) -> Vec<u64>;

    /// Brings the run back to checkpoint `id` with its processes, while it lives. Once nothing moves `compare` is called,
    /// which has to [`prepare`] the steps; where it says that it did not, the run is ended.
    ///
    /// # Errors
    ///
    /// When it cannot be done: the run then goes on as it was, or is ended where something was done already.
    fn go_back(&self, id: u64, compare: &mut dyn FnMut() -> bool) -> Result<(), CheckpointError>;

    /// Calls `work` while no call changes a name of the run's or opens a file of it for writing.
    fn hold(&self, work: &mut dyn FnMut());
}

/// Why a checkpoint could not be taken or restored.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The run's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// No checkpoint is called so.
    #[error("E_CHECKPOINT_UNKNOWN: the run has no checkpoint `{reference}`")]
    Unknown {
        /// What was asked for.
        reference: String,
    },
    /// Another checkpoint has the label.
    #[error("E_CHECKPOINT_LABEL: checkpoint {id} is called `{label}` already")]
    LabelTaken {
        /// The label.
        label: String,
        /// Who has it.
        id: u64,
    },
    /// Another version of Vantio took it.
    #[error(
        "E_CHECKPOINT_VERSION: checkpoint {id} has version {found}; this version of Vantio reads {VERSION}"
    )]
    Version {
        /// Its number.
        id: u64,
        /// Its version.
        found: u32,
    },
    /// A commit came after it.
    #[error(
        "E_CHECKPOINT_COMMITTED: after checkpoint {id}, some of what the run changed was committed or taken back"
    )]
    Committed {
        /// Its number.
        id: u64,
    },
    /// Something that was kept is not there any more.
    #[error("E_CHECKPOINT_LOST: {what}")]
    Lost {
        /// What.
        what: String,
    },
    /// Processes cannot be kept, or brought back.
    #[error("E_CHECKPOINT_PROCESSES: {what}: {why}")]
    Processes {
        /// What cannot be done.
        what: &'static str,
        /// What stands in the way.
        why: String,
    },
    /// The file system refused.
    #[error("E_CHECKPOINT: cannot {what} `{path}`: {source}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A fault that a test asked for: the state is what a crash leaves.
    #[error("E_INTERRUPTED: stopped where a crash was asked for")]
    Interrupted,
}

impl CheckpointError {
    fn failed(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Failed { what, path: path.to_owned(), source: source.into() }
    }
}

/// The journal of a checkpoint as it is understood, written again; `None` where it is damaged. For tests.
#[doc(hidden)]
pub fn rewritten(journal: &[u8]) -> Option<Vec<u8>> {
    record::rewritten(journal)
}

/// In the run's folder: every checkpoint's folder, by number.
pub(crate) const CHECKPOINTS_FOLDER: &str = "checkpoints";
const INFO_FILE: &str = "info.json";
const VERSION: u32 = 1;

#[cfg(test)]
mod tests;
