//! Reading the file, with no right to write.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{
    Connection, OpenFlags, ToSql, Transaction,
    types::{ToSqlOutput, ValueRef},
};
use tempfile::TempDir;
use vantio_core::Hash;

use super::{
    check_format, check_schema,
    file::{JOURNAL, LOG, beside},
    lookup::{self, Lookup},
    read_head, store_error, tree,
};
use crate::{
    Filter, LedgerError,
    store::{Column, Contents, Held, Page, Rows, Source, Stored, io_error},
    tree::Tile,
};

/// A file opened for reading.
pub(crate) struct File {
    connection: Connection,
    path: PathBuf,
    /// Where the file was copied, when its own folder did not allow reading it.
    _copy: Option<TempDir>,
}

impl File {
    /// Opens the ledger at `path`. Its folder may be read-only.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let (connection, copy) = match connect(path, "", READ_ONLY) {
            Ok(connection) => (connection, None),
            Err(error) if needs_writing(&error) => connect_without_writing(path)?,
            Err(error) => return Err(store_error(path)(error)),
        };
        check_format(&connection, path)?;
        Ok(Self { connection, path: path.into(), _copy: copy })
    }

    fn lookup_error(&self, fault: lookup::Fault) -> LedgerError {
        match fault {
            lookup::Fault::Store(source) => store_error(&self.path)(source),
            lookup::Fault::Gone(place) => {
                let detail = format!("entry {place} is not found at its place");
                LedgerError::Damaged { path: self.path.clone(), detail }
            }
        }
    }

    fn read<Value>(&self, result: rusqlite::Result<Value>) -> Result<Value, LedgerError> {
        result.map_err(store_error(&self.path))
    }

    /// The place of the first entry at or after `time`: times rise along the chain.
    fn first_since(&self, time: Timestamp) -> rusqlite::Result<u64> {
        let time = format!("{time:.9}");
        let (mut low, mut high) = (0, read_head(&self.connection)?.0);
        let mut statement =
            self.connection.prepare_cached("SELECT body ->> '$.time' FROM entries WHERE seq = ?1")?;
        while low < high {
            let middle = low + (high - low) / 2;
            let found: String = statement.query_row([middle.cast_signed()], |row| row.get(0))?;
            if found < time { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn walk_rows(&self, each: &mut dyn FnMut(&Stored<'_>) -> bool) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(
            "SELECT seq, run_id, op, decision, record_id, this_hash, body, detail FROM entries ORDER BY seq",
        )?;
        let mut rows = statement.query(())?;
        let mut next = 0;
        while let Some(row) = rows.next()? {
            let column = |index| row.get_ref(index).map_or(Column::Other, Column::from);
            let place = row.get_ref(0)?.as_i64().ok().map(i64::cast_unsigned);
            let stored = Stored {
                place,
                next,
                writer: None,
                seq: place,
                run_id: column(1),
                op: column(2),
                decision: column(3),
                record_id: column(4),
                this_hash: column(5),
                body: column(6),
                detail: column(7),
            };
            if !each(&stored) {
                break;
            }
            next += 1;
        }
        Ok(())
    }
}

impl Source for File {
    fn size(&self) -> Result<u64, LedgerError> {
        Ok(self.read(read_head(&self.connection))?.0)
    }

    fn bounds(&self, filter: &Filter) -> Result<Range<u64>, LedgerError> {
        let since = filter.since.map_or(Ok(0), |time| self.first_since(time));
        let until = filter.until.map_or(Ok(u64::MAX), |time| self.first_since(time));
        Ok(self.read(since)?.max(filter.since_seq)..self.read(until)?)
    }

    fn page(&self, filter: &Filter, bounds: &Range<u64>, limit: u64) -> Result<Page, LedgerError> {
        let places = bounds.start..bounds.end.min(self.size()?);
        Lookup::new(&self.connection, filter).page(places, limit).map_err(|fault| self.lookup_error(fault))
    }

    fn hold(&self) -> Result<Box<dyn Held + '_>, LedgerError> {
        Ok(Box::new(self.read(self.connection.unchecked_transaction())?))
    }

    fn walk(&self, each: &mut dyn FnMut(&Stored<'_>) -> bool) -> Result<(), LedgerError> {
        self.read(self.walk_rows(each))
    }

    fn texts(&self, places: Range<u64>) -> Result<Vec<String>, LedgerError> {
        let places = places.start..places.end.min(self.size()?);
        lookup::texts(&self.connection, places).map_err(|fault| self.lookup_error(fault))
    }

    fn tile(&self, tile: Tile) -> Result<Option<(Vec<u8>, Hash)>, LedgerError> {
        self.read(tree::tile(&self.connection, tile))
    }

    fn checkpoints(&self) -> Result<Vec<(u64, String)>, LedgerError> {
        let read = || -> rusqlite::Result<Vec<(u64, String)>> {
            let mut statement =
                self.connection.prepare("SELECT size, note FROM checkpoints ORDER BY size")?;
            statement.query_map((), |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)))?.collect()
        };
        self.read(read())
    }

    fn checkpoint(&self, size: u64) -> Result<Option<String>, LedgerError> {
        self.read(tree::checkpoint(&self.connection, size))
    }

    fn cosignatures(&self, size: u64) -> Result<Vec<String>, LedgerError> {
        self.read(tree::cosignatures(&self.connection, size))
    }

    fn newest_checkpoint(&self) -> Result<Option<u64>, LedgerError> {
        self.read(tree::newest_checkpoint(&self.connection))
    }

    /// The index is walked in the order in which it is searched, and must have just what the entries say.
    /// What is found by a place is held against the places beside it whenever it is read.
    fn check(&self, contents: &Contents) -> Result<(), LedgerError> {
        check_schema(&self.connection, &self.path)?;
        let queries = [
            ("SELECT key, block FROM blocks ORDER BY key, block", &contents.blocks),
            (
                "SELECT record_id, seq FROM entries INDEXED BY entries_by_record \
                 WHERE record_id IS NOT NULL ORDER BY record_id",
                &contents.records,
            ),
        ];
        for (query, wanted) in queries {
            if !self.read(has_exactly(&self.connection, query, wanted))? {
                let detail = "its index contradicts the entries: a list of those of a run, an operation or a verdict would be wrong";
                return Err(LedgerError::Damaged { path: self.path.clone(), detail: detail.into() });
            }
        }
        Ok(())
    }
}

impl Held for Transaction<'_> {}

/// Whether `query` gives just the rows that are wanted, and in their order.
fn has_exactly(connection: &Connection, query: &str, wanted: &Rows) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(())?;
    let (mut found, mut last) = (wanted.again(), None);
    while let Some(row) = rows.next()? {
        let (key, number) = (Column::from(row.get_ref(0)?), row.get::<_, i64>(1)?);
        let place = (key.bytes().is_some(), key.raw().to_vec(), number);
        if last.is_some_and(|last| last >= place) {
            return Ok(false);
        }
        found.add(key, number.cast_unsigned());
        last = Some(place);
    }
    Ok(found == *wanted)
}

impl ToSql for Column<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Text(text) => ValueRef::Text(text),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Null | Self::Other => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

impl<'r> From<ValueRef<'r>> for Column<'r> {
    fn from(value: ValueRef<'r>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Text(text) => Self::Text(text),
            ValueRef::Blob(bytes) => Self::Bytes(bytes),
            ValueRef::Integer(_) | ValueRef::Real(_) => Self::Other,
        }
    }
}

fn connect(path: &Path, parameters: &str, rights: OpenFlags) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(uri(path, parameters), flags | rights)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    Ok(connection)
}

fn uri(path: &Path, parameters: &str) -> OsString {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        let _ = match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                write!(uri, "{}", *byte as char)
            }
            _ => write!(uri, "%{byte:02X}"),
        };
    }
    uri.push_str(parameters);
    uri.into()
}

/// SQLite reads a file in WAL mode through an index that it creates beside it, and takes back what a killed writer left
/// half done before it reads.
fn needs_writing(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

/// Reads the file alone when no part of it is in another, else a private copy of both.
fn connect_without_writing(path: &Path) -> Result<(Connection, Option<TempDir>), LedgerError> {
    let parts = if has_log(path) {
        ["", LOG]
    } else if has_beside(path, JOURNAL) {
        // The pages as they were come first: that a writer takes the others back meanwhile does no harm.
        [JOURNAL, ""]
    } else {
        return Ok((connect(path, "?immutable=1", READ_ONLY).map_err(store_error(path))?, None));
    };
    let folder = tempfile::tempdir().map_err(io_error("create a temporary copy of", path))?;
    let copy = folder.path().join("ledger");
    for part in parts {
        let original = beside(path, part);
        fs::copy(&original, beside(&copy, part)).map_err(io_error("copy", &original))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    Ok((connect(&copy, "", flags).map_err(store_error(path))?, Some(folder)))
}

/// Whether a part of the file is in a write-ahead log beside it.
pub(crate) fn has_log(path: &Path) -> bool {
    has_beside(path, LOG)
}

fn has_beside(path: &Path, part: &str) -> bool {
    fs::metadata(beside(path, part)).is_ok_and(|part| part.len() > 0)
}

const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY;
