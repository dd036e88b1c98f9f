//! How much a run's changes take on disk.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, openat},
    io::{self, Errno},
};

use crate::changes::{
    beneath::{Pinned, is_absent, join, stat_at},
    names_in,
};

/// The room that a run has for its changes.
#[derive(Debug)]
pub(crate) struct Disk {
    limit: Option<u64>,
    folders: Vec<PathBuf>,
    is_full: AtomicBool,
}

impl Disk {
    pub(super) fn new(limit: Option<u64>, folders: Vec<PathBuf>) -> Self {
        Self { limit, folders, is_full: AtomicBool::new(false) }
    }

    /// `ENOSPC` when there is no room for more.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) { Err(Errno::NOSPC) } else { Ok(()) }
    }

    /// Looks how much is taken. Whether there is still room, and whether what is open already took far more.
    pub(super) fn look(&self) -> Room {
        let Some(limit) = self.limit else { return Room::Left };
        // Of what cannot be looked at there may be any amount: a run can make a tree that needs more descriptors to
        // look at than there are.
        let Some(used) = self.used() else { return Room::Overrun };
        let is_full = used > limit;
        let was_full = self.is_full.swap(is_full, Ordering::Relaxed);
        match (is_full, was_full) {
            _ if used > limit.saturating_add((limit / 10).max(SLACK)) => Room::Overrun,
            (true, false) => Room::JustFull,
            _ => Room::Left,
        }
    }

    /// Bytes that are taken; `None` where that cannot be told, which may be so once by chance.
    fn used(&self) -> Option<u64> {
        used(&self.folders).ok().or_else(|| {
            thread::sleep(BEFORE_AGAIN);
            used(&self.folders).ok()
        })
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is some, or it was seen before that there is none.
    Left,
    /// There is none any more.
    JustFull,
    /// What was open already goes on taking more, or nobody can tell.
    Overrun,
}

/// Bytes that folders of one file system take with everything below, each file once.
fn used(folders: &[PathBuf]) -> std::io::Result<u64> {
    let mut linked = HashSet::new();
    folders.iter().try_fold(0_u64, |sum, folder| Ok(sum.saturating_add(used_by(folder, &mut linked)?)))
}

/// The same of one; `linked` has the inodes with several links that were counted.
fn used_by(folder: &Path, linked: &mut HashSet<u64>) -> std::io::Result<u64> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match openat(CWD, folder, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(0),
        other => Rc::new(Pinned::adopt(other?)?),
    };
    // Folders to look at, by paths from one that is open: however many there are, few are open at a time.
    let (mut pending, mut total) = (vec![(top, Vec::new())], 0_u64);
    while let Some((above, path)) = pending.pop() {
        let mut look = || {
            let directory = above.at(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            list(&directory, linked).map(|found| (directory, found))
        };
        let (directory, (size, folders)) = match look() {
            // It was removed meanwhile.
            Err(error) if is_absent(&error) => continue,
            other => other?,
        };
        total = total.saturating_add(size);
        let (above, path) = if path.len() > LONGEST {
            (Rc::new(Pinned::adopt(directory)?), Vec::new())
        } else {
            (above, path)
        };
        pending.extend(folders.iter().map(|name| (Rc::clone(&above), join(&path, name))));
    }
    Ok(total)
}

/// What is in one directory, and the names of those in it.
fn list(directory: &OwnedFd, linked: &mut HashSet<u64>) -> std::io::Result<(u64, Vec<Vec<u8>>)> {
    let (mut total, mut folders) = (0_u64, Vec::new());
    for name in names_in(directory)? {
        let Some(data) = stat_at(directory.as_fd(), &name)? else { continue };
        let is_folder = FileType::from_raw_mode(data.stx_mode.into()) == FileType::Directory;
        if is_folder || data.stx_nlink < 2 || linked.insert(data.stx_ino) {
            total = total.saturating_add(data.stx_blocks.saturating_mul(512));
        }
        if is_folder {
            folders.push(name);
        }
    }
    Ok((total, folders))
}

/// Longer paths are begun anew, from the folder at their end: the kernel takes none of more than 4,095 bytes.
const LONGEST: usize = 2048;
/// Between a look that failed and the next.
const BEFORE_AGAIN: Duration = Duration::from_millis(100);
/// How far what is open already may go on, at least.
const SLACK: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn what_lies_deep_is_counted() {
        let top = tempfile::tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut last = openat(CWD, top.path(), flags, Mode::empty()).unwrap();
        let name = "d".repeat(200);
        for _ in 0..60 {
            mkdirat(&last, &*name, Mode::RWXU).unwrap();
            last = openat(&last, &*name, flags, Mode::empty()).unwrap();
        }
        let folders = [top.path().to_owned()];
        let before = used(&folders).unwrap();
        let file = openat(&last, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        rustix::io::write(&file, &vec![1; 100_000]).unwrap();
        rustix::fs::fsync(&file).unwrap();
        assert!(used(&folders).unwrap() >= before + 100_000);
        assert_eq!(used(&[top.path().join("none")]).unwrap(), 0);
    }
}
