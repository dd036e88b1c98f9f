//! Where the walk of a path begins on one host: what the variables, aliases and bare program
//! names of a program are bound to.

use alloc::{sync::Arc, vec, vec::Vec};

use crate::{
    path::{absolute, is_within},
    state::Bindings,
    trie::{
        Index, NONE, Nodes, Root, Trie,
        name::Name,
        table::{Table, join},
    },
};

/// Paths at which nodes become active.
#[derive(Clone, Debug)]
pub(crate) struct Entries {
    at_root: Vec<u32>,
    places: Vec<Place>,
    table: Table,
    /// One bit for the low six bits of each place's length.
    lengths: u64,
    /// The places with the first rule of `fs.deny` that begins there.
    leads: Vec<(Vec<u8>, u32)>,
    index: Option<Arc<Index>>,
}

#[derive(Clone, Debug)]
struct Place {
    path: Vec<u8>,
    nodes: Vec<u32>,
}

impl Entries {
    /// The entries of a program's nodes. Only those for whose path `is_relevant` holds are
    /// looked for.
    pub(crate) fn new(nodes: &impl Nodes, bindings: &Bindings, is_relevant: &dyn Fn(&[u8]) -> bool) -> Self {
        let mut found = anchors(nodes, bindings);
        found.extend(aliases(nodes, bindings, &found, is_relevant));
        found.retain(|(path, _)| is_relevant(path));
        let leads = found.iter().map(|(path, node)| (path.clone(), lead(nodes, *node)));
        let leads = leads.filter(|(_, lead)| *lead != NONE).collect();
        found.extend(programs(nodes, bindings, is_relevant));
        // Nothing comes of variables that no rule begins with.
        found.retain(|(_, node)| {
            let view = nodes.view(*node);
            view.is_interior || view.deep != NONE || !view.terminals.is_empty()
        });
        found.sort_unstable();
        found.dedup();
        let mut entries = Self {
            at_root: Vec::new(),
            places: Vec::new(),
            table: Table::new([].into_iter()),
            lengths: 0,
            leads,
            index: None,
        };
        for (path, node) in found {
            match entries.places.last_mut() {
                _ if path.is_empty() => entries.at_root.push(node),
                Some(place) if place.path == path => place.nodes.push(node),
                _ => entries.places.push(Place { path, nodes: vec![node] }),
            }
        }
        let hashes: Vec<u64> = entries.places.iter().map(|place| hash_path(&place.path)).collect();
        entries.table = Table::new(hashes.into_iter());
        entries.lengths = entries.places.iter().fold(0, |bits, place| bits | bit(place.path.len()));
        entries
    }

    /// The nodes at the root.
    pub(crate) fn at_root(&self) -> &[u32] {
        &self.at_root
    }

    /// These with an index, for a trie whose nodes they are.
    pub(crate) fn indexed(mut self, trie: &Trie) -> Self {
        self.index = Index::new(trie, &self).map(Arc::new);
        self
    }

    /// The index.
    pub(crate) fn index(&self) -> Option<&Index> {
        self.index.as_deref()
    }

    /// The paths below the root that there are nodes at, with these.
    pub(crate) fn places(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u32])> {
        self.places.iter().map(|place| (place.path.as_slice(), place.nodes.as_slice()))
    }

    /// The nodes at the first `length` bytes of `path`, whose components' hashes, joined, are
    /// `hash`.
    #[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
    #[inline(always)]
    pub(crate) fn at(&self, hash: u64, path: &[u8], length: usize) -> &[u32] {
        if self.lengths & bit(length) == 0 { &[] } else { self.find(hash, path, length) }
    }

    #[inline(never)]
    fn find(&self, hash: u64, path: &[u8], length: usize) -> &[u32] {
        let path = path.get(..length).unwrap_or_default();
        match self.table.find(hash, |index| self.places[index as usize].path == path) {
            Some(index) => &self.places[index as usize].nodes,
            None => &[],
        }
    }

    /// The first rule of `fs.deny` of an entry that lies below `path`.
    pub(crate) fn denies_below(&self, path: &[u8]) -> u32 {
        let path = if path == b"/" { b"" } else { path };
        let below = self.leads.iter().filter(|(entry, _)| entry.len() > path.len() && is_within(entry, path));
        below.map(|(_, lead)| *lead).min().unwrap_or(NONE)
    }
}

const fn bit(length: usize) -> u64 {
    1 << (length & 63)
}

/// The hash that a walk has at the end of a path.
fn hash_path(path: &[u8]) -> u64 {
    path.split(|byte| *byte == b'/').skip(1).fold(0, |hash, name| join(hash, Name::new(name).hash))
}

/// The first rule of `fs.deny` at or below a node.
fn lead(nodes: &impl Nodes, node: u32) -> u32 {
    let view = nodes.view(node);
    let deep = if view.deep == NONE { NONE } else { nodes.view(view.deep).lead };
    view.lead.min(deep)
}

fn anchors(nodes: &impl Nodes, bindings: &Bindings) -> Vec<(Vec<u8>, u32)> {
    let mut found = vec![(Vec::new(), nodes.root(Root::Paths))];
    let variables =
        [(&bindings.home, Root::Home), (&bindings.workspace, Root::Workspace), (&bindings.tmp, Root::Tmp)];
    for (value, root) in variables {
        if let Some(path) = absolute(value) {
            found.push((path, nodes.root(root)));
        }
    }
    found
}

/// For each alias and anchor: where the alias leads, the node that stands for where it is.
fn aliases(
    nodes: &impl Nodes,
    bindings: &Bindings,
    anchors: &[(Vec<u8>, u32)],
    is_relevant: &dyn Fn(&[u8]) -> bool,
) -> Vec<(Vec<u8>, u32)> {
    let mut found = Vec::new();
    for (from, to) in &bindings.aliases {
        let (Some(from), Some(to)) = (absolute(from), absolute(to)) else { continue };
        for (path, node) in anchors {
            if is_within(path, &from) {
                let mut led = to.clone();
                led.extend_from_slice(&path[from.len()..]);
                found.push((led, *node));
            } else if is_within(&from, path) && is_relevant(&to) {
                let names = from[path.len()..].split(|byte| *byte == b'/').skip(1);
                let mut node = *node;
                for name in names {
                    node = nodes.literal(node, Name::new(name));
                    if node == NONE {
                        break;
                    }
                }
                if node != NONE {
                    found.push((to.clone(), node));
                }
            }
        }
    }
    found
}

fn programs(
    nodes: &impl Nodes,
    bindings: &Bindings,
    is_relevant: &dyn Fn(&[u8]) -> bool,
) -> Vec<(Vec<u8>, u32)> {
    let mut found = Vec::new();
    for (name, paths) in &bindings.programs {
        let paths: Vec<Vec<u8>> = paths.iter().filter_map(|path| absolute(path)).collect();
        if paths.iter().any(|path| is_relevant(path)) {
            let name = name.as_bytes();
            let node = nodes.literal(nodes.root(Root::Programs), Name::new(name));
            if node != NONE {
                found.extend(paths.into_iter().filter(|path| is_relevant(path)).map(|path| (path, node)));
            }
        }
    }
    found
}
