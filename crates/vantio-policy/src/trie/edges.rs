//! Look-ups of children by name. One slot has all that most look-ups need.

use alloc::{boxed::Box, vec, vec::Vec};

use super::{
    Edge, NONE,
    name::{Name, SHORT},
    range,
    table::{key, positions},
};

/// The children of every node, by node and name.
#[derive(Clone, Debug)]
pub(super) struct EdgeTable {
    /// A power of two of them.
    slots: Box<[Slot]>,
    /// Those that found no free slot, by hash, ascending.
    overflow: Vec<(u64, Slot)>,
}

/// Half a cache line, so that none lies in two.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Slot {
    head: [u64; 2],
    node: u32,
    /// [`NONE`] in a free slot.
    child: u32,
    length: u32,
    edge: u32,
}

/// Fewer edges than these have more slots.
const ROOMY: usize = 4_096;
const FREE: Slot = Slot { head: [0; 2], node: NONE, child: NONE, length: 0, edge: NONE };

impl EdgeTable {
    pub(super) fn new(edges: &[Edge], names: &[u8]) -> Self {
        // Where it costs little, room for most look-ups to end at the first slot.
        let room = if edges.len() < ROOMY { 4 } else { 2 };
        let size = (edges.len() * room).next_power_of_two();
        let mut table = Self { slots: vec![FREE; size].into_boxed_slice(), overflow: Vec::new() };
        for (index, edge) in edges.iter().enumerate() {
            let name = Name::new(&names[range(edge.name)]);
            let hash = key(name.hash, edge.node);
            let slot = Slot {
                head: words(name.head),
                node: edge.node,
                child: edge.child,
                length: name.bytes.len() as u32,
                edge: index as u32,
            };
            match positions(hash, size).find(|position| table.slots[*position].child == NONE) {
                Some(position) => table.slots[position] = slot,
                None => table.overflow.push((hash, slot)),
            }
        }
        table.overflow.sort_unstable_by_key(|(hash, _)| *hash);
        table
    }

    /// The child of this name. `bytes` are those of an edge's name, asked for where a name is long.
    #[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
    #[inline(always)]
    pub(super) fn find<'e>(&self, node: u32, name: Name<'_>, bytes: impl Fn(u32) -> &'e [u8]) -> u32 {
        let hash = key(name.hash, node);
        let head = words(name.head);
        let is = |slot: &Slot| {
            slot.has(head, node, name.bytes.len())
                && (name.bytes.len() <= SHORT || bytes(slot.edge) == name.bytes)
        };
        for position in positions(hash, self.slots.len()) {
            let slot = &self.slots[position];
            if is(slot) {
                return slot.child;
            }
            if slot.child == NONE {
                return NONE;
            }
        }
        if self.overflow.is_empty() {
            return NONE;
        }
        let start = self.overflow.partition_point(|(other, _)| *other < hash);
        let mut same = self.overflow[start..].iter().take_while(|(other, _)| *other == hash);
        same.find(|(_, slot)| is(slot)).map_or(NONE, |(_, slot)| slot.child)
    }
}

impl Slot {
    #[inline]
    const fn has(&self, head: [u64; 2], node: u32, length: usize) -> bool {
        (self.head[0] ^ head[0]) | (self.head[1] ^ head[1]) == 0
            && self.node == node
            && self.length as usize == length
    }
}

const fn words(head: u128) -> [u64; 2] {
    [head as u64, (head >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_at_their_node_only() {
        let mut names = Vec::new();
        let mut edges = Vec::new();
        for number in 0..200_u32 {
            let start = names.len() as u32;
            names.resize(names.len() + number as usize % 40, b'a' + (number / 40) as u8);
            let (node, child) = (number / 40, number + 1_000);
            edges.push(Edge { node, name: (start, names.len() as u32), child });
        }
        let bytes = |edge: u32| &names[range(edges[edge as usize].name)];
        let table = EdgeTable::new(&edges, &names);
        for edge in &edges {
            let name = Name::new(&names[range(edge.name)]);
            assert_eq!(table.find(edge.node, name, bytes), edge.child);
            assert_eq!(table.find(edge.node + 5, name, bytes), NONE);
        }
        let mut other = names[range(edges[39].name)].to_vec();
        other[20] = b'b';
        assert_eq!(table.find(0, Name::new(&other), bytes), NONE);
        assert_eq!(EdgeTable::new(&[], &[]).find(0, Name::new(b"a"), bytes), NONE);
    }

    #[test]
    fn names_beyond_the_bound_are_found_all_the_same() {
        // One edge many times: all have one hash, and the first stands for all.
        let edge = |child| Edge { node: 3, name: (0, 1), child };
        let edges: Vec<Edge> = (0..100).map(edge).collect();
        let mut table = EdgeTable::new(&edges, b"a");
        let bytes = |_: u32| &b"a"[..];
        assert_eq!(table.find(3, Name::new(b"a"), bytes), 0);
        for slot in &mut table.slots {
            slot.node = 7;
        }
        assert!((16..100).contains(&table.find(3, Name::new(b"a"), bytes)));
        assert_eq!(table.find(4, Name::new(b"a"), bytes), NONE);
    }
}
