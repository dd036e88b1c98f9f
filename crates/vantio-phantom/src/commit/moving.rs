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
    let lent: Vec<_> = [from, to].into_iter().filter_map(lend).collect();
    let result = attempt();
    for (directory, mode) in lent {
        chmod(magic(directory.as_fd()), Mode::from_raw_mode(mode))?;
    }
    Ok(result?)
}

/// Makes a directory writable for its owner, and says what its mode was.
fn lend((parent, name): Entry<'_>) -> Option<(OwnedFd, u32)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty()).ok()?;
    let mode = Node::of_stat(&stat_fd(directory.as_fd()).ok()?).mode;
    let is_lent =
        mode & 0o200 == 0 && chmod(magic(directory.as_fd()), Mode::from_raw_mode(mode | 0o200)).is_ok();
    is_lent.then_some((directory, mode))
}
