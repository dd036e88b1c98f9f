//! The compiled rules: every list of a program as tries in flat arrays.
//!
//! A path pattern is a way through a trie, one component a step: names, wildcards within a
//! component, and `**`, which is a node that stays active. Where it ends stands a
//! [`Terminal`]: the list, how far the rule reaches from there, and the rule's index. All
//! lists of paths share one trie for each of the four things that begin a pattern, so that
//! one walk answers every list. Domains are tries over labels from the right; address blocks
//! are exact keys of length and masked bytes; tools, models and bare program names are one
//! level deep.
//!
//! Most paths are not walked. What literal beginnings of patterns lead to on one host is looked
//! up by the hash of the whole beginning, once for each component (`index`, `hasty`); evidence
//! and what that does not answer take the walk (`walk`).
//!
//! # The work of one decision
//!
//! Let a path have *c* components, and let at most [`MAX_ACTIVE`] nodes be active (more are
//! refused). Each component takes one look-up of the path up to it, and for each active node one
//! look-up of its name, at most one for each distinct length (up to [`MAX_KEY`]) of what that
//! node's wildcards begin or end with, and one comparison for each wildcard that these find or
//! that begins and ends with none. A look-up is at most [`table::PROBES`] slots and one binary
//! search. An address takes one look-up for itself and one for each prefix length that occurs (at
//! most 33 or 129) for each of its at most two forms; where many rules cover the names that it was
//! an answer for, each name takes one a label. A walk that gives up (`hasty`) has followed at most
//! 21 nodes before the one that answers. Nothing is allocated, nothing recurses.

mod block;
mod build;
mod edges;
mod filter;
mod hash;
mod hasty;
mod index;
pub(crate) mod name;
mod ports;
pub(crate) mod table;
pub(crate) mod walk;

use alloc::vec::Vec;
use core::{fmt, ops::Range};

use vantio_core::{Hash, Section};

use crate::{entries::Entries, glob::Glob};
use edges::EdgeTable;
use filter::Filter;
use name::Name;
use table::Table;
use walk::{Passed, Reached, Stray};

pub(crate) use hash::{Hasher, LiteralTree, literal_hash, node_hash};
pub(crate) use index::Index;

/// No node, no rule.
pub(crate) const NONE: u32 = u32::MAX;
/// Nodes that are active at one time, beyond which an intent is refused.
pub(crate) const MAX_ACTIVE: usize = 64;
/// Bytes of a wildcard's beginning or end that it is found by.
const MAX_KEY: usize = 63;

/// Where a walk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// Paths that begin with `/` or `**`.
    Paths,
    /// Paths that begin with `~` or `${home}`.
    Home,
    /// Paths that begin with `${workspace}`.
    Workspace,
    /// Paths that begin with `${tmp}`.
    Tmp,
    /// Bare names of programs.
    Programs,
    /// Domain names, and `*` at the root itself.
    Domains,
    /// Address blocks.
    Addresses,
    Tools,
    Models,
}

/// How many roots there are.
pub(crate) const ROOTS: usize = 9;

/// How far a rule reaches from the node that it ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// What leads here, and nothing below.
    Only,
    /// What leads here, and all below.
    Whole,
    /// All below. What leads here may be listed.
    Inside,
}

/// What a terminal is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect {
    /// Whether the rule is there.
    Plain,
    /// Whether a name is resolved: in an allow by any rule, in a deny by one for every port.
    Resolve,
    /// Ports reached by TCP.
    Tcp,
    /// Ports reached by UDP; in a deny also those of [`Aspect::Tcp`].
    Udp,
}

/// A rule's end. Of several rules that say the same, the first in canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Terminal {
    pub(crate) section: Section,
    pub(crate) extent: Extent,
    pub(crate) aspect: Aspect,
    /// The first and last port; 0 where the aspect has none.
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) rule: u32,
}

/// Which lengths of address prefixes occur, one bit a length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub(crate) v4: u64,
    pub(crate) v6: [u64; 3],
}

/// What is at a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'n> {
    /// Ascending.
    pub(crate) terminals: &'n [Terminal],
    /// The node of the `**` that follows here.
    pub(crate) deep: u32,
    /// Whether the node stands for a `**`, so that it stays active.
    pub(crate) is_deep: bool,
    /// Whether anything but a `**` follows.
    pub(crate) is_interior: bool,
    /// The first rule of `fs.deny` that ends here or below, without what follows by `**`.
    pub(crate) lead: u32,
}

/// Nodes as a walk sees them: the whole program, or a part that is checked against its hash.
pub(crate) trait Nodes {
    /// Where a walk begins.
    fn root(&self, root: Root) -> u32;
    /// Which lengths of address prefixes occur.
    fn lengths(&self) -> &Lengths;
    /// Whether there may be a block of addresses with this [`walk::block_hash`].
    fn may_have_block(&self, _hash: u64) -> bool {
        true
    }
    /// What is at a node.
    fn view(&self, node: u32) -> View<'_>;
    /// The child of this name, or [`NONE`].
    fn literal(&self, node: u32, name: Name<'_>) -> u32;
    /// The rules that a path passes, from every entry: as [`Reached::walk`] finds them.
    fn pass(&self, entries: &Entries, path: &[u8], passed: &mut Passed) -> Result<(), Stray>
    where
        Self: Sized,
    {
        let mut reached = Reached::nothing();
        reached.walk(self, entries, path)?;
        *passed = reached.passed;
        Ok(())
    }
    /// The children whose wildcards match `name`, and whether the wildcard is `*`.
    fn globs(&self, node: u32, name: &[u8], found: impl FnMut(u32, bool));
}

/// The rules of a program.
#[derive(Clone)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    terminals: Vec<Terminal>,
    /// By node and name, both ascending.
    edges: Vec<Edge>,
    names: Vec<u8>,
    /// By node and wildcard, both ascending.
    globs: Vec<GlobEdge>,
    glob_indexes: Vec<GlobIndex>,
    /// Elements of `globs` by what they are found by.
    glob_groups: Vec<u32>,
    glob_keys: Vec<GlobKey>,
    edge_table: EdgeTable,
    glob_table: Table,
    /// Of the elements of `glob_keys`, by [`near`].
    glob_filter: Filter,
    lengths: Lengths,
    /// Of the blocks of addresses, by [`walk::block_hash`].
    blocks: Filter,
    hashes: hash::Hashes,
}

/// Half a cache line, so that none lies in two.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Node {
    /// One bit for each literal child, by its name's hash.
    bloom: u64,
    terminals: (u32, u32),
    deep: u32,
    /// Element of `glob_indexes`.
    globs: u32,
    lead: u32,
    is_deep: bool,
    is_interior: bool,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    node: u32,
    name: (u32, u32),
    child: u32,
}

#[derive(Clone, Debug)]
struct GlobEdge {
    node: u32,
    glob: Glob,
    child: u32,
    /// Whether a name matches as soon as its key is found.
    is_decided: bool,
}

/// How the wildcards of one node are found.
#[derive(Clone, Copy, Debug)]
struct GlobIndex {
    /// The child of `*`.
    anything: u32,
    heads: Keys,
    tails: Keys,
    /// Range of `glob_groups`: those that begin and end with none.
    rest: (u32, u32),
}

/// Which beginnings or ends occur.
#[derive(Clone, Copy, Debug, Default)]
struct Keys {
    /// One bit for the two outermost bytes; see [`Keys::bit`].
    pairs: [u64; 4],
    /// One bit a length.
    lengths: u64,
}

#[derive(Clone, Copy, Debug)]
struct GlobKey {
    index: u32,
    is_tail: bool,
    /// Bytes of the key, at the beginning or end of the first element's literal.
    length: u32,
    /// Range of `glob_groups`, at least one.
    group: (u32, u32),
}

impl Node {
    /// Whether a literal child may have this name.
    #[inline]
    const fn may_have(&self, name: Name<'_>) -> bool {
        self.bloom >> (name.hash >> 58) & 1 != 0
    }
}

impl GlobIndex {
    #[inline]
    fn has_head(&self, name: &[u8]) -> bool {
        self.heads.lengths != 0
            && self.heads.may_have(name.first_chunk().map(|[first, second]| [*first, *second]))
    }

    #[inline]
    fn has_tail(&self, name: &[u8]) -> bool {
        self.tails.lengths != 0
            && self.tails.may_have(name.last_chunk().map(|[second, last]| [*last, *second]))
    }
}

impl Keys {
    /// Whether a name with these outermost bytes can have one of the keys; of shorter names,
    /// their lengths tell.
    #[inline]
    fn may_have(&self, outermost: Option<[u8; 2]>) -> bool {
        outermost.is_none_or(|outermost| {
            let bit = Self::bit(outermost);
            self.pairs[usize::from(bit) / 64] >> (bit % 64) & 1 != 0
        })
    }

    /// One of 256.
    const fn bit([outer, inner]: [u8; 2]) -> u8 {
        (u16::from_le_bytes([outer, inner]).wrapping_mul(0x9e37) >> 8) as u8
    }
}

impl fmt::Debug for Trie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trie").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

fn range(bounds: (u32, u32)) -> Range<usize> {
    bounds.0 as usize..bounds.1 as usize
}

impl Trie {
    pub(crate) fn roots_hashes(&self) -> [Hash; ROOTS] {
        core::array::from_fn(|root| self.hashes.nodes[root])
    }

    pub(crate) fn hash_of(&self, node: u32) -> Hash {
        self.hashes.nodes[node as usize]
    }

    /// The rules that end at a node.
    #[inline]
    fn terminals_of(&self, node: &Node) -> &[Terminal] {
        // INVARIANT: the range lies within; what is not looked at is not checked.
        self.terminals.get(range(node.terminals)).unwrap_or_default()
    }

    /// The child of this name, or [`NONE`], where [`Node::may_have`] holds.
    #[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
    #[inline(always)]
    fn find(&self, node: u32, name: Name<'_>) -> u32 {
        self.edge_table.find(node, name, |edge| &self.names[range(self.edges[edge as usize].name)])
    }

    /// The rules that a path passes, by a thorough walk.
    #[cold]
    fn walk(&self, entries: &Entries, path: &[u8], passed: &mut Passed) -> Result<(), Stray> {
        let mut reached = Reached::nothing();
        reached.walk(self, entries, path)?;
        *passed = reached.passed;
        Ok(())
    }

    /// The elements of `edges` at a node.
    pub(crate) fn edge_range(&self, node: u32) -> Range<usize> {
        let start = self.edges.partition_point(|edge| edge.node < node);
        start..start + self.edges[start..].partition_point(|edge| edge.node == node)
    }

    pub(crate) fn edge(&self, index: usize) -> (&[u8], u32) {
        let edge = &self.edges[index];
        (&self.names[range(edge.name)], edge.child)
    }

    /// The hash over the edges that a balanced search tree has below and at this one.
    pub(crate) fn edge_hash(&self, index: usize) -> Hash {
        self.hashes.edges[index]
    }

    /// The wildcards at a node with their children.
    pub(crate) fn glob_edges(&self, node: u32) -> impl ExactSizeIterator<Item = (&Glob, u32)> {
        let start = self.globs.partition_point(|edge| edge.node < node);
        let end = start + self.globs[start..].partition_point(|edge| edge.node == node);
        self.globs[start..end].iter().map(|edge| (&edge.glob, edge.child))
    }

    #[inline(never)]
    fn probe_globs(
        &self,
        index: u32,
        name: &[u8],
        keys: &Keys,
        is_tail: bool,
        found: &mut impl FnMut(u32, bool),
    ) {
        let outer = outermost(name, is_tail);
        let owner = index << 1 | u32::from(is_tail);
        let mut lengths = keys.lengths;
        while lengths != 0 {
            let length = lengths.trailing_zeros() as usize;
            lengths &= lengths - 1;
            if length > name.len() {
                return;
            }
            if !self.glob_filter.may_have(near(outer, length, owner)) {
                continue;
            }
            let key = if is_tail { &name[name.len() - length..] } else { &name[..length] };
            let hash = table::key(Name::new(key).hash, owner);
            let known = self.glob_table.find(hash, |candidate| {
                let candidate = &self.glob_keys[candidate as usize];
                candidate.index == index && candidate.is_tail == is_tail && self.glob_key(candidate) == key
            });
            if let Some(known) = known {
                self.match_globs(self.glob_keys[known as usize].group, name, found);
            }
        }
    }

    fn glob_key(&self, key: &GlobKey) -> &[u8] {
        let glob = &self.globs[self.glob_groups[key.group.0 as usize] as usize].glob;
        let length = key.length as usize;
        if key.is_tail { &glob.tail()[glob.tail().len() - length..] } else { &glob.head()[..length] }
    }

    fn match_globs(&self, group: (u32, u32), name: &[u8], found: &mut impl FnMut(u32, bool)) {
        for edge in &self.glob_groups[range(group)] {
            let edge = &self.globs[*edge as usize];
            if edge.is_decided || edge.glob.matches(name) {
                found(edge.child, false);
            }
        }
    }
}

/// The four outermost bytes of a name, the very outermost highest; zeros follow a shorter one.
#[inline]
fn outermost(name: &[u8], is_tail: bool) -> u32 {
    let outer = if is_tail { name.last_chunk().copied() } else { name.first_chunk().copied() };
    if let Some(mut outer) = outer {
        if is_tail {
            outer.reverse();
        }
        return u32::from_be_bytes(outer);
    }
    let mut outer = [0; 4];
    for (place, byte) in name.iter().enumerate() {
        outer[if is_tail { name.len() - 1 - place } else { place }] = *byte;
    }
    u32::from_be_bytes(outer)
}

/// A hash of what is seen of a key of `length` in a name's outermost bytes.
#[inline]
fn near(outer: u32, length: usize, owner: u32) -> u64 {
    let seen = outer >> (32 - 8 * length.clamp(1, 4) as u32);
    table::key(u64::from(seen) << 32 | u64::from(owner), length as u32)
}

impl Nodes for Trie {
    #[inline]
    fn pass(&self, entries: &Entries, path: &[u8], passed: &mut Passed) -> Result<(), Stray> {
        match entries.index().and_then(|index| self.hasty(index, path, passed)) {
            Some(()) => Ok(()),
            None => self.walk(entries, path, passed),
        }
    }

    fn root(&self, root: Root) -> u32 {
        root as u32
    }

    fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    #[inline]
    fn may_have_block(&self, hash: u64) -> bool {
        self.blocks.may_have(hash)
    }

    #[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
    #[inline(always)]
    fn view(&self, node: u32) -> View<'_> {
        let node = &self.nodes[node as usize];
        View {
            terminals: self.terminals_of(node),
            deep: node.deep,
            is_deep: node.is_deep,
            is_interior: node.is_interior,
            lead: node.lead,
        }
    }

    #[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
    #[inline(always)]
    fn literal(&self, node: u32, name: Name<'_>) -> u32 {
        if self.nodes[node as usize].may_have(name) { self.find(node, name) } else { NONE }
    }

    #[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
    #[inline(always)]
    fn globs(&self, node: u32, name: &[u8], mut found: impl FnMut(u32, bool)) {
        let at = self.nodes[node as usize].globs;
        if at == NONE {
            return;
        }
        let index = &self.glob_indexes[at as usize];
        if index.anything != NONE {
            found(index.anything, true);
        }
        if index.has_head(name) {
            self.probe_globs(at, name, &index.heads, false, &mut found);
        }
        if index.has_tail(name) {
            self.probe_globs(at, name, &index.tails, true, &mut found);
        }
        if index.rest.0 != index.rest.1 {
            self.match_globs(index.rest, name, &mut found);
        }
    }
}
