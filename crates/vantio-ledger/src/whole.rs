//! Files that are there whole or not at all, whenever their writer dies.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{LedgerError, store::io_error};

/// Writes the file at `path` for its owner only, unless there is one: the first of two writers wins.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let unfinished = Unfinished::at(path)?;
    if unfinished.is_needless() {
        return Ok(());
    }
    unfinished.write(bytes, 0o600)?;
    unfinished.finish()
}

/// Writes the file at `path` for its owner only, in the place of another perhaps.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let unfinished = Unfinished::at(path)?;
    unfinished.write(bytes, 0o600)?;
    unfinished.finish()
}

/// Removes the file at `path`, where there is one.
pub(crate) fn remove(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A file that gets its name once it is on disk. Its folder is locked meanwhile, so that what a killed writer left,
/// which the next one removes, is nobody else's.
pub(crate) struct Unfinished {
    path: PathBuf,
    folder: File,
}

impl Unfinished {
    pub fn at(path: &Path) -> Result<Self, LedgerError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let opened = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let unfinished = Self { path: path.into(), folder: opened.map_err(io_error("lock", folder))? };
        remove(&unfinished.temporary())?;
        Ok(unfinished)
    }

    /// Whether another has the name already.
    pub fn is_needless(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Where it is until then.
    pub fn temporary(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        name.into()
    }

    pub fn write(&self, bytes: &[u8], mode: u32) -> Result<(), LedgerError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(self.temporary());
        let written = file.and_then(|mut file| file.write_all(bytes));
        written.map_err(io_error("write", &self.path))
    }

    /// Gives it its name, durably.
    pub fn finish(self) -> Result<(), LedgerError> {
        self.name()?;
        self.folder.sync_all().map_err(io_error("write", &self.path))
    }

    /// Gives it its name, which a loss of power may take again.
    pub fn name(&self) -> Result<(), LedgerError> {
        let synced = File::open(self.temporary()).and_then(|file| file.sync_all());
        let named = synced.and_then(|()| fs::rename(self.temporary(), &self.path));
        named.map_err(io_error("write", &self.path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.temporary());
        // A process that was forked meanwhile has the folder open too.
        let _ = self.folder.unlock();
    }
}
