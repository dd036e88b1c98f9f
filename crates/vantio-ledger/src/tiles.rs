//! Every tile of the tree over a stored ledger: the full ones from their table, the others from
//! what is below them.

use std::ops::Range;

use vantio_core::Hash;

use crate::{
    LedgerError, Reader,
    store::{self, store_error},
    tree::{Builder, TILE_WIDTH, Tile, Tiles, decode_tile, leaf_hash},
};

impl Tiles for Reader {
    type Error = LedgerError;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, LedgerError> {
        let stored = store::tile(&self.connection, tile).map_err(store_error(&self.path))?;
        if let Some((hashes, _)) = stored {
            return decode_tile(&hashes).map_err(|error| self.damaged(&format!("`{tile}`: {error}")));
        }
        let first = tile.index() * u64::from(TILE_WIDTH);
        let places = first..first + u64::from(tile.width());
        match tile.level().checked_sub(1) {
            None => Ok(self.texts(places)?.iter().map(|text| leaf_hash(text.as_bytes())).collect()),
            Some(below) => places.map(|index| self.root_of(below, index)).collect(),
        }
    }
}

impl Reader {
    /// The texts of entries, as they are published.
    pub(crate) fn texts(&self, places: Range<u64>) -> Result<Vec<String>, LedgerError> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let query = "SELECT body FROM entries WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
            let mut statement = self.connection.prepare_cached(query)?;
            let bounds = [places.start.cast_signed(), places.end.cast_signed()];
            statement.query_map(bounds, |row| row.get(0))?.collect()
        };
        let texts = read().map_err(store_error(&self.path))?;
        if texts.len() as u64 == places.end - places.start {
            return Ok(texts);
        }
        Err(self.damaged(&format!("not all entries from {} to {} are there", places.start, places.end - 1)))
    }

    fn root_of(&self, level: u8, index: u64) -> Result<Hash, LedgerError> {
        let tile =
            Tile::new(level, index, TILE_WIDTH).ok_or_else(|| self.damaged("the tree is too large"))?;
        if let Some((_, root)) = store::tile(&self.connection, tile).map_err(store_error(&self.path))? {
            return Ok(root);
        }
        let hashes: Result<[Hash; TILE_WIDTH as usize], _> = self.tile(tile)?.try_into();
        hashes.map(|hashes| Builder::tile_root(&hashes)).map_err(|_| self.damaged("a tile is short"))
    }

    pub(crate) fn damaged(&self, detail: &str) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), detail: detail.into() }
    }
}
