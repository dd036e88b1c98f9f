//! Dropping what a run left.

use std::{fs, os::fd::OwnedFd};

use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{
        AtFlags, CWD, Dir, FileType, IFlags, Mode, OFlags, RenameFlags, chmodat, fchmod, ioctl_getflags,
        ioctl_setflags, openat, renameat_with, unlinkat,
    },
    io::Errno,
};
use std::io;

use super::{
    CommitError,
    depot::UNDO_FOLDER,
    finish,
    journal::{JOURNAL_FILE, Record},
    undo::UNDOING_FILE,
};
use crate::changes::RunFolder;

/// Erases every copy of content that `run` left and has not committed: its
/// layers, its `/tmp`, its base journal. The folder keeps its record
/// (`run.json`) and what its commits displaced, so that they can be undone.
///
/// Discarding a discarded run does nothing. The run must have ended, and a
/// commit that a crash cut off must have been [recovered](super::recover).
pub fn discard(run: &RunFolder) -> Result<(), CommitError> {
    let _lock = hold(run)?;
    erase(run).map_err(|source| failed(run, source))
}

/// Erases the folder of `run`, its record and what its commits displaced with it: none of them can be undone any more.
///
/// The run must be as for [`discard`].
pub fn forget(run: &RunFolder) -> Result<(), CommitError> {
    let _lock = hold(run)?;
    erase(run).and_then(|()| remove(run)).map_err(|source| failed(run, source))
}

/// Keeps commits out, and makes sure that none was cut off.
fn hold(run: &RunFolder) -> Result<fs::File, CommitError> {
    let lock = finish::lock(run.path().parent().unwrap_or(run.path()))?;
    let [journal, undoing] = [JOURNAL_FILE, UNDOING_FILE].map(|file| run.path().join(file));
    // A journal without a whole first line says that nothing was begun.
    let was_begun = Record::read(&journal)?.is_some().then_some(&journal);
    if let Some(path) = was_begun.or(undoing.exists().then_some(&undoing)) {
        let what = "a commit was cut off and must be recovered first".into();
        return Err(CommitError::Journal { path: path.display().to_string(), what });
    }
    Ok(lock)
}

fn failed(run: &RunFolder, source: io::Error) -> CommitError {
    let path = run.path().as_os_str().as_encoded_bytes().to_vec();
    CommitError::Step { what: "cannot erase", path, source }
}

/// Removes what a discarded run keeps.
fn remove(run: &RunFolder) -> io::Result<()> {
    // In one step there is no commit left to undo: half of what it displaced must not come back.
    match fs::rename(run.path().join(UNDO_FOLDER), run.path().join("undone")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => erase(run)?,
    }
    // Last, so that a run of which something is left has a record.
    fs::remove_file(run.path().join(RECORD_FILE))?;
    fs::remove_dir(run.path())
}

fn erase(run: &RunFolder) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, run.path(), flags, Mode::empty())?;
    // First what says that there is something to commit, so that a discard
    // that is cut off is still a discard.
    remove_tree(folder.as_fd(), crate::changes::LAYERS_FILE.as_bytes())?;
    for entry in fs::read_dir(run.path())? {
        let name = entry?.file_name();
        if !KEPT.iter().any(|kept| name == *kept) {
            remove_tree(folder.as_fd(), name.as_encoded_bytes())?;
        }
    }
    Ok(())
}

/// Removes `name` from `parent` with all below it. Permissions, flags and any
/// depth are no obstacle: subdirectories are first moved to the top.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match unlink(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open_loosened(parent, name)?;
    let mut counter = 0_u64;
    let mut lifted = Vec::new();
    empty(&top, &top, &mut counter, &mut lifted)?;
    while let Some(child) = lifted.pop() {
        let dir = open_loosened(top.as_fd(), child.as_bytes())?;
        empty(&dir, &top, &mut counter, &mut lifted)?;
        unlink(top.as_fd(), child.as_bytes(), AtFlags::REMOVEDIR)?;
    }
    Ok(unlink(parent, name, AtFlags::REMOVEDIR)?)
}

/// Removes the files of `dir` and moves its directories to `top`.
fn empty(dir: &OwnedFd, top: &OwnedFd, counter: &mut u64, lifted: &mut Vec<String>) -> io::Result<()> {
    let entries = Dir::read_from(dir)?.collect::<Result<Vec<_>, _>>()?;
    for entry in entries {
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => unlink(dir.as_fd(), name, AtFlags::empty()) == Err(Errno::ISDIR),
            _ => false,
        };
        if is_dir {
            lifted.push(lift(dir, name, top, counter)?);
        } else {
            match unlink(dir.as_fd(), name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn lift(dir: &OwnedFd, name: &[u8], top: &OwnedFd, counter: &mut u64) -> io::Result<String> {
    // Moving a directory changes its `..`, which needs permission on it.
    drop(open_loosened(dir.as_fd(), name)?);
    loop {
        let lifted = format!(".{counter}");
        *counter += 1;
        match renameat_with(dir, name, top, &lifted, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(lifted),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn open_loosened(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(parent, name, flags, Mode::empty());
    let dir = match open() {
        Err(Errno::ACCESS) => {
            chmodat(parent, name, Mode::from_raw_mode(0o700), AtFlags::empty())?;
            open()?
        }
        other => other?,
    };
    clear_flags(dir.as_fd());
    fchmod(&dir, Mode::from_raw_mode(0o700))?;
    Ok(dir)
}

fn unlink(parent: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    match unlinkat(parent, name, flags) {
        Err(Errno::PERM) => {}
        other => return other,
    }
    // An immutable or append-only file.
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    clear_flags(parent);
    clear_flags(openat(parent, name, read, Mode::empty())?.as_fd());
    unlinkat(parent, name, flags)
}

/// Makes a file removable as far as this process may; the removal that
/// follows tells whether it was enough.
fn clear_flags(file: BorrowedFd<'_>) {
    let stuck = IFlags::IMMUTABLE | IFlags::APPEND;
    if let Ok(flags) = ioctl_getflags(file)
        && flags.intersects(stuck)
    {
        let _ = ioctl_setflags(file, flags - stuck);
    }
}

/// What a run keeps when what it changed is gone.
const KEPT: [&str; 2] = [RECORD_FILE, UNDO_FOLDER];
const RECORD_FILE: &str = "run.json";
