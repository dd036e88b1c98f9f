//! What a restore takes out of the layers. To erase it takes long, and can wait.

use std::{
    cell::Cell,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with},
    io::Errno,
};

use super::shelf::remove;
use crate::commit::discard::remove_tree;

/// A folder beside the checkpoints.
pub(super) struct Trash {
    folder: OwnedFd,
    count: Cell<u64>,
}

impl Trash {
    /// Opens the one in `shelf`, the folder of the checkpoints.
    pub(super) fn open(shelf: &Path) -> io::Result<Self> {
        let path = shelf.join(TRASH);
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true).create(&path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { folder: openat(CWD, &path, flags, Mode::empty())?, count: Cell::new(0) })
    }

    /// Takes the entry `name` of `directory`, with all that is in it. That nothing is there is fine.
    pub(super) fn take(&self, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        loop {
            let number = self.count.get();
            self.count.set(number + 1);
            let taken = format!("{number}");
            match renameat_with(directory, name, self.folder.as_fd(), taken, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // From before a crash.
                Err(Errno::EXIST) => {}
                // A directory that its owner may not write in cannot move.
                Err(_) => return remove_tree(directory, name),
            }
        }
    }
}

/// Erases what restores have taken out. `shelf` is the folder of the checkpoints.
pub(super) fn erase(shelf: &Path) -> io::Result<()> {
    match fs::symlink_metadata(shelf.join(TRASH)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => remove(shelf, TRASH),
    }
}

const TRASH: &str = ".dropped";
