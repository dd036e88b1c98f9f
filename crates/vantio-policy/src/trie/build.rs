//! From rules to nodes.

use alloc::{collections::BTreeMap, vec, vec::Vec};
use core::net::IpAddr;

use vantio_core::Section;

use super::{
    Aspect, Edge, Extent, GlobEdge, GlobIndex, GlobKey, Keys, Lengths, MAX_KEY, NONE, Node, ROOTS, Root,
    Terminal, Trie, edges::EdgeTable, filter::Filter, hash, name::Name, near, outermost, ports, table,
    table::Table, walk::block_hash,
};
use crate::{
    address::Block,
    glob::{Glob, Parsed},
    net::{EndpointPattern, Host, NetPattern},
    path::{Anchor, Component, Kind, PathPattern},
    rule::{self, Pattern, Rules, SECTIONS},
};

/// A node that still grows. Its children have greater numbers.
#[derive(Default)]
struct Draft {
    literals: BTreeMap<Vec<u8>, u32>,
    globs: BTreeMap<Glob, u32>,
    deep: Option<u32>,
    is_deep: bool,
    terminals: BTreeMap<(Section, Extent, Aspect), u32>,
    ports: BTreeMap<(Section, Extent, Aspect), Vec<ports::Ranged>>,
}

struct Builder {
    drafts: Vec<Draft>,
    lengths: Lengths,
    /// The hashes of the blocks.
    blocks: Vec<u64>,
}

impl Trie {
    /// The tries of these rules.
    pub(crate) fn new(rules: &Rules) -> Self {
        let mut builder = Builder { drafts: Vec::new(), lengths: Lengths::default(), blocks: Vec::new() };
        builder.drafts.resize_with(ROOTS, Draft::default);
        for section in SECTIONS {
            for (index, rule) in rules.of(section).iter().enumerate() {
                builder.add(section, &rule.pattern, index as u32);
            }
        }
        builder.finish()
    }
}

impl Builder {
    fn add(&mut self, section: Section, pattern: &Pattern, rule: u32) {
        match pattern {
            Pattern::Path(path) | Pattern::Net(NetPattern::Unix(path)) => self.add_path(section, path, rule),
            Pattern::Program(name) => {
                let node = self.literal(Root::Programs as u32, name.as_bytes());
                self.end(node, section, Extent::Whole, Aspect::Plain, rule);
            }
            Pattern::Net(NetPattern::Endpoint(endpoint)) => self.add_endpoint(section, endpoint, rule),
            Pattern::Named(name) => {
                let root = if section == Section::InferModels { Root::Models } else { Root::Tools };
                let node = match Glob::stars(name.text()) {
                    Parsed::Literal(name) => self.literal(root as u32, &name),
                    Parsed::Glob(glob) => self.glob(root as u32, &glob),
                };
                self.end(node, section, Extent::Only, Aspect::Plain, rule);
            }
        }
    }

    fn add_path(&mut self, section: Section, pattern: &PathPattern, rule: u32) {
        let mut node = match pattern.anchor() {
            Anchor::Root => Root::Paths,
            Anchor::Home => Root::Home,
            Anchor::Workspace => Root::Workspace,
            Anchor::Tmp => Root::Tmp,
        } as u32;
        let mut extent = Extent::Whole;
        let components = pattern.components();
        for (index, component) in components.iter().enumerate() {
            let is_last = index + 1 == components.len();
            match component {
                Component::Literal(name) => node = self.literal(node, name),
                Component::Glob(glob) => {
                    node = self.glob(node, glob);
                    if is_last && rule::kind(section) == Kind::Allow {
                        extent = Extent::Only;
                    }
                }
                Component::Deep if is_last => extent = Extent::Inside,
                Component::Deep => node = self.deep(node),
            }
        }
        self.end(node, section, extent, Aspect::Plain, rule);
    }

    fn add_endpoint(&mut self, section: Section, endpoint: &EndpointPattern, rule: u32) {
        let is_deny = rule::kind(section) == Kind::Deny;
        let (node, extent) = match &endpoint.host {
            Host::Any => (Root::Domains as u32, Extent::Whole),
            Host::Name(name) => (self.domain(name), if is_deny { Extent::Whole } else { Extent::Only }),
            Host::Below(name) => (self.domain(name), Extent::Inside),
            Host::Block(block) => (self.block(block), Extent::Only),
        };
        if !is_deny || !endpoint.is_udp && endpoint.ports.is_all() {
            self.end(node, section, extent, Aspect::Resolve, rule);
        }
        let aspect = if endpoint.is_udp { Aspect::Udp } else { Aspect::Tcp };
        let ports = self.drafts[node as usize].ports.entry((section, extent, aspect)).or_default();
        ports.extend(endpoint.ports.ranges().iter().map(|(first, last)| (*first, *last, rule)));
    }

    fn domain(&mut self, name: &str) -> u32 {
        name.rsplit('.').fold(Root::Domains as u32, |node, label| self.literal(node, label.as_bytes()))
    }

    fn block(&mut self, block: &Block) -> u32 {
        let length = block.length();
        match block.base() {
            IpAddr::V4(_) => self.lengths.v4 |= 1 << length,
            IpAddr::V6(_) => self.lengths.v6[usize::from(length) / 64] |= 1 << (length % 64),
        }
        self.blocks.push(block_hash(block.base(), length));
        let (key, size) = address_key(block.base(), length);
        self.literal(Root::Addresses as u32, &key[..size])
    }

    fn end(&mut self, node: u32, section: Section, extent: Extent, aspect: Aspect, rule: u32) {
        let least = self.drafts[node as usize].terminals.entry((section, extent, aspect)).or_insert(rule);
        *least = rule.min(*least);
    }

    fn literal(&mut self, node: u32, name: &[u8]) -> u32 {
        if let Some(child) = self.drafts[node as usize].literals.get(name) {
            return *child;
        }
        let child = self.draft(false);
        self.drafts[node as usize].literals.insert(name.to_vec(), child);
        child
    }

    fn glob(&mut self, node: u32, glob: &Glob) -> u32 {
        if let Some(child) = self.drafts[node as usize].globs.get(glob) {
            return *child;
        }
        let child = self.draft(false);
        self.drafts[node as usize].globs.insert(glob.clone(), child);
        child
    }

    fn deep(&mut self, node: u32) -> u32 {
        if let Some(child) = self.drafts[node as usize].deep {
            return child;
        }
        let child = self.draft(true);
        self.drafts[node as usize].deep = Some(child);
        child
    }

    fn draft(&mut self, is_deep: bool) -> u32 {
        self.drafts.push(Draft { is_deep, ..Draft::default() });
        self.drafts.len() as u32 - 1
    }

    fn finish(self) -> Trie {
        let mut trie = Trie {
            nodes: Vec::with_capacity(self.drafts.len()),
            terminals: Vec::new(),
            edges: Vec::new(),
            names: Vec::new(),
            globs: Vec::new(),
            glob_indexes: Vec::new(),
            glob_groups: Vec::new(),
            glob_keys: Vec::new(),
            edge_table: EdgeTable::new(&[], &[]),
            glob_table: Table::new(core::iter::empty()),
            glob_filter: Filter::new(&[]),
            lengths: self.lengths,
            blocks: Filter::new(&self.blocks),
            hashes: hash::Hashes::default(),
        };
        for draft in self.drafts {
            trie.push(draft);
        }
        trie.edge_table = EdgeTable::new(&trie.edges, &trie.names);
        let (hashes, near): (Vec<u64>, Vec<u64>) = trie
            .glob_keys
            .iter()
            .map(|key| {
                let (bytes, owner) = (trie.glob_key(key), key.index << 1 | u32::from(key.is_tail));
                let near = near(outermost(bytes, key.is_tail), bytes.len(), owner);
                (table::key(Name::new(bytes).hash, owner), near)
            })
            .unzip();
        trie.glob_table = Table::new(hashes.into_iter());
        trie.glob_filter = Filter::new(&near);
        trie.find_leads();
        trie.hashes = hash::Hashes::new(&trie);
        trie
    }
}

impl Trie {
    fn push(&mut self, draft: Draft) {
        let number = self.nodes.len() as u32;
        let is_interior = !draft.literals.is_empty() || !draft.globs.is_empty();
        let start = self.terminals.len() as u32;
        self.push_terminals(draft.terminals, draft.ports);
        let mut bloom = 0;
        for (name, child) in draft.literals {
            bloom |= 1 << (Name::new(&name).hash >> 58);
            let from = self.names.len() as u32;
            self.names.extend_from_slice(&name);
            self.edges.push(Edge { node: number, name: (from, self.names.len() as u32), child });
        }
        let globs = if draft.globs.is_empty() { NONE } else { self.push_globs(number, draft.globs) };
        self.nodes.push(Node {
            bloom,
            terminals: (start, self.terminals.len() as u32),
            deep: draft.deep.unwrap_or(NONE),
            globs,
            lead: NONE,
            is_deep: draft.is_deep,
            is_interior,
        });
    }

    fn push_terminals(
        &mut self,
        single: BTreeMap<(Section, Extent, Aspect), u32>,
        ports: BTreeMap<(Section, Extent, Aspect), Vec<ports::Ranged>>,
    ) {
        let start = self.terminals.len();
        for ((section, extent, aspect), rule) in single {
            self.terminals.push(Terminal { section, extent, aspect, first: 0, last: 0, rule });
        }
        for ((section, extent, aspect), ranges) in ports {
            let ranges = ports::flatten(&ranges).into_iter();
            self.terminals.extend(ranges.map(|(first, last, rule)| Terminal {
                section,
                extent,
                aspect,
                first,
                last,
                rule,
            }));
        }
        self.terminals[start..].sort_unstable();
    }

    fn push_globs(&mut self, node: u32, globs: BTreeMap<Glob, u32>) -> u32 {
        let index = self.glob_indexes.len() as u32;
        let mut entry =
            GlobIndex { anything: NONE, heads: Keys::default(), tails: Keys::default(), rest: (0, 0) };
        let mut groups: BTreeMap<(bool, Vec<u8>), Vec<u32>> = BTreeMap::new();
        let mut rest = Vec::new();
        for (glob, child) in globs {
            let number = self.globs.len() as u32;
            let (head, tail) = (glob.head(), glob.tail());
            if glob.is_anything() {
                entry.anything = child;
            } else if let Some(first) = head.first() {
                let key = &head[..head.len().min(MAX_KEY)];
                entry.heads.add(*first, key.get(1).copied(), key.len());
                groups.entry((false, key.to_vec())).or_default().push(number);
            } else if let Some(last) = tail.last() {
                let key = &tail[tail.len().saturating_sub(MAX_KEY)..];
                entry.tails.add(*last, key.iter().nth_back(1).copied(), key.len());
                groups.entry((true, key.to_vec())).or_default().push(number);
            } else {
                rest.push(number);
            }
            let is_whole = glob.head().len().max(glob.tail().len()) <= MAX_KEY;
            let is_decided = is_whole && glob.is_decided_by_end();
            self.globs.push(GlobEdge { node, glob, child, is_decided });
        }
        for ((is_tail, key), members) in groups {
            let group = self.push_group(&members);
            self.glob_keys.push(GlobKey { index, is_tail, length: key.len() as u32, group });
        }
        entry.rest = self.push_group(&rest);
        self.glob_indexes.push(entry);
        index
    }

    fn push_group(&mut self, members: &[u32]) -> (u32, u32) {
        let start = self.glob_groups.len() as u32;
        self.glob_groups.extend_from_slice(members);
        (start, self.glob_groups.len() as u32)
    }

    /// Fills in [`Node::lead`].
    fn find_leads(&mut self) {
        let mut parents = vec![NONE; self.nodes.len()];
        for (node, child) in self.edges.iter().map(|edge| (edge.node, edge.child)) {
            parents[child as usize] = node;
        }
        for (node, child) in self.globs.iter().map(|edge| (edge.node, edge.child)) {
            parents[child as usize] = node;
        }
        for number in (0..self.nodes.len()).rev() {
            // INVARIANT: children have greater numbers, so they are done.
            let own = self.terminals[super::range(self.nodes[number].terminals)]
                .iter()
                .filter(|terminal| terminal.section == Section::FsDeny)
                .map(|terminal| terminal.rule)
                .min();
            let lead = self.nodes[number].lead.min(own.unwrap_or(NONE));
            self.nodes[number].lead = lead;
            let deep = self.nodes[number].deep;
            let all = if deep == NONE { lead } else { lead.min(self.nodes[deep as usize].lead) };
            if let Some(parent) = self.nodes.get_mut(parents[number] as usize) {
                parent.lead = parent.lead.min(all);
            }
        }
    }
}

impl Keys {
    fn add(&mut self, outer: u8, inner: Option<u8>, length: usize) {
        let inner = inner.map_or(0..=u8::MAX, |inner| inner..=inner);
        for bit in inner.map(|inner| Self::bit([outer, inner])) {
            self.pairs[usize::from(bit) / 64] |= 1 << (bit % 64);
        }
        self.lengths |= 1 << length;
    }
}

/// The name of the block of `length` that `address` lies in, and how many bytes it has.
pub(super) fn address_key(address: IpAddr, length: u8) -> ([u8; 17], usize) {
    let mut key = [length; 17];
    match Block::masked(address, length) {
        IpAddr::V4(v4) => {
            key[1..5].copy_from_slice(&v4.octets());
            (key, 5)
        }
        IpAddr::V6(v6) => {
            key[1..].copy_from_slice(&v6.octets());
            (key, 17)
        }
    }
}
