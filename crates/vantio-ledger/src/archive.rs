//! Closing a ledger and going on with another, so that what is kept for years is not all in one file.
//!
//! A closed ledger ends with the entry `ledger.end`, which names the key of its successor; the
//! successor begins with `ledger.begin`, which names its predecessor's key, size and root. So each
//! vouches for the other, and nothing is ever taken out of a tree. The closed one's own key is
//! deleted, so nobody signs another history of it; its file stays, read-only, beside its verifier key.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use vantio_core::{Hash, RunId, json::Value};

use crate::{
    Draft, Entry, Filter, Ledger, LedgerError, Options, Reader, key,
    ledger::append_alone,
    note::{TreeHead, VerifierKey},
    store::{Store as _, io_error, sqlite},
    whole::{self, remove},
};

/// The operation of a closed ledger's last entry.
pub(crate) const END: &str = "ledger.end";
/// The operation of the first entry of a ledger that continues another.
const BEGIN: &str = "ledger.begin";
/// The operation that tells of an archive's removal.
const EXPIRE: &str = "ledger.expire";

/// How long an archive is kept, in days: seven years.
pub const RETENTION_DAYS: i64 = 2557;

/// A ledger that was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its file.
    pub path: PathBuf,
    /// The times of its first and its last entry.
    pub period: (Timestamp, Timestamp),
    /// Its last checkpoint, which covers all of it.
    pub head: TreeHead,
    /// What its checkpoints are verified with.
    pub key: VerifierKey,
}

impl Archive {
    /// Until when it is kept.
    pub fn kept_until(&self) -> Timestamp {
        let kept = SignedDuration::from_hours(24 * RETENTION_DAYS);
        self.period.1.checked_add(kept).unwrap_or(Timestamp::MAX)
    }
}

/// The run of entries that belong to none.
pub fn no_run() -> RunId {
    RunId::new(0, [0; 10])
}

/// Closes the ledger in the file `path`, moves it into the folder `archive` beside it, and begins
/// another in its place. `None` when nothing was written since it began.
///
/// Every step can be repeated: after a crash the next call goes on where this one stopped.
///
/// # Errors
///
/// [`LedgerError::Busy`] while another process has the ledger open; then nothing was changed.
pub fn archive(path: &Path, options: Options) -> Result<Option<Archive>, LedgerError> {
    let path = &path.canonicalize().map_err(io_error("open", path))?;
    let next = &successor_of(path);
    settle(next)?;
    let mut ledger = sqlite::Appender::open_alone(path, options.busy)?;
    let newest = ledger.newest_op()?;
    if ledger.size() == 0 || (ledger.size() == 1 && newest.as_deref() == Some(BEGIN)) {
        return Ok(None);
    }
    if newest.as_deref() != Some(END) {
        let successor = key::open_or_make(&key::beside(next), options.domain)?.verifier();
        let request = Value::object([("next", Value::from(successor.to_string()))]);
        append_alone(&mut ledger, draft(END, request), &options)?;
    }
    // Where the successor's key is in place already, all but the exchange was done before.
    if key::existing(&key::beside(next))?.is_some() {
        let own = ledger.key(options.domain)?;
        ledger.checkpoint(&own)?;
        begin(next, &own.verifier(), &ledger.newest_head()?, options)?;
        write_public(&key::public_beside(next), &own.verifier())?;
        rename(&key::beside(next), &key::beside(path))?;
    }
    renameat_with(CWD, next, CWD, path, RenameFlags::EXCHANGE)
        .map_err(|error| io_error("exchange", path)(error.into()))?;
    sync_folder(path)?;
    drop(ledger);
    settle(next)
}

/// The archives of the ledger in the file `path`, the oldest first.
pub fn archives(path: &Path) -> Result<Vec<Archive>, LedgerError> {
    let mut archives =
        archived(path, "db")?.iter().map(|file| describe(file)).collect::<Result<Vec<_>, _>>()?;
    archives.sort_by_key(|archive| archive.period);
    Ok(archives)
}

/// The files of one kind in the folder of archives.
fn archived(path: &Path, kind: &str) -> Result<Vec<PathBuf>, LedgerError> {
    let folder = folder_of(path);
    let files = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => {
            files.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(io_error("read", &folder))?
        }
    };
    let files = files.into_iter().map(|file| file.path());
    Ok(files.filter(|file| file.extension() == Some(OsStr::new(kind))).collect())
}

/// Removes the archives that are kept no longer at `now`; the ledger in the file `path` tells of each
/// before it goes.
pub fn expire(path: &Path, now: Timestamp, options: Options) -> Result<Vec<Archive>, LedgerError> {
    let told = told_expired(path)?;
    remove_spare_keys(path, &told)?;
    let mut expired = archives(path)?;
    expired.retain(|archive| archive.kept_until() < now);
    if expired.is_empty() {
        return Ok(expired);
    }
    let ledger = Ledger::open_with(path, options)?;
    for Archive { path, head, key, .. } in &expired {
        if !told.contains(&key.to_string()) {
            ledger.append(draft(EXPIRE, named(key, head)))?;
        }
        remove(path)?;
        remove(&key::public_beside(path))?;
        sync_folder(path)?;
    }
    Ok(expired)
}

/// The keys of the archives whose removal the ledger in the file `path` tells of: one may have been cut off there.
fn told_expired(path: &Path) -> Result<HashSet<String>, LedgerError> {
    let reader = match Reader::open(path) {
        Err(LedgerError::NotFound { .. }) => return Ok(HashSet::new()),
        reader => reader?,
    };
    let filter = Filter { op: Some(EXPIRE.into()), ..Filter::default() };
    let keys = reader.entries(&filter).map(|entry| Ok(entry?.request().text("key").map(str::to_owned)));
    keys.filter_map(Result::transpose).collect()
}

/// Removes the keys of archives that were removed themselves.
fn remove_spare_keys(path: &Path, told: &HashSet<String>) -> Result<(), LedgerError> {
    for public in archived(path, "vkey")?.iter().filter(|public| !public.with_extension("db").exists()) {
        if key::public(public)?.is_some_and(|key| told.contains(&key.to_string())) {
            remove(public)?;
        }
    }
    Ok(())
}

impl Reader {
    /// The key of this ledger, where its closing was cut off after its successor's key was put in the place of its own.
    pub(crate) fn key_set_aside(&self) -> Result<Option<VerifierKey>, LedgerError> {
        key::public(&key::public_beside(&successor_of(&self.path)))
    }

    /// The key of the ledger that this one says to continue, and of the one that continues it.
    pub fn neighbours(&self) -> Result<[Option<String>; 2], LedgerError> {
        let named = |entry: Option<Entry>, op, member| {
            let entry = entry.filter(|entry| entry.op == op)?;
            entry.request().text(member).map(str::to_owned)
        };
        Ok([named(self.entry(0)?, BEGIN, "key"), named(newest(self)?, END, "next")])
    }
}

/// Begins the successor of a ledger.
fn begin(next: &Path, key: &VerifierKey, head: &TreeHead, options: Options) -> Result<(), LedgerError> {
    let ledger = Ledger::open_with(next, options)?;
    if ledger.reader()?.size()? == 0 {
        ledger.append(draft(BEGIN, named(key, head)))?;
    }
    drop(ledger);
    // What is in a log beside the file would not move with it.
    if sqlite::has_log(next) { Err(LedgerError::Busy { path: next.into() }) } else { Ok(()) }
}

/// Moves a closed ledger that is still at the successor's name to the archives.
fn settle(next: &Path) -> Result<Option<Archive>, LedgerError> {
    let reader = match Reader::open(next) {
        Err(LedgerError::NotFound { .. }) => return tidy(next).map(|()| None),
        reader => reader?,
    };
    if newest(&reader)?.is_none_or(|entry| entry.op != END) {
        return Ok(None);
    }
    drop(reader);
    let found = describe(next)?;
    let folder = folder_of(next);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error("create", &folder))?;
    // What is moved into a folder that is lost is lost.
    sync_folder(&folder)?;
    let end = found.period.1.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let path = folder.join(format!("ledger-{end}-{}.db", &found.head.root().to_string()[..8]));
    fs::set_permissions(next, Permissions::from_mode(0o400)).map_err(io_error("restrict", next))?;
    write_public(&key::public_beside(&path), &found.key)?;
    rename(next, &path)?;
    tidy(next)?;
    Ok(Some(Archive { path, ..found }))
}

/// Removes what belonged to a ledger that was at the successor's name: its key, and a log that a reader left.
fn tidy(next: &Path) -> Result<(), LedgerError> {
    remove(&key::public_beside(next))?;
    sqlite::remove_log(next)
}

fn describe(path: &Path) -> Result<Archive, LedgerError> {
    let reader = Reader::open(path)?;
    let damaged = |detail: &str| LedgerError::Damaged { path: path.into(), detail: detail.into() };
    let first = reader.entry(0)?.ok_or_else(|| damaged("it has no entries"))?;
    let last =
        newest(&reader)?.filter(|entry| entry.op == END).ok_or_else(|| damaged("it was not closed"))?;
    let (_, head) = reader.newest_head()?.ok_or_else(|| damaged("it has no checkpoint"))?;
    let key = reader.verifier_key()?.ok_or_else(|| damaged("the key of its checkpoints is not beside it"))?;
    Ok(Archive { path: path.into(), period: (first.time, last.time), head, key })
}

fn newest(reader: &Reader) -> Result<Option<Entry>, LedgerError> {
    let filter = Filter { newest: true, limit: Some(1), ..Filter::default() };
    reader.entries(&filter).next().transpose()
}

fn named(key: &VerifierKey, head: &TreeHead) -> Value {
    Value::object([
        ("entries", Value::Integer(head.size().cast_signed())),
        ("key", key.to_string().into()),
        ("root", head.root().to_string().into()),
    ])
}

fn draft(op: &str, request: Value) -> Draft {
    Draft {
        run_id: no_run(),
        pid: 0,
        op: op.into(),
        request,
        response: Value::Null,
        keeps_detail: true,
        policy_hash: Hash::ZERO,
        decision: None,
        anomaly: None,
    }
}

/// Where the successor is made, and what it replaces is for a moment.
fn successor_of(path: &Path) -> PathBuf {
    path.with_file_name("ledger-next.db")
}

fn folder_of(path: &Path) -> PathBuf {
    path.with_file_name("archive")
}

fn write_public(path: &Path, key: &VerifierKey) -> Result<(), LedgerError> {
    whole::replace(path, format!("{key}\n").as_bytes())
}

fn rename(from: &Path, to: &Path) -> Result<(), LedgerError> {
    fs::rename(from, to).map_err(io_error("write", to))?;
    sync_folder(to)?;
    sync_folder(from)
}

fn sync_folder(path: &Path) -> Result<(), LedgerError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("write", folder))
}
