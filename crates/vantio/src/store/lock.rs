//! The lock of a run: an advisory lock on a file that exists while it matters.
//!
//! The open file is shared with the supervisor that this process forks, so the lock
//! holds until both are gone. A file without a lock is what a crash leaves behind.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, OFlags, flock, fstat, open, stat, unlink},
    io::Errno,
};

use super::{PRIVATE, StoreError, error};

/// A lock that this process holds.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: OwnedFd,
    was_left: bool,
}

impl Lock {
    /// Takes the lock; `None` when another process has it.
    pub fn take(path: &Path) -> Result<Option<Self>, StoreError> {
        let failed = |cause: Errno| error::folder(path, cause);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let (file, was_left) = match open(path, flags | OFlags::EXCL, PRIVATE) {
                Err(Errno::EXIST) => (open(path, flags, PRIVATE).map_err(failed)?, true),
                other => (other.map_err(failed)?, false),
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                other => other.map_err(failed)?,
            }
            // Another process may have removed the file between the open and the lock.
            let held = fstat(&file).map_err(failed)?;
            match stat(path) {
                Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => {
                    return Ok(Some(Self { path: path.to_owned(), _file: file, was_left }));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
    }

    /// Whether another process has the lock at this moment.
    pub fn is_held(path: &Path) -> Result<bool, StoreError> {
        let file = match open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, PRIVATE) {
            Err(Errno::NOENT) => return Ok(false),
            other => other.map_err(|cause| error::folder(path, cause))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => Ok(true),
            other => other.map(|()| false).map_err(|cause| error::folder(path, cause)),
        }
    }

    /// Whether whoever had it before died with it.
    pub const fn was_left(&self) -> bool {
        self.was_left
    }

    /// Gives the lock up and removes the file.
    pub fn remove(self) -> Result<(), StoreError> {
        match unlink(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(cause) => Err(error::folder(&self.path, cause)),
        }
    }
}
