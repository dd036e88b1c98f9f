//! Every tile of the tree over a stored ledger: the full ones from their table, the others from
//! what is below them.

use std::ops::Range;

use vantio_core::Hash;

use crate::{
    LedgerError, Reader,
    tree::{Builder, TILE_WIDTH, Tile, Tiles, decode_tile, leaf_hash},
};

impl Tiles for Reader {
    type Error = LedgerError;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, LedgerError> {
        if let Some((hashes, _)) = self.source.tile(tile)? {
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
        let texts = self.source.texts(places.clone())?;
        if texts.len() as u64 == places.end - places.start {
            return Ok(texts);
        }
        Err(self.damaged(&format!("not all entries from {} to {} are there", places.start, places.end - 1)))
    }

    fn root_of(&self, level: u8, index: u64) -> Result<Hash, LedgerError> {
        let tile =
            Tile::new(level, index, TILE_WIDTH).ok_or_else(|| self.damaged("the tree is too large"))?;
        if let Some((_, root)) = self.source.tile(tile)? {
            return Ok(root);
        }
        let hashes: Result<[Hash; TILE_WIDTH as usize], _> = self.tile(tile)?.try_into();
        hashes.map(|hashes| Builder::tile_root(&hashes)).map_err(|_| self.damaged("a tile is short"))
    }

    pub(crate) fn damaged(&self, detail: &str) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), detail: detail.into() }
    }
}
