//! On a server nothing is changed by whoever may append, nor by the owner of the tables by mistake.

use crate::{common::open, place::Place};
use postgres::error::SqlState;
use vantio_ledger::{Ledger, Options, Reader, Terms};

const TABLES: [&str; 6] = ["log", "entries", "leaves", "tiles", "checkpoints", "cosignatures"];

/// Statements that would change what is written, on one table.
fn changes(table: &str) -> Vec<String> {
    let column = match table {
        "log" => "format",
        "entries" => "op",
        "leaves" => "idx",
        "tiles" => "root",
        "checkpoints" => "note",
        _ => "line",
    };
    vec![
        format!("UPDATE {table} SET {column} = {column}"),
        format!("UPDATE {table} SET {column} = {column} WHERE false"),
        format!("DELETE FROM {table}"),
        format!("DELETE FROM {table} WHERE false"),
        format!("TRUNCATE {table}"),
        format!("TRUNCATE {table} CASCADE"),
        format!("SELECT * FROM {table} FOR UPDATE"),
        format!("MERGE INTO {table} t USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE"),
    ]
}

#[test]
fn the_restricted_role_may_append_and_nothing_else() {
    let place = Place::server();
    place.fill(300);
    let mut client = place.client("writer");
    // The server answers with a warning, and grants nothing.
    client.batch_execute("GRANT UPDATE, DELETE, TRUNCATE ON entries TO writer").unwrap();
    let mut refused = |statement: &str| {
        let error = client.batch_execute(statement).expect_err(statement);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
    };
    for table in TABLES {
        for change in changes(table) {
            refused(&change);
        }
        refused(&format!("DROP TABLE {table}"));
        refused(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL"));
        refused(&format!("ALTER TABLE {table} DISABLE TRIGGER refuse"));
        refused(&format!("ALTER TABLE {table} ADD COLUMN more text"));
        refused(&format!("ALTER TABLE {table} OWNER TO writer"));
        refused(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"));
        refused(&format!("DROP TRIGGER refuse ON {table}"));
        refused(&format!("CREATE RULE r AS ON INSERT TO {table} DO INSTEAD NOTHING"));
        refused(&format!("CREATE TRIGGER t BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()"));
    }
    for statement in [
        "INSERT INTO entries SELECT * FROM entries ON CONFLICT (writer, seq) DO UPDATE SET op = 'x'",
        "INSERT INTO tiles SELECT * FROM tiles ON CONFLICT (id) DO UPDATE SET hashes = ''",
        "INSERT INTO log SELECT gen_random_uuid(), 2",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION vantio.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TABLE vantio.more (x int)",
        "DROP SCHEMA vantio CASCADE",
        "SET ROLE owner",
        "COPY entries FROM PROGRAM 'cat /dev/null'",
        "COPY entries TO '/tmp/entries'",
        "ALTER SYSTEM SET fsync = off",
        "DO $$ BEGIN EXECUTE 'DELETE FROM vantio.entries'; END $$",
        "WITH gone AS (DELETE FROM entries RETURNING *) SELECT * FROM gone",
        "DO $$ BEGIN LOCK TABLE vantio.entries IN ACCESS EXCLUSIVE MODE; END $$",
        "CREATE INDEX i ON entries (pg_sleep(1)) WHERE false",
        "REINDEX TABLE entries",
        "CLUSTER entries USING entries_pkey",
    ] {
        refused(statement);
    }
    assert_eq!(place.verify().unwrap().size, 300);
}

#[test]
fn a_copy_appends_only_at_the_end_of_a_chain() {
    let place = Place::server();
    place.fill(5);
    for role in ["writer", "owner"] {
        let mut client = place.client(role);
        let line = client
            .query_one("SELECT writer || E'\\t2\\t' || run_id || E'\\top\\t\\\\N\\t\\\\N\\t\\\\\\\\x00\\tb\\t\\\\N\\n' FROM entries LIMIT 1", &[])
            .unwrap()
            .get::<_, String>(0);
        let mut copy = client.copy_in("COPY entries FROM STDIN").unwrap();
        std::io::Write::write_all(&mut copy, line.as_bytes()).unwrap();
        let error = copy.finish().unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::RAISE_EXCEPTION), "{error:?}");
    }
    assert_eq!(place.verify().unwrap().size, 5);
}

#[test]
fn the_owner_and_a_superuser_are_refused_too() {
    let place = Place::server();
    place.fill(300);
    for (role, before) in
        [("owner", ""), ("postgres", ""), ("postgres", "SET session_replication_role = replica")]
    {
        let mut client = place.client(role);
        client.batch_execute(before).unwrap();
        let mut refused = |statement: &str| {
            let error = client.batch_execute(statement).expect_err(statement);
            assert_eq!(error.code(), Some(&SqlState::RAISE_EXCEPTION), "{role}: {statement}: {error:?}");
            assert!(
                error.to_string().contains("append-only") || format!("{error:?}").contains("append-only")
            );
        };
        for table in TABLES {
            for change in changes(table) {
                if !change.contains("FOR UPDATE") {
                    refused(&change);
                }
            }
        }
        refused("INSERT INTO entries SELECT * FROM entries WHERE seq = 0");
        refused(
            "INSERT INTO entries SELECT * FROM entries WHERE seq = 0 ON CONFLICT (writer, seq) DO UPDATE SET op = 'x'",
        );
        refused("INSERT INTO tiles SELECT * FROM tiles ON CONFLICT (id) DO UPDATE SET hashes = ''");
        refused("INSERT INTO leaves SELECT idx + 1000, writer, seq + 1000 FROM leaves LIMIT 1");
    }
    let error = place.client("owner").batch_execute("SET session_replication_role = replica").unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{error:?}");
    assert_eq!(place.verify().unwrap().size, 300);
}

#[test]
fn protection_that_the_owner_took_away_is_reported() {
    for (statement, object) in [
        ("ALTER TABLE entries DISABLE TRIGGER refuse", "trigger refuse on entries"),
        ("ALTER TABLE tiles ENABLE REPLICA TRIGGER refuse", "trigger refuse on tiles"),
        ("DROP TRIGGER next_entry ON entries", "trigger next_entry on entries"),
        ("CREATE TRIGGER t AFTER INSERT ON entries EXECUTE FUNCTION refuse()", "trigger t on entries"),
        (
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS 'BEGIN RETURN NULL; END'",
            "function refuse",
        ),
        ("DROP INDEX entries_by_op", "index entries_by_op"),
        ("CREATE RULE r AS ON INSERT TO entries DO INSTEAD NOTHING", "table entries"),
        ("ALTER TABLE entries ENABLE ROW LEVEL SECURITY", "table entries"),
        ("GRANT UPDATE ON entries TO vantio_writer", "privilege UPDATE on entries"),
        ("GRANT TRUNCATE ON tiles TO PUBLIC", "privilege TRUNCATE on tiles"),
        ("CREATE VIEW more AS SELECT * FROM entries", "relation more"),
        ("DROP TABLE cosignatures", "index cosignatures_pkey"),
    ] {
        let place = Place::server();
        place.fill(1);
        place.client("owner").batch_execute(statement).unwrap();
        let said = format!("the definition of `{object}` was changed");
        let error = Ledger::open_at(&place.location, Options::default()).unwrap_err();
        assert_eq!(error.code(), "E_LEDGER_UNPROTECTED", "{statement}: {error}");
        assert!(error.to_string().contains(&said), "{statement}: {error}");
        let mut reader = place.client("owner");
        if reader.query("SELECT FROM pg_class WHERE relname = 'more'", &[]).unwrap().is_empty()
            && !statement.contains("ROW LEVEL")
        {
            let error = place.verify().unwrap_err();
            assert!(error.to_string().contains(&said), "{statement}: {error}");
        }
    }
}

#[test]
fn whoever_may_only_read_reads_and_verifies_but_does_not_append() {
    let place = Place::server();
    place.fill(10);
    place
        .client("owner")
        .batch_execute(
            "GRANT USAGE ON SCHEMA vantio TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA vantio TO reader",
        )
        .unwrap();
    let reader = Reader::open_at(&place.of("reader")).unwrap();
    assert_eq!(reader.verify(&Terms::default()).unwrap().size, 10);
    let ledger = Ledger::open_at(&place.of("reader"), Options::default()).unwrap();
    assert_eq!(ledger.append(open(0)).unwrap_err().code(), "E_LEDGER_READ_ONLY");
}

#[test]
fn a_role_that_may_not_make_the_tables_is_told_so() {
    let place = Place::bare(&postgres_server::Server::shared());
    let error = Ledger::open_at(&place.location, Options::default()).unwrap_err();
    assert_eq!(error.code(), "E_LEDGER_NOT_FOUND", "{error}");
    let ledger = Ledger::open_at(&place.of("owner"), Options::default()).unwrap();
    assert_eq!(ledger.append(open(0)).unwrap().seq, 0, "the owner makes them at first");
}
