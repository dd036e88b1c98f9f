//! What is written: statements and mutations, as the client's own types.

use google_cloud_spanner::{batch::BatchDml, mutation::Mutation, statement::Statement, types};
use uuid::Uuid;
use vantio_core::Hash;

use crate::{
    Malformed,
    entry::{self, Text},
    store::{Row, tile_id},
    tree::Tile,
};

/// How many entries a transaction writes: with their indexes and records they are some 25 changes
/// each, and Spanner allows 80,000 (<https://cloud.google.com/spanner/quotas>).
pub(super) const ROWS: usize = 2000;

/// How many entries a statement writes: Spanner allows 950 parameters.
const STATEMENT: usize = 100;

/// How much one request carries, unless a single entry is larger: Spanner allows 10 MiB.
const REQUEST: usize = 4 << 20;

/// What stands in a mutation for the moment of its commit.
pub(super) const COMMITTED: &str = "spanner.commit_timestamp()";

/// A row whose key is there is left as it is, and not counted: what is sent again is not written
/// again. `PENDING_COMMIT_TIMESTAMP()` may stand in a list of values only.
const INSERT_ENTRIES: &str = "INSERT OR IGNORE INTO entries \
    (writer, seq, run_id, op, decision, record_id, this_hash, body, detail, committed) VALUES";

const INSERT_RECORDS: &str = "INSERT OR IGNORE INTO anomaly_records \
    (record_id, agent_svid, syscall_nr, oracle_decision, zk_proof, entropy_nonce, truetime_commit) VALUES";

/// What is sent at once, and how many rows each of its statements writes.
pub(super) struct Request {
    pub batch: BatchDml,
    pub counts: Vec<i64>,
}

/// The requests of one transaction, none of them too large.
pub(super) fn insert(writer: Uuid, rows: &[Row<'_>]) -> Result<Vec<Request>, Malformed> {
    // Bytes travel in base64.
    let weight = |row: &Row<'_>| 1024 + row.text.len() + row.detail.map_or(0, |detail| detail.len() / 3 * 4);
    let mut requests = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let mut size = weight(first);
        let more = rest.iter().skip(1).take(STATEMENT - 1);
        let count = 1 + more
            .take_while(|row| {
                size += weight(row);
                size <= REQUEST
            })
            .count();
        let (part, after) = rest.split_at(count);
        requests.push(request(writer, part)?);
        rest = after;
    }
    Ok(requests)
}

fn request(writer: Uuid, rows: &[Row<'_>]) -> Result<Request, Malformed> {
    let mut batch = BatchDml::builder().add_statement(insert_entries(writer, rows));
    let mut counts = vec![rows.len() as i64];
    let records: Vec<&Row<'_>> = rows.iter().filter(|row| row.record_id.is_some()).collect();
    if !records.is_empty() {
        batch = batch.add_statement(insert_records(&records)?);
        counts.push(records.len() as i64);
    }
    Ok(Request { batch: batch.build(), counts })
}

/// Entries, column by column.
fn insert_entries(writer: Uuid, rows: &[Row<'_>]) -> Statement {
    let names = ["seq", "run_id", "op", "decision", "record_id", "this_hash", "body", "detail"];
    let query = format!("{INSERT_ENTRIES} {}", values("@writer, ", &names, rows.len()));
    let mut query = Statement::builder(query).add_typed_param("writer", writer.to_string(), types::string());
    for (number, row) in rows.iter().enumerate() {
        let run_id = Uuid::from_bytes(*row.run_id.as_bytes()).to_string();
        let record_id = row.record_id.map(|id| id.to_string());
        let name = |column: &str| format!("{column}{number}");
        query = query
            .add_typed_param(name("seq"), row.seq.cast_signed(), types::int64())
            .add_typed_param(name("run_id"), run_id, types::string())
            .add_typed_param(name("op"), row.op.to_owned(), types::string())
            .add_typed_param(name("decision"), row.decision.map(str::to_owned), types::string())
            .add_typed_param(name("record_id"), record_id, types::string())
            .add_typed_param(name("this_hash"), row.this_hash.0.to_vec(), types::bytes())
            .add_typed_param(name("body"), row.text, types::string())
            .add_typed_param(
                name("detail"),
                row.detail.map(|detail| detail.as_bytes().to_vec()),
                types::bytes(),
            );
    }
    query.build()
}

/// Rows of the protocol's table, of entries that are anomaly records.
fn insert_records(rows: &[&Row<'_>]) -> Result<Statement, Malformed> {
    let names = ["record_id", "agent_svid", "syscall_nr", "oracle_decision", "zk_proof", "entropy_nonce"];
    let mut query = Statement::builder(format!("{INSERT_RECORDS} {}", values("", &names, rows.len())));
    for (number, row) in rows.iter().enumerate() {
        let entry = entry::entry(&Text::scan(row.text)?, row.this_hash, None)?;
        let record = entry.anomaly.ok_or(Malformed::Field("anomaly"))?;
        let name = |column: &str| format!("{column}{number}");
        query = query
            .add_typed_param(name("record_id"), record.record_id.to_string(), types::string())
            .add_typed_param(name("agent_svid"), record.agent_svid.spiffe_id().to_owned(), types::string())
            .add_typed_param(name("syscall_nr"), i64::from(record.syscall_nr), types::int64())
            .add_typed_param(
                name("oracle_decision"),
                record.oracle_decision.name().to_owned(),
                types::string(),
            )
            .add_typed_param(name("zk_proof"), record.zk_proof, types::bytes())
            .add_typed_param(name("entropy_nonce"), record.entropy_nonce.to_vec(), types::bytes());
    }
    Ok(query.build())
}

/// So many rows of parameters that are named and numbered, each with the moment of its commit.
fn values(first: &str, names: &[&str], rows: usize) -> String {
    let row = |number: usize| {
        let names: Vec<String> = names.iter().map(|name| format!("@{name}{number}")).collect();
        format!("({first}{}, PENDING_COMMIT_TIMESTAMP())", names.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The hashes of a part of a chain.
pub(super) fn hashes(writer: Uuid, rows: &[Row<'_>]) -> Statement {
    let bound = |row: Option<&Row<'_>>| row.map_or(0, |row| row.seq.cast_signed());
    let query = "SELECT this_hash FROM entries WHERE writer = @writer AND seq >= @first AND seq <= @last ORDER BY seq";
    Statement::builder(query)
        .add_typed_param("writer", writer.to_string(), types::string())
        .add_typed_param("first", bound(rows.first()), types::int64())
        .add_typed_param("last", bound(rows.last()), types::int64())
        .build()
}

/// A place in the tree, for an entry that has none.
pub(super) fn leaf(index: u64, writer: &str, seq: i64) -> Mutation {
    let row = Mutation::new_insert_builder("leaves").set("idx").to(index.cast_signed());
    row.set("writer").to(writer).set("seq").to(seq).set("committed").to(COMMITTED).build()
}

/// A tile that is full.
pub(super) fn tile(tile: Tile, hashes: &[u8], root: Hash) -> Mutation {
    let row = Mutation::new_insert_builder("tiles").set("id").to(tile_id(tile.level(), tile.index()));
    row.set("hashes")
        .to(hashes.to_vec())
        .set("root")
        .to(root.0.to_vec())
        .set("committed")
        .to(COMMITTED)
        .build()
}

/// A signed checkpoint.
pub(super) fn checkpoint(size: u64, note: &str) -> Mutation {
    let row = Mutation::new_insert_builder("checkpoints").set("size").to(size.cast_signed());
    row.set("note").to(note).set("committed").to(COMMITTED).build()
}

/// A line that a witness signed.
pub(super) fn cosignature(size: u64, id: Uuid, line: &str) -> Mutation {
    let row = Mutation::new_insert_builder("cosignatures").set("size").to(size.cast_signed());
    row.set("id").to(id.to_string()).set("line").to(line).set("committed").to(COMMITTED).build()
}
