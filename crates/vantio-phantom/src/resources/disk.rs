//! How much a run's changes take on disk.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat},
    io::{self, Errno},
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
        let used = self.folders.iter().map(|folder| used(folder)).fold(0, u64::saturating_add);
        let is_full = used > limit;
        let was_full = self.is_full.swap(is_full, Ordering::Relaxed);
        match (is_full, was_full) {
            _ if used > limit.saturating_add((limit / 10).max(SLACK)) => Room::Overrun,
            (true, false) => Room::JustFull,
            _ => Room::Left,
        }
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is some, or it was seen before that there is none.
    Left,
    /// There is none any more.
    JustFull,
    /// What was open already goes on taking more.
    Overrun,
}

/// Bytes that a folder takes with everything below; a file with several links counts for each.
fn used(folder: &std::path::Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(top) = openat(CWD, folder, flags, Mode::empty()) else { return 0 };
    let (mut pending, mut total) = (vec![top], 0_u64);
    while let Some(directory) = pending.pop() {
        total = total.saturating_add(list(&directory, &mut pending));
    }
    total
}

/// Adds what is in one directory, and opens those below it.
fn list(directory: &OwnedFd, pending: &mut Vec<OwnedFd>) -> u64 {
    let Ok(entries) = Dir::read_from(directory) else { return 0 };
    let mut total = 0_u64;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(data) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        total = total.saturating_add(u64::try_from(data.st_blocks).unwrap_or(0).saturating_mul(512));
        if FileType::from_raw_mode(data.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            pending.extend(openat(directory, name, flags, Mode::empty()));
        }
    }
    total
}

/// How far what is open already may go on, at least.
const SLACK: u64 = 16 << 20;
