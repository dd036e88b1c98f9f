//! The part of a program that evidence shows.

use alloc::vec::Vec;
use core::{cell::Cell, cmp::Ordering};

use vantio_core::{Hash, Section};

use super::{EvidenceError, MAGIC, MAX_BYTES, VERSION};
use crate::{
    Guards, Mode,
    codec::{DecodeError, Reader, guards},
    glob::{self, Glob, Parsed},
    root::Header,
    rule::SECTIONS,
    trie::{
        Aspect, Extent, Lengths, NONE, Nodes, ROOTS, Root, Terminal, View, literal_hash, name::Name,
        node_hash,
    },
};

/// Set in the number of a node that is not shown; the rest is its place in [`Partial::hidden`].
const HIDDEN: u32 = 1 << 30;

/// Shown nodes, and the hashes of those that are not.
pub(super) struct Partial {
    header: Header,
    has_guards: bool,
    roots: [u32; ROOTS],
    nodes: Vec<Node>,
    hidden: Vec<Hash>,
    hashes: Vec<Hash>,
    is_incomplete: Cell<bool>,
}

struct Node {
    lead: u32,
    terminals: Vec<Terminal>,
    deep: u32,
    is_deep: bool,
    globs: Vec<(Glob, u32)>,
    /// A search tree in preorder, its root first.
    names: Vec<Names>,
}

/// One place of a search tree.
enum Names {
    Empty,
    Hidden(Hash),
    Shown { name: Vec<u8>, child: u32, before: u32, after: u32 },
}

impl From<DecodeError> for EvidenceError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

impl Partial {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > MAX_BYTES {
            return Err(EvidenceError::Malformed);
        }
        let mut reader = Reader(bytes);
        if reader.array()? != *MAGIC {
            return Err(EvidenceError::Malformed);
        }
        let version = u16::from_be_bytes(reader.array()?);
        if version != VERSION {
            return Err(EvidenceError::Version(version));
        }
        let (header, has_guards) = read_header(&mut reader)?;
        let mut parser = Parser { reader, deeps: Vec::new(), hidden: Vec::new() };
        let mut roots = [NONE; ROOTS];
        for root in &mut roots {
            *root = parser.link(false)?;
        }
        let mut nodes = Vec::new();
        while nodes.len() < parser.deeps.len() {
            nodes.push(parser.node(nodes.len())?);
        }
        if !parser.reader.0.is_empty() {
            return Err(EvidenceError::Malformed);
        }
        let hidden = parser.hidden;
        let hashes = hash_all(&nodes, &hidden);
        Ok(Self { header, has_guards, roots, nodes, hidden, hashes, is_incomplete: Cell::new(false) })
    }

    /// The hash of the policy that the evidence belongs to.
    pub(super) fn root_hash(&self) -> Hash {
        self.header.root(&self.roots.map(|root| hash_of(root, &self.hashes, &self.hidden)))
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    pub(super) const fn has_guards(&self) -> bool {
        self.has_guards
    }

    /// Whether something was looked at that is not shown.
    pub(super) const fn is_incomplete(&self) -> bool {
        self.is_incomplete.get()
    }

    fn shown(&self, node: u32) -> Option<&Node> {
        let shown = self.nodes.get(node as usize);
        if shown.is_none() {
            self.is_incomplete.set(true);
        }
        shown
    }
}

fn hash_of(node: u32, shown: &[Hash], hidden: &[Hash]) -> Hash {
    let hash =
        if node & HIDDEN == 0 { shown.get(node as usize) } else { hidden.get((node ^ HIDDEN) as usize) };
    // INVARIANT: every link is to a node that follows, and their number was checked.
    hash.copied().unwrap_or_default()
}

/// The hashes of the shown nodes. Links lead to later nodes, so the last comes first.
fn hash_all(nodes: &[Node], hidden: &[Hash]) -> Vec<Hash> {
    let mut hashes = alloc::vec![Hash::ZERO; nodes.len()];
    for (index, node) in nodes.iter().enumerate().rev() {
        let mut names = alloc::vec![Hash::ZERO; node.names.len()];
        for (place, tree) in node.names.iter().enumerate().rev() {
            names[place] = match tree {
                Names::Empty => Hash::ZERO,
                Names::Hidden(hash) => *hash,
                Names::Shown { name, child, before, after } => {
                    let child = hash_of(*child, &hashes, hidden);
                    literal_hash(name, child, names[*before as usize], names[*after as usize])
                }
            };
        }
        let globs = node.globs.iter().map(|(glob, child)| (glob, hash_of(*child, &hashes, hidden)));
        let deep = (node.deep != NONE).then(|| hash_of(node.deep, &hashes, hidden));
        let names = names.first().copied().unwrap_or_default();
        hashes[index] = node_hash(node.lead, &node.terminals, deep, globs, names);
    }
    hashes
}

struct Parser<'a> {
    reader: Reader<'a>,
    /// For each node that a link shows: whether it is the child of a `**`.
    deeps: Vec<bool>,
    hidden: Vec<Hash>,
}

impl Parser<'_> {
    fn link(&mut self, is_deep: bool) -> Result<u32, EvidenceError> {
        match self.reader.byte()? {
            0 => {
                self.hidden.push(Hash(self.reader.array()?));
                Ok(HIDDEN | (self.hidden.len() as u32 - 1))
            }
            1 => {
                self.deeps.push(is_deep);
                Ok(self.deeps.len() as u32 - 1)
            }
            2 if is_deep => Ok(NONE),
            _ => Err(EvidenceError::Malformed),
        }
    }

    fn node(&mut self, index: usize) -> Result<Node, EvidenceError> {
        let lead = self.number()?;
        let mut terminals = Vec::new();
        for _ in 0..self.number()? {
            terminals.push(self.terminal()?);
        }
        let deep = self.link(true)?;
        let mut globs = Vec::new();
        for _ in 0..self.number()? {
            let text = self.reader.text()?;
            let Ok(Parsed::Glob(glob)) = glob::parse(text) else { return Err(EvidenceError::Malformed) };
            let mut canonical = alloc::string::String::new();
            glob.write(&mut canonical);
            if canonical != text {
                return Err(EvidenceError::Malformed);
            }
            globs.push((glob, self.link(false)?));
        }
        let names = self.names()?;
        Ok(Node { lead, terminals, deep, is_deep: self.deeps[index], globs, names })
    }

    fn names(&mut self) -> Result<Vec<Names>, EvidenceError> {
        let mut names: Vec<Names> = Vec::new();
        // Whose side the next tree is; `None` for the root.
        let mut open = alloc::vec![None];
        while let Some(side) = open.pop() {
            let place = names.len() as u32;
            if let Some((parent, is_after)) = side
                && let Some(Names::Shown { before, after, .. }) = names.get_mut(parent as usize)
            {
                *(if is_after { after } else { before }) = place;
            }
            names.push(match self.reader.byte()? {
                0 => Names::Empty,
                1 => Names::Hidden(Hash(self.reader.array()?)),
                2 => {
                    let length = self.number()?;
                    let name = self.reader.take(length as usize)?.to_vec();
                    open.extend([Some((place, true)), Some((place, false))]);
                    Names::Shown { name, child: self.link(false)?, before: 0, after: 0 }
                }
                _ => return Err(EvidenceError::Malformed),
            });
        }
        Ok(names)
    }

    fn terminal(&mut self) -> Result<Terminal, EvidenceError> {
        let [section, extent, aspect] = self.reader.array()?;
        let [first, last] = [self.reader.array()?, self.reader.array()?].map(u16::from_be_bytes);
        let section: Section = *SECTIONS.get(usize::from(section)).ok_or(EvidenceError::Malformed)?;
        let extents = [Extent::Only, Extent::Whole, Extent::Inside];
        let aspects = [Aspect::Plain, Aspect::Resolve, Aspect::Tcp, Aspect::Udp];
        Ok(Terminal {
            section,
            extent: *extents.get(usize::from(extent)).ok_or(EvidenceError::Malformed)?,
            aspect: *aspects.get(usize::from(aspect)).ok_or(EvidenceError::Malformed)?,
            first,
            last,
            rule: self.number()?,
        })
    }

    fn number(&mut self) -> Result<u32, EvidenceError> {
        Ok(u32::from_be_bytes(self.reader.array()?))
    }
}

fn read_header(reader: &mut Reader<'_>) -> Result<(Header, bool), EvidenceError> {
    let mode = match reader.byte()? {
        0 => Mode::Enforce,
        1 => Mode::Monitor,
        2 => Mode::Learn,
        _ => return Err(EvidenceError::Malformed),
    };
    let lengths =
        Lengths { v4: reader.number()?, v6: [reader.number()?, reader.number()?, reader.number()?] };
    let length = u32::from_be_bytes(reader.array()?);
    let guards = reader.take(length as usize)?;
    let mut guard_reader = Reader(guards);
    let has_guards = guards::decode(&mut guard_reader)? != Guards::default();
    if !guard_reader.0.is_empty() {
        return Err(EvidenceError::Malformed);
    }
    let meaning = Hash(reader.array()?);
    Ok((Header { mode, lengths, guards: guards.to_vec(), meaning }, has_guards))
}

impl Nodes for Partial {
    fn root(&self, root: Root) -> u32 {
        self.roots[root as usize]
    }

    fn lengths(&self) -> &Lengths {
        &self.header.lengths
    }

    fn view(&self, node: u32) -> View<'_> {
        match self.shown(node) {
            None => View { terminals: &[], deep: NONE, is_deep: false, is_interior: false, lead: NONE },
            Some(node) => View {
                terminals: &node.terminals,
                deep: node.deep,
                is_deep: node.is_deep,
                is_interior: !matches!(node.names.first(), Some(Names::Empty)) || !node.globs.is_empty(),
                lead: node.lead,
            },
        }
    }

    fn literal(&self, node: u32, name: Name<'_>) -> u32 {
        let Some(node) = self.shown(node) else { return NONE };
        let mut place = 0;
        loop {
            match node.names.get(place) {
                Some(Names::Empty) => return NONE,
                Some(Names::Shown { name: other, child, before, after }) => {
                    // Both sides stand after their root, so this ends.
                    place = match name.bytes.cmp(other) {
                        Ordering::Equal => return *child,
                        Ordering::Less => *before as usize,
                        Ordering::Greater => *after as usize,
                    };
                }
                Some(Names::Hidden(_)) | None => {
                    self.is_incomplete.set(true);
                    return NONE;
                }
            }
        }
    }

    fn globs(&self, node: u32, name: &[u8], mut found: impl FnMut(u32, bool)) {
        let Some(node) = self.shown(node) else { return };
        for (glob, child) in &node.globs {
            if glob.matches(name) {
                found(*child, glob.is_anything());
            }
        }
    }
}
