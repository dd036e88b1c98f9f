//! Where tiles are read from.

use vantio_core::Hash;

use super::{hash::reduce, tile::TILE_WIDTH, tile::Tile};

/// A source of tiles: a store, a folder, another machine.
pub trait Tiles {
    /// Why a tile could not be had.
    type Error;

    /// The hashes of `tile`, and those after them in the same tile where there are more: a full
    /// tile serves in the place of a partial one.
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Self::Error>;
}

impl<Source: Tiles + ?Sized> Tiles for &Source {
    type Error = Source::Error;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Self::Error> {
        (**self).tile(tile)
    }
}

/// Why a root or a proof could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<Source> {
    /// The source has no such tile.
    #[error("`{tile}` cannot be read: {source}")]
    Source {
        /// The tile.
        tile: Tile,
        /// What the source says.
        source: Source,
    },
    /// The source gave fewer hashes than the tile has.
    #[error("`{tile}` has {found} hashes where {} are needed", tile.width())]
    Short {
        /// The tile.
        tile: Tile,
        /// How many hashes came.
        found: usize,
    },
    /// There is no such entry or tree.
    #[error("{wanted} is beyond the tree's {size}")]
    Beyond {
        /// The index of the entry, or the size of the older tree.
        wanted: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The tree is larger than [`super::MAX_SIZE`].
    #[error("a tree of {0} entries has no tiles here")]
    TooLarge(u64),
}

impl<Source> TreeError<Source> {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Source { .. } | Self::Short { .. } => "E_LEDGER_TILE",
            Self::Beyond { .. } | Self::TooLarge(_) => "E_LEDGER_RANGE",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Source { .. } | Self::Short { .. } => {
                "the stored tree is incomplete: build it anew from the entries"
            }
            Self::Beyond { .. } | Self::TooLarge(_) => "name an entry or a size within the tree",
        }
    }
}

/// The bytes are not the hashes of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are not the 32-byte hashes of a tile")]
pub struct TileBytesError(pub usize);

/// The file of a tile: its hashes, one after another (C2SP tlog-tiles, "Merkle Tree").
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes in the file of a tile; from 1 to 256.
pub fn decode_tile(bytes: &[u8]) -> Result<Vec<Hash>, TileBytesError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.is_empty() || hashes.len() > usize::from(TILE_WIDTH) {
        return Err(TileBytesError(bytes.len()));
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// Tiles of one tree, each read once.
pub struct Reading<'source, Source> {
    source: &'source Source,
    size: u64,
    read: Vec<(Tile, Vec<Hash>)>,
}

impl<'source, Source: Tiles> Reading<'source, Source> {
    /// Of a tree of `size` entries, which is within [`super::MAX_SIZE`].
    pub const fn new(source: &'source Source, size: u64) -> Self {
        Self { source, size, read: Vec::new() }
    }

    /// The hash of the complete subtree over the `1 << height` entries from `first`, a multiple
    /// of `1 << height`.
    pub fn subtree(&mut self, first: u64, height: u32) -> Result<Hash, TreeError<Source::Error>> {
        let level = height / 8;
        let place = first >> (8 * level);
        let start = (place % u64::from(TILE_WIDTH)) as usize;
        let width = 1 << (height % 8);
        let beyond = TreeError::Beyond { wanted: first, size: self.size };
        let tile = Tile::in_tree(level as u8, place / u64::from(TILE_WIDTH), self.size).ok_or(beyond)?;
        let hashes = self.hashes(tile)?;
        let found = hashes.len();
        let mut nodes = [Hash::ZERO; TILE_WIDTH as usize];
        let nodes = &mut nodes[..width];
        nodes.copy_from_slice(hashes.get(start..start + width).ok_or(TreeError::Short { tile, found })?);
        reduce(nodes).ok_or(TreeError::Short { tile, found })
    }

    fn hashes(&mut self, tile: Tile) -> Result<&[Hash], TreeError<Source::Error>> {
        let read = self.read.iter().position(|(read, _)| *read == tile);
        let place = if let Some(place) = read {
            place
        } else {
            let hashes = self.source.tile(tile).map_err(|source| TreeError::Source { tile, source })?;
            self.read.push((tile, hashes));
            self.read.len() - 1
        };
        let hashes = &self.read[place].1;
        let found = hashes.len();
        if found < usize::from(tile.width()) { Err(TreeError::Short { tile, found }) } else { Ok(hashes) }
    }
}
