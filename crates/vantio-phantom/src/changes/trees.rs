//! Changes as two folders, `before` and `after`, to be compared with any tool.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::BorrowedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
        },
    },
    path::{Path, PathBuf},
};

use super::{
    ChangeKind, ChangeSet, FileType, Node, RunFolder, ScanError, copy_content, scan::open_layers,
    sides::Sides,
};

impl ChangeSet {
    /// Writes what the host has of the changes to `before` and what the run
    /// left to `after`, both below `folder`, each at its path from the root.
    /// They are the caller's alone; nothing that is there already is
    /// overwritten. Returns the paths that such a folder
    /// cannot hold: pipes, sockets, devices, what cannot be read, and renamed
    /// directories, of which only what changed in them is there.
    pub fn write_trees(
        &self,
        run: &RunFolder,
        host_root: BorrowedFd<'_>,
        folder: &Path,
    ) -> Result<Vec<Vec<u8>>, ScanError> {
        let failed = |path: &[u8]| {
            let path = path.to_vec();
            move |source| ScanError::Read { path, source }
        };
        let layers = open_layers(run, host_root)?;
        let sides = Sides::new(&layers, host_root).map_err(failed(b"/"))?;
        for side in ["before", "after"] {
            let place = folder.join(side);
            fs::create_dir_all(&place).map_err(|source| ScanError::Write { path: place, source })?;
        }
        let mut left = Vec::new();
        for change in self.changes() {
            let mut is_whole = change.kind != ChangeKind::Renamed;
            if let Some(node) = &change.before {
                let open = || sides.host_file(change.host_path(), node);
                let put = put(&folder.join("before"), change.host_path(), node, open);
                is_whole &= put.map_err(PutError::of(change.host_path()))?;
            }
            if let Some(node) = &change.after {
                let open = || sides.run_file(change, node);
                let put = put(&folder.join("after"), &change.path, node, open);
                is_whole &= put.map_err(PutError::of(&change.path))?;
            }
            if !is_whole {
                left.push(change.path.clone());
            }
        }
        Ok(left)
    }
}

/// Why an entry was not written.
enum PutError {
    Read(io::Error),
    Write(PathBuf, io::Error),
}

impl PutError {
    /// The same, of a change at `path`.
    fn of(path: &[u8]) -> impl FnOnce(Self) -> ScanError {
        move |error| match error {
            Self::Read(source) => ScanError::Read { path: path.to_vec(), source },
            Self::Write(path, source) => ScanError::Write { path, source },
        }
    }
}

/// Writes one entry; false for what cannot be written or read.
fn put(
    tree: &Path,
    path: &[u8],
    node: &Node,
    open: impl FnOnce() -> io::Result<File>,
) -> Result<bool, PutError> {
    let place = place(tree, path);
    let unwritten = |source| PutError::Write(place.clone(), source);
    if node.is_dir() {
        return directory(&place).map(|()| true).map_err(unwritten);
    }
    directory(place.parent().unwrap_or(tree)).map_err(unwritten)?;
    match (node.file_type, &node.target) {
        (FileType::Symlink, Some(target)) => {
            symlink(std::ffi::OsStr::from_bytes(target), &place).map_err(unwritten)?;
        }
        (FileType::File, _) => {
            let from = match open() {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
                other => other.map_err(PutError::Read)?,
            };
            let mut options = OpenOptions::new();
            let to = options.write(true).create_new(true).mode(node.mode & 0o700 | 0o600).open(&place);
            copy_content(&from, &to.map_err(unwritten)?).map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    unwritten(error)
                }
                _ => PutError::Read(error),
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn place(tree: &Path, path: &[u8]) -> PathBuf {
    tree.join(std::ffi::OsStr::from_bytes(super::beneath::below_root(path)))
}

fn directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error)
            if error.kind() == io::ErrorKind::AlreadyExists && fs::symlink_metadata(path)?.is_dir() =>
        {
            Ok(())
        }
        other => other,
    }
}
