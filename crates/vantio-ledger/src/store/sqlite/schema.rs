//! What a ledger's file defines, and the refusal of what it does not.

use std::{fs, path::Path};

use rusqlite::Connection;

use super::store_error;
use crate::{LedgerError, store::io_error};

/// "Vant": marks a SQLite file as a ledger.
pub(super) const APPLICATION_ID: i64 = 0x5661_6e74;

/// The version of what is defined here, which is not that of the entries.
pub(crate) const LAYOUT: i64 = 3;

/// The trigger that refuses a row whose key is there.
macro_rules! once {
    ($table:literal, $key:literal) => {
        (
            concat!($table, "_insert"),
            concat!(
                "CREATE TRIGGER ",
                $table,
                "_insert BEFORE INSERT ON ",
                $table,
                " WHEN EXISTS (SELECT 1 FROM ",
                $table,
                " WHERE ",
                $key,
                " = NEW.",
                $key,
                ") ",
                "BEGIN SELECT raise(ABORT, 'the ledger is append-only: INSERT again'); END"
            ),
        )
    };
}

/// The trigger that refuses to change or to remove a row.
macro_rules! never {
    ($table:literal, $name:literal, $event:literal) => {
        (
            concat!($table, "_", $name),
            concat!(
                "CREATE TRIGGER ",
                $table,
                "_",
                $name,
                " BEFORE ",
                $event,
                " ON ",
                $table,
                " BEGIN SELECT raise(ABORT, 'the ledger is append-only: ",
                $event,
                "'); END"
            ),
        )
    };
}

/// Every object of the schema by name, in order of creation.
///
/// Times rise with sequence numbers, and record identifiers too, so neither
/// needs an index of its own but that of the few entries with a record. `blocks`
/// says which 64 entries have one of a run, of an operation, or with a verdict that
/// is no permit: a row for them all, so that appending seldom adds to it.
pub(super) const SCHEMA: [(&str, &str); 21] = [
    (
        "entries",
        "CREATE TABLE entries (\
         seq INTEGER PRIMARY KEY, run_id BLOB NOT NULL, op TEXT NOT NULL, decision TEXT, record_id BLOB, \
         this_hash BLOB NOT NULL, body TEXT NOT NULL, detail TEXT) STRICT",
    ),
    (
        "entries_by_record",
        "CREATE UNIQUE INDEX entries_by_record ON entries (record_id) WHERE record_id IS NOT NULL",
    ),
    (
        "anomalies",
        "CREATE VIEW anomalies AS SELECT body ->> '$.payload.anomaly.record_id' AS record_id, seq, \
         body ->> '$.run_id' AS run_id, \
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
        "blocks",
        "CREATE TABLE blocks (key ANY NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (key, block)) \
         STRICT, WITHOUT ROWID",
    ),
    // The hashes of a full tile, and their root; `id` is its level times 2^56, plus its index. The root comes first, to
    // be read without the pages of the hashes: whoever opens the ledger reads up to 255 roots a level.
    ("tiles", "CREATE TABLE tiles (id INTEGER PRIMARY KEY, root BLOB NOT NULL, hashes BLOB NOT NULL) STRICT"),
    ("checkpoints", "CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT"),
    (
        "cosignatures",
        "CREATE TABLE cosignatures (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, line TEXT NOT NULL) STRICT",
    ),
    (
        "entries_insert",
        "CREATE TRIGGER entries_insert BEFORE INSERT ON entries \
         WHEN NEW.seq IS NOT (SELECT coalesce(max(seq) + 1, 0) FROM entries) \
         BEGIN SELECT raise(ABORT, 'the ledger is append-only: INSERT out of order'); END",
    ),
    once!("tiles", "id"),
    once!("checkpoints", "size"),
    once!("cosignatures", "id"),
    never!("entries", "update", "UPDATE"),
    never!("entries", "delete", "DELETE"),
    never!("blocks", "update", "UPDATE"),
    never!("blocks", "delete", "DELETE"),
    never!("tiles", "update", "UPDATE"),
    never!("tiles", "delete", "DELETE"),
    never!("checkpoints", "update", "UPDATE"),
    never!("checkpoints", "delete", "DELETE"),
    never!("cosignatures", "update", "UPDATE"),
    never!("cosignatures", "delete", "DELETE"),
];

/// What ledgers may have instead that were made when it was defined so. Columns are called by their names.
const BEFORE: [(&str, &str); 1] = [(
    "tiles",
    "CREATE TABLE tiles (id INTEGER PRIMARY KEY, hashes BLOB NOT NULL, root BLOB NOT NULL) STRICT",
)];

/// Refuses what is not a ledger of this format.
pub(super) fn check_format(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    if fs::metadata(path).map_err(io_error("open", path))?.len() == 0 {
        let detail = "it is empty, which a ledger never is".into();
        return Err(LedgerError::Damaged { path: path.into(), detail });
    }
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("application_id").map_err(store_error(path))? != APPLICATION_ID {
        return Err(LedgerError::NotALedger { path: path.into() });
    }
    match pragma("user_version").map_err(store_error(path))? {
        LAYOUT => Ok(()),
        0 => {
            let detail = "its header names no layout, as every ledger's does".into();
            Err(LedgerError::Damaged { path: path.into(), detail })
        }
        found => Err(LedgerError::Version { path: path.into(), found, known: LAYOUT }),
    }
}

/// Refuses a file whose tables, indexes, triggers or views are not exactly ours.
pub(super) fn check_schema(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let unprotected = |object: &str| LedgerError::Unprotected { path: path.into(), object: object.into() };
    let found = read_schema(connection).map_err(store_error(path))?;
    for (name, definition) in &found {
        let object = (name.as_str(), definition.as_str());
        if !SCHEMA.contains(&object) && !BEFORE.contains(&object) {
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
