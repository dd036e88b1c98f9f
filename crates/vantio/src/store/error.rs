//! Why the state folder cannot be used.

use std::{
    io,
    path::{Path, PathBuf},
};

use vantio_core::RunId;

use crate::{
    failure::Failure,
    nested,
    present::{shown, shown_path},
};

/// Why the state folder, or a run in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No variable names a place for it.
    #[error("there is no place for the state folder")]
    NoPlace,
    /// `--store` names neither a server nor a file.
    #[error("--store and VANTIO_STORE take the address of a server, or a file")]
    NoStore,
    /// The file system refused.
    #[error("the state folder cannot be used: `{}`", shown_path(.path))]
    Folder {
        /// What was opened, created or written.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Somebody else owns it.
    #[error("the state folder `{}` belongs to another user (uid {owner})", shown_path(.path))]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Others may write in it.
    #[error("others may write in the state folder `{}` (mode {mode:04o})", shown_path(.path))]
    Writable {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No run has this id.
    #[error("no run is called `{}`", shown(.reference))]
    Unknown {
        /// What was asked for.
        reference: String,
    },
    /// There is no run at all.
    #[error("there is no run yet")]
    NoRuns,
    /// Several runs begin so.
    #[error("{} runs begin with `{}`", .candidates.len(), shown(.reference))]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// What it may mean, newest first.
        candidates: Vec<RunId>,
    },
    /// It lives, or another command holds it.
    #[error("run {id} is in use")]
    Busy {
        /// The run.
        id: RunId,
    },
    /// Another version of Vantio wrote the record.
    #[error("run {id} was recorded in format {found}; this version of Vantio reads format {supported}")]
    Version {
        /// The run.
        id: RunId,
        /// The format of the file.
        found: u64,
        /// What this version reads.
        supported: u64,
    },
    /// The record is not what was written.
    #[error("the record of run {id} is damaged")]
    Damaged {
        /// The run.
        id: RunId,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// The file system refused at `path`.
pub fn folder(path: &Path, cause: impl Into<io::Error>) -> StoreError {
    StoreError::Folder { path: path.to_owned(), cause: cause.into() }
}

impl StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoPlace => "E_STATE_PLACE",
            Self::NoStore => "E_STORE",
            Self::Folder { .. } => "E_STATE_FOLDER",
            Self::Owner { .. } | Self::Writable { .. } => "E_STATE_UNSAFE",
            Self::Unknown { .. } => "E_RUN_UNKNOWN",
            Self::NoRuns => "E_RUN_NONE",
            Self::Ambiguous { .. } => "E_RUN_AMBIGUOUS",
            Self::Busy { .. } => "E_RUN_BUSY",
            Self::Version { .. } => "E_RUN_VERSION",
            Self::Damaged { .. } => "E_RUN_DAMAGED",
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        if let (Self::NoRuns | Self::Unknown { .. }, Some(inside)) = (self, nested::said_inside()) {
            return inside;
        }
        if let (Self::Folder { cause, .. }, Some(inside)) = (self, nested::said_inside())
            && !is_full(cause)
        {
            return format!("{inside}: type this outside of it");
        }
        match self {
            Self::NoPlace => "set VANTIO_STATE to a folder of yours, or set HOME".into(),
            Self::NoStore => "write postgres://USER@HOST/DATABASE, or the path of an archive; to keep all of the state elsewhere, set VANTIO_STATE".into(),
            Self::Folder { path, cause } => match cause.kind() {
                _ if is_full(cause) => {
                    format!("free space on the file system of {}, or set VANTIO_STATE to a folder elsewhere", shown_path(path))
                }
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                    "Vantio keeps runs and the ledger there; make it writable, or set VANTIO_STATE to a folder that is".into()
                }
                _ => "set VANTIO_STATE to a folder of yours".into(),
            },
            Self::Owner { .. } => "set VANTIO_STATE to a folder of yours; under sudo, to one of root".into(),
            Self::Writable { .. } => {
                "set VANTIO_STATE to a folder that is yours alone; it is made if it does not exist".into()
            }
            Self::Unknown { .. } => "`vantio ps --all` lists every run".into(),
            Self::Damaged { id, .. } => format!("what it changed cannot be told any more; drop it: vantio discard {id}"),
            Self::NoRuns => "start one: vantio run -- CMD".into(),
            Self::Ambiguous { candidates, .. } => {
                let lines: Vec<String> = candidates.iter().take(8).map(|id| format!("  {id}")).collect();
                let more = if candidates.len() > lines.len() { "\n  …" } else { "" };
                format!("type more of one of these:\n{}{more}", lines.join("\n"))
            }
            Self::Busy { id } => format!("it still lives, or another command works on it: wait, or end it with `vantio kill {id}` if `vantio ps` has it live"),
            Self::Version { .. } => "use the version of Vantio that made the run".into(),
        }
    }
}

fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = match &error {
            StoreError::NoStore
            | StoreError::Unknown { .. }
            | StoreError::NoRuns
            | StoreError::Ambiguous { .. } => Self::misuse(error.code(), &error),
            _ => Self::new(error.code(), &error),
        };
        let failure = failure.help(error.advice());
        match error {
            StoreError::Folder { cause, .. } => failure.because(cause),
            StoreError::Damaged { cause, .. } => failure.because(cause),
            _ => failure,
        }
    }
}
