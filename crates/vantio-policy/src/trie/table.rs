//! Look-ups by hash: open addressing with a bound on the slots that are looked at.
//!
//! The hash is fast and not keyed: it says where to look, never what was found. Elements
//! that find no free slot within the bound stand in a sorted list.

use alloc::{boxed::Box, vec, vec::Vec};

/// Slots that one look-up looks at.
pub(crate) const PROBES: usize = 16;

const EMPTY: u32 = u32::MAX;
pub(super) const FIRST: u64 = 0xa076_1d64_78bd_642f;
pub(super) const SECOND: u64 = 0xe703_7ed1_a0b4_28db;

/// Indices of elements by their hashes.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// A power of two of them.
    slots: Box<[Slot]>,
    /// By hash, ascending.
    overflow: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    index: u32,
}

impl Table {
    /// The table of elements 0, 1, 2 … with these hashes.
    pub(crate) fn new(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let size = (hashes.len() * 2).next_power_of_two();
        let mut slots = vec![Slot { tag: 0, index: EMPTY }; size].into_boxed_slice();
        let mut overflow = Vec::new();
        for (index, hash) in hashes.enumerate() {
            let index = index as u32;
            match positions(hash, size).find(|position| slots[*position].index == EMPTY) {
                Some(position) => slots[position] = Slot { tag: (hash >> 32) as u32, index },
                None => overflow.push((hash, index)),
            }
        }
        overflow.sort_unstable();
        Self { slots, overflow }
    }

    /// Adds the element of the next number. False where that takes a greater table.
    pub(crate) fn add(&mut self, hash: u64, index: u32) -> bool {
        let size = self.slots.len();
        if index as usize >= size / 2 {
            return false;
        }
        let Some(position) = positions(hash, size).find(|position| self.slots[*position].index == EMPTY)
        else {
            return false;
        };
        self.slots[position] = Slot { tag: (hash >> 32) as u32, index };
        true
    }

    /// The element of this hash that `is` the wanted one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = (hash >> 32) as u32;
        for position in positions(hash, self.slots.len()) {
            let slot = self.slots[position];
            if slot.index == EMPTY {
                return None;
            }
            if slot.tag == tag && is(slot.index) {
                return Some(slot.index);
            }
        }
        self.find_overflown(hash, is)
    }

    #[cold]
    fn find_overflown(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let start = self.overflow.partition_point(|(other, _)| *other < hash);
        let same = self.overflow[start..].iter().take_while(|(other, _)| *other == hash);
        same.map(|(_, index)| *index).find(|index| is(*index))
    }
}

/// Where an element of this hash may stand in a table of `size` slots, a power of two.
#[inline]
pub(super) fn positions(hash: u64, size: usize) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |probe| (hash as usize).wrapping_add(probe) & size.wrapping_sub(1))
}

/// The hash of something at a node.
#[inline]
pub(crate) fn key(hash: u64, node: u32) -> u64 {
    mix(hash ^ u64::from(node), FIRST)
}

/// The hash of a path, from its parent's and its last component's.
#[inline]
pub(crate) fn join(parent: u64, name: u64) -> u64 {
    mix(parent ^ name, FIRST | 1)
}

#[inline]
pub(super) fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_added_while_there_is_room() {
        let hash = |index| key(u64::from(index), 0);
        let mut table = Table::new((0..9).map(hash));
        let added = (9..100).take_while(|index| table.add(hash(*index), *index)).count() as u32;
        assert!((1..100).contains(&added));
        assert!((0..9 + added).all(|wanted| table.find(hash(wanted), |index| index == wanted).is_some()));
        assert_eq!(table.find(hash(9 + added), |_| false), None);
    }

    #[test]
    fn elements_beyond_the_bound_are_found_all_the_same() {
        let table = Table::new((0..100).map(|_| 7));
        assert!((0..100).all(|wanted| table.find(7, |index| index == wanted) == Some(wanted)));
        assert_eq!(table.find(7, |_| false), None);
        assert_eq!(table.find(8 << 32, |_| true), None);
        assert_eq!(Table::new(core::iter::empty()).find(7, |_| true), None);
    }
}
