//! Roots and proofs, from tiles.

use std::ops::Range;

use vantio_core::Hash;

use super::{
    hash::{EMPTY_ROOT, node_hash},
    source::{Reading, Tiles, TreeError},
    tile::MAX_SIZE,
};

/// The root of the tree over the first `size` entries (RFC 9162, section 2.1.1).
pub fn root<Source: Tiles>(size: u64, tiles: &Source) -> Result<Hash, TreeError<Source::Error>> {
    bounded(size)?;
    if size == 0 { Ok(EMPTY_ROOT) } else { range_hash(&mut Reading::new(tiles, size), 0..size) }
}

/// The proof that the entry `index` is in the tree over the first `size` entries: the hashes of
/// the siblings on its way to the root, from the leaf up (RFC 9162, section 2.1.3.1).
pub fn inclusion<Source: Tiles>(
    index: u64,
    size: u64,
    tiles: &Source,
) -> Result<Vec<Hash>, TreeError<Source::Error>> {
    bounded(size)?;
    if index >= size {
        return Err(TreeError::Beyond { wanted: index, size });
    }
    let mut siblings = Vec::new();
    let mut inside = 0..size;
    while inside.end - inside.start > 1 {
        let middle = split(&inside);
        if index < middle {
            siblings.push(middle..inside.end);
            inside.end = middle;
        } else {
            siblings.push(inside.start..middle);
            inside.start = middle;
        }
    }
    upwards(siblings, size, tiles)
}

/// The proof that the tree over the first `new` entries continues the one over the first `old`
/// (RFC 9162, section 2.1.4.1). Empty where `old` is 0 or `new`.
pub fn consistency<Source: Tiles>(
    old: u64,
    new: u64,
    tiles: &Source,
) -> Result<Vec<Hash>, TreeError<Source::Error>> {
    bounded(new)?;
    if old > new {
        return Err(TreeError::Beyond { wanted: old, size: new });
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let mut nodes = Vec::new();
    let mut inside = 0..new;
    while inside.end != old {
        let middle = split(&inside);
        if old <= middle {
            nodes.push(middle..inside.end);
            inside.end = middle;
        } else {
            nodes.push(inside.start..middle);
            inside.start = middle;
        }
    }
    // A subtree that is the whole older tree is known to whoever has its root.
    if inside.start != 0 {
        nodes.push(inside);
    }
    upwards(nodes, new, tiles)
}

fn bounded<Source>(size: u64) -> Result<(), TreeError<Source>> {
    if size > MAX_SIZE { Err(TreeError::TooLarge(size)) } else { Ok(()) }
}

/// The hashes of ranges that were met on the way down.
fn upwards<Source: Tiles>(
    ranges: Vec<Range<u64>>,
    size: u64,
    tiles: &Source,
) -> Result<Vec<Hash>, TreeError<Source::Error>> {
    let mut reading = Reading::new(tiles, size);
    ranges.into_iter().rev().map(|range| range_hash(&mut reading, range)).collect()
}

/// Where the left subtree ends: after the largest power of two that is smaller than the range,
/// which has two or more entries.
fn split(range: &Range<u64>) -> u64 {
    let last = range.end - range.start - 1;
    range.start + (1 << last.ilog2())
}

/// The root over the entries of a range that is not empty and begins where a subtree of its size does.
fn range_hash<Source: Tiles>(
    reading: &mut Reading<'_, Source>,
    range: Range<u64>,
) -> Result<Hash, TreeError<Source::Error>> {
    let mut end = range.end;
    let mut right: Option<Hash> = None;
    while end > range.start {
        // The smallest of the complete subtrees that the range still has.
        let height = (end - range.start).trailing_zeros();
        end -= 1 << height;
        let left = reading.subtree(end, height)?;
        right = Some(right.map_or(left, |right| node_hash(&left, &right)));
    }
    right.ok_or(TreeError::Beyond { wanted: range.start, size: range.end })
}
