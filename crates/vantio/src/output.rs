//! Files that a command writes: whole or not at all.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::{failure::Failure, present::shown_path};

/// Hands a temporary file to `write`, and moves it to `path` once it is on disk; a symbolic link stays one. What is no
/// regular file, a terminal or a pipe, is written to as it is.
pub fn replace<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.into());
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut writer = BufWriter::new(fs::OpenOptions::new().write(true).open(path)?);
        let result = write(&mut writer)?;
        writer.flush()?;
        return Ok(result);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_pipes_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| folder.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let write = |path: &Path| replace(path, |writer| writer.write_all(b"new")).unwrap();
        write(&link);
        assert_eq!(
            (fs::read_link(&link).unwrap().as_path(), &fs::read(&file).unwrap()[..]),
            (Path::new("file"), &b"new"[..])
        );
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write(&pipe);
        assert_eq!(reader.join().unwrap(), b"new");
        assert!(!fs::metadata(&pipe).unwrap().is_file());
    }
}
