//! Files of `/proc`, read whole (`proc(5)`).

use std::os::fd::AsFd;

use rustix::{
    buffer::spare_capacity,
    fs::{Mode, OFlags, openat},
    io::{self, read, retry_on_intr},
};

/// The file `name` below `folder`.
pub(crate) fn bytes(folder: impl AsFd, name: &str) -> io::Result<Vec<u8>> {
    let file = openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // Most are read at once: a call more for every line that is looked for would be felt.
    let mut bytes = Vec::with_capacity(4096);
    while retry_on_intr(|| read(&file, spare_capacity(&mut bytes)))? > 0 {
        bytes.reserve(1024);
    }
    Ok(bytes)
}

/// The same as text. What a program chose, its name or that of a file, may be none.
pub(crate) fn text(folder: impl AsFd, name: &str) -> io::Result<String> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(String::from_utf8(bytes(folder, name)?).unwrap_or_else(|error| lossy(error.as_bytes())))
}

/// Signals that wait for a process, by its `status`, and that it has to handle: it does not block them, and they do more
/// than nothing. Of one that is traced, those wait too that the kernel else forgets.
pub(crate) fn signals_to_handle(status: &str) -> u64 {
    let mask = |key| signals(status, key);
    let do_nothing = mask("SigIgn:") | IGNORED_BY_DEFAULT & !mask("SigCgt:");
    (mask("SigPnd:") | mask("ShdPnd:")) & !mask("SigBlk:") & !do_nothing
}

/// Signals that wait for a process, by its `status`, and that ask it to end, whether or not it blocks them.
pub(crate) fn signals_to_end(status: &str) -> u64 {
    let waiting = signals(status, "SigPnd:") | signals(status, "ShdPnd:");
    waiting & ENDING & !signals(status, "SigIgn:")
}

/// The signals of a line of a process's `status`.
pub(crate) fn signals(status: &str, key: &str) -> u64 {
    let field = status.lines().find_map(|line| line.strip_prefix(key));
    field.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
}

/// A signal among others.
pub(crate) const fn mask(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// What whoever started a run ends it with.
const ENDING: u64 = mask(libc::SIGHUP) | mask(libc::SIGINT) | mask(libc::SIGQUIT) | mask(libc::SIGTERM);
/// By `signal(7)`.
const IGNORED_BY_DEFAULT: u64 =
    mask(libc::SIGCHLD) | mask(libc::SIGCONT) | mask(libc::SIGURG) | mask(libc::SIGWINCH);
