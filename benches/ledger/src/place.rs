//! Where the bench writes.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use rustix::fs::statfs;
use tempfile::TempDir;

use crate::failure::{Failure, system};

/// A temporary folder on a disk.
pub struct Place {
    folder: TempDir,
    parent: PathBuf,
    kind: &'static str,
}

impl Place {
    /// Makes a folder in `parent`, or where the state folder is.
    pub fn take(parent: Option<&Path>) -> Result<Self, Failure> {
        let parent = parent.map(Path::to_path_buf).or_else(state).unwrap_or_else(|| ".".into());
        let kind = kind(&parent)?;
        if IN_MEMORY.contains(&kind) {
            return Err(Failure::InMemory { folder: parent, kind });
        }
        let folder = tempfile::Builder::new().prefix("bench-ledger-").tempdir_in(&parent);
        Ok(Self { folder: folder.map_err(system("make a folder"))?, parent, kind })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.kind, self.parent.display())
    }
}

/// The nearest folder that exists on the way to the state folder.
fn state() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = || variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    let state = variable("VANTIO_STATE").or_else(usual)?;
    state.ancestors().find(|folder| folder.is_dir()).map(Path::to_path_buf)
}

const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Whether syncing costs nothing in `folder`.
pub fn is_in_memory(folder: &Path) -> Result<bool, Failure> {
    Ok(IN_MEMORY.contains(&kind(folder)?))
}

/// The kind of the file system at `folder` (statfs(2)).
fn kind(folder: &Path) -> Result<&'static str, Failure> {
    let found = statfs(folder).map_err(|error| system("look at the file system")(error.into()))?;
    Ok(match found.f_type {
        0x0102_1994 => IN_MEMORY[0],
        0x8584_58f6 => IN_MEMORY[1],
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0x794c_7630 => "overlay",
        0x6573_5546 => "fuse",
        _ => "another file system",
    })
}
