//! The tables on Spanner, the roles that may use them, and the refusal of other ones.
//!
//! There are no triggers here: that nothing is changed is the business of the roles, which have no
//! UPDATE and no DELETE on anything. See
//! <https://cloud.google.com/spanner/docs/fgac-privileges>.

use google_cloud_lro::Poller as _;
use google_cloud_spanner::{client::Spanner, mutation::Mutation, statement::Statement, types};
use uuid::Uuid;

use super::{
    address::Address,
    connection::{Connection, Failure, endpoint, find, server_error},
    statements::COMMITTED,
};
use crate::{LedgerError, clock::Clock, entry::FORMAT};

/// What is defined, by kind and name, in order of creation.
///
/// Of what the tree stands on no row is ever deleted, so only `anomaly_records`, which repeats what
/// is in the entries, has a row deletion policy. The protocol's DDL asks for `TTL INTERVAL '7 years'
/// ON truetime_commit`, which Spanner does not parse; its own words for that are a row deletion
/// policy, in days (<https://cloud.google.com/spanner/docs/ttl/working-with-ttl>): seven years have
/// at most 2557 of them.
pub(super) const SCHEMA: [(Kind, &str, &str); 12] = [
    (
        Kind::Table,
        "log",
        "CREATE TABLE log (
    id STRING(36) NOT NULL,
    format INT64 NOT NULL,
    committed TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp=true),
) PRIMARY KEY (id)",
    ),
    (
        Kind::Table,
        "entries",
        "CREATE TABLE entries (
    writer STRING(36) NOT NULL,
    seq INT64 NOT NULL,
    run_id STRING(36) NOT NULL,
    op STRING(64) NOT NULL,
    decision STRING(32),
    record_id STRING(36),
    this_hash BYTES(32) NOT NULL,
    body STRING(MAX) NOT NULL,
    detail BYTES(MAX),
    committed TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp=true),
) PRIMARY KEY (writer, seq)",
    ),
    (Kind::Index, "entries_by_run", "CREATE INDEX entries_by_run ON entries (run_id)"),
    (
        Kind::Index,
        "entries_by_record",
        "CREATE UNIQUE NULL_FILTERED INDEX entries_by_record ON entries (record_id)",
    ),
    (
        Kind::Table,
        "leaves",
        "CREATE TABLE leaves (
    idx INT64 NOT NULL,
    writer STRING(36) NOT NULL,
    seq INT64 NOT NULL,
    committed TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp=true),
) PRIMARY KEY (idx)",
    ),
    (Kind::Index, "leaves_by_entry", "CREATE UNIQUE INDEX leaves_by_entry ON leaves (writer, seq)"),
    (
        Kind::Table,
        "tiles",
        "CREATE TABLE tiles (
    id INT64 NOT NULL,
    hashes BYTES(MAX) NOT NULL,
    root BYTES(32) NOT NULL,
    committed TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp=true),
) PRIMARY KEY (id)",
    ),
    (
        Kind::Table,
        "checkpoints",
        "CREATE TABLE checkpoints (
    size INT64 NOT NULL,
    note STRING(MAX) NOT NULL,
    committed TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp=true),
) PRIMARY KEY (size DESC)",
    ),
    (
        Kind::Table,
        "cosignatures",
        "CREATE TABLE cosignatures (
    size INT64 NOT NULL,
    id STRING(36) NOT NULL,
    line STRING(MAX) NOT NULL,
    committed TIMESTAMP NOT NULL OPTIONS (allow_commit_timestamp=true),
) PRIMARY KEY (size, id)",
    ),
    (
        Kind::Table,
        "anomaly_records",
        "CREATE TABLE anomaly_records (
    record_id STRING(36) NOT NULL,
    agent_svid STRING(512) NOT NULL,
    syscall_nr INT64 NOT NULL,
    oracle_decision STRING(32) NOT NULL,
    zk_proof BYTES(MAX) NOT NULL,
    truetime_commit TIMESTAMP NOT NULL
    OPTIONS (allow_commit_timestamp=true),
    entropy_nonce BYTES(32) NOT NULL,
) PRIMARY KEY (record_id),
ROW DELETION POLICY (OLDER_THAN(truetime_commit, INTERVAL 2557 DAY))",
    ),
    (Kind::Role, "vantio_writer", "CREATE ROLE vantio_writer"),
    (Kind::Role, "vantio_reader", "CREATE ROLE vantio_reader"),
];

/// Who may do what. To grant again what is granted changes nothing.
pub(super) const GRANTS: [&str; 2] = [
    "GRANT SELECT ON TABLE log, entries, leaves, tiles, checkpoints, cosignatures, anomaly_records \
     TO ROLE vantio_writer, vantio_reader",
    "GRANT INSERT ON TABLE entries, leaves, tiles, checkpoints, cosignatures, anomaly_records \
     TO ROLE vantio_writer",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Index,
    Role,
}

/// Makes what is not there yet, as whoever may define tables, and begins the log.
pub(super) fn make(connection: &Connection, address: &Address) -> Result<Uuid, LedgerError> {
    let missing = missing(connection, address)?;
    if !missing.is_empty() {
        define(connection, address, missing)?;
    }
    let id = Clock::after(jiff::Timestamp::UNIX_EPOCH, None).record_id(jiff::Timestamp::now())?;
    let begun = connection.write(async |transaction| {
        let found = find(&transaction, "SELECT id FROM log").await?;
        if found.is_empty() {
            let row = Mutation::new_insert_builder("log").set("id").to(id.to_string());
            transaction.buffer([row.set("format").to(FORMAT).set("committed").to(COMMITTED).build()])?;
        }
        Ok(())
    });
    begun.map_err(server_error(&connection.name))?;
    open(connection)
}

/// The log in the tables, which must be there.
pub(super) fn open(connection: &Connection) -> Result<Uuid, LedgerError> {
    let error = server_error(&connection.name);
    let tables =
        "SELECT table_name FROM information_schema.tables WHERE table_schema = '' AND table_name = 'log'";
    if connection.query(Statement::builder(tables).build())?.is_empty() {
        return Err(LedgerError::NotFound { path: connection.name.clone() });
    }
    let found = connection.query(Statement::builder("SELECT id, format FROM log").build())?;
    if found.is_empty() {
        return Err(LedgerError::NotFound { path: connection.name.clone() });
    }
    let [row] = &found[..] else { return Err(LedgerError::NotALedger { path: connection.name.clone() }) };
    match row.get::<i64>(1).map_err(&error)? {
        FORMAT => {
            let id = row.get::<String>(0).map_err(&error)?;
            id.parse().map_err(|_| LedgerError::NotALedger { path: connection.name.clone() })
        }
        found => Err(LedgerError::Version { path: connection.name.clone(), found, known: FORMAT }),
    }
}

/// The statements that define what is not there. The emulator knows no roles.
fn missing(connection: &Connection, address: &Address) -> Result<Vec<&'static str>, LedgerError> {
    let error = server_error(&connection.name);
    let has_roles = address.emulator.is_none();
    let mut names = "SELECT table_name FROM information_schema.tables WHERE table_schema = '' \
                     UNION ALL SELECT index_name FROM information_schema.indexes WHERE table_schema = ''"
        .to_owned();
    if has_roles {
        names.push_str(" UNION ALL SELECT role_name FROM information_schema.roles");
    }
    let found = connection.query(Statement::builder(names).build())?;
    let found: Vec<String> = found.iter().map(|row| row.get(0)).collect::<Result<_, _>>().map_err(&error)?;
    let is_missing = |(kind, name): (Kind, &str)| {
        (has_roles || kind != Kind::Role) && !found.iter().any(|found| found == name)
    };
    let mut missing: Vec<_> = SCHEMA
        .iter()
        .filter(|(kind, name, _)| is_missing((*kind, *name)))
        .map(|(_, _, statement)| *statement)
        .collect();
    if has_roles && !missing.is_empty() {
        missing.extend(GRANTS);
    }
    Ok(missing)
}

/// Has the statements carried out, in their order.
fn define(
    connection: &Connection,
    address: &Address,
    statements: Vec<&'static str>,
) -> Result<(), LedgerError> {
    let defined = connection.wait(async {
        let spanner = Spanner::builder().with_endpoint(endpoint(address)).build().await?;
        let mut admin = spanner.database_admin_builder();
        if let Some(mut emulator) = address.emulator {
            emulator.set_port(emulator.port() + 10);
            admin = admin.with_endpoint(format!("http://{emulator}"));
        }
        let update = admin.build().await?.update_database_ddl();
        let done = update.set_database(&address.database).set_statements(statements).poller().until_done();
        done.await.map_err(Failure::Call)
    });
    defined.map(drop).map_err(|failure| failure.named(&connection.name))
}

/// Everything that says how our tables are defined.
const DEFINED: &str = "\
SELECT CONCAT('table ', t.table_name, ' ', IFNULL(t.row_deletion_policy_expression, 'for ever')) AS object \
FROM information_schema.tables t WHERE t.table_schema = '' AND t.table_name IN UNNEST(@tables) \
UNION ALL \
SELECT CONCAT('column ', c.table_name, '.', c.column_name, ' ', c.spanner_type, IF(c.is_nullable = 'YES', '', ' NOT NULL')) \
FROM information_schema.columns c WHERE c.table_schema = '' AND c.table_name IN UNNEST(@tables) \
UNION ALL \
SELECT CONCAT('option ', o.table_name, '.', o.column_name, ' ', o.option_name, ' ', UPPER(o.option_value)) \
FROM information_schema.column_options o WHERE o.table_schema = '' AND o.table_name IN UNNEST(@tables) \
UNION ALL \
SELECT CONCAT('index ', k.table_name, '.', k.index_name, ' ', k.column_name, ' ', \
IFNULL(CAST(k.ordinal_position AS STRING), 'stored'), ' ', IFNULL(k.column_ordering, ''), IF(i.is_unique, ' unique', ''), \
IF(i.is_null_filtered, ' filtered', '')) \
FROM information_schema.index_columns k JOIN information_schema.indexes i \
ON i.table_schema = k.table_schema AND i.table_name = k.table_name AND i.index_name = k.index_name \
WHERE k.table_schema = '' AND k.table_name IN UNNEST(@tables)";

/// What [`DEFINED`] finds where [`make`] made the tables, but for the commit timestamps.
const WANTED: &[&str] = &[
    "table log for ever",
    "column log.id STRING(36) NOT NULL",
    "column log.format INT64 NOT NULL",
    "column log.committed TIMESTAMP NOT NULL",
    "index log.PRIMARY_KEY id 1 ASC unique",
    "table entries for ever",
    "column entries.writer STRING(36) NOT NULL",
    "column entries.seq INT64 NOT NULL",
    "column entries.run_id STRING(36) NOT NULL",
    "column entries.op STRING(64) NOT NULL",
    "column entries.decision STRING(32)",
    "column entries.record_id STRING(36)",
    "column entries.this_hash BYTES(32) NOT NULL",
    "column entries.body STRING(MAX) NOT NULL",
    "column entries.detail BYTES(MAX)",
    "column entries.committed TIMESTAMP NOT NULL",
    "index entries.PRIMARY_KEY writer 1 ASC unique",
    "index entries.PRIMARY_KEY seq 2 ASC unique",
    "index entries.entries_by_run run_id 1 ASC",
    "index entries.entries_by_record record_id 1 ASC unique filtered",
    "table leaves for ever",
    "column leaves.idx INT64 NOT NULL",
    "column leaves.writer STRING(36) NOT NULL",
    "column leaves.seq INT64 NOT NULL",
    "column leaves.committed TIMESTAMP NOT NULL",
    "index leaves.PRIMARY_KEY idx 1 ASC unique",
    "index leaves.leaves_by_entry writer 1 ASC unique",
    "index leaves.leaves_by_entry seq 2 ASC unique",
    "table tiles for ever",
    "column tiles.id INT64 NOT NULL",
    "column tiles.hashes BYTES(MAX) NOT NULL",
    "column tiles.root BYTES(32) NOT NULL",
    "column tiles.committed TIMESTAMP NOT NULL",
    "index tiles.PRIMARY_KEY id 1 ASC unique",
    "table checkpoints for ever",
    "column checkpoints.size INT64 NOT NULL",
    "column checkpoints.note STRING(MAX) NOT NULL",
    "column checkpoints.committed TIMESTAMP NOT NULL",
    "index checkpoints.PRIMARY_KEY size 1 DESC unique",
    "table cosignatures for ever",
    "column cosignatures.size INT64 NOT NULL",
    "column cosignatures.id STRING(36) NOT NULL",
    "column cosignatures.line STRING(MAX) NOT NULL",
    "column cosignatures.committed TIMESTAMP NOT NULL",
    "index cosignatures.PRIMARY_KEY size 1 ASC unique",
    "index cosignatures.PRIMARY_KEY id 2 ASC unique",
    "table anomaly_records OLDER_THAN(truetime_commit, INTERVAL 2557 DAY)",
    "index anomaly_records.PRIMARY_KEY record_id 1 ASC unique",
    "column anomaly_records.record_id STRING(36) NOT NULL",
    "column anomaly_records.agent_svid STRING(512) NOT NULL",
    "column anomaly_records.syscall_nr INT64 NOT NULL",
    "column anomaly_records.oracle_decision STRING(32) NOT NULL",
    "column anomaly_records.zk_proof BYTES(MAX) NOT NULL",
    "column anomaly_records.truetime_commit TIMESTAMP NOT NULL",
    "column anomaly_records.entropy_nonce BYTES(32) NOT NULL",
];

/// Privileges that nobody has here, by the role that asks.
const EXCESS: &str = "SELECT CONCAT('privilege ', privilege_type, ' on ', table_name) \
FROM information_schema.table_privileges \
WHERE table_schema = '' AND table_name IN UNNEST(@tables) AND privilege_type NOT IN ('SELECT', 'INSERT')";

/// Refuses tables, columns, indexes, row deletion policies and privileges that are not exactly ours.
pub(super) fn check(connection: &Connection, address: &Address) -> Result<(), LedgerError> {
    let error = server_error(&connection.name);
    let tables: Vec<&str> =
        SCHEMA.iter().filter(|(kind, ..)| *kind == Kind::Table).map(|(_, name, _)| *name).collect();
    let ask = |statement: &str| {
        let statement = Statement::builder(statement).add_typed_param(
            "tables",
            tables.clone(),
            types::array(types::string()),
        );
        connection.query(statement.build())
    };
    let mut changed = Vec::new();
    if address.emulator.is_none() {
        changed.extend(ask(EXCESS)?);
    }
    let excess: Vec<String> =
        changed.iter().map(|row| row.get(0)).collect::<Result<_, _>>().map_err(&error)?;
    let found: Vec<String> =
        ask(DEFINED)?.iter().map(|row| row.get(0)).collect::<Result<_, _>>().map_err(&error)?;
    match excess.into_iter().next().or_else(|| difference(&tables, &found)) {
        None => Ok(()),
        Some(object) => Err(LedgerError::Unprotected { path: connection.name.clone(), object }),
    }
}

/// The first object that is there and should not be, or should be and is not.
fn difference(tables: &[&str], found: &[String]) -> Option<String> {
    let stamps = tables.iter().map(|table| {
        let column = if *table == "anomaly_records" { "truetime_commit" } else { "committed" };
        format!("option {table}.{column} allow_commit_timestamp TRUE")
    });
    let wanted: Vec<String> = WANTED.iter().map(|object| (*object).to_owned()).chain(stamps).collect();
    let excess = found.iter().find(|object| !wanted.contains(object));
    let missing = wanted.iter().find(|object| !found.contains(object));
    // "column entries.op" says which.
    excess.or(missing).map(|object| object.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As section 2.1 of the protocol prints it, up to its `TTL`.
    const PROTOCOL: &str = "CREATE TABLE anomaly_records (
record_id STRING(36) NOT NULL,
agent_svid STRING(512) NOT NULL,
syscall_nr INT64 NOT NULL,
oracle_decision STRING(32) NOT NULL,
zk_proof BYTES(MAX) NOT NULL,
truetime_commit TIMESTAMP NOT NULL
OPTIONS (allow_commit_timestamp=true),
entropy_nonce BYTES(32) NOT NULL,
) PRIMARY KEY (record_id),
";

    fn tables() -> Vec<(&'static str, &'static str)> {
        let tables = SCHEMA.iter().filter(|(kind, ..)| *kind == Kind::Table);
        tables.map(|(_, name, statement)| (*name, *statement)).collect()
    }

    #[test]
    fn the_table_of_anomaly_records_is_the_protocol_s() {
        let statement = SCHEMA.iter().find(|(_, name, _)| *name == "anomaly_records").unwrap().2;
        let retention = "ROW DELETION POLICY (OLDER_THAN(truetime_commit, INTERVAL 2557 DAY))";
        assert_eq!(statement.replace("    ", ""), format!("{PROTOCOL}{retention}"));
    }

    #[test]
    fn no_row_is_deleted_from_what_the_tree_stands_on() {
        for (name, statement) in tables() {
            assert_eq!(statement.contains("DELETION"), name == "anomaly_records", "{statement}");
            assert!(statement.contains("TIMESTAMP NOT NULL"), "{statement}");
            assert_eq!(statement.matches("allow_commit_timestamp=true").count(), 1, "{statement}");
        }
    }

    #[test]
    fn roles_read_and_append_and_do_nothing_else() {
        for grant in GRANTS {
            assert!(!["UPDATE", "DELETE", "ALL"].iter().any(|word| grant.contains(word)), "{grant}");
            for (name, _) in tables() {
                let wanted = grant.starts_with("GRANT SELECT") || name != "log";
                assert_eq!(grant.contains(name), wanted, "{name}: {grant}");
            }
        }
        assert!(GRANTS[0].ends_with("TO ROLE vantio_writer, vantio_reader"));
        assert!(GRANTS[1].starts_with("GRANT INSERT ON") && GRANTS[1].ends_with("TO ROLE vantio_writer"));
    }

    #[test]
    fn a_difference_is_named_whether_something_is_missing_or_more() {
        let names: Vec<&str> = tables().iter().map(|(name, _)| *name).collect();
        let stamps = names.iter().map(|name| {
            let column = if *name == "anomaly_records" { "truetime_commit" } else { "committed" };
            format!("option {name}.{column} allow_commit_timestamp TRUE")
        });
        let mut found: Vec<String> = WANTED.iter().map(|object| (*object).to_owned()).chain(stamps).collect();
        assert_eq!(difference(&names, &found), None);
        for number in 0..found.len() {
            let object = found.remove(number);
            assert!(object.starts_with(&difference(&names, &found).unwrap()), "{object}");
            found.insert(number, object);
        }
        found.push("column tiles.more STRING(36)".into());
        assert_eq!(difference(&names, &found).as_deref(), Some("column tiles.more"));
    }
}
