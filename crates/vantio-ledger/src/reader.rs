//! Reading entries, with no right to write.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fmt::{self, Write as _},
    fs,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, ToSql, types::ValueRef};
use tempfile::TempDir;
use vantio_core::{Decision, Hash, RunId, json};

use crate::{
    Entry, LedgerError, Malformed, chain, entry, key,
    note::{SignedNote, TreeHead, TreeHeadError, VerifierKey},
    store::{self, io_error, store_error},
};

/// A ledger opened for reading.
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    /// Where the file was copied, when its own folder did not allow reading it.
    _copy: Option<TempDir>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Which entries to read. The default is all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of one run.
    pub run_id: Option<RunId>,
    /// Those of one operation.
    pub op: Option<String>,
    /// Those with one verdict.
    pub decision: Option<Decision>,
    /// Those at or after a sequence number.
    pub since_seq: u64,
    /// Those at or after a time.
    pub since: Option<Timestamp>,
    /// Those before a time.
    pub until: Option<Timestamp>,
    /// Those with a text in them, as it is or as JSON escapes it.
    pub text: Option<String>,
    /// At most so many.
    pub limit: Option<u64>,
    /// The newest first.
    pub newest: bool,
}

impl Reader {
    /// Opens the ledger at `path`. Its folder may be read-only.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if !path.try_exists().map_err(io_error("open", path))? {
            return Err(LedgerError::NotFound { path: path.into() });
        }
        let path = path.canonicalize().map_err(io_error("open", path))?;
        let (connection, copy) = match connect(&path, "") {
            Ok(connection) => (connection, None),
            Err(error) if needs_writable_folder(&error) => connect_without_writing(&path)?,
            Err(error) => return Err(store_error(&path)(error)),
        };
        store::check_format(&connection, &path)?;
        Ok(Self { connection, path, _copy: copy })
    }

    /// The entries that `filter` selects, in order. What is appended meanwhile
    /// may be among them.
    pub fn entries(&self, filter: &Filter) -> Entries<'_> {
        Entries { reader: self, filter: filter.clone(), bounds: None, page: VecDeque::new(), is_last: false }
    }

    /// The place of the first entry at or after `time`: times rise along the chain.
    fn first_since(&self, time: Timestamp) -> rusqlite::Result<u64> {
        let time = format!("{time:.9}");
        let (mut low, mut high) = (0, store::read_head(&self.connection)?.0);
        let mut statement =
            self.connection.prepare_cached("SELECT body ->> '$.time' FROM entries WHERE seq = ?1")?;
        while low < high {
            let middle = low + (high - low) / 2;
            let found: Option<String> =
                statement.query_row([middle.cast_signed()], |row| row.get(0)).optional()?.flatten();
            if found.is_some_and(|found| found < time) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// The sequence numbers between which the filter's times are.
    fn bounds(&self, filter: &Filter) -> rusqlite::Result<Range<u64>> {
        let since = filter.since.map_or(Ok(0), |time| self.first_since(time))?;
        let until = filter.until.map_or(Ok(u64::MAX), |time| self.first_since(time))?;
        Ok(since.max(filter.since_seq)..until)
    }

    /// The entry at `seq`, or `None` beyond the end.
    pub fn entry(&self, seq: u64) -> Result<Option<Entry>, LedgerError> {
        let filter = Filter { since_seq: seq, limit: Some(1), ..Filter::default() };
        let entry = self.entries(&filter).next().transpose()?;
        Ok(entry.filter(|entry| entry.seq == seq))
    }

    /// How many entries there are, as the file claims.
    pub fn size(&self) -> Result<u64, LedgerError> {
        let (size, _) = store::read_head(&self.connection).map_err(store_error(&self.path))?;
        Ok(size)
    }

    /// The newest signed checkpoint.
    pub fn newest_checkpoint(&self) -> Result<Option<SignedNote>, LedgerError> {
        let newest = store::newest_checkpoint(&self.connection).map_err(store_error(&self.path))?;
        newest.map_or(Ok(None), |size| self.checkpoint_of(size))
    }

    /// The newest signed checkpoint, and the tree that it is of.
    pub fn newest_head(&self) -> Result<Option<(SignedNote, TreeHead)>, LedgerError> {
        let Some(note) = self.newest_checkpoint()? else { return Ok(None) };
        let head = note.text().parse().map_err(|error: TreeHeadError| {
            self.damaged(&format!("the newest checkpoint is not one: {error}"))
        })?;
        Ok(Some((note, head)))
    }

    /// The signed checkpoint of the tree with `size` entries, with what witnesses have signed of it.
    pub fn checkpoint_of(&self, size: u64) -> Result<Option<SignedNote>, LedgerError> {
        let error = store_error(&self.path);
        let Some(note) = store::checkpoint(&self.connection, size).map_err(&error)? else { return Ok(None) };
        let wrong =
            |cause| self.damaged(&format!("the checkpoint of {size} entries is no signed note: {cause}"));
        let mut note: SignedNote = note.parse().map_err(wrong)?;
        for line in store::cosignatures(&self.connection, size).map_err(&error)? {
            line.parse().and_then(|signature| note.add(signature)).map_err(wrong)?;
        }
        Ok(Some(note))
    }

    /// The key that this ledger's checkpoints are signed with, where it is at hand.
    pub fn verifier_key(&self) -> Result<Option<VerifierKey>, LedgerError> {
        Ok(key::existing(&self.path)?.map(|key| key.verifier()))
    }

    fn page(
        &self,
        filter: &Filter,
        bounds: &Range<u64>,
    ) -> rusqlite::Result<VecDeque<Result<Entry, LedgerError>>> {
        let (query, parameters) = query(filter, bounds);
        let mut statement = self.connection.prepare_cached(&query)?;
        let parameters: Vec<&dyn ToSql> = parameters.iter().map(AsRef::as_ref).collect();
        let rows = statement.query_map(&*parameters, |row| {
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            let entry = decode(row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?);
            Ok(entry.map_err(|fault| LedgerError::Entry { seq, fault }))
        })?;
        rows.collect()
    }
}

fn decode(this_hash: ValueRef<'_>, body: ValueRef<'_>, detail: ValueRef<'_>) -> Result<Entry, Malformed> {
    let this_hash = this_hash.as_blob().ok().and_then(|bytes| bytes.try_into().ok());
    let this_hash = Hash(this_hash.ok_or(Malformed::Field("this_hash"))?);
    let text = chain::read(body.as_str().map_err(|_| Malformed::NotCanonical)?, this_hash)?;
    let detail = detail.as_str_or_null().map_err(|_| Malformed::Field("detail"))?;
    let detail = detail.map(|detail| entry::detail(&text, detail)).transpose()?;
    entry::entry(&text, this_hash, detail)
}

fn query(filter: &Filter, bounds: &Range<u64>) -> (String, Vec<Box<dyn ToSql>>) {
    let mut query = "SELECT seq, this_hash, body, detail FROM entries WHERE seq >= ? AND seq < ?".to_owned();
    let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let mut parameters: Vec<Box<dyn ToSql>> =
        vec![Box::new(bound(bounds.start)), Box::new(bound(bounds.end))];
    let mut restrict = |condition: &str, value: Option<Box<dyn ToSql>>| {
        if let Some(value) = value {
            let _ = write!(query, " AND {condition}");
            parameters.push(value);
        }
    };
    restrict("run_id = ?", filter.run_id.map(|id| Box::new(*id.as_bytes()) as Box<dyn ToSql>));
    restrict("op = ?", filter.op.clone().map(|op| Box::new(op) as Box<dyn ToSql>));
    // The index has no permits, and is used only where that is said.
    let refused = "decision = ? AND decision <> 'Permit'";
    let condition = if filter.decision == Some(Decision::Permit) { "decision = ?" } else { refused };
    restrict(condition, filter.decision.map(|decision| Box::new(decision.name()) as Box<dyn ToSql>));
    restrict("instr(body || coalesce(detail, ''), ?) > 0", filter.text.as_deref().map(escaped));
    let order = if filter.newest { "DESC" } else { "ASC" };
    let _ = write!(query, " ORDER BY seq {order} LIMIT ?");
    parameters.push(Box::new(filter.limit.unwrap_or(PAGE).min(PAGE).cast_signed()));
    (query, parameters)
}

/// A text as it stands inside a string of JSON.
fn escaped(text: &str) -> Box<dyn ToSql> {
    let mut quoted = String::new();
    json::write_string(text, &mut quoted);
    Box::new(quoted[1..quoted.len() - 1].to_owned())
}

/// Entries in order; see [`Reader::entries`].
pub struct Entries<'a> {
    reader: &'a Reader,
    filter: Filter,
    /// What is left, once it is known.
    bounds: Option<Range<u64>>,
    page: VecDeque<Result<Entry, LedgerError>>,
    is_last: bool,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.is_last
            && let Err(error) = self.turn()
        {
            self.is_last = true;
            return Some(Err(error));
        }
        self.page.pop_front()
    }
}

impl Entries<'_> {
    fn turn(&mut self) -> Result<(), LedgerError> {
        let error = store_error(&self.reader.path);
        let mut bounds = match self.bounds.take() {
            Some(bounds) => bounds,
            None => self.reader.bounds(&self.filter).map_err(&error)?,
        };
        self.page = self.reader.page(&self.filter, &bounds).map_err(&error)?;
        let count = self.page.len() as u64;
        self.is_last = count < PAGE;
        if let Some(limit) = &mut self.filter.limit {
            *limit -= count;
        }
        let last = match self.page.back() {
            Some(Ok(entry)) => Some(entry.seq),
            Some(Err(LedgerError::Entry { seq, .. })) => Some(*seq),
            _ => None,
        };
        match last {
            Some(last) if self.filter.newest => bounds.end = last,
            Some(last) => bounds.start = last + 1,
            None => {}
        }
        self.bounds = Some(bounds);
        Ok(())
    }
}

const PAGE: u64 = 256;

fn connect(path: &Path, parameters: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(uri(path, parameters), flags)?;
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

/// SQLite reads a file in WAL mode through an index that it creates beside it.
fn needs_writable_folder(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

/// Reads the file alone when it has no write-ahead log, else a private copy of both.
fn connect_without_writing(path: &Path) -> Result<(Connection, Option<TempDir>), LedgerError> {
    let log = with_suffix(path, "-wal");
    let has_log = fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0);
    if !has_log {
        return Ok((connect(path, "?immutable=1").map_err(store_error(path))?, None));
    }
    let folder = tempfile::tempdir().map_err(io_error("create a temporary copy of", path))?;
    let copy = folder.path().join("ledger");
    fs::copy(path, &copy).map_err(io_error("copy", path))?;
    fs::copy(&log, with_suffix(&copy, "-wal")).map_err(io_error("copy", &log))?;
    Ok((connect(&copy, "").map_err(store_error(path))?, Some(folder)))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
