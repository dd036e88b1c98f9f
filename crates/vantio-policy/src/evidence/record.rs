//! A program's nodes that remember what was looked at.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec,
    vec::Vec,
};
use core::{cell::RefCell, cmp::Ordering};

use super::{MAGIC, VERSION};
use crate::{
    root::Header,
    trie::{Hasher, Lengths, LiteralTree, NONE, Nodes, ROOTS, Root, Trie, View, name::Name},
};

pub(super) struct Recorder<'t> {
    trie: &'t Trie,
    /// The nodes that were looked at, and the edges that names were compared with.
    seen: RefCell<BTreeMap<u32, BTreeSet<usize>>>,
}

impl<'t> Recorder<'t> {
    pub(super) const fn new(trie: &'t Trie) -> Self {
        Self { trie, seen: RefCell::new(BTreeMap::new()) }
    }

    /// The evidence: what was looked at, and the hashes of the rest.
    pub(super) fn encode(&self, header: &Header) -> Vec<u8> {
        let seen = self.seen.borrow();
        let mut out = Writer { trie: self.trie, seen: &seen, bytes: Hasher::new(MAGIC), shown: Vec::new() };
        out.bytes.0.extend(VERSION.to_be_bytes());
        header.encode(&mut out.bytes);
        for root in 0..ROOTS as u32 {
            out.link(root);
        }
        let mut next = 0;
        while let Some(node) = out.shown.get(next).copied() {
            out.node(node);
            next += 1;
        }
        out.bytes.0
    }
}

impl Nodes for Recorder<'_> {
    fn root(&self, root: Root) -> u32 {
        self.trie.root(root)
    }

    fn lengths(&self) -> &Lengths {
        self.trie.lengths()
    }

    fn view(&self, node: u32) -> View<'_> {
        self.seen.borrow_mut().entry(node).or_default();
        self.trie.view(node)
    }

    fn literal(&self, node: u32, name: Name<'_>) -> u32 {
        let mut seen = self.seen.borrow_mut();
        let compared = seen.entry(node).or_default();
        let mut tree = LiteralTree(self.trie.edge_range(node));
        while let Some((middle, before, after)) = tree.split() {
            compared.insert(middle);
            tree = match name.bytes.cmp(self.trie.edge(middle).0) {
                Ordering::Less => before,
                Ordering::Greater => after,
                Ordering::Equal => break,
            };
        }
        self.trie.literal(node, name)
    }

    fn globs(&self, node: u32, name: &[u8], found: impl FnMut(u32, bool)) {
        self.seen.borrow_mut().entry(node).or_default();
        self.trie.globs(node, name, found);
    }
}

struct Writer<'t> {
    trie: &'t Trie,
    seen: &'t BTreeMap<u32, BTreeSet<usize>>,
    bytes: Hasher,
    /// The nodes that links show, in order.
    shown: Vec<u32>,
}

impl Writer<'_> {
    fn link(&mut self, node: u32) {
        if self.seen.contains_key(&node) {
            self.bytes.0.push(1);
            self.shown.push(node);
        } else {
            self.bytes.0.push(0);
            self.bytes.hash(self.trie.hash_of(node));
        }
    }

    fn node(&mut self, node: u32) {
        let trie = self.trie;
        let view = trie.view(node);
        self.bytes.number(view.lead);
        self.bytes.terminals(view.terminals);
        if view.deep == NONE {
            self.bytes.0.push(2);
        } else {
            self.link(view.deep);
        }
        let globs = trie.glob_edges(node);
        self.bytes.number(globs.len() as u32);
        for (glob, child) in globs {
            let mut text = String::new();
            glob.write(&mut text);
            self.bytes.bytes(text.as_bytes());
            self.link(child);
        }
        let mut trees = vec![LiteralTree(trie.edge_range(node))];
        while let Some(tree) = trees.pop() {
            let Some((middle, before, after)) = tree.split() else {
                self.bytes.0.push(0);
                continue;
            };
            if !self.seen.get(&node).is_some_and(|compared| compared.contains(&middle)) {
                self.bytes.0.push(1);
                self.bytes.hash(trie.edge_hash(middle));
                continue;
            }
            let (name, child) = trie.edge(middle);
            self.bytes.0.push(2);
            self.bytes.bytes(name);
            self.link(child);
            trees.extend([after, before]);
        }
    }
}
