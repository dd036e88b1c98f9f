//! Files that a command writes: whole or not at all.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::{failure::Failure, present::shown_path};

/// Hands a temporary file to `write`, and moves it to `path` once it is on disk.
pub fn replace<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    let mut writer = BufWriter::new(&mut temporary);
    let result = write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(result)
}

/// The failure of a file that cannot be written.
pub fn unwritable(path: &Path, cause: io::Error) -> Failure {
    Failure::new("E_OUTPUT", format!("`{}` cannot be written", shown_path(path)))
        .because(cause)
        .help("name a file in a folder that you may write in")
}
