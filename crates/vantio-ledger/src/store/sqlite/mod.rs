//! The SQLite file: appending to it, and the errors it gives.

mod copier;
mod file;
mod lookup;
mod read;
mod schema;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, config::DbConfig,
};
use uuid::Uuid;
use vantio_core::Hash;

use crate::{
    LedgerError, Malformed,
    archive::END,
    chain::{self, Chain},
    key,
    link::Links,
    note::{SignedNote, SigningKey, TreeHead},
    store::{Column, Keys, Row, Store, io_error},
    tree::{Builder, Tile},
};

use copier::{Copier, copy};
pub(crate) use file::remove_log;
pub(crate) use read::{File, has_log};
use schema::{check_format, check_schema};

/// SQLite waits for a lock at growing intervals of up to 100 ms; asked anew after
/// this long, it starts again at 1 ms.
const BUSY_STEP: Duration = Duration::from_millis(10);

/// When so many bytes were written to the WAL, it is copied into the file: whoever opens a ledger that
/// nobody else has open reads all of it.
const COPY_AT: u64 = 1 << 20;

/// A log of so many bytes is cut by whoever opens the ledger: a supervisor's end closes nothing.
const CUT_AT: u64 = 128 << 10;

/// One of so many, some runs' that do little, by whoever is done with it and is not waited for.
const TIDY_AT: u64 = 64 << 10;

/// While entries come without a pause, the WAL is never copied whole and so never begins anew. After so many
/// bytes the writer waits until it is. It is not cut: what is there already need not be made again.
const LOG_LIMIT: u64 = 16 << 20;

/// Bytes of rows below which a batch is one of few entries, after which the writer itself copies the log,
const SMALL: u64 = 8 << 10;
/// once so many bytes of it are new.
const COPY_SMALL_AT: u64 = 512 << 10;

/// A file opened for appending.
pub(crate) struct Appender {
    connection: Connection,
    path: PathBuf,
    /// Device and inode of the file that was opened.
    identity: (u64, u64),
    busy: Duration,
    /// The end of the chain as this process last saw it.
    seen: Chain,
    /// The tree as of the last checkpoint that this process made.
    tree: Option<Builder>,
    /// Whether that was made before the first checkpoint had to wait for it, or tried to.
    is_ahead: bool,
    /// How many entries the newest checkpoint that this process knows covers.
    covered: u64,
    /// What the last block has, as far as this process has written it.
    keys: Keys,
    log: Log,
}

/// The write-ahead log, as far as this process has written it.
struct Log {
    copier: Option<Copier>,
    /// Bytes of the rows that were written last,
    last: u64,
    /// all that were since the copier was asked last, roughly,
    fresh: u64,
    /// and since the log began.
    length: u64,
    /// The length at which the writer has it copied.
    limit: u64,
}

impl Appender {
    /// Opens `path`, creating it and its folder when they do not exist.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Closed`] when the ledger was closed, besides all that can fail.
    pub fn open(path: &Path, busy: Duration) -> Result<Self, LedgerError> {
        let store = Self::attach(path, busy, configure)?;
        store.cut_log(CUT_AT);
        if store.newest_op()?.as_deref() == Some(END) {
            return Err(LedgerError::Closed { path: store.path });
        }
        Ok(store)
    }

    /// Opens `path` so that nobody else can, closed or not, and so that no part of it is in another
    /// file.
    pub fn open_alone(path: &Path, busy: Duration) -> Result<Self, LedgerError> {
        Self::attach(path, busy, configure_alone)
    }

    fn attach(
        path: &Path,
        busy: Duration,
        configure: fn(&Connection) -> rusqlite::Result<()>,
    ) -> Result<Self, LedgerError> {
        let path = file::prepare_folder(path)?;
        if !path.try_exists().map_err(io_error("open", &path))? {
            file::create(&path)?;
        }
        file::check_writable(&path)?;
        let identity = file::identity(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&path, flags).map_err(store_error(&path))?;
        connection.busy_timeout(busy).map_err(store_error(&path))?;
        check_format(&connection, &path)?;
        check_schema(&connection, &path)?;
        file::restrict(&path)?;
        // Before anything of it is copied into the file.
        let transaction = begin(&connection, busy).map_err(store_error(&path))?;
        file::renew_log(&path)?;
        drop(transaction);
        configure(&connection).map_err(store_error(&path))?;
        let seen = read_end(&connection, &path)?;
        let covered = tree::newest_checkpoint(&connection).map_err(store_error(&path))?.unwrap_or(0);
        let log = Log::default();
        let (tree, keys) = (None, Keys::default());
        Ok(Self { connection, path, identity, busy, seen, tree, is_ahead: false, covered, keys, log })
    }

    /// Copies a log that others left into the file and cuts it, once it is long: whoever opens the ledger reads all
    /// of it and writes it anew. What others still need of it stays.
    fn cut_log(&self, least: u64) {
        let length = fs::metadata(file::beside(&self.path, file::LOG)).map_or(0, |log| log.len());
        if length >= least && self.connection.busy_timeout(Duration::ZERO).is_ok() {
            let _ = copy(&self.connection, "TRUNCATE");
            let _ = self.connection.busy_timeout(BUSY_STEP);
        }
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.seen.next
    }

    /// The key of this log, beside it.
    pub fn key(&self, domain: &str) -> Result<SigningKey, LedgerError> {
        let newest = tree::checkpoint(&self.connection, self.covered).map_err(store_error(&self.path))?;
        key::of_log(&key::beside(&self.path), domain, newest.as_deref())
    }

    /// The operation of the last entry.
    pub fn newest_op(&self) -> Result<Option<String>, LedgerError> {
        newest_op(&self.connection).map_err(store_error(&self.path))
    }

    /// The tree of the newest checkpoint.
    pub fn newest_head(&self) -> Result<TreeHead, LedgerError> {
        let error = store_error(&self.path);
        let size = tree::newest_checkpoint(&self.connection).map_err(&error)?.unwrap_or(0);
        let note = tree::checkpoint(&self.connection, size).map_err(&error)?;
        let note = note.and_then(|note| note.parse::<SignedNote>().ok());
        let head = note.and_then(|note| note.text().parse().ok());
        head.ok_or_else(|| self.damaged("its newest checkpoint is not one"))
    }

    fn damaged(&self, detail: &str) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), detail: detail.into() }
    }
}

impl Store for Appender {
    fn writer(&self) -> Option<Uuid> {
        None
    }

    fn end(&self) -> Chain {
        self.seen
    }

    fn append(&mut self, links: &mut Links, key: Option<&SigningKey>) -> Result<(), LedgerError> {
        if file::identity(&self.path)? != self.identity {
            return Err(self.damaged("the file was replaced while it was open"));
        }
        let error = store_error(&self.path);
        let transaction = begin(&self.connection, self.busy).map_err(&error)?;
        let mut chain = self.seen;
        if read_head(&transaction).map_err(&error)? != (chain.next, chain.head) {
            if !contains(&transaction, &self.seen).map_err(&error)? {
                drop(transaction);
                return Err(self.damaged("entries that were written are gone or changed"));
            }
            if newest_op(&transaction).map_err(&error)?.as_deref() == Some(END) {
                return Err(LedgerError::Closed { path: self.path.clone() });
            }
            // Another process wrote meanwhile.
            chain = read_end(&transaction, &self.path)?;
            self.keys.forget();
        }
        let end = links.follow(&chain)?;
        let mut tree = self.tree.take();
        // The tree of a file that others write to as well is brought up to date by a checkpoint.
        let growing = tree.as_mut().filter(|tree| tree.size() == chain.next);
        if let Some(tile) = insert(&transaction, links, &mut self.keys, growing).map_err(&error)? {
            return Err(self.damaged(&tree::not_made(tile)));
        }
        // What a trigger asks of others once a row.
        if read_head(&transaction).map_err(&error)? != (end.next, end.head) {
            return Err(self.damaged("entries do not stand where they were written"));
        }
        if let Some(key) = key {
            tree = Some(self.seal(&transaction, tree, key)?);
        }
        transaction.commit().map_err(&error)?;
        self.seen = end;
        self.covered = key.map_or(self.covered, |_| end.next);
        self.tree = tree;
        self.log.written(links.bytes());
        Ok(())
    }

    fn catch_up(&mut self) {
        self.log.keep_short(&self.connection, &self.path);
        if !self.is_ahead {
            // Once: from then on the tree grows with the chain, and without it the next checkpoint does the same.
            self.is_ahead = true;
            self.tree = self.tree.take().or_else(|| tree::ahead(&self.connection).ok().flatten());
        }
    }

    fn uncovered(&self) -> u64 {
        self.seen.next.saturating_sub(self.covered)
    }

    fn checkpoint(&mut self, key: &SigningKey) -> Result<(), LedgerError> {
        self.bring_up(key)
    }

    fn tidy(&mut self) {
        self.cut_log(TIDY_AT);
    }

    fn cosign(&mut self, size: u64, line: &str) -> Result<(), LedgerError> {
        self.keep_cosignature(size, line)
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { copier: None, last: 0, fresh: 0, length: 0, limit: LOG_LIMIT }
    }
}

impl Log {
    /// Notes that `bytes` of rows more are in it.
    fn written(&mut self, bytes: u64) {
        // The rows, and the ends of the table and of what it is looked up by.
        let added = bytes + 2 * u64::from(file::PAGE_SIZE);
        self.last = bytes;
        self.fresh += added;
        self.length += added;
    }

    /// Has the log copied where it is long. What is not copied is no less durable, so a failure here is none.
    fn keep_short(&mut self, connection: &Connection, path: &Path) {
        let is_small = self.last < SMALL;
        if self.fresh < if is_small { COPY_SMALL_AT } else { COPY_AT } {
            return;
        }
        self.fresh = 0;
        if is_small {
            // A log that is copied whole is written over from its beginning: where it need not grow, a
            // sync is of its bytes alone.
            let _ = copy(connection, "PASSIVE");
            return;
        }
        if self.length >= self.limit {
            // A reader that stands in the way is not waited for again before long.
            let is_copied = copy(connection, "RESTART").unwrap_or(false);
            (self.length, self.limit) =
                if is_copied { (0, LOG_LIMIT) } else { (self.length, 2 * self.length) };
            return;
        }
        if self.copier.is_none() {
            self.copier = Copier::start(path).ok();
        }
        if let Some(copier) = &self.copier {
            copier.wake();
        }
    }
}

/// The end of the chain. A last entry that was changed is not continued.
fn read_end(connection: &Connection, path: &Path) -> Result<Chain, LedgerError> {
    let (next, head) = read_head(connection).map_err(store_error(path))?;
    let Some(seq) = next.checked_sub(1) else { return Ok(Chain::GENESIS) };
    let record_id = newest_record(connection).map_err(store_error(path))?;
    let query = "SELECT CAST(body AS BLOB) FROM entries WHERE seq = ?1";
    let body = connection.query_row(query, [seq.cast_signed()], |row| row.get::<_, Vec<u8>>(0));
    let body = String::from_utf8(body.map_err(store_error(path))?).map_err(|_| Malformed::NotCanonical);
    let chain = body.and_then(|body| {
        let entry = chain::read(&body, head)?;
        let before = Chain { next: entry.seq, record_id, ..Chain::GENESIS };
        Ok(before.after(head, entry.time))
    });
    match chain {
        Ok(chain) if chain.next == next => Ok(chain),
        Ok(_) => {
            let detail = "the last entry is not at its place".into();
            Err(LedgerError::Damaged { path: path.into(), detail })
        }
        Err(fault) => Err(LedgerError::Entry { seq, fault }),
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

/// Inserts rows, and lets a tree grow with them. Returns a tile that is stored already and not the same.
fn insert(
    connection: &Connection,
    links: &Links,
    keys: &mut Keys,
    mut tree: Option<&mut Builder>,
) -> rusqlite::Result<Option<Tile>> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO entries (seq, run_id, op, decision, record_id, this_hash, body, detail) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let mut index = connection
        .prepare_cached("INSERT INTO blocks (key, block) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for row in links.rows() {
        statement.execute((
            row.seq.cast_signed(),
            row.run_id.as_bytes(),
            row.op,
            row.decision,
            row.record_id.as_ref().map(Uuid::as_bytes),
            &row.this_hash.0,
            row.text,
            row.detail,
        ))?;
        keys.add(row.seq, keys_of(&row), |key, block| index.execute((key, block.cast_signed())).map(drop))?;
        if let Some(tree) = &mut tree
            && let Some(tile) = tree::push(connection, tree, row.leaf)?
        {
            return Ok(Some(tile));
        }
    }
    Ok(None)
}

/// What a row is looked up by.
fn keys_of<'r>(row: &'r Row<'_>) -> [Column<'r>; 3] {
    let decision = row.decision.map_or(Column::Null, |name| Column::Text(name.as_bytes()));
    [Column::Bytes(row.run_id.as_bytes()), Column::Text(row.op.as_bytes()), decision]
}

fn newest_op(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT op FROM entries ORDER BY seq DESC LIMIT 1")?;
    statement.query_row((), |row| row.get(0)).optional()
}

/// The chain's length and its last hash, by the columns.
fn read_head(connection: &Connection) -> rusqlite::Result<(u64, Hash)> {
    let mut statement =
        connection.prepare_cached("SELECT seq + 1, this_hash FROM entries ORDER BY seq DESC LIMIT 1")?;
    let head = statement.query_row((), |row| {
        let next: i64 = row.get(0)?;
        let next = u64::try_from(next).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, next))?;
        Ok((next, Hash(row.get(1)?)))
    });
    Ok(head.optional()?.unwrap_or((0, Hash::ZERO)))
}

fn newest_record(connection: &Connection) -> rusqlite::Result<Option<Uuid>> {
    let query = "SELECT record_id FROM entries WHERE record_id IS NOT NULL ORDER BY record_id DESC LIMIT 1";
    let newest = connection.query_row(query, (), |row| row.get::<_, [u8; 16]>(0)).optional()?;
    Ok(newest.map(Uuid::from_bytes))
}

fn contains(connection: &Connection, chain: &Chain) -> rusqlite::Result<bool> {
    let Some(last) = chain.next.checked_sub(1) else { return Ok(true) };
    let mut statement = connection.prepare_cached("SELECT this_hash FROM entries WHERE seq = ?1")?;
    let hash: Option<[u8; 32]> = statement.query_row([last.cast_signed()], |row| row.get(0)).optional()?;
    Ok(hash == Some(chain.head.0))
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // They guard against others' mistakes; for their sake each row would have a journal of its own.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.busy_timeout(BUSY_STEP)
}

/// In WAL mode others could read on, so the mode is changed: that fails while others have the file open.
fn configure_alone(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// Turns SQLite's answers into ours.
fn store_error(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    let path = path.to_path_buf();
    move |source| {
        let path = path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => LedgerError::NotALedger { path },
            Some(ErrorCode::DatabaseCorrupt) => LedgerError::Damaged { path, detail: source.to_string() },
            Some(ErrorCode::DiskFull) => LedgerError::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => LedgerError::ReadOnly { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerError::Busy { path },
            None if is_other_than_stored(&source) => {
                LedgerError::Damaged { path, detail: source.to_string() }
            }
            _ => LedgerError::Store { path, source: Arc::new(source) },
        }
    }
}

/// Whether a value is not of the kind that every row of a ledger has there, or a row is missing.
fn is_other_than_stored(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, QueryReturnedNoRows, Utf8Error,
    };
    matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | QueryReturnedNoRows
            | Utf8Error(..)
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;

    use super::*;

    // A killed process cannot tell a synced commit from one that is not.
    #[test]
    fn every_commit_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Appender::open(&folder.path().join("ledger.db"), Duration::from_secs(1)).unwrap();
        let pragma = |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, Value>(0));
        assert_eq!(pragma("synchronous"), Ok(Value::Integer(2)), "FULL");
        assert_eq!(pragma("journal_mode"), Ok(Value::Text("wal".into())));
    }
}
