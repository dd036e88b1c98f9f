//! The tree over all chains: places for the entries, tiles as they fill, and signed checkpoints.

use google_cloud_spanner::{
    Error, mutation::Mutation, statement::Statement, transaction::ReadWriteTransaction, types,
};
use vantio_core::Hash;

use super::{
    Appender,
    connection::{Connection, find, refusal, server_error},
    statements,
};
use crate::{
    LedgerError,
    key::check_signed,
    note::SigningKey,
    store::{signed_head, tile_id},
    tree::{Builder, TILE_WIDTH, Tile, encode_tile, leaf_hash},
};

/// How many entries get their places in one transaction, or are read at a time.
const PAGE: usize = 2048;

/// The condition for entries without a place.
pub(super) const PENDING: &str =
    "NOT EXISTS (SELECT 1 FROM leaves l WHERE l.writer = e.writer AND l.seq = e.seq)";

/// When an entry says that it was made: what follows in its text has a fixed length. Along a chain it
/// rises.
pub(super) const TIME: &str = "SUBSTR(e.body, -86, 30)";

const NEWEST: &str = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1";

/// An entry without a place.
struct Pending {
    writer: String,
    seq: i64,
    leaf: Hash,
}

impl Appender {
    /// Gives the entries that have none a place in the tree, brings the tree up to date, and stores a
    /// signed checkpoint of it; of very many entries one after each page of them.
    pub(super) fn grow(&mut self, key: &SigningKey) -> Result<(), LedgerError> {
        loop {
            let pending = self.pending()?;
            let growth = Growth { connection: &self.connection, pending: &pending, key };
            let known = self.tree.take();
            let grown =
                self.connection.write(async |transaction| growth.make(&transaction, known.clone()).await);
            self.tree = Some(grown.map_err(server_error(&self.connection.name))?);
            if pending.len() < PAGE {
                (self.covered, self.has_swept) = (self.chain.next, true);
                return Ok(());
            }
            if self.has_swept {
                self.covered += pending.len() as u64;
            }
        }
    }

    /// The oldest entries without a place: all, or when those of others had their turn, this chain's.
    /// They are read as they are now, without a lock that others would wait for.
    fn pending(&self) -> Result<Vec<Pending>, LedgerError> {
        let chain = if self.has_swept { "e.writer = @writer AND e.seq >= @from AND " } else { "" };
        let query = format!(
            "SELECT e.writer, e.seq, e.body FROM entries e WHERE {chain}{PENDING} \
             ORDER BY {TIME}, e.writer, e.seq LIMIT {PAGE}"
        );
        let mut query = Statement::builder(query);
        if self.has_swept {
            query = query.add_typed_param("writer", self.writer.to_string(), types::string());
            query = query.add_typed_param("from", self.covered.cast_signed(), types::int64());
        }
        let found = self.connection.query(query.build())?;
        let pending = |row: &google_cloud_spanner::result::Row| {
            let leaf = leaf_hash(row.get::<String>(2)?.as_bytes());
            Ok(Pending { writer: row.get(0)?, seq: row.get(1)?, leaf })
        };
        found.iter().map(pending).collect::<Result<_, Error>>().map_err(server_error(&self.connection.name))
    }
}

/// One transaction that makes the tree larger.
struct Growth<'a> {
    connection: &'a Connection,
    pending: &'a [Pending],
    key: &'a SigningKey,
}

impl Growth<'_> {
    /// Reads the newest checkpoint and writes the next: of two that do so at once, one is aborted.
    async fn make(
        &self,
        transaction: &ReadWriteTransaction,
        known: Option<Builder>,
    ) -> Result<Builder, Error> {
        let found = find(transaction, NEWEST).await?;
        let newest = found.first().map(read_note).transpose()?;
        if let Some((_, note)) = &newest {
            let path = self.connection.name.clone();
            check_signed(note, self.key).map_err(|reason| refusal(LedgerError::Key { path, reason }))?;
        }
        let size = size(transaction, newest.as_ref().map_or(0, |(size, _)| *size)).await?;
        let mut tree = match known {
            Some(tree) if tree.size() <= size => tree,
            _ => restore(transaction).await?.ok_or_else(|| self.damaged("a tile is gone".into()))?,
        };
        while tree.size() < size {
            self.catch_up(transaction, &mut tree).await?;
        }
        for index in unplaced(transaction, self.pending).await? {
            let Some(Pending { writer, seq, leaf }) = self.pending.get(index) else { continue };
            let mut added = vec![statements::leaf(tree.size(), writer, *seq)];
            push(&mut tree, *leaf, |tile, hashes, root| added.push(statements::tile(tile, &hashes, root)));
            transaction.buffer(added)?;
        }
        if tree.size() > 0 && newest.is_none_or(|(newest, _)| newest != tree.size()) {
            let note = signed_head(&tree, self.key).map_err(refusal)?;
            transaction.buffer([statements::checkpoint(tree.size(), &note)])?;
        }
        Ok(tree)
    }

    /// Adds entries that others gave places, and compares the tiles that they filled.
    async fn catch_up(&self, transaction: &ReadWriteTransaction, tree: &mut Builder) -> Result<(), Error> {
        let query = "SELECT l.idx, e.body FROM leaves l JOIN entries e ON e.writer = l.writer AND e.seq = l.seq \
                     WHERE l.idx >= @first AND l.idx < @end ORDER BY l.idx";
        let first = tree.size();
        let query = Statement::builder(query)
            .add_typed_param("first", first.cast_signed(), types::int64())
            .add_typed_param("end", (first + PAGE as u64).cast_signed(), types::int64());
        let mut added: Vec<Mutation> = Vec::new();
        for row in find(transaction, query.build()).await? {
            if row.get::<i64>(0)?.cast_unsigned() != tree.size() {
                break;
            }
            let mut full = Vec::new();
            push(tree, leaf_hash(row.get::<String>(1)?.as_bytes()), |tile, hashes, root| {
                full.push((tile, hashes, root));
            });
            for (tile, hashes, root) in full {
                match stored(transaction, tile).await? {
                    None => added.push(statements::tile(tile, &hashes, root)),
                    Some(stored) if stored == (hashes, root) => {}
                    Some(_) => return Err(self.damaged(format!("`{tile}` is not what its entries make"))),
                }
            }
        }
        if tree.size() == first {
            return Err(self.damaged(format!("the entry at place {first} is gone")));
        }
        transaction.buffer(added)
    }

    fn damaged(&self, detail: String) -> Error {
        refusal(LedgerError::Damaged { path: self.connection.name.clone(), detail })
    }
}

/// The size and the note of the newest checkpoint.
pub(super) fn newest_note(connection: &Connection) -> Result<Option<(u64, String)>, LedgerError> {
    let found = connection.query(Statement::builder(NEWEST).build())?;
    found.first().map(read_note).transpose().map_err(server_error(&connection.name))
}

fn read_note(row: &google_cloud_spanner::result::Row) -> Result<(u64, String), Error> {
    Ok((row.get::<i64>(0)?.cast_unsigned(), row.get(1)?))
}

/// How many places are taken: at least those below the newest checkpoint.
async fn size(transaction: &ReadWriteTransaction, from: u64) -> Result<u64, Error> {
    let query = Statement::builder("SELECT COALESCE(MAX(idx) + 1, @from) FROM leaves WHERE idx >= @from");
    let query = query.add_typed_param("from", from.cast_signed(), types::int64()).build();
    let found = find(transaction, query).await?;
    found.first().map_or(Ok(0), |row| row.get::<i64>(0).map(i64::cast_unsigned))
}

/// Which of the entries have no place yet, in their order.
async fn unplaced(transaction: &ReadWriteTransaction, pending: &[Pending]) -> Result<Vec<usize>, Error> {
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let query = "SELECT n FROM UNNEST(@seqs) AS sought WITH OFFSET AS n WHERE NOT EXISTS \
                 (SELECT 1 FROM leaves l WHERE l.writer = @writers[OFFSET(n)] AND l.seq = sought) ORDER BY n";
    let seqs: Vec<i64> = pending.iter().map(|pending| pending.seq).collect();
    let writers: Vec<&str> = pending.iter().map(|pending| pending.writer.as_str()).collect();
    let query = Statement::builder(query)
        .add_typed_param("seqs", seqs, types::array(types::int64()))
        .add_typed_param("writers", writers, types::array(types::string()));
    let found = find(transaction, query.build()).await?;
    found
        .iter()
        .map(|row| row.get::<i64>(0).map(|index| usize::try_from(index).unwrap_or(usize::MAX)))
        .collect()
}

/// The tree of the entries below the stored tiles; `None` when there is a gap among them.
async fn restore(transaction: &ReadWriteTransaction) -> Result<Option<Builder>, Error> {
    let last = "SELECT COALESCE(MAX(id) + 1, 0) FROM tiles WHERE id < @end";
    let last = Statement::builder(last).add_typed_param("end", tile_id(1, 0), types::int64());
    let full = find(transaction, last.build()).await?;
    let full = full.first().map_or(Ok(0), |row| row.get::<i64>(0))?.cast_unsigned();
    let size = full * u64::from(TILE_WIDTH);
    // The builder asks in one go, so it is asked first which roots it needs.
    let mut wanted = Vec::new();
    let _ = Builder::restore(size, &[], |tile| {
        wanted.push(tile);
        Ok::<_, ()>(Hash::ZERO)
    });
    let ids: Vec<i64> = wanted.iter().map(|tile| tile_id(tile.level(), tile.index())).collect();
    let query = Statement::builder("SELECT id, root FROM tiles WHERE id IN UNNEST(@ids)");
    let query = query.add_typed_param("ids", ids, types::array(types::int64()));
    let mut roots = std::collections::HashMap::new();
    for row in find(transaction, query.build()).await? {
        roots.insert(row.get::<i64>(0)?, hash(&row.get::<Vec<u8>>(1)?));
    }
    let root = |tile: Tile| roots.get(&tile_id(tile.level(), tile.index())).copied().ok_or(());
    Ok(Builder::restore(size, &[], root).ok())
}

/// The hashes and the root of a stored tile.
async fn stored(transaction: &ReadWriteTransaction, tile: Tile) -> Result<Option<(Vec<u8>, Hash)>, Error> {
    let found = find(transaction, select_tile(tile)).await?;
    found.first().map(read_tile).transpose()
}

/// Asks for a tile.
pub(super) fn select_tile(tile: Tile) -> Statement {
    Statement::builder("SELECT hashes, root FROM tiles WHERE id = @id")
        .add_typed_param("id", tile_id(tile.level(), tile.index()), types::int64())
        .build()
}

/// The answer to [`select_tile`].
pub(super) fn read_tile(row: &google_cloud_spanner::result::Row) -> Result<(Vec<u8>, Hash), Error> {
    Ok((row.get(0)?, hash(&row.get::<Vec<u8>>(1)?)))
}

/// A root of another length is no root of anything.
fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().map_or(Hash::ZERO, Hash)
}

fn push(tree: &mut Builder, leaf: Hash, mut full: impl FnMut(Tile, Vec<u8>, Hash)) {
    tree.push(leaf, |tile| full(tile.tile, encode_tile(tile.hashes), tile.root));
}
