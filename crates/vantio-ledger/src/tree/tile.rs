//! Which tiles and bundles there are.

/// Hashes in a full tile, and entries in a full bundle (C2SP tlog-tiles).
pub const TILE_WIDTH: u16 = 256;

/// The most entries that a tree may have: beyond, the tiles of [`Tile::LEVELS`] levels end.
pub const MAX_SIZE: u64 = 1 << 56;

/// A tile: consecutive hashes of one level of the tree (C2SP tlog-tiles, "Merkle Tree").
///
/// The hash at `offset` of the tile `index` at `level` is the Merkle tree hash of the entries
/// from `(256 * index + offset) * 256^level`, `256^level` many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// A bundle: the entries below a tile of level 0 (C2SP tlog-tiles, "Log entries").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bundle(Tile);

impl Tile {
    /// Levels that tiles of a tree of up to [`MAX_SIZE`] entries may have: 0 to 7.
    pub const LEVELS: u8 = 8;

    /// The tile of the first `width` hashes. None when `level` is above 7, `width` not from 1
    /// to 256, or no tree within [`MAX_SIZE`] has such a tile.
    pub const fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        if level >= Self::LEVELS || width == 0 || width > TILE_WIDTH {
            return None;
        }
        let hashes = MAX_SIZE >> shift(level);
        if index > hashes / TILE_WIDTH as u64 || index * TILE_WIDTH as u64 + width as u64 > hashes {
            return None;
        }
        Some(Self { level, index, width })
    }

    /// 0 where the hashes are those of leaves.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The place among the tiles of the level, from 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many hashes, from 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// True when the tile has 256 hashes and never changes.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile when all of its 256 hashes are there.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The tile `index` of `level` as a tree of `size` entries has it, if it has it.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(level, size);
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = hashes.checked_sub(before)?.min(u64::from(TILE_WIDTH));
        Self::new(level, index, width as u16)
    }

    /// Every tile that a tree of `size` entries has, level by level, each from the left.
    pub fn of_tree(size: u64) -> impl Iterator<Item = Self> {
        Self::added(0, size)
    }

    /// The tiles that a tree of `new` entries has and the same tree at `old` entries has not.
    pub fn added(old: u64, new: u64) -> impl Iterator<Item = Self> {
        (0..Self::LEVELS).flat_map(move |level| Self::added_at(level, old, new))
    }

    fn added_at(level: u8, old: u64, new: u64) -> impl Iterator<Item = Self> {
        let first = hashes_at(level, old) / u64::from(TILE_WIDTH);
        let end = hashes_at(level, new).div_ceil(u64::from(TILE_WIDTH));
        let tiles = (first..end).filter_map(move |index| Self::in_tree(level, index, new));
        tiles.filter(move |tile| Self::in_tree(level, tile.index, old) != Some(*tile))
    }
}

impl Bundle {
    /// The bundle of the first `width` entries. None when `width` is not from 1 to 256, or no
    /// tree within [`MAX_SIZE`] has such a bundle.
    pub const fn new(index: u64, width: u16) -> Option<Self> {
        match Tile::new(0, index, width) {
            Some(tile) => Some(Self(tile)),
            None => None,
        }
    }

    /// The place among the bundles, from 0.
    pub const fn index(self) -> u64 {
        self.0.index
    }

    /// How many entries, from 1 to 256.
    pub const fn width(self) -> u16 {
        self.0.width
    }

    /// True when the bundle has 256 entries and never changes.
    pub const fn is_full(self) -> bool {
        self.0.is_full()
    }

    /// The tile of level 0 that has the hashes of these entries.
    pub const fn tile(self) -> Tile {
        self.0
    }

    /// The indices of the entries.
    pub const fn entries(self) -> std::ops::Range<u64> {
        let first = self.0.index * TILE_WIDTH as u64;
        first..first + self.0.width as u64
    }

    /// Every bundle of a tree of `size` entries, from the left.
    pub fn of_tree(size: u64) -> impl Iterator<Item = Self> {
        Self::added(0, size)
    }

    /// The bundles that a tree of `new` entries has and the same tree at `old` entries has not.
    pub fn added(old: u64, new: u64) -> impl Iterator<Item = Self> {
        Tile::added_at(0, old, new).map(Self)
    }
}

/// How many hashes the tiles of `level` have together in a tree of `size` entries.
fn hashes_at(level: u8, size: u64) -> u64 {
    if level < Tile::LEVELS { size.min(MAX_SIZE) >> shift(level) } else { 0 }
}

/// By how many bits a number of entries is greater than the number of hashes at `level`.
const fn shift(level: u8) -> u32 {
    8 * level as u32
}
