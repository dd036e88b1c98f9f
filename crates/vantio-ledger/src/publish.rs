//! A log as files that any static web server can serve (C2SP tlog-tiles).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    LedgerError, Reader,
    note::{SignedNote, TreeHead},
    store::io_error,
    tree::{self, Bundle, BundleError, Tile, Tiles as _, TreeError, encode_bundle, encode_tile},
    whole::Unfinished,
};

/// The file that says how far the log goes.
const CHECKPOINT: &str = "checkpoint";

/// Why a log could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The ledger cannot be read, or the folder cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no checkpoint yet.
    #[error("there is no checkpoint to publish")]
    Nothing,
    /// The folder's log is not continued by this one.
    #[error("`{}` has another log: {reason}", folder.display())]
    Other {
        /// The folder.
        folder: PathBuf,
        /// Why it is another.
        reason: String,
    },
    /// The tree cannot be read.
    #[error("{0}")]
    Tree(#[from] TreeError<LedgerError>),
    /// An entry does not fit.
    #[error("{0}")]
    Bundle(#[from] BundleError),
}

impl PublishError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.code(),
            Self::Nothing => "E_LEDGER_UNCOVERED",
            Self::Other { .. } => "E_LEDGER_FORK",
            Self::Tree(error) => error.code(),
            Self::Bundle(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.help(),
            Self::Nothing => "`vantio ledger checkpoint` makes a checkpoint of all entries",
            Self::Other { .. } => {
                "publish to another folder, and keep this one: a published log is never replaced"
            }
            Self::Tree(error) => error.help(),
            Self::Bundle(error) => error.help(),
        }
    }
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The tree that the folder has now.
    pub head: TreeHead,
    /// How many files were written.
    pub files: u64,
}

impl Reader {
    /// Writes what `folder` lacks of the tree of the newest checkpoint: tiles, the entries without
    /// their details, and last of all the checkpoint. A folder of another log is left as it is.
    pub fn publish(&self, folder: &Path) -> Result<Published, PublishError> {
        let (note, head) = self.newest_head()?.ok_or(PublishError::Nothing)?;
        let old = self.published(folder, &head)?;
        let mut files = 0;
        for tile in Tile::added(old, head.size()) {
            let hashes = self.tile(tile)?;
            // A full tile serves in the place of a partial one.
            let hashes = hashes.get(..tile.width().into()).unwrap_or(&hashes);
            write(folder, &tile.to_string(), &encode_tile(hashes))?;
            files += 1;
        }
        for bundle in Bundle::added(old, head.size()) {
            let texts = self.texts(bundle.entries())?;
            write(folder, &bundle.to_string(), &encode_bundle(&texts)?)?;
            files += 1;
        }
        write(folder, CHECKPOINT, note.to_string().as_bytes())?;
        Ok(Published { head, files: files + 1 })
    }

    /// How many entries the folder has already, of this log.
    fn published(&self, folder: &Path, head: &TreeHead) -> Result<u64, PublishError> {
        let path = folder.join(CHECKPOINT);
        let other = |reason: String| PublishError::Other { folder: folder.into(), reason };
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            bytes => bytes.map_err(io_error("read", &path))?,
        };
        let note = SignedNote::from_bytes(&bytes).map_err(|error| other(error.to_string()))?;
        let old: TreeHead = note.text().parse().map_err(|error| other(format!("{error}")))?;
        if old.origin() != head.origin() {
            return Err(other(format!("its origin is `{}`", old.origin())));
        }
        if old.size() > head.size() {
            return Err(other(format!("it has {} entries, this one {}", old.size(), head.size())));
        }
        if tree::root(old.size(), self)? != old.root() {
            return Err(other(format!("its first {} entries are not those of this one", old.size())));
        }
        Ok(old.size())
    }
}

/// Writes a file that a web server reads, as somebody else perhaps.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(io_error("write", &path))?;
    let unfinished = Unfinished::at(&path)?;
    unfinished.write(bytes, 0o644)?;
    unfinished.name()
}
