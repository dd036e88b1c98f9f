//! The SQLite file: its schema, creation, opening and the errors it gives.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use rustix::fs::{Access, access};
use vantio_core::Hash;

use crate::{
    LedgerError, Malformed,
    chain::{Chain, decode},
};

/// Version of the file's and the entries' format.
pub(crate) const FORMAT: i64 = 1;

/// SQLite waits for a lock at growing intervals of up to 100 ms; asked anew after
/// this long, it starts again at 1 ms.
const BUSY_STEP: Duration = Duration::from_millis(10);

/// Beyond so many pages the WAL is copied into the file: whoever opens a ledger that nobody else has
/// open reads all of it.
const WAL_PAGES: i64 = 128;

/// "Vant": marks a SQLite file as a ledger.
const APPLICATION_ID: i64 = 0x5661_6e74;

/// Every object of the schema by name, in order of creation.
const SCHEMA: [(&str, &str); 10] = [
    (
        "entries",
        "CREATE TABLE entries (\
         seq INTEGER PRIMARY KEY, time TEXT NOT NULL, run_id TEXT NOT NULL, op TEXT NOT NULL, \
         decision TEXT, record_id TEXT, this_hash BLOB NOT NULL, body TEXT NOT NULL) STRICT",
    ),
    ("entries_by_time", "CREATE INDEX entries_by_time ON entries (time)"),
    ("entries_by_run", "CREATE INDEX entries_by_run ON entries (run_id)"),
    ("entries_by_op", "CREATE INDEX entries_by_op ON entries (op)"),
    (
        "entries_by_decision",
        "CREATE INDEX entries_by_decision ON entries (decision) WHERE decision IS NOT NULL",
    ),
    (
        "entries_by_record",
        "CREATE UNIQUE INDEX entries_by_record ON entries (record_id) WHERE record_id IS NOT NULL",
    ),
    (
        "anomalies",
        "CREATE VIEW anomalies AS SELECT record_id, seq, run_id, \
         body ->> '$.payload.anomaly.agent_svid.id' AS agent_svid, \
         body ->> '$.payload.anomaly.syscall_nr' AS syscall_nr, \
         body -> '$.payload.anomaly.syscall_args' AS syscall_args, \
         decision AS oracle_decision, \
         body ->> '$.payload.anomaly.zk_proof' AS zk_proof, \
         body ->> '$.payload.anomaly.proof_state' AS proof_state, \
         body -> '$.payload.anomaly.truetime_commit' AS truetime_commit, \
         body ->> '$.payload.anomaly.entropy_nonce' AS entropy_nonce \
         FROM entries WHERE record_id IS NOT NULL",
    ),
    (
        "entries_insert",
        "CREATE TRIGGER entries_insert BEFORE INSERT ON entries \
         WHEN NEW.seq IS NOT (SELECT coalesce(max(seq) + 1, 0) FROM entries) \
         BEGIN SELECT raise(ABORT, 'the ledger is append-only: INSERT out of order'); END",
    ),
    (
        "entries_update",
        "CREATE TRIGGER entries_update BEFORE UPDATE ON entries \
         BEGIN SELECT raise(ABORT, 'the ledger is append-only: UPDATE'); END",
    ),
    (
        "entries_delete",
        "CREATE TRIGGER entries_delete BEFORE DELETE ON entries \
         BEGIN SELECT raise(ABORT, 'the ledger is append-only: DELETE'); END",
    ),
];

/// A file opened for appending.
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that was opened.
    identity: (u64, u64),
    busy: Duration,
    /// The end of the chain as this process last saw it.
    seen: Chain,
}

/// A row ready for insertion.
pub(crate) struct Row<'a> {
    pub seq: u64,
    pub time: String,
    pub run_id: String,
    pub op: &'a str,
    pub decision: Option<&'static str>,
    pub record_id: Option<String>,
    pub this_hash: Hash,
    pub body: String,
}

impl Store {
    /// Opens `path`, creating it and its folder when they do not exist.
    pub fn open(path: &Path, busy: Duration) -> Result<Self, LedgerError> {
        let path = prepare_folder(path)?;
        if !path.try_exists().map_err(io_error("open", &path))? {
            create(&path)?;
        }
        check_writable(&path)?;
        let identity = identity(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&path, flags).map_err(store_error(&path))?;
        connection.busy_timeout(busy).map_err(store_error(&path))?;
        check_format(&connection, &path)?;
        check_schema(&connection, &path)?;
        restrict(&path)?;
        configure(&connection).map_err(store_error(&path))?;
        let seen = read_head(&connection).map_err(store_error(&path))?;
        let mut store = Self { connection, path, identity, busy, seen };
        store.check_last(seen)?;
        store.append(|_| Ok(Vec::new()))?;
        Ok(store)
    }

    /// Appends, in one durable transaction, the rows that `make` builds for the
    /// end of the chain it is given.
    pub fn append<'a>(
        &mut self,
        make: impl FnOnce(&mut Chain) -> Result<Vec<Row<'a>>, LedgerError>,
    ) -> Result<(), LedgerError> {
        if identity(&self.path)? != self.identity {
            return Err(self.damaged("the file was replaced while it was open"));
        }
        let error = store_error(&self.path);
        let seen = self.seen;
        let transaction = begin(&self.connection, self.busy).map_err(&error)?;
        let mut chain = read_head(&transaction).map_err(&error)?;
        let is_continued = chain == seen || contains(&transaction, seen).map_err(&error)?;
        if !is_continued {
            drop(transaction);
            return Err(self.damaged("entries that were written are gone or changed"));
        }
        for row in make(&mut chain)? {
            insert(&transaction, &row).map_err(&error)?;
        }
        transaction.commit().map_err(&error)?;
        self.seen = chain;
        Ok(())
    }

    /// Refuses to continue a chain whose last entry was changed.
    fn check_last(&self, chain: Chain) -> Result<(), LedgerError> {
        let Some(seq) = chain.next.checked_sub(1) else { return Ok(()) };
        let query = "SELECT CAST(body AS BLOB) FROM entries WHERE seq = ?1";
        let body = self.connection.query_row(query, [seq.cast_signed()], |row| row.get::<_, Vec<u8>>(0));
        let body = String::from_utf8(body.map_err(store_error(&self.path))?);
        match body.map_err(|_| Malformed::NotCanonical).and_then(|body| decode(&body, chain.head)) {
            Ok(entry) if entry.seq == seq => Ok(()),
            Ok(_) => Err(self.damaged("the last entry is not at its place")),
            Err(fault) => Err(LedgerError::Entry { seq, fault }),
        }
    }

    fn damaged(&self, detail: &str) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), detail: detail.into() }
    }
}

/// Takes the write lock, which one of several processes has at a time.
fn begin(connection: &Connection, busy: Duration) -> rusqlite::Result<Transaction<'_>> {
    let deadline = Instant::now() + busy;
    loop {
        match Transaction::new_unchecked(connection, TransactionBehavior::Immediate) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline => {}
            result => return result,
        }
    }
}

fn insert(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO entries (seq, time, run_id, op, decision, record_id, this_hash, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let seq = row.seq.cast_signed();
    statement.execute((
        seq,
        &row.time,
        &row.run_id,
        row.op,
        row.decision,
        &row.record_id,
        &row.this_hash.0,
        &row.body,
    ))?;
    Ok(())
}

/// The end of the chain, by the columns.
pub(crate) fn read_head(connection: &Connection) -> rusqlite::Result<Chain> {
    let mut statement =
        connection.prepare_cached("SELECT seq + 1, this_hash FROM entries ORDER BY seq DESC LIMIT 1")?;
    let head = statement.query_row((), |row| {
        let next: i64 = row.get(0)?;
        let next = u64::try_from(next).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, next))?;
        Ok(Chain { next, head: Hash(row.get(1)?) })
    });
    Ok(head.optional()?.unwrap_or(Chain::GENESIS))
}

fn contains(connection: &Connection, chain: Chain) -> rusqlite::Result<bool> {
    let Some(last) = chain.next.checked_sub(1) else { return Ok(true) };
    let mut statement = connection.prepare_cached("SELECT this_hash FROM entries WHERE seq = ?1")?;
    let hash: Option<[u8; 32]> = statement.query_row([last.cast_signed()], |row| row.get(0)).optional()?;
    Ok(hash == Some(chain.head.0))
}

/// Creates the folder, and resolves it so that only the file's own name can be
/// a symbolic link, which is then refused.
fn prepare_folder(path: &Path) -> Result<PathBuf, LedgerError> {
    let (folder, name) = split(path)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error("create", folder))?;
    Ok(folder.canonicalize().map_err(io_error("open", folder))?.join(name))
}

fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr), LedgerError> {
    let name = path.file_name().ok_or_else(|| LedgerError::NotALedger { path: path.into() })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name))
}

/// Creates an empty ledger under a temporary name and links it into place, so
/// that nobody ever sees a file without a schema.
fn create(path: &Path) -> Result<(), LedgerError> {
    let (folder, _) = split(path)?;
    let temporary = tempfile::Builder::new()
        .prefix(".ledger-")
        .suffix(".new")
        .tempfile_in(folder)
        .map_err(io_error("create a file in", folder))?
        .into_temp_path();
    write_schema(&temporary).map_err(store_error(path))?;
    File::open(&temporary).and_then(|file| file.sync_all()).map_err(io_error("write", path))?;
    match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("create", path)(error)),
        _ => File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("write", folder)),
    }
}

fn write_schema(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // The file is synced as a whole before it gets its name.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    for (_, definition) in SCHEMA {
        connection.execute(definition, ())?;
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", WAL_PAGES, |_| Ok(()))?;
    connection.busy_timeout(BUSY_STEP)
}

/// Refuses what is not a ledger of this format.
pub(crate) fn check_format(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    if fs::metadata(path).map_err(io_error("open", path))?.len() == 0 {
        let detail = "it is empty, which a ledger never is".into();
        return Err(LedgerError::Damaged { path: path.into(), detail });
    }
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id").map_err(store_error(path))? != APPLICATION_ID {
        return Err(LedgerError::NotALedger { path: path.into() });
    }
    match pragma("user_version").map_err(store_error(path))? {
        FORMAT => Ok(()),
        found => Err(LedgerError::Version { path: path.into(), found }),
    }
}

/// Refuses a file whose tables, indexes, triggers or views are not exactly ours.
pub(crate) fn check_schema(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let unprotected = |object: &str| LedgerError::Unprotected { path: path.into(), object: object.into() };
    let found = read_schema(connection).map_err(store_error(path))?;
    for (name, definition) in &found {
        if !SCHEMA.contains(&(name, definition)) {
            return Err(unprotected(name));
        }
    }
    let missing = SCHEMA.iter().find(|(name, _)| !found.iter().any(|(found, _)| found == name));
    missing.map_or(Ok(()), |(name, _)| Err(unprotected(name)))
}

fn read_schema(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema")?;
    statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Opening the file to try would be harmful: closing any descriptor of it drops
/// the locks that SQLite holds in this process.
fn check_writable(path: &Path) -> Result<(), LedgerError> {
    for place in [path, split(path)?.0] {
        access(place, Access::WRITE_OK).map_err(|error| io_error("write", path)(error.into()))?;
    }
    Ok(())
}

/// Takes others' access to the file away, should it have any.
fn restrict(path: &Path) -> Result<(), LedgerError> {
    let mode = fs::symlink_metadata(path).map_err(io_error("open", path))?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(io_error("restrict", path))
}

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

fn identity(path: &Path) -> Result<(u64, u64), LedgerError> {
    let metadata = fs::symlink_metadata(path).map_err(io_error("open", path))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Turns the system's answers into ours.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> LedgerError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LedgerError::Full { path: path.into() },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            LedgerError::ReadOnly { path: path.into() }
        }
        _ => LedgerError::Io { action, path: path.into(), source: Arc::new(source) },
    }
}

/// Turns SQLite's answers into ours.
pub(crate) fn store_error(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    let path = path.to_path_buf();
    move |source| {
        let path = path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => LedgerError::NotALedger { path },
            Some(ErrorCode::DatabaseCorrupt) => LedgerError::Damaged { path, detail: source.to_string() },
            Some(ErrorCode::DiskFull) => LedgerError::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => LedgerError::ReadOnly { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Busy { path },
            _ => LedgerError::Store { path, source: Arc::new(source) },
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;

    use super::*;

    // A killed process cannot tell a synced commit from one that is not.
    #[test]
    fn every_commit_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ledger.db"), Duration::from_secs(1)).unwrap();
        let pragma = |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, Value>(0));
        assert_eq!(pragma("synchronous"), Ok(Value::Integer(2)), "FULL");
        assert_eq!(pragma("journal_mode"), Ok(Value::Text("wal".into())));
    }
}
