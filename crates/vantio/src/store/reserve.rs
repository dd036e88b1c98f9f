//! Room that is kept so that a full disk can be emptied: a discard is written down before anything is erased.

use std::{fs, os::fd::AsFd as _, path::Path};

use rustix::fs::{FallocateFlags, fallocate};

use super::folder;

/// Keeps it, where there is room; a run that starts without it is no worse off than one that fills it.
pub fn keep(root: &Path) {
    let file = root.join(NAME);
    if file.exists() {
        return;
    }
    let Ok(kept) = folder::create_file(&file) else { return };
    if fallocate(kept.as_fd(), FallocateFlags::empty(), 0, SIZE).is_err() {
        spend(root);
    }
}

/// Gives it back to the file system.
pub fn spend(root: &Path) {
    // There may be none.
    drop(fs::remove_file(root.join(NAME)));
}

const NAME: &str = "reserve";
/// More than a few entries of the ledger take, with the files that it works with.
const SIZE: u64 = 512 * 1024;
