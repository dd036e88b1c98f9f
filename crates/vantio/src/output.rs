//! Files that a command writes: whole or not at all.

use std::{
    fs::{self, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use tempfile::NamedTempFile;

use crate::{failure::Failure, present::shown_path};

/// Hands a temporary file to `write`, and moves it to `path` once it is on disk; a symbolic link stays one. What is no
/// regular file, a terminal or a pipe, is written to as it is.
pub fn replace<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    put(path, true, &Permissions::from_mode(0o600), write)
}

/// [`replace`], but for a file that is there, which only `force` gives up.
pub fn create<T, E: From<io::Error>>(
    path: &Path,
    force: bool,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let replaces = force || path.exists() && !path.is_file();
    put(path, replaces, &Permissions::from_mode(0o600), write)
}

/// Fails where a file is there that [`create`] would not replace.
pub fn must_be_free(path: &Path, force: bool) -> Result<(), Failure> {
    must_lead_somewhere(path)?;
    if path.is_file() && !force {
        return Err(Failure::misuse("E_OUTPUT_EXISTS", format!("`{}` exists", shown_path(path)))
            .help("name another file, or overwrite it with --force"));
    }
    Ok(())
}

/// Writes a document that others may read too. One that is there is replaced with `force` and keeps its mode; without,
/// it stays.
pub fn document(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mode = fs::metadata(path).ok().filter(|_| force).map(|metadata| metadata.permissions());
    // The mask of the user takes from it.
    let usual = Permissions::from_mode(0o666);
    let write = |writer: &mut dyn Write| writer.write_all(text.as_bytes());
    put(path, force, &mode.unwrap_or(usual), write).map_err(|cause| unwritable(path, cause))
}

/// Fails where `path` is a symbolic link to nothing: what is written there would be at neither end.
pub fn must_lead_somewhere(path: &Path) -> Result<(), Failure> {
    let (Ok(target), false) = (fs::read_link(path), path.exists()) else { return Ok(()) };
    let (path, target) = (shown_path(path), shown_path(&target));
    let message = format!("`{path}` is a symbolic link to `{target}`, which does not exist");
    Err(Failure::misuse("E_OUTPUT", message).help("remove the link, or make what it leads to"))
}

fn put<T, E: From<io::Error>>(
    path: &Path,
    replaces: bool,
    mode: &Permissions,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let path = &path.canonicalize().unwrap_or_else(|_| path.into());
    if replaces && fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut writer = BufWriter::new(fs::OpenOptions::new().write(true).open(path)?);
        let result = write(&mut writer)?;
        writer.flush()?;
        return Ok(result);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = temporary(folder, mode)?;
    let mut writer = BufWriter::new(temporary.as_file_mut());
    let result = write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    let persisted = if replaces { temporary.persist(path) } else { temporary.persist_noclobber(path) };
    persisted.map_err(|error| error.error)?;
    Ok(result)
}

/// A file of a name that nobody asked for, and that no failure names.
fn temporary(folder: &Path, mode: &Permissions) -> io::Result<NamedTempFile> {
    let mut refused = None;
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode.mode());
    let open = |path: &Path| options.open(path).inspect_err(|cause| refused = cause.raw_os_error());
    let file = tempfile::Builder::new().make_in(folder, open);
    file.map_err(|cause| refused.map_or(cause, io::Error::from_raw_os_error))
}

/// The failure of a file that cannot be written.
pub fn unwritable(path: &Path, cause: io::Error) -> Failure {
    let help = if is_full(&cause) {
        "free space there, or name a file on another file system"
    } else {
        "name a file in a folder that you may write in"
    };
    Failure::new("E_OUTPUT", format!("`{}` cannot be written", shown_path(path))).because(cause).help(help)
}

/// Whether there was no room.
pub fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
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

    #[test]
    fn a_document_is_replaced_whole_and_with_its_mode_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vantio.yaml");
        document(&path, "first", false).unwrap();
        assert!(document(&path, "second", false).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        document(&path, "second", true).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode), ("second", 0o640));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_failure_names_nothing_that_nobody_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let failed = document(&folder.path().join("none/file"), "", false).unwrap_err();
        let cause = std::error::Error::source(&failed).unwrap().to_string();
        assert_eq!(cause, io::Error::from_raw_os_error(2).to_string());
    }

    #[test]
    fn who_has_no_room_is_told_to_make_some() {
        let said = |kind| unwritable(Path::new("f"), io::Error::from(kind)).told();
        let text = |kind| format!("{:?}", said(kind));
        assert!(text(io::ErrorKind::StorageFull).contains("free space"));
        assert!(text(io::ErrorKind::PermissionDenied).contains("may write in"));
    }
}
