//! The literal beginnings of path patterns on one host, by hash: what a walk that goes from
//! component to component through names alone would find, found without going there.
//!
//! A place is a path at which something is: rules that end there, wildcards, or a `**`. Nodes
//! that only lead on are no places. Every place stands with its whole path, so that what is
//! found is the path asked for, whatever its hash.

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use vantio_core::Section;

use super::{
    Extent, NONE, Terminal, Trie, block::hash_path, filter::Filter, range, table::positions, walk::Passed,
};
use crate::entries::Entries;

/// Nodes that one path leads to by names alone. With the `**` that follows each they leave room
/// among the [`MAX_ACTIVE`](super::MAX_ACTIVE) for what a walk arrives at besides.
const MAX_TOGETHER: usize = 8;
/// Places for each node of the trie, beyond which there is no index.
const MAX_COPIES: usize = 8;
/// Slots for each place.
const ROOM: usize = 4;

/// What is found at paths, on one host.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(super) root: Place,
    /// The `**` that holds from the root on, or [`NONE`].
    pub(super) around: u32,
    /// One bit for the last three bytes of each name that may lead on from there: see [`word`].
    endings: [u64; 64],
    filter: Filter,
    /// The places, by their hashes: a power of two of slots.
    slots: Box<[Place]>,
    paths: Vec<u8>,
    terminals: Vec<Terminal>,
    exits: Vec<Exit>,
}

/// What is at a path. Half a cache line, with all that most places have.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Place {
    tag: u32,
    /// Range of `paths`; the empty path is in no slot but a free one.
    path: (u32, u32),
    /// The rule that most places have one of, or [`NONE`].
    rule: u32,
    section: Section,
    extent: Extent,
    /// Where those of its other rules begin in `terminals`, and how many they are.
    terminals: u32,
    terminals_count: u16,
    /// The same of `exits`.
    exits_count: u16,
    exits: u32,
}

const FREE: Place = Place {
    tag: 0,
    path: (0, 0),
    rule: NONE,
    section: Section::FsRead,
    extent: Extent::Only,
    terminals: 0,
    terminals_count: 0,
    exits_count: 0,
    exits: 0,
};

/// What else than names leads on from a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    /// The node whose wildcards the next component may match, or [`NONE`].
    pub(super) wildcards: u32,
    /// The node of the `**`, or [`NONE`].
    pub(super) deep: u32,
}

/// A path that names lead to, on the way through all of them.
struct Step<'n> {
    /// Bytes of its parent.
    parent: usize,
    name: &'n [u8],
    nodes: Vec<u32>,
    /// Entries at the path or below it.
    entries: Vec<Entry<'n>>,
}

/// A path and the nodes that become active there.
type Entry<'n> = (&'n [u8], &'n [u32]);

impl Index {
    /// The index of a trie with these entries; `None` where too many of them meet.
    pub(crate) fn new(trie: &Trie, entries: &Entries) -> Option<Self> {
        let mut index = Self {
            root: FREE,
            around: NONE,
            endings: [0; 64],
            filter: Filter::new(&[]),
            slots: Box::default(),
            paths: Vec::new(),
            terminals: Vec::new(),
            exits: Vec::new(),
        };
        let places = index.find_places(trie, entries)?;
        let hashes: Vec<u64> = places.iter().map(|place| hash_path(index.path(place))).collect();
        index.filter = Filter::new(&hashes);
        let size = (places.len() * ROOM).next_power_of_two();
        index.slots = (0..4).find_map(|doubled| slots(&places, &hashes, size << doubled))?;
        Some(index)
    }

    /// Whether there may be a place of this hash.
    #[inline]
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.filter.may_have(hash)
    }

    /// Whether a component may lead on from [`Index::around`] whose last bytes these are, the very
    /// last one first, a slash before it among them.
    #[inline]
    pub(super) const fn may_end(&self, [last, before, third]: [u8; 3]) -> bool {
        self.endings[word(last, before)] >> (third % 64) & 1 != 0
    }

    /// The place of this path and hash.
    #[inline]
    pub(super) fn find(&self, hash: u64, path: &[u8]) -> Option<&Place> {
        for position in positions(hash, self.slots.len()) {
            let place = self.slots.get(position)?;
            if place.tag == tag(hash) && self.path(place) == path {
                return Some(place);
            }
            if place.is_free() {
                return None;
            }
        }
        None
    }

    /// Adds the rules of a place.
    #[inline]
    pub(super) fn add(&self, place: &Place, is_last: bool, passed: &mut Passed) {
        passed.add_rule(place.section, place.extent, place.rule, is_last);
        if place.terminals_count != 0 {
            passed.add(slice(&self.terminals, place.terminals, place.terminals_count), is_last);
        }
    }

    #[inline]
    pub(super) fn exits(&self, place: &Place) -> &[Exit] {
        slice(&self.exits, place.exits, place.exits_count)
    }

    fn path(&self, place: &Place) -> &[u8] {
        self.paths.get(range(place.path)).unwrap_or_default()
    }

    fn find_places(&mut self, trie: &Trie, entries: &Entries) -> Option<Vec<Place>> {
        let nodes = entries.at_root().to_vec();
        self.find_around(trie, &nodes);
        let (root, _) = self.place(trie, &nodes, &[])?;
        self.root = root;
        let (mut path, mut places) = (Vec::new(), Vec::new());
        let entries: Vec<_> = entries.places().collect();
        let mut steps: Vec<Step<'_>> = next(trie, 0, &nodes, entries).collect();
        while let Some(Step { parent, name, mut nodes, entries: mut below }) = steps.pop() {
            path.truncate(parent);
            path.push(b'/');
            path.extend_from_slice(name);
            below.retain(|(place, starting)| {
                if *place == path {
                    nodes.extend_from_slice(starting);
                }
                *place != path
            });
            nodes.sort_unstable();
            nodes.dedup();
            let (place, is_place) = self.place(trie, &nodes, &path)?;
            if is_place {
                places.push(place);
            }
            if places.len() > MAX_COPIES * trie.nodes.len() {
                return None;
            }
            steps.extend(next(trie, path.len(), &nodes, below));
        }
        Some(places)
    }

    /// What is at a path that names lead to these nodes, and whether that is anything.
    fn place(&mut self, trie: &Trie, nodes: &[u32], path: &[u8]) -> Option<(Place, bool)> {
        if nodes.len() > MAX_TOGETHER {
            return None;
        }
        let (terminals, exits) = (self.terminals.len(), self.exits.len());
        let mut place = FREE;
        for number in nodes.iter().copied() {
            let node = &trie.nodes[number as usize];
            for terminal in trie.terminals_of(node) {
                if place.rule == NONE {
                    (place.section, place.extent, place.rule) =
                        (terminal.section, terminal.extent, terminal.rule);
                } else {
                    self.terminals.push(*terminal);
                }
            }
            let wildcards = if node.globs == NONE { NONE } else { number };
            let deep = if path.is_empty() && node.deep == self.around { NONE } else { node.deep };
            if wildcards != NONE || deep != NONE {
                self.exits.push(Exit { wildcards, deep });
            }
        }
        (place.terminals, place.exits) = (u32::try_from(terminals).ok()?, u32::try_from(exits).ok()?);
        place.terminals_count = u16::try_from(self.terminals.len() - terminals).ok()?;
        place.exits_count = u16::try_from(self.exits.len() - exits).ok()?;
        let is_place = place.rule != NONE || place.exits_count != 0;
        if is_place {
            let start = self.paths.len();
            self.paths.extend_from_slice(path);
            place.path = (u32::try_from(start).ok()?, u32::try_from(self.paths.len()).ok()?);
        }
        Some((place, is_place))
    }

    /// Has one of the `**` at the root hold all along, and finds out how names lead on from it.
    fn find_around(&mut self, trie: &Trie, roots: &[u32]) {
        let deeps = roots.iter().map(|root| trie.nodes[*root as usize].deep);
        let Some(around) = deeps.into_iter().find(|deep| *deep != NONE) else { return };
        self.around = around;
        for edge in trie.edge_range(around) {
            let (name, _) = trie.edge(edge);
            self.add_ending(&[b"/", name].concat());
        }
        for (glob, _) in trie.glob_edges(around) {
            self.add_ending(glob.tail());
        }
    }

    /// Adds what a component, with the slash before it, may end with that ends with these bytes.
    fn add_ending(&mut self, tail: &[u8]) {
        match *tail {
            [.., third, before, last] => self.endings[word(last, before)] |= 1 << (third % 64),
            [before, last] => self.endings[word(last, before)] = u64::MAX,
            [last] => (0..=u8::MAX).for_each(|before| self.endings[word(last, before)] = u64::MAX),
            [] => self.endings = [u64::MAX; 64],
        }
    }
}

/// The element of [`Index::endings`] for these last bytes.
const fn word(last: u8, before: u8) -> usize {
    (last as usize * 7 + before as usize * 13) % 64
}

impl Place {
    const fn is_free(&self) -> bool {
        self.path.0 == self.path.1
    }
}

/// Places in as many slots; `None` where one finds none within the bound.
fn slots(places: &[Place], hashes: &[u64], size: usize) -> Option<Box<[Place]>> {
    let mut slots = vec![FREE; size].into_boxed_slice();
    for (place, hash) in places.iter().zip(hashes) {
        let position = positions(*hash, size).find(|position| slots[*position].is_free())?;
        slots[position] = Place { tag: tag(*hash), ..*place };
    }
    Some(slots)
}

const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[inline]
fn slice<T>(all: &[T], start: u32, count: u16) -> &[T] {
    let start = start as usize;
    all.get(start..start.wrapping_add(count.into())).unwrap_or_default()
}

/// Where names lead from these nodes, which the first `parent` bytes of a path lead to.
fn next<'n>(
    trie: &'n Trie,
    parent: usize,
    nodes: &[u32],
    below: Vec<Entry<'n>>,
) -> impl Iterator<Item = Step<'n>> {
    let mut steps: BTreeMap<&[u8], (Vec<u32>, Vec<Entry<'n>>)> = BTreeMap::new();
    for edge in nodes.iter().flat_map(|node| trie.edge_range(*node)) {
        let (name, child) = trie.edge(edge);
        steps.entry(name).or_default().0.push(child);
    }
    for entry in below {
        let name = entry.0[parent + 1..].split(|byte| *byte == b'/').next().unwrap_or_default();
        steps.entry(name).or_default().1.push(entry);
    }
    steps.into_iter().map(move |(name, (nodes, entries))| Step { parent, name, nodes, entries })
}
