//! The tree over all chains: places for the entries, tiles as they fill, and signed checkpoints.

use postgres::{GenericClient, Transaction};
use vantio_core::Hash;

use super::{Appender, server_error};
use crate::{
    LedgerError,
    key::check_signed,
    note::SigningKey,
    store::{signed_head, tile_id},
    tree::{Builder, FullTile, TILE_WIDTH, Tile, encode_tile, leaf_hash},
};

/// Whoever gives entries their places holds this lock ("Vantio").
const LOCK: i64 = 0x0056_616e_7469_6f00;

/// How many entries are read at a time.
const PAGE: usize = 4096;

impl Appender {
    /// Gives the entries that have none a place in the tree, brings the tree up to date, and stores a
    /// signed checkpoint of it, all in one durable transaction.
    pub(super) fn grow(&mut self, key: &SigningKey) -> Result<(), LedgerError> {
        let error = server_error(&self.name);
        let damaged = |detail: String| LedgerError::Damaged { path: self.name.clone(), detail };
        let mut transaction = self.client.transaction().map_err(&error)?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).map_err(&error)?;
        let newest = newest_note(&mut transaction).map_err(&error)?;
        if let Some((_, note)) = &newest {
            check_signed(note, key).map_err(|reason| LedgerError::Key { path: self.name.clone(), reason })?;
        }
        let own = if self.has_swept { Some((self.writer, self.covered)) } else { None };
        let size = give_places(&mut transaction, own).map_err(&error)?;
        let mut tree = match self.tree.take() {
            Some(tree) if tree.size() <= size => tree,
            _ => {
                restore(&mut transaction).map_err(&error)?.ok_or_else(|| damaged("a tile is gone".into()))?
            }
        };
        while tree.size() < size {
            let before = tree.size();
            if let Some(tile) = extend(&mut transaction, &mut tree).map_err(&error)? {
                return Err(damaged(format!("`{tile}` is not what its entries make")));
            }
            if tree.size() == before {
                return Err(damaged(format!("the entry at place {before} is gone")));
            }
        }
        if size > 0 && newest.is_none_or(|(newest, _)| newest != size) {
            let note = signed_head(&tree, key)?;
            let insert = "INSERT INTO vantio.checkpoints (size, note) VALUES ($1, $2)";
            transaction.execute(insert, &[&size.cast_signed(), &note]).map_err(&error)?;
        }
        transaction.commit().map_err(&error)?;
        (self.tree, self.covered, self.has_swept) = (Some(tree), self.chain.next, true);
        Ok(())
    }
}

/// The size and the note of the newest checkpoint.
pub(super) fn newest_note(client: &mut impl GenericClient) -> Result<Option<(u64, String)>, postgres::Error> {
    let row =
        client.query_opt("SELECT size, note FROM vantio.checkpoints ORDER BY size DESC LIMIT 1", &[])?;
    row.map(|row| Ok((row.try_get::<_, i64>(0)?.cast_unsigned(), row.try_get(1)?))).transpose()
}

/// The condition for entries without a place.
pub(super) const PENDING: &str =
    "NOT EXISTS (SELECT FROM vantio.leaves l WHERE l.writer = e.writer AND l.seq = e.seq)";

/// When an entry says that it was made: what follows in its text has a fixed length. Along a chain it
/// rises.
pub(super) const TIME: &str = "left(right(e.body, 86), 30) COLLATE \"C\"";

/// Gives places to all entries without one, or to those of one chain only. Returns how many places
/// are taken.
fn give_places(
    transaction: &mut Transaction<'_>,
    own: Option<(uuid::Uuid, u64)>,
) -> Result<u64, postgres::Error> {
    let (writer, from) = own.map_or((None, 0), |(writer, from)| (Some(writer), from.cast_signed()));
    let chain =
        if writer.is_some() { "e.writer = $1 AND e.seq >= $2" } else { "$1::uuid IS NULL AND e.seq >= $2" };
    let insert = format!(
        "INSERT INTO vantio.leaves (idx, writer, seq) \
         SELECT (SELECT coalesce(max(idx) + 1, 0) FROM vantio.leaves) \
         + row_number() OVER (ORDER BY {TIME}, e.writer, e.seq) - 1, e.writer, e.seq \
         FROM vantio.entries e WHERE {chain} AND {PENDING} ORDER BY 1"
    );
    transaction.execute(&insert, &[&writer, &from])?;
    let size: i64 =
        transaction.query_one("SELECT coalesce(max(idx) + 1, 0) FROM vantio.leaves", &[])?.try_get(0)?;
    Ok(size.cast_unsigned())
}

/// The tree of the entries below the stored tiles; `None` when there is a gap among them.
fn restore(transaction: &mut Transaction<'_>) -> Result<Option<Builder>, postgres::Error> {
    let last = "SELECT max(id) + 1 FROM vantio.tiles WHERE id < $1";
    let full: Option<i64> = transaction.query_one(last, &[&tile_id(1, 0)])?.try_get(0)?;
    let size = full.unwrap_or(0).cast_unsigned() * u64::from(TILE_WIDTH);
    let mut failed = None;
    let builder = Builder::restore(size, &[], |tile| match self::tile(transaction, tile) {
        Ok(Some((_, root))) => Ok(root),
        Ok(None) => Err(()),
        Err(error) => {
            failed = Some(error);
            Err(())
        }
    });
    failed.map_or(Ok(builder.ok()), Err)
}

/// Adds entries that the tree lacks, and stores the tiles that they fill. Returns a tile that is
/// stored already and not the same.
fn extend(transaction: &mut Transaction<'_>, tree: &mut Builder) -> Result<Option<Tile>, postgres::Error> {
    let query = "SELECT l.idx, e.body FROM vantio.leaves l \
                 JOIN vantio.entries e ON e.writer = l.writer AND e.seq = l.seq \
                 WHERE l.idx >= $1 AND l.idx < $2 ORDER BY l.idx";
    let first = tree.size();
    let rows = transaction.query(query, &[&first.cast_signed(), &(first + PAGE as u64).cast_signed()])?;
    for row in rows {
        if row.try_get::<_, i64>(0)?.cast_unsigned() != tree.size() {
            break;
        }
        let mut stored = Ok(None);
        tree.push(leaf_hash(row.try_get::<_, &str>(1)?.as_bytes()), |full| {
            if matches!(stored, Ok(None)) {
                stored = store(transaction, &full);
            }
        });
        if let Some(tile) = stored? {
            return Ok(Some(tile));
        }
    }
    Ok(None)
}

fn store(transaction: &mut Transaction<'_>, full: &FullTile<'_>) -> Result<Option<Tile>, postgres::Error> {
    let hashes = encode_tile(full.hashes);
    if let Some(stored) = tile(transaction, full.tile)? {
        return Ok(if stored == (hashes, full.root) { None } else { Some(full.tile) });
    }
    let insert = "INSERT INTO vantio.tiles (id, hashes, root) VALUES ($1, $2, $3)";
    let id = tile_id(full.tile.level(), full.tile.index());
    transaction.execute(insert, &[&id, &hashes, &&full.root.0[..]])?;
    Ok(None)
}

/// The hashes and the root of a stored tile.
pub(super) fn tile(
    client: &mut impl GenericClient,
    tile: Tile,
) -> Result<Option<(Vec<u8>, Hash)>, postgres::Error> {
    let id = tile_id(tile.level(), tile.index());
    let row = client.query_opt("SELECT hashes, root FROM vantio.tiles WHERE id = $1", &[&id])?;
    row.map(|row| {
        // A root of another length is no root of anything.
        let root: &[u8] = row.try_get(1)?;
        Ok((row.try_get(0)?, root.try_into().map_or(Hash::ZERO, Hash)))
    })
    .transpose()
}
