//! The standard streams that a run is started with.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use crate::LaunchError;

/// A directory as a standard stream would be a way to the host's own files, past every layer.
pub(super) fn check() -> Result<(), LaunchError> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let streams = [("input", stdin.as_fd()), ("output", stdout.as_fd()), ("error", stderr.as_fd())];
    match streams.into_iter().find(|(_, stream)| leads_to_files(*stream)) {
        None => Ok(()),
        Some((name, _)) => Err(LaunchError {
            code: "E_STREAM".into(),
            what: format!("standard {name} cannot be given to a run"),
            cause: io::Error::from_raw_os_error(libc::EISDIR),
            help: "redirect it from a file, a pipe or /dev/null".into(),
        }),
    }
}

fn leads_to_files(stream: BorrowedFd<'_>) -> bool {
    let is_directory =
        fstat(stream).is_ok_and(|data| FileType::from_raw_mode(data.st_mode) == FileType::Directory);
    is_directory || fcntl_getfl(stream).is_ok_and(|flags| flags.contains(OFlags::PATH))
}
