//! The tree's right edge, growing.

use vantio_core::Hash;

use super::{
    hash::{EMPTY_ROOT, node_hash, reduce},
    source::Tiles,
    tile::{MAX_SIZE, TILE_WIDTH, Tile},
};

/// Heights of complete subtrees in a tree of up to [`MAX_SIZE`] entries.
const HEIGHTS: usize = 57;

/// A tree that grows at its right edge: one partial tile a level is all that it keeps.
///
/// Pushing a leaf costs one node hash on average and allocates nothing but, eight times in a
/// builder's life, a tile.
#[derive(Clone, Debug)]
pub struct Builder {
    size: u64,
    /// The complete subtrees that the tree is made of, by height: those whose bit in `size` is set.
    subtrees: [Hash; HEIGHTS],
    /// By level, the tile that is not full yet.
    tails: Vec<Tail>,
}

/// A tile that has just been filled, to be stored: it never changes again.
#[derive(Clone, Copy, Debug)]
pub struct FullTile<'tail> {
    /// Which one.
    pub tile: Tile,
    /// Its hashes.
    pub hashes: &'tail [Hash; TILE_WIDTH as usize],
    /// The hash of the subtree below it, which is its hash in the next level. Stored beside the
    /// tile, it makes [`Builder::restore`] cheap.
    pub root: Hash,
}

/// Why a builder could not be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError<Source> {
    /// The root of a full tile could not be read.
    #[error("`{tile}` cannot be read: {source}")]
    Source {
        /// The tile.
        tile: Tile,
        /// What the source says.
        source: Source,
    },
    /// The leaves are not those after the last full tile.
    #[error("a tree of {size} entries has {} leaves after its last full tile, not {found}", size % 256)]
    Leaves {
        /// The size of the tree.
        size: u64,
        /// How many leaves came.
        found: usize,
    },
    /// The tree is larger than [`MAX_SIZE`].
    #[error("a tree of {0} entries has no tiles here")]
    TooLarge(u64),
}

impl<Source> RestoreError<Source> {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        "E_LEDGER_TILE"
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        "the stored tree is incomplete: build it anew from the entries"
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self { size: 0, subtrees: [Hash::ZERO; HEIGHTS], tails: Vec::with_capacity(Tile::LEVELS.into()) }
    }
}

impl Builder {
    /// The tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` entries, from what was stored: `tile_root` gives a full tile's
    /// [`FullTile::root`] (or [`Builder::tile_root`] of its hashes), and `leaves` are the leaf
    /// hashes after the last full tile of level 0.
    ///
    /// It asks for at most 255 roots a level.
    pub fn restore<Source>(
        size: u64,
        leaves: &[Hash],
        mut tile_root: impl FnMut(Tile) -> Result<Hash, Source>,
    ) -> Result<Self, RestoreError<Source>> {
        if size > MAX_SIZE {
            return Err(RestoreError::TooLarge(size));
        }
        if leaves.len() as u64 != size % u64::from(TILE_WIDTH) {
            return Err(RestoreError::Leaves { size, found: leaves.len() });
        }
        let mut builder = Self { size, ..Self::default() };
        builder.extend_tail(0, leaves);
        for level in 1..=Tile::LEVELS {
            let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let mut tail = Vec::new();
            for index in hashes - hashes % u64::from(TILE_WIDTH)..hashes {
                let tile = Tile::in_tree(level - 1, index, size).ok_or(RestoreError::TooLarge(size))?;
                tail.push(tile_root(tile).map_err(|source| RestoreError::Source { tile, source })?);
            }
            builder.extend_tail(level.into(), &tail);
        }
        builder.restore_subtrees();
        Ok(builder)
    }

    /// The hash of the subtree below a full tile.
    pub fn tile_root(hashes: &[Hash; TILE_WIDTH as usize]) -> Hash {
        let mut nodes = *hashes;
        reduce(&mut nodes).unwrap_or(EMPTY_ROOT)
    }

    /// How many entries there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends the entry whose leaf hash is `leaf`; `full` gets each tile that this fills, lowest
    /// level first. At [`MAX_SIZE`] nothing is appended, and false comes back.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(FullTile<'_>)) -> bool {
        if self.size >= MAX_SIZE {
            return false;
        }
        let mut node = leaf;
        for height in 0.. {
            if height % 8 == 0 {
                let level = height / 8;
                if level > 0 {
                    self.give_full(level - 1, node, &mut full);
                }
                self.tail(level).push(node);
            }
            if self.size >> height & 1 == 0 {
                self.subtrees[height] = node;
                break;
            }
            node = node_hash(&self.subtrees[height], &node);
        }
        self.size += 1;
        true
    }

    /// The root over all entries, in as many steps as `size` has bits (RFC 9162, section 2.1.1).
    pub fn root(&self) -> Hash {
        let mut root = None;
        for (height, subtree) in self.subtrees.iter().enumerate() {
            if self.size >> height & 1 == 1 {
                root = Some(root.map_or(*subtree, |right| node_hash(subtree, &right)));
            }
        }
        root.unwrap_or(EMPTY_ROOT)
    }

    /// The partial tiles, lowest level first: with the full ones, they are all tiles of the tree.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        self.tails.iter().enumerate().filter_map(|(level, tail)| {
            let hashes = tail.hashes();
            Some((Tile::new(level as u8, self.tail_index(level), hashes.len() as u16)?, hashes))
        })
    }

    /// The hashes of the tile `index` at `level`, when it is the partial one.
    pub fn partial(&self, level: u8, index: u64) -> Option<&[Hash]> {
        let tail = self.tails.get(usize::from(level))?;
        (index == self.tail_index(level.into()) && tail.width > 0).then(|| tail.hashes())
    }

    /// Adds the partial tiles to a source of the full ones.
    pub const fn over<Source: Tiles>(&self, full: Source) -> WithTail<'_, Source> {
        WithTail { builder: self, full }
    }

    /// Gives away the tile of `level`, whose subtree has come to be complete.
    fn give_full(&mut self, level: usize, root: Hash, full: &mut impl FnMut(FullTile<'_>)) {
        let index = self.tail_index(level);
        let tail = self.tail(level);
        if let Some(tile) = Tile::new(level as u8, index, tail.width) {
            full(FullTile { tile, hashes: &tail.hashes, root });
        }
        tail.width = 0;
    }

    /// Before an entry is appended, the tile that it goes into is the one that `size` points to.
    fn tail_index(&self, level: usize) -> u64 {
        self.size.checked_shr(8 * (level as u32 + 1)).unwrap_or(0)
    }

    fn tail(&mut self, level: usize) -> &mut Tail {
        while self.tails.len() <= level {
            self.tails.push(Tail::new());
        }
        &mut self.tails[level]
    }

    fn extend_tail(&mut self, level: usize, hashes: &[Hash]) {
        let tail = self.tail(level);
        for hash in hashes {
            tail.push(*hash);
        }
    }

    /// Each level's partial tile is made of complete subtrees, the largest first.
    fn restore_subtrees(&mut self) {
        for (level, tail) in self.tails.iter().enumerate() {
            let mut start = 0;
            for bit in (0..8).rev() {
                let width = 1 << bit;
                let Some(nodes) = tail.hashes().get(start..start + width) else { continue };
                let mut scratch = [Hash::ZERO; TILE_WIDTH as usize];
                let scratch = &mut scratch[..width];
                scratch.copy_from_slice(nodes);
                if let (Some(subtree), Some(root)) = (self.subtrees.get_mut(8 * level + bit), reduce(scratch))
                {
                    *subtree = root;
                }
                start += width;
            }
        }
    }
}

/// Full tiles from a store, and the partial ones of a [`Builder`]: every tile of the tree.
#[derive(Clone, Copy, Debug)]
pub struct WithTail<'builder, Source> {
    builder: &'builder Builder,
    full: Source,
}

impl<Source: Tiles> Tiles for WithTail<'_, Source> {
    type Error = Source::Error;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Self::Error> {
        match self.builder.partial(tile.level(), tile.index()) {
            Some(hashes) => Ok(hashes.to_vec()),
            None => self.full.tile(Tile::full(tile)),
        }
    }
}

/// A tile that is not full yet.
#[derive(Clone, Debug)]
struct Tail {
    width: u16,
    hashes: Box<[Hash; TILE_WIDTH as usize]>,
}

impl Tail {
    fn new() -> Self {
        Self { width: 0, hashes: Box::new([Hash::ZERO; TILE_WIDTH as usize]) }
    }

    fn push(&mut self, hash: Hash) {
        // INVARIANT: a full tile is given away before its level gets another hash.
        if let Some(place) = self.hashes.get_mut(usize::from(self.width)) {
            *place = hash;
            self.width += 1;
        }
    }

    fn hashes(&self) -> &[Hash] {
        &self.hashes[..usize::from(self.width)]
    }
}
