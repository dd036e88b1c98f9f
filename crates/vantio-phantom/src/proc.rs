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
