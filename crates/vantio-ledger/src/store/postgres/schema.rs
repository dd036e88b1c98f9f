//! The tables on a server, who may do what with them, and the refusal of other ones.

use std::path::Path;

use jiff::Timestamp;
use postgres::{Client, GenericClient, error::SqlState};
use uuid::Uuid;

use super::server_error;
use crate::{LedgerError, clock::Clock, entry::FORMAT};

/// Only one maker of the tables at a time ("Vantmake").
const LOCK: i64 = 0x5661_6e74_6d61_6b65;

const TABLES: [&str; 6] = ["log", "entries", "leaves", "tiles", "checkpoints", "cosignatures"];

/// Everything but the triggers that refuse, which every table has.
const SCHEMA: &str = r"
CREATE SCHEMA vantio;
CREATE TABLE vantio.log (id uuid PRIMARY KEY, format bigint NOT NULL);
CREATE TABLE vantio.entries (
    writer uuid NOT NULL, seq bigint NOT NULL, run_id uuid NOT NULL, op text NOT NULL, decision text,
    record_id uuid, this_hash bytea NOT NULL, body text NOT NULL, detail text, PRIMARY KEY (writer, seq));
CREATE INDEX entries_by_run ON vantio.entries (run_id);
CREATE INDEX entries_by_op ON vantio.entries (op);
CREATE INDEX entries_by_decision ON vantio.entries (decision) WHERE decision <> 'Permit';
CREATE UNIQUE INDEX entries_by_record ON vantio.entries (record_id) WHERE record_id IS NOT NULL;
CREATE TABLE vantio.leaves (
    idx bigint PRIMARY KEY, writer uuid NOT NULL, seq bigint NOT NULL, UNIQUE (writer, seq));
CREATE TABLE vantio.tiles (id bigint PRIMARY KEY, hashes bytea NOT NULL, root bytea NOT NULL);
CREATE TABLE vantio.checkpoints (size bigint PRIMARY KEY, note text NOT NULL);
CREATE TABLE vantio.cosignatures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, size bigint NOT NULL, line text NOT NULL);
";

/// The functions behind the triggers, by their names.
const FUNCTIONS: [(&str, &str); 3] = [
    ("refuse", "BEGIN RAISE EXCEPTION 'the ledger is append-only: % of %', TG_OP, TG_TABLE_NAME; END"),
    (
        "next_entry",
        "BEGIN IF NEW.seq IS DISTINCT FROM \
         (SELECT coalesce(max(seq) + 1, 0) FROM vantio.entries WHERE writer = NEW.writer) \
         THEN RAISE EXCEPTION 'the ledger is append-only: INSERT out of order'; END IF; RETURN NEW; END",
    ),
    (
        "next_leaf",
        "BEGIN IF NEW.idx IS DISTINCT FROM (SELECT coalesce(max(idx) + 1, 0) FROM vantio.leaves) \
         THEN RAISE EXCEPTION 'the ledger is append-only: INSERT out of order'; END IF; RETURN NEW; END",
    ),
];

/// The role that writers get: it may append and read.
const GRANTS: &str = r"
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vantio_writer') THEN
        CREATE ROLE vantio_writer NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT USAGE ON SCHEMA vantio TO vantio_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA vantio TO vantio_writer;
GRANT INSERT ON vantio.entries, vantio.leaves, vantio.tiles, vantio.checkpoints, vantio.cosignatures
    TO vantio_writer;
";

/// The log in the tables. A role that may make them does so where they are not there yet.
pub(super) fn open_or_make(client: &mut Client, name: &Path) -> Result<Uuid, LedgerError> {
    let error = server_error(name);
    client.batch_execute("SET search_path = pg_catalog").map_err(&error)?;
    if is_missing(client).map_err(&error)? {
        make(client).map_err(|source| match source.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => LedgerError::NotFound { path: name.into() },
            _ => error(source),
        })?;
    }
    open(client, name)
}

/// The log in the tables, which must be there.
pub(super) fn open(client: &mut Client, name: &Path) -> Result<Uuid, LedgerError> {
    let error = server_error(name);
    client.batch_execute("SET search_path = pg_catalog").map_err(&error)?;
    if is_missing(client).map_err(&error)? {
        return Err(LedgerError::NotFound { path: name.into() });
    }
    let rows = client.query("SELECT id, format FROM vantio.log", &[]).map_err(&error)?;
    let [row] = &rows[..] else { return Err(LedgerError::NotALedger { path: name.into() }) };
    match row.try_get(1).map_err(&error)? {
        FORMAT => row.try_get(0).map_err(&error),
        found => Err(LedgerError::Version { path: name.into(), found, known: FORMAT }),
    }
}

fn is_missing(client: &mut impl GenericClient) -> Result<bool, postgres::Error> {
    client.query_one("SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'vantio')", &[])?.try_get(0)
}

fn make(client: &mut Client) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    if !is_missing(&mut transaction)? {
        return Ok(());
    }
    transaction.batch_execute(SCHEMA)?;
    for (name, body) in FUNCTIONS {
        transaction.batch_execute(&format!(
            "CREATE FUNCTION vantio.{name}() RETURNS trigger LANGUAGE plpgsql \
             SET search_path = pg_catalog AS $vantio${body}$vantio$"
        ))?;
    }
    transaction.batch_execute(
        "CREATE TRIGGER next_entry BEFORE INSERT ON vantio.entries \
         FOR EACH ROW EXECUTE FUNCTION vantio.next_entry(); \
         CREATE TRIGGER next_leaf BEFORE INSERT ON vantio.leaves \
         FOR EACH ROW EXECUTE FUNCTION vantio.next_leaf(); \
         ALTER TABLE vantio.entries ENABLE ALWAYS TRIGGER next_entry; \
         ALTER TABLE vantio.leaves ENABLE ALWAYS TRIGGER next_leaf",
    )?;
    // For statements, so that one that finds no row is refused too, and an upsert that finds none.
    for table in TABLES {
        transaction.batch_execute(&format!(
            "CREATE TRIGGER refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON vantio.{table} \
             FOR EACH STATEMENT EXECUTE FUNCTION vantio.refuse(); \
             ALTER TABLE vantio.{table} ENABLE ALWAYS TRIGGER refuse"
        ))?;
    }
    let id = Clock::after(Timestamp::UNIX_EPOCH, None).record_id(Timestamp::now()).unwrap_or_default();
    transaction.execute("INSERT INTO vantio.log (id, format) VALUES ($1, $2)", &[&id, &FORMAT])?;
    transaction.batch_execute(GRANTS)?;
    transaction.commit()
}

/// Refuses a server that acknowledges what is not on its disk, or cannot keep every text.
pub(super) fn check_settings(client: &mut Client, name: &Path) -> Result<(), LedgerError> {
    for (setting, wanted) in [("fsync", "on"), ("full_page_writes", "on"), ("server_encoding", "UTF8")] {
        let row = client.query_one("SELECT current_setting($1)", &[&setting]).map_err(server_error(name))?;
        let found: String = row.try_get(0).map_err(server_error(name))?;
        if found != wanted {
            return Err(LedgerError::Setting { path: name.into(), setting, wanted, found });
        }
    }
    Ok(())
}

/// Everything that is not as [`make`] made it, by name.
const CHANGED: &str = r"
WITH tables AS (
    SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.relpersistence, c.relhasrules, c.relacl, c.relowner
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'vantio' AND c.relkind NOT IN ('i', 'S')),
triggers AS (
    SELECT t.relname, g.tgname, g.tgtype, g.tgenabled, g.tgqual, g.tgnargs, g.tgattr::text AS columns, p.proname,
        p.pronamespace = 'vantio'::regnamespace AS is_ours
    FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid JOIN pg_proc p ON p.oid = g.tgfoid),
wanted AS (
    SELECT relname, 'refuse' AS tgname, 58 AS tgtype FROM unnest($1::text[]) AS relname
    UNION ALL SELECT 'entries', 'next_entry', 7 UNION ALL SELECT 'leaves', 'next_leaf', 7)
SELECT object FROM (
    SELECT 'table ' || w AS object FROM unnest($1::text[]) AS w
    WHERE NOT EXISTS (SELECT FROM tables t WHERE t.relname = w AND t.relkind = 'r' AND t.relpersistence = 'p'
        AND NOT t.relrowsecurity AND NOT t.relhasrules)
    UNION ALL SELECT 'relation ' || relname FROM tables WHERE relname <> ALL ($1)
    UNION ALL SELECT 'trigger ' || w.tgname || ' on ' || w.relname FROM wanted w
    WHERE NOT EXISTS (SELECT FROM triggers t WHERE t.relname = w.relname AND t.tgname = w.tgname
        AND t.tgtype = w.tgtype AND t.tgenabled = 'A' AND t.tgqual IS NULL AND t.tgnargs = 0 AND t.columns = ''
        AND t.proname = t.tgname AND t.is_ours)
    UNION ALL SELECT 'trigger ' || t.tgname || ' on ' || t.relname FROM triggers t
    WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.relname = t.relname AND w.tgname = t.tgname)
    UNION ALL SELECT 'function ' || f FROM unnest($2::text[], $3::text[]) AS wanted (f, source)
    WHERE NOT EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'vantio'::regnamespace AND p.proname = f AND p.prosrc = source
        AND l.lanname = 'plpgsql' AND p.proconfig = ARRAY['search_path=pg_catalog'])
    UNION ALL SELECT 'function ' || p.proname FROM pg_proc p
    WHERE p.pronamespace = 'vantio'::regnamespace AND p.proname <> ALL ($2)
    UNION ALL SELECT 'index ' || i.indexrelid::regclass FROM pg_index i JOIN tables t ON t.oid = i.indrelid
    WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
    UNION ALL SELECT 'index ' || w FROM unnest($4::text[]) AS w
    WHERE NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN tables t ON t.oid = i.indrelid WHERE c.relname = w)
    UNION ALL SELECT 'privilege ' || a.privilege_type || ' on ' || t.relname
    FROM tables t, aclexplode(t.relacl) a
    WHERE a.grantee <> t.relowner AND a.privilege_type NOT IN ('SELECT', 'INSERT')
) AS changed ORDER BY object LIMIT 1
";

const INDEXES: [&str; 10] = [
    "checkpoints_pkey",
    "cosignatures_pkey",
    "entries_by_decision",
    "entries_by_op",
    "entries_by_record",
    "entries_by_run",
    "entries_pkey",
    "leaves_pkey",
    "leaves_writer_seq_key",
    "tiles_pkey",
];

/// Refuses tables, triggers, functions and privileges that are not exactly ours.
pub(super) fn check(client: &mut Client, name: &Path) -> Result<(), LedgerError> {
    let (functions, sources): (Vec<_>, Vec<_>) = FUNCTIONS.into_iter().unzip();
    let row = client
        .query_opt(CHANGED, &[&&TABLES[..], &functions, &sources, &&INDEXES[..]])
        .map_err(server_error(name))?;
    match row {
        None => Ok(()),
        Some(row) => {
            let object = row.try_get(0).map_err(server_error(name))?;
            Err(LedgerError::Unprotected { path: name.into(), object })
        }
    }
}
