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

/// How much one request carries, unless a single entry is larger: Spanner allows 10 MiB.
const REQUEST: usize = 4 << 20;

/// What stands in a mutation for the moment of its commit.
pub(super) const COMMITTED: &str = "spanner.commit_timestamp()";

/// A row whose key is there is left as it is, and counted as none: what is sent again is not written
/// again. `PENDING_COMMIT_TIMESTAMP()` may stand in a list of values only, so each row is a
/// statement.
const INSERT_ENTRY: &str = "INSERT OR IGNORE INTO entries \
    (writer, seq, run_id, op, decision, record_id, this_hash, body, detail, committed) \
    VALUES (@writer, @seq, @run_id, @op, @decision, @record_id, @this_hash, @body, @detail, \
    PENDING_COMMIT_TIMESTAMP())";

const INSERT_RECORD: &str = "INSERT OR IGNORE INTO anomaly_records \
    (record_id, agent_svid, syscall_nr, oracle_decision, zk_proof, truetime_commit, entropy_nonce) \
    VALUES (@record_id, @agent_svid, @syscall_nr, @oracle_decision, @zk_proof, \
    PENDING_COMMIT_TIMESTAMP(), @entropy_nonce)";

/// The statements of one transaction, in requests that are not too large; each writes one row.
pub(super) fn insert(writer: Uuid, rows: &[Row<'_>]) -> Result<Vec<BatchDml>, Malformed> {
    let mut requests = Vec::new();
    let mut request = BatchDml::builder();
    let mut size = 0;
    for row in rows {
        // Bytes travel in base64.
        let weight = 1024 + row.text.len() + row.detail.map_or(0, |detail| detail.len() / 3 * 4);
        if size > 0 && size + weight > REQUEST {
            requests.push(std::mem::take(&mut request).build());
            size = 0;
        }
        size += weight;
        request = request.add_statement(insert_entry(writer, row));
        if row.record_id.is_some() {
            request = request.add_statement(insert_record(row)?);
        }
    }
    requests.push(request.build());
    Ok(requests)
}

/// The columns of an entry.
fn insert_entry(writer: Uuid, row: &Row<'_>) -> Statement {
    Statement::builder(INSERT_ENTRY)
        .add_typed_param("writer", writer.to_string(), types::string())
        .add_typed_param("seq", row.seq.cast_signed(), types::int64())
        .add_typed_param("run_id", Uuid::from_bytes(*row.run_id.as_bytes()).to_string(), types::string())
        .add_typed_param("op", row.op.to_owned(), types::string())
        .add_typed_param("decision", row.decision.map(str::to_owned), types::string())
        .add_typed_param("record_id", row.record_id.map(|id| id.to_string()), types::string())
        .add_typed_param("this_hash", row.this_hash.0.to_vec(), types::bytes())
        .add_typed_param("body", row.text.clone(), types::string())
        .add_typed_param("detail", row.detail.map(|detail| detail.as_bytes().to_vec()), types::bytes())
        .build()
}

/// The columns of the protocol's table, of an entry that is an anomaly record.
fn insert_record(row: &Row<'_>) -> Result<Statement, Malformed> {
    let entry = entry::entry(&Text::scan(&row.text)?, row.this_hash, None)?;
    let record = entry.anomaly.ok_or(Malformed::Field("anomaly"))?;
    Ok(Statement::builder(INSERT_RECORD)
        .add_typed_param("record_id", record.record_id.to_string(), types::string())
        .add_typed_param("agent_svid", record.agent_svid.spiffe_id().to_owned(), types::string())
        .add_typed_param("syscall_nr", i64::from(record.syscall_nr), types::int64())
        .add_typed_param("oracle_decision", record.oracle_decision.name().to_owned(), types::string())
        .add_typed_param("zk_proof", record.zk_proof, types::bytes())
        .add_typed_param("entropy_nonce", record.entropy_nonce.to_vec(), types::bytes())
        .build())
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
