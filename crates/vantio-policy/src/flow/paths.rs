//! The labels of files, by path.
//!
//! Names of the same file share one node, so that what is written under one name is read under
//! the other. A directory that was moved with something labelled in it may be labelled as
//! a whole, a *tree*. Paths are canonical; the root is written as the empty path here.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Bound;

use vantio_core::Labels;

use super::marks::{Marks, Way};

#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    names: BTreeMap<Vec<u8>, u64>,
    nodes: BTreeMap<u64, Node>,
    next: u64,
    trees: BTreeMap<Vec<u8>, Marks>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    names: BTreeSet<Vec<u8>>,
    marks: Marks,
}

impl Paths {
    /// How many paths are kept.
    pub(super) fn len(&self) -> usize {
        self.names.len() + self.trees.len()
    }

    /// The file that the path is a name of, where that is known.
    pub(super) fn node(&self, path: &[u8]) -> Option<u64> {
        self.names.get(trimmed(path)).copied()
    }

    /// The names of a file.
    pub(super) fn names(&self, node: Option<u64>) -> impl Iterator<Item = Vec<u8>> {
        let node = node.and_then(|node| self.nodes.get(&node));
        node.into_iter().flat_map(|node| node.names.iter().cloned())
    }

    /// What the path carries: by itself, and by the trees it lies in.
    pub(super) fn marks(&self, path: &[u8]) -> Marks {
        let path = trimmed(path);
        let mut marks = self.tree_marks(path);
        if let Some(node) = self.names.get(path).and_then(|node| self.nodes.get(node)) {
            marks.absorb(&node.marks);
        }
        marks
    }

    /// What the file carries under every name that it has.
    pub(super) fn own_labels(&self, path: &[u8]) -> Labels {
        let node = self.names.get(trimmed(path)).and_then(|node| self.nodes.get(node));
        node.map_or(Labels::NONE, |node| node.marks.labels())
    }

    /// What anything strictly below the path carries.
    pub(super) fn labels_below(&self, path: &[u8]) -> Labels {
        let path = trimmed(path);
        let files = below(&self.names, path).filter_map(|(_, node)| self.nodes.get(node));
        let trees = below(&self.trees, path).map(|(_, marks)| marks.labels());
        files.map(|node| node.marks.labels()).chain(trees).fold(Labels::NONE, Labels::union)
    }

    /// Labels a file.
    pub(super) fn add(&mut self, path: &[u8], marks: &Marks) {
        if !marks.labels().is_empty() {
            let node = self.node_of(trimmed(path));
            if let Some(node) = self.nodes.get_mut(&node) {
                node.marks.absorb(marks);
            }
        }
    }

    /// Labels a directory and everything below it.
    pub(super) fn add_tree(&mut self, path: &[u8], marks: &Marks) {
        if !marks.labels().is_empty() {
            self.trees.entry(trimmed(path).to_vec()).or_default().absorb(marks);
        }
    }

    /// Two names may be of one file from now on.
    pub(super) fn join(&mut self, left: &[u8], right: &[u8]) {
        let (left, right) = (self.node_of(trimmed(left)), self.node_of(trimmed(right)));
        if left == right {
            return;
        }
        let size = |id| self.nodes.get(id).map_or(0, |node: &Node| node.names.len());
        let (kept, moved) = if size(&left) < size(&right) { (right, left) } else { (left, right) };
        let Some(moved) = self.nodes.remove(&moved) else { return };
        for name in &moved.names {
            self.names.insert(name.clone(), kept);
        }
        if let Some(kept) = self.nodes.get_mut(&kept) {
            kept.names.extend(moved.names);
            kept.marks.absorb(&moved.marks);
        }
    }

    /// What lies below `from` may lie below `to` from now on.
    pub(super) fn join_trees(&mut self, from: &[u8], to: &[u8]) {
        let (from, to) = (trimmed(from), trimmed(to));
        let inherited = self.tree_marks(from);
        self.add_tree(to, &inherited);
        let moved = |path: &[u8]| [to, path.strip_prefix(from).unwrap_or_default()].concat();
        let names: Vec<Vec<u8>> = below(&self.names, from).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.join(&name, &moved(&name));
        }
        let trees: Vec<(Vec<u8>, Marks)> =
            below(&self.trees, from).map(|(tree, marks)| (moved(tree), marks.clone())).collect();
        for (tree, marks) in trees {
            self.add_tree(&tree, &marks);
        }
    }

    /// Nothing has this name or one below it any more.
    pub(super) fn forget(&mut self, path: &[u8]) {
        let path = trimmed(path);
        let names: Vec<Vec<u8>> = below(&self.names, path).map(|(name, _)| name.clone()).collect();
        for name in names.into_iter().chain([path.to_vec()]) {
            let Some(id) = self.names.remove(&name) else { continue };
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.names.remove(&name);
            if node.names.is_empty() {
                self.nodes.remove(&id);
            }
        }
        let trees: Vec<Vec<u8>> = below(&self.trees, path).map(|(tree, _)| tree.clone()).collect();
        for tree in trees.into_iter().chain([path.to_vec()]) {
            self.trees.remove(&tree);
        }
    }

    fn tree_marks(&self, path: &[u8]) -> Marks {
        let mut marks = Marks::default();
        if self.trees.is_empty() {
            return marks;
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        for end in ends.chain([path.len()]) {
            if let Some(tree) = self.trees.get(&path[..end]) {
                marks.absorb(tree);
            }
        }
        marks
    }

    fn node_of(&mut self, path: &[u8]) -> u64 {
        if let Some(node) = self.names.get(path) {
            return *node;
        }
        let id = self.next;
        self.next += 1;
        self.names.insert(path.to_vec(), id);
        self.nodes.insert(id, Node { names: [path.to_vec()].into(), marks: Marks::default() });
        id
    }
}

/// Marks of labels that came one way.
pub(super) fn marked(labels: Labels, way: &Way) -> Marks {
    let mut marks = Marks::default();
    marks.add(labels, way);
    marks
}

/// The entries strictly below a path.
fn below<'m, T>(map: &'m BTreeMap<Vec<u8>, T>, path: &[u8]) -> impl Iterator<Item = (&'m Vec<u8>, &'m T)> {
    let prefix = [path, b"/"].concat();
    map.range::<[u8], _>((Bound::Excluded(prefix.as_slice()), Bound::Unbounded)).take_while({
        let prefix = prefix.clone();
        move |(name, _)| name.starts_with(&prefix)
    })
}

fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}
