//! Renaming between host and depot.

use std::io;

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, RenameFlags, chmod, openat, renameat_with},
    io::Errno,
};

use crate::changes::{
    Node,
    beneath::{magic, stat_fd},
};

/// A name in an opened directory.
pub(super) type Entry<'a> = (BorrowedFd<'a>, &'a [u8]);

/// Renames or exchanges two entries.
///
/// Moving a directory to another parent needs write permission on the
/// directory itself; where its owner has none, it is lent for the moment.
pub(super) fn rename(from: Entry<'_>, to: Entry<'_>, flags: RenameFlags) -> io::Result<()> {
    let attempt = || renameat_with(from.0, from.1, to.0, to.1, flags);
    match attempt() {
        Err(Errno::ACCESS) if !rustix::process::geteuid().is_root() => {}
        other => return Ok(other?),
    }
    let lent = |(parent, name)| Lent::new(openat(parent, name, FOLDER, Mode::empty()).ok()?, 0o200);
    let _lent: Vec<_> = [from, to].into_iter().filter_map(lent).collect();
    Ok(attempt()?)
}

/// A directory in which its owner may do what its mode forbids, until this is dropped.
pub(super) struct Lent {
    directory: OwnedFd,
    mode: u32,
}

impl Lent {
    /// `None` where all that is `needed` is permitted already, or nobody may permit it.
    pub(super) fn new(directory: OwnedFd, needed: u32) -> Option<Self> {
        let mode = Node::of_stat(&stat_fd(directory.as_fd()).ok()?).mode;
        let is_lent = mode & needed != needed
            && !rustix::process::geteuid().is_root()
            && chmod(magic(directory.as_fd()), Mode::from_raw_mode(mode | needed)).is_ok();
        is_lent.then_some(Self { directory, mode })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = chmod(magic(self.directory.as_fd()), Mode::from_raw_mode(self.mode));
    }
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
