//! Walks: a path through the tries of paths, a name through that of domains, an address to
//! the blocks that it lies in.

use core::net::IpAddr;

use vantio_core::Section;

use super::{
    Aspect, Extent, MAX_ACTIVE, NONE, Nodes, Root, Terminal,
    build::address_key,
    name::Name,
    table::{join, key},
};
use crate::{entries::Entries, names::Labels};

/// Why a path has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// It is not absolute, or has an empty, `.` or `..` component, a NUL or a trailing slash.
    NotCanonical,
    /// More nodes than [`MAX_ACTIVE`] would be active.
    TooMany,
}

/// Set on a node that no name but the last component's own leads to.
const BY_NAME: u32 = 1 << 31;
/// Lists of path patterns: the first of the sections.
const LISTS: usize = 8;

/// The nodes that are active at one point of a path.
struct Active {
    /// Node numbers; [`BY_NAME`] is set where the last component's name led here.
    nodes: [u32; MAX_ACTIVE],
    count: usize,
}

/// The rules that a path passes.
pub(crate) struct Passed {
    /// For each list, the first rule that covers an ancestor and all below it.
    above: [u32; LISTS],
    /// For each list, the first rules of each [`Extent`] that end at the path itself.
    at: [[u32; 3]; LISTS],
}

/// What a path leads to.
pub(crate) struct Reached {
    pub(crate) passed: Passed,
    /// The nodes before and after a component, in turns.
    fronts: [Active; 2],
    /// Which of the two the path ends with.
    last: usize,
}

impl Passed {
    /// None.
    #[inline]
    pub(crate) const fn nothing() -> Self {
        Self { above: [NONE; LISTS], at: [[NONE; 3]; LISTS] }
    }

    /// Adds the rules that end at a node.
    #[inline]
    pub(super) fn add(&mut self, terminals: &[Terminal], is_last: bool) {
        for terminal in terminals {
            self.add_rule(terminal.section, terminal.extent, terminal.rule, is_last);
        }
    }

    /// Adds a rule, or [`NONE`].
    #[inline]
    pub(super) fn add_rule(&mut self, section: Section, extent: Extent, rule: u32, is_last: bool) {
        let list = section as usize % LISTS;
        if is_last {
            let least = &mut self.at[list][extent as usize];
            *least = rule.min(*least);
        } else if extent != Extent::Only {
            self.above[list] = rule.min(self.above[list]);
        }
    }

    /// The first rule that covers the path.
    pub(crate) fn covers(&self, section: Section) -> u32 {
        let list = section as usize % LISTS;
        let [only, whole, _] = self.at[list];
        self.above[list].min(only).min(whole)
    }

    /// The first rule that covers the path and all below it.
    pub(crate) fn covers_subtree(&self, section: Section) -> u32 {
        let list = section as usize % LISTS;
        self.above[list].min(self.at[list][Extent::Whole as usize])
    }

    /// The first rule that covers the path, or all below it.
    pub(crate) fn covers_or_lists(&self, section: Section) -> u32 {
        let list = section as usize % LISTS;
        self.covers(section).min(self.at[list][Extent::Inside as usize])
    }
}

impl Reached {
    /// The first rule of `fs.deny` that holds for other names below the path than below one
    /// with a last component that no rule mentions.
    pub(crate) fn depends_on_name(&self, nodes: &impl Nodes) -> u32 {
        let named = self.active().iter().filter(|node| node & BY_NAME != 0);
        named.map(|node| nodes.view(node & !BY_NAME).lead).min().unwrap_or(NONE)
    }

    /// The first rule of `fs.deny` that holds for other names below this path than below the
    /// other.
    pub(crate) fn differs(&self, other: &Self, nodes: &impl Nodes) -> u32 {
        let only_in = |left: &Active, right: &Active| {
            let lone = left.iter().filter(|node| !right.holds(*node));
            lone.map(|node| nodes.view(node & !BY_NAME).lead).min().unwrap_or(NONE)
        };
        only_in(self.active(), other.active()).min(only_in(other.active(), self.active()))
    }

    /// The first rule of `fs.deny` that covers something below the path.
    pub(crate) fn denies_below(&self, nodes: &impl Nodes) -> u32 {
        let leads = self.active().iter().map(|node| nodes.view(node & !BY_NAME).lead);
        leads.min().unwrap_or(NONE).min(self.passed.above[Section::FsDeny as usize])
    }

    const fn active(&self) -> &Active {
        &self.fronts[self.last]
    }
}

impl Active {
    const NONE: Self = Self { nodes: [0; MAX_ACTIVE], count: 0 };

    fn iter(&self) -> impl Iterator<Item = u32> {
        self.nodes[..self.count].iter().copied()
    }

    fn holds(&self, node: u32) -> bool {
        self.iter().any(|other| (other ^ node) & !BY_NAME == 0)
    }

    fn push(&mut self, node: u32) -> Result<(), Stray> {
        *self.nodes.get_mut(self.count).ok_or(Stray::TooMany)? = node;
        self.count += 1;
        Ok(())
    }

    /// Adds a node that may be there already.
    fn join(&mut self, node: u32) -> Result<(), Stray> {
        match self.nodes[..self.count].iter_mut().find(|other| (**other ^ node) & !BY_NAME == 0) {
            Some(other) => {
                *other &= node | !BY_NAME;
                Ok(())
            }
            None => self.push(node),
        }
    }
}

impl Reached {
    /// What no path led to yet.
    #[inline]
    pub(crate) const fn nothing() -> Self {
        let fronts = [Active::NONE, Active::NONE];
        Self { passed: Passed::nothing(), fronts, last: 0 }
    }

    /// Walks a path, from every entry that it passes.
    pub(crate) fn walk<N: Nodes>(&mut self, nodes: &N, entries: &Entries, path: &[u8]) -> Result<(), Stray> {
        let Some(b'/') = path.first() else { return Err(Stray::NotCanonical) };
        let Self { passed, fronts: [even, odd], last } = self;
        let (mut current, mut next) = (odd, even);
        for node in entries.at_root() {
            arrive(passed, nodes, next, *node, BY_NAME, path.len() == 1)?;
        }
        let mut prefix = 0;
        // Where a component begins: at or before the path's end, for a slash that stands at
        // the end is refused. So nothing here overflows.
        let mut start: usize = 1;
        while start < path.len() {
            let name = component(path, start)?;
            let end = start.wrapping_add(name.bytes.len());
            let is_last = end == path.len();
            core::mem::swap(&mut current, &mut next);
            *last ^= 1;
            next.count = 0;
            for node in current.iter() {
                step(passed, nodes, next, node & !BY_NAME, name, is_last)?;
            }
            prefix = join(prefix, name.hash);
            for node in entries.at(prefix, path, end) {
                arrive(passed, nodes, next, *node, BY_NAME, is_last)?;
            }
            start = end.wrapping_add(1);
        }
        Ok(())
    }
}

/// One component, from one node.
fn step<N: Nodes>(
    passed: &mut Passed,
    nodes: &N,
    next: &mut Active,
    node: u32,
    name: Name<'_>,
    is_last: bool,
) -> Result<(), Stray> {
    let view = nodes.view(node);
    if view.is_deep {
        next.join(node)?;
    }
    if !view.is_interior {
        return Ok(());
    }
    let child = nodes.literal(node, name);
    if child != NONE {
        arrive(passed, nodes, next, child, BY_NAME, is_last)?;
    }
    let mut result = Ok(());
    nodes.globs(node, name.bytes, |child, is_anything| {
        let by_name = if is_anything { 0 } else { BY_NAME };
        if let Err(stray) = arrive(passed, nodes, next, child, by_name, is_last) {
            result = Err(stray);
        }
    });
    result
}

fn arrive<N: Nodes>(
    passed: &mut Passed,
    nodes: &N,
    next: &mut Active,
    node: u32,
    by_name: u32,
    is_last: bool,
) -> Result<(), Stray> {
    let view = nodes.view(node);
    passed.add(view.terminals, is_last);
    if view.is_interior || is_last {
        next.join(node | by_name)?;
    }
    if view.deep != NONE {
        next.join(view.deep | by_name)?;
    }
    Ok(())
}

/// The component that begins at `start`, if the path is canonical there.
#[expect(clippy::inline_always, reason = "a call for each component costs more than it does")]
#[inline(always)]
pub(super) fn component(path: &[u8], start: usize) -> Result<Name<'_>, Stray> {
    let name = Name::component(path, start);
    let end = start.wrapping_add(name.bytes.len());
    let is_canonical = match path.get(end) {
        None => true,
        // What follows the slash is another component.
        Some(b'/') => end.wrapping_add(1) != path.len(),
        Some(_) => false,
    };
    if !is_canonical || name.bytes.len() <= 2 && matches!(name.bytes, b"" | b"." | b"..") {
        return Err(Stray::NotCanonical);
    }
    Ok(name)
}

/// Gives `found` the terminals that a canonical domain name passes, and whether they stand
/// at the name itself. Those of `*`, at the root, are not among them.
pub(crate) fn walk_name<'n, N: Nodes>(
    nodes: &'n N,
    labels: Labels<'_>,
    mut found: impl FnMut(&'n [Terminal], bool),
) {
    let mut node = nodes.root(Root::Domains);
    let name = labels.name();
    for (start, end) in labels {
        node = nodes.literal(node, Name::within(name, start, end));
        if node == NONE {
            return;
        }
        found(nodes.view(node).terminals, start == 0);
    }
}

/// Gives `found` the terminals of the blocks that an address lies in.
pub(crate) fn walk_address<'n, N: Nodes>(
    nodes: &'n N,
    address: IpAddr,
    mut found: impl FnMut(&'n [Terminal]),
) {
    let lengths = nodes.lengths();
    let words: [u64; 3] = if address.is_ipv4() { [lengths.v4, 0, 0] } else { lengths.v6 };
    if words == [0; 3] {
        return;
    }
    let root = nodes.root(Root::Addresses);
    for (index, mut word) in words.into_iter().enumerate() {
        while word != 0 {
            let length = index as u8 * 64 + word.trailing_zeros() as u8;
            word &= word - 1;
            if !nodes.may_have_block(block_hash(address, length)) {
                continue;
            }
            let (key, size) = address_key(address, length);
            let node = nodes.literal(root, Name::new(&key[..size]));
            if node != NONE {
                found(nodes.view(node).terminals);
            }
        }
    }
}

/// The hash of the block of `length` that an address lies in.
#[inline]
pub(super) fn block_hash(address: IpAddr, length: u8) -> u64 {
    let (bits, width): (u128, u32) = match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let shared = bits.checked_shr(width.saturating_sub(u32::from(length))).unwrap_or(0);
    key(shared as u64 ^ (shared >> 64) as u64, u32::from(length) ^ width)
}

/// The first rules of the lists of tools or models that cover a name.
pub(crate) fn walk_named<const LISTS: usize>(
    nodes: &impl Nodes,
    root: Root,
    sections: [Section; LISTS],
    name: &str,
) -> [u32; LISTS] {
    let root = nodes.root(root);
    let name = name.as_bytes();
    let mut least = [NONE; LISTS];
    let mut arrive = |node: u32| {
        for terminal in nodes.view(node).terminals {
            for (section, least) in sections.iter().zip(&mut least) {
                if terminal.section == *section {
                    *least = terminal.rule.min(*least);
                }
            }
        }
    };
    let child = nodes.literal(root, Name::new(name));
    if child != NONE {
        arrive(child);
    }
    nodes.globs(root, name, |child, _| arrive(child));
    least
}

/// The rule of a list that has this extent, aspect and port among sorted terminals.
pub(crate) fn pick(
    terminals: &[Terminal],
    section: Section,
    extent: Extent,
    aspect: Aspect,
    port: u16,
) -> u32 {
    let wanted = (section, extent, aspect);
    let key = |terminal: &Terminal| (terminal.section, terminal.extent, terminal.aspect);
    let after = terminals.partition_point(|terminal| (key(terminal), terminal.first) <= (wanted, port));
    match after.checked_sub(1).and_then(|index| terminals.get(index)) {
        Some(terminal) if key(terminal) == wanted && port <= terminal.last => terminal.rule,
        _ => NONE,
    }
}
