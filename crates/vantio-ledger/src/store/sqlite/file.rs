//! The file that holds a ledger: its folder, creation and protection.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, OFlags, access};

use super::{
    schema::{APPLICATION_ID, LAYOUT, SCHEMA},
    store_error,
};
use crate::{
    LedgerError,
    store::io_error,
    whole::{Unfinished, remove},
};

/// Creates the folder, and resolves it so that only the file's own name can be
/// a symbolic link, which is then refused.
pub(super) fn prepare_folder(path: &Path) -> Result<PathBuf, LedgerError> {
    let (folder, name) = split(path)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error("create", folder))?;
    Ok(folder.canonicalize().map_err(io_error("open", folder))?.join(name))
}

fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr), LedgerError> {
    let name = path.file_name().ok_or_else(|| LedgerError::NotALedger { path: path.into() })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name))
}

/// Creates an empty ledger under a temporary name, so that nobody ever sees a file without a schema.
pub(super) fn create(path: &Path) -> Result<(), LedgerError> {
    let (folder, _) = split(path)?;
    let unfinished = Unfinished::at(path)?;
    if unfinished.is_needless() {
        return Ok(());
    }
    let temporary = unfinished.temporary();
    remove_log(&temporary)?;
    unfinished.write(&[], 0o600)?;
    write_schema(&temporary).map_err(store_error(path))?;
    sync_above(folder)?;
    unfinished.finish()
}

/// Syncs the names of a folder and of those above it, up to where it is mounted: one that was just
/// made, by whomever, would be lost with the power, and all that is in it.
fn sync_above(folder: &Path) -> Result<(), LedgerError> {
    let device = |folder: &Path| fs::metadata(folder).map(|metadata| metadata.dev()).ok();
    let above = folder.ancestors().skip(1).take_while(|above| device(above) == device(folder));
    for above in above {
        // One that may not be read is not one that was just made.
        if let Ok(opened) = File::open(above) {
            opened.sync_all().map_err(io_error("write", above))?;
        }
    }
    Ok(())
}

fn write_schema(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // The file is synced as a whole before it gets its name, and thrown away where that does not come to pass.
    connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "page_size", PAGE_SIZE)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", LAYOUT)?;
    for (_, definition) in SCHEMA {
        connection.execute(definition, ())?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}

/// Fewer entries leave less of a page empty than in smaller ones; larger ones cost a single append more than they
/// save a batch.
pub(super) const PAGE_SIZE: u32 = 8192;

/// Opening the file to try would be harmful: closing any descriptor of it drops
/// the locks that SQLite holds in this process.
pub(super) fn check_writable(path: &Path) -> Result<(), LedgerError> {
    for place in [path, split(path)?.0] {
        access(place, Access::WRITE_OK).map_err(|error| io_error("write", path)(error.into()))?;
    }
    Ok(())
}

/// Writes the write-ahead log over with what it has; nobody else may write meanwhile.
///
/// A process may have been killed before it learned that its sync had failed. What it wrote can then
/// be read, and is continued, but the kernel takes it for written and never tries again. Written over, it is
/// synced with the log as a whole before anything that continues it is acknowledged, and before anything of it is
/// copied into the file: SQLite syncs the log for either.
pub(super) fn renew_log(path: &Path) -> Result<(), LedgerError> {
    let log = beside(path, LOG);
    let renew = || -> io::Result<()> {
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let file = File::options().read(true).write(true).custom_flags(no_link).open(&log)?;
        let (mut place, mut part) = (0, vec![0; 1 << 16]);
        loop {
            let length = file.read_at(&mut part, place)?;
            if length == 0 {
                break;
            }
            file.write_all_at(&part[..length], place)?;
            place += length as u64;
        }
        Ok(())
    };
    match renew() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("write", path)(error)),
        _ => Ok(()),
    }
}

/// Takes others' access to the file away, should it have any.
pub(super) fn restrict(path: &Path) -> Result<(), LedgerError> {
    let mode = fs::symlink_metadata(path).map_err(io_error("open", path))?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(io_error("restrict", path))
}

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Device and inode of the file at `path`.
pub(super) fn identity(path: &Path) -> Result<(u64, u64), LedgerError> {
    let metadata = fs::symlink_metadata(path).map_err(io_error("open", path))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The file beside the one at `path` that SQLite keeps `part` of it in.
pub(super) fn beside(path: &Path, part: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(part);
    beside.into()
}

/// The write-ahead log of a file,
pub(super) const LOG: &str = "-wal";
/// its index,
const INDEX: &str = "-shm";
/// and the pages as they were before a transaction that is not in the log.
pub(super) const JOURNAL: &str = "-journal";

/// Removes the log and its index, which have nothing that the file at `path` lacks.
pub(crate) fn remove_log(path: &Path) -> Result<(), LedgerError> {
    [LOG, INDEX].iter().try_for_each(|part| remove(&beside(path, part)))
}
