//! Attributes of mounts.

use std::{
    ffi::CString,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::io::{self, Errno};

use super::memory::last_error;

/// Makes the mount at `path` and all below it read-only and without set-user-ID
/// (`mount_setattr(2)`).
pub(crate) fn set_read_only(directory: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    set_attributes(directory, path, ATTR_RDONLY | ATTR_NOSUID)
}

/// Lets nothing be executed from the mount at `path` and all below it, nor mapped to be.
pub(crate) fn set_unexecutable(directory: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    set_attributes(directory, path, ATTR_NOEXEC | ATTR_NOSUID)
}

fn set_attributes(directory: BorrowedFd<'_>, path: &Path, set: u64) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let attributes = Attributes { set, clear: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is NUL-terminated, and the struct is as long as the size passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const ATTR_RDONLY: u64 = 1;
const ATTR_NOSUID: u64 = 2;
const ATTR_NOEXEC: u64 = 8;
