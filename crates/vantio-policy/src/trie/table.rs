//! Look-ups by hash: open addressing with a bound on the slots that are looked at.
//!
//! The hash is fast and not keyed: it says where to look, never what was found. Elements
//! that find no free slot within the bound stand in a sorted list.

use alloc::{boxed::Box, vec, vec::Vec};

/// Slots that one look-up looks at.
pub(crate) const PROBES: usize = 16;

const EMPTY: u32 = u32::MAX;
const FIRST: u64 = 0xa076_1d64_78bd_642f;
const SECOND: u64 = 0xe703_7ed1_a0b4_28db;

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
            let mut positions = (0..PROBES).map(|probe| (hash as usize).wrapping_add(probe) & (size - 1));
            match positions.find(|position| slots[*position].index == EMPTY) {
                Some(position) => slots[position] = Slot { tag: (hash >> 32) as u32, index },
                None => overflow.push((hash, index)),
            }
        }
        overflow.sort_unstable();
        Self { slots, overflow }
    }

    /// The element of this hash that `is` the wanted one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = (hash >> 32) as u32;
        let mask = self.slots.len() - 1;
        for probe in 0..PROBES {
            let slot = self.slots[(hash as usize).wrapping_add(probe) & mask];
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

/// The hash of one component, label or name.
#[inline]
pub(crate) fn hash_name(name: &[u8]) -> u64 {
    let mut hash = FIRST ^ name.len() as u64;
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        if name.len() > 16 {
            let (chunks, _) = name[8..name.len() - 8].as_chunks::<8>();
            for chunk in chunks {
                hash = mix(hash ^ u64::from_le_bytes(*chunk), SECOND);
            }
            if let Some(tail) = name[..name.len() - 8].last_chunk::<8>() {
                hash = mix(hash ^ u64::from_le_bytes(*tail), SECOND);
            }
        }
        return mix(hash ^ u64::from_le_bytes(*first), SECOND ^ u64::from_le_bytes(*last));
    }
    let word = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    mix(hash ^ word, SECOND)
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
fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_beyond_the_bound_are_found_all_the_same() {
        let table = Table::new((0..100).map(|_| 7));
        assert!((0..100).all(|wanted| table.find(7, |index| index == wanted) == Some(wanted)));
        assert_eq!(table.find(7, |_| false), None);
        assert_eq!(table.find(8 << 32, |_| true), None);
        assert_eq!(Table::new(core::iter::empty()).find(7, |_| true), None);
    }

    #[test]
    fn names_of_every_length_have_their_own_hash() {
        let names: Vec<Vec<u8>> = (0..300).map(|length| vec![b'x'; length]).collect();
        let mut hashes: Vec<u64> = names.iter().map(|name| hash_name(name)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 300);
    }
}
