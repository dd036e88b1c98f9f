//! Asking the kernel whether a file is open for writing.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::io::{self, Errno};

use super::memory::last_error;

/// As [`is_written`], of a file of the `owner`'s: nobody else is told, so the thread acts as that one meanwhile.
pub(crate) fn is_written_of(fd: &OwnedFd, owner: u32) -> io::Result<bool> {
    let me = rustix::process::geteuid().as_raw();
    set_file_user(owner);
    let result = is_written(fd);
    set_file_user(me);
    result
}

/// Whether anybody has the regular file that `fd` has open for reading open for writing. A descriptor serves for one
/// question: a lease that is granted ends with it. Where somebody opens the file for writing in between,
/// `SIGIO` comes, which [`ignore_breaks`] has made harmless.
pub(crate) fn is_written(fd: &OwnedFd) -> io::Result<bool> {
    // SAFETY: plain integers.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } < 0 {
        return match last_error() {
            Errno::AGAIN => Ok(true),
            other => Err(other),
        };
    }
    Ok(false)
}

/// Has this process live on when a lease is broken.
pub(crate) fn ignore_breaks() {
    // SAFETY: SIG_IGN is a valid disposition.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

/// This thread alone acts on files as `user`; that it may not shows in what it then cannot do.
fn set_file_user(user: u32) {
    // SAFETY: a plain integer; the raw call changes this thread alone.
    unsafe { libc::syscall(libc::SYS_setfsuid, user) };
}
