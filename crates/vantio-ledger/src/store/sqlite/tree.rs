//! The tree over the stored entries: tiles as they fill, and signed checkpoints.

use rusqlite::{Connection, OptionalExtension, types::ValueRef};
use vantio_core::Hash;

use super::{Appender, begin, read_head, store_error};
use crate::{
    LedgerError,
    note::SigningKey,
    store::{signed_head, tile_id as id},
    tree::{Builder, FullTile, TILE_WIDTH, Tile, encode_tile, leaf_hash},
};

impl Appender {
    /// Keeps what a witness has signed of the checkpoint of `size` entries.
    pub(super) fn keep_cosignature(&self, size: u64, line: &str) -> Result<(), LedgerError> {
        let error = store_error(&self.path);
        let transaction = begin(&self.connection, self.busy).map_err(&error)?;
        let insert = "INSERT INTO cosignatures (size, line) VALUES (?1, ?2)";
        transaction.execute(insert, (size.cast_signed(), line)).map_err(&error)?;
        transaction.commit().map_err(&error)
    }

    /// Brings the tree up to the end of the chain, and stores a signed checkpoint of it, all in one
    /// durable transaction.
    pub(super) fn bring_up(&mut self, key: &SigningKey) -> Result<(), LedgerError> {
        let error = store_error(&self.path);
        let tree = self.tree.take();
        let transaction = begin(&self.connection, self.busy).map_err(&error)?;
        let tree = self.seal(&transaction, tree, key)?;
        transaction.commit().map_err(&error)?;
        self.covered = tree.size();
        self.tree = Some(tree);
        Ok(())
    }

    /// Brings `tree` up to the end of the chain, and stores a signed checkpoint of it.
    pub(super) fn seal(
        &self,
        transaction: &Connection,
        tree: Option<Builder>,
        key: &SigningKey,
    ) -> Result<Builder, LedgerError> {
        let error = store_error(&self.path);
        let (size, _) = read_head(transaction).map_err(&error)?;
        let mut tree = match tree {
            Some(tree) if tree.size() <= size => tree,
            _ => restore(transaction).map_err(&error)?,
        };
        if tree.size() < size
            && let Some(tile) = grow(transaction, &mut tree).map_err(&error)?
        {
            return Err(self.damaged(&not_made(tile)));
        }
        if size > 0 && newest_checkpoint(transaction).map_err(&error)? != Some(size) {
            let note = signed_head(&tree, key)?;
            let insert = "INSERT INTO checkpoints (size, note) VALUES (?1, ?2)";
            transaction.execute(insert, (size.cast_signed(), note)).map_err(&error)?;
        }
        Ok(tree)
    }
}

/// What is wrong with a stored tile.
pub(super) fn not_made(tile: Tile) -> String {
    format!("`{tile}` is not what its entries make")
}

/// The tree of the entries below the stored tiles.
fn restore(connection: &Connection) -> rusqlite::Result<Builder> {
    let last = "SELECT max(id) + 1 FROM tiles WHERE id < ?1";
    let full: Option<i64> = connection.query_row(last, [id(1, 0)], |row| row.get(0))?;
    let size = full.unwrap_or(0).cast_unsigned() * u64::from(TILE_WIDTH);
    let root = |tile: Tile| {
        let query = "SELECT root FROM tiles WHERE id = ?1";
        connection.query_row(query, [id(tile.level(), tile.index())], |row| Ok(Hash(row.get(0)?)))
    };
    Builder::restore(size, &[], root).map_err(|_| rusqlite::Error::QueryReturnedNoRows)
}

/// The tree of all entries, made while nobody waits; none where that would store a tile, which belongs to a checkpoint.
pub(super) fn ahead(connection: &Connection) -> rusqlite::Result<Option<Builder>> {
    // What is read is of one moment, and nothing is kept of what might be written.
    let transaction = connection.unchecked_transaction()?;
    let mut tree = restore(&transaction)?;
    let (size, _) = read_head(&transaction)?;
    if size.saturating_sub(tree.size()) >= u64::from(TILE_WIDTH) {
        return Ok(None);
    }
    let grown = grow(&transaction, &mut tree)?;
    Ok(grown.is_none().then_some(tree))
}

/// Adds the entries that the tree lacks, and stores the tiles that they fill. Returns a tile that is
/// stored already and not the same.
fn grow(connection: &Connection, tree: &mut Builder) -> rusqlite::Result<Option<Tile>> {
    let mut statement = connection.prepare_cached("SELECT body FROM entries WHERE seq >= ?1 ORDER BY seq")?;
    let mut rows = statement.query([tree.size().cast_signed()])?;
    while let Some(row) = rows.next()? {
        let leaf = match row.get_ref(0)? {
            ValueRef::Text(body) => leaf_hash(body),
            other => leaf_hash(other.as_blob_or_null().unwrap_or_default().unwrap_or_default()),
        };
        if let Some(tile) = push(connection, tree, leaf)? {
            return Ok(Some(tile));
        }
    }
    Ok(None)
}

/// Adds a leaf, and stores the tiles that it fills. Returns a tile that is stored already and not the
/// same.
pub(super) fn push(
    connection: &Connection,
    tree: &mut Builder,
    leaf: Hash,
) -> rusqlite::Result<Option<Tile>> {
    let mut stored = Ok(None);
    tree.push(leaf, |full| {
        if matches!(stored, Ok(None)) {
            stored = store(connection, &full);
        }
    });
    stored
}

fn store(connection: &Connection, full: &FullTile<'_>) -> rusqlite::Result<Option<Tile>> {
    let id = id(full.tile.level(), full.tile.index());
    let hashes = encode_tile(full.hashes);
    if let Some(stored) = tile(connection, full.tile)? {
        return Ok(if stored == (hashes, full.root) { None } else { Some(full.tile) });
    }
    let mut insert = connection.prepare_cached("INSERT INTO tiles (id, hashes, root) VALUES (?1, ?2, ?3)")?;
    insert.execute((id, hashes, full.root.0))?;
    Ok(None)
}

/// The hashes and the root of a stored tile.
pub(super) fn tile(connection: &Connection, tile: Tile) -> rusqlite::Result<Option<(Vec<u8>, Hash)>> {
    let mut statement = connection.prepare_cached("SELECT hashes, root FROM tiles WHERE id = ?1")?;
    let key = [id(tile.level(), tile.index())];
    statement.query_row(key, |row| Ok((row.get(0)?, Hash(row.get(1)?)))).optional()
}

/// What witnesses have signed of the checkpoint of a tree, in the order in which it came.
pub(super) fn cosignatures(connection: &Connection, size: u64) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT line FROM cosignatures WHERE size = ?1 ORDER BY id";
    let mut statement = connection.prepare_cached(query)?;
    statement.query_map([size.cast_signed()], |row| row.get(0))?.collect()
}

/// The stored checkpoint of a tree.
pub(super) fn checkpoint(connection: &Connection, size: u64) -> rusqlite::Result<Option<String>> {
    let query = "SELECT note FROM checkpoints WHERE size = ?1";
    connection.query_row(query, [size.cast_signed()], |row| row.get(0)).optional()
}

/// The size of the largest tree with a checkpoint.
pub(super) fn newest_checkpoint(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let newest: Option<i64> =
        connection.query_row("SELECT max(size) FROM checkpoints", (), |row| row.get(0))?;
    Ok(newest.map(i64::cast_unsigned))
}
