//! The hash tree over the nodes.
//!
//! A node's hash is over its terminals, its wildcards with their children's hashes, the
//! child of a `**`, and the root of a balanced search tree over the names of its other
//! children. So the presence of one name among ten thousand, and its absence, take as many
//! hashes as that tree is deep. Every hash begins with a tag of what it is over.

use alloc::{string::String, vec, vec::Vec};
use core::ops::Range;

use vantio_core::Hash;

use super::{NONE, Terminal, Trie};
use crate::glob::Glob;

const NODE: &[u8] = b"vantio policy node 1\0";
const NAME: &[u8] = b"vantio policy name 1\0";

/// The hashes of a program's nodes, and of the search trees over their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes {
    pub(super) nodes: Vec<Hash>,
    /// By edge: the search tree whose root it is.
    pub(super) edges: Vec<Hash>,
}

/// A range of edges as a balanced search tree: its root in the middle.
#[derive(Clone, Debug)]
pub(crate) struct LiteralTree(pub(crate) Range<usize>);

impl LiteralTree {
    /// The edge at the root, and what is on its two sides; `None` for the empty tree.
    pub(crate) fn split(&self) -> Option<(usize, Self, Self)> {
        if self.0.is_empty() {
            return None;
        }
        let middle = self.0.start + self.0.len() / 2;
        Some((middle, Self(self.0.start..middle), Self(middle + 1..self.0.end)))
    }
}

impl Hashes {
    pub(super) fn new(trie: &Trie) -> Self {
        let mut hashes =
            Self { nodes: vec![Hash::ZERO; trie.nodes.len()], edges: vec![Hash::ZERO; trie.edges.len()] };
        // Children have greater numbers, and edges and wildcards stand by node.
        let (mut edges_end, mut globs_end) = (trie.edges.len(), trie.globs.len());
        for number in (0..trie.nodes.len()).rev() {
            let first = |end: usize, is_own: &dyn Fn(usize) -> bool| {
                (0..end).rev().take_while(|index| is_own(*index)).last().unwrap_or(end)
            };
            let edges = first(edges_end, &|index| trie.edges[index].node as usize == number);
            let globs = first(globs_end, &|index| trie.globs[index].node as usize == number);
            let names = hashes.names(trie, &LiteralTree(edges..edges_end));
            let node = &trie.nodes[number];
            let wildcards = trie.globs[globs..globs_end].iter();
            let wildcards = wildcards.map(|edge| (&edge.glob, hashes.nodes[edge.child as usize]));
            let deep = (node.deep != NONE).then(|| hashes.nodes[node.deep as usize]);
            let terminals = &trie.terminals[super::range(node.terminals)];
            hashes.nodes[number] = node_hash(node.lead, terminals, deep, wildcards, names);
            (edges_end, globs_end) = (edges, globs);
        }
        hashes
    }

    /// Fills in the hashes of a search tree and returns its root's. The tree is as deep as
    /// the logarithm of its size.
    fn names(&mut self, trie: &Trie, names: &LiteralTree) -> Hash {
        let Some((middle, before, after)) = names.split() else { return Hash::ZERO };
        let (left, right) = (self.names(trie, &before), self.names(trie, &after));
        let (name, child) = trie.edge(middle);
        let hash = literal_hash(name, self.nodes[child as usize], left, right);
        self.edges[middle] = hash;
        hash
    }
}

/// Bytes that are hashed.
pub(crate) struct Hasher(pub(crate) Vec<u8>);

impl Hasher {
    pub(crate) fn new(tag: &[u8]) -> Self {
        Self(tag.to_vec())
    }

    pub(crate) fn number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn hash(&mut self, hash: Hash) {
        self.0.extend_from_slice(&hash.0);
    }

    pub(crate) fn terminals(&mut self, terminals: &[Terminal]) {
        self.number(terminals.len() as u32);
        for terminal in terminals {
            self.0.extend([terminal.section as u8, terminal.extent as u8, terminal.aspect as u8]);
            self.0.extend(terminal.first.to_be_bytes());
            self.0.extend(terminal.last.to_be_bytes());
            self.number(terminal.rule);
        }
    }

    pub(crate) fn finish(&self) -> Hash {
        Hash::of(&self.0)
    }
}

/// The hash of a node.
pub(crate) fn node_hash<'g>(
    lead: u32,
    terminals: &[Terminal],
    deep: Option<Hash>,
    globs: impl ExactSizeIterator<Item = (&'g Glob, Hash)>,
    names: Hash,
) -> Hash {
    let mut hasher = Hasher::new(NODE);
    hasher.number(lead);
    hasher.terminals(terminals);
    hasher.hash(deep.unwrap_or(Hash::ZERO));
    hasher.number(globs.len() as u32);
    for (glob, child) in globs {
        let mut text = String::new();
        glob.write(&mut text);
        hasher.bytes(text.as_bytes());
        hasher.hash(child);
    }
    hasher.hash(names);
    hasher.finish()
}

/// The hash of a search tree whose root has this name.
pub(crate) fn literal_hash(name: &[u8], child: Hash, before: Hash, after: Hash) -> Hash {
    let mut hasher = Hasher::new(NAME);
    hasher.bytes(name);
    for hash in [child, before, after] {
        hasher.hash(hash);
    }
    hasher.finish()
}
