//! The walk of a path as most go: few nodes are active, and only the rules that it passes are
//! asked for.
//!
//! It keeps at most two nodes at a time: one that names lead along, and one that stands for a
//! `**`. What else becomes active waits, and is followed from there on. Where too much would
//! wait, it gives up, and [`Reached::walk`](super::walk::Reached::walk) walks the path.

use super::{
    GlobIndex, NONE, Node, Nodes, Trie,
    name::{Ends, Name},
    table::join,
    walk::Passed,
};
use crate::entries::Entries;

/// Nodes that are arrived at or wait. A trail has at most two active, and so has a node that is
/// arrived at; so no more than [`MAX_ACTIVE`](super::MAX_ACTIVE) ever are.
const ARRIVALS: u32 = 20;
/// What waits.
const WAITING: usize = 4;

/// What is followed from a place of the path on.
#[derive(Clone, Copy)]
struct Trail {
    /// Where names lead from, or [`NONE`].
    node: u32,
    /// What stays active, or [`NONE`].
    deep: u32,
    start: usize,
}

/// A node that stands for a `**`.
#[derive(Clone, Copy)]
struct Surroundings<'t> {
    number: u32,
    node: &'t Node,
    wildcards: Option<&'t GlobIndex>,
}

/// A walk in progress.
struct Hasty<'w> {
    trie: &'w Trie,
    passed: &'w mut Passed,
    arrivals: u32,
    waiting: [Trail; WAITING],
    count: usize,
}

impl Trie {
    /// Adds the rules that a path passes, from every entry. `None` where that takes a thorough
    /// walk, or the path has no answer; what was added then counts for nothing.
    pub(super) fn hasty(&self, entries: &Entries, path: &[u8], passed: &mut Passed) -> Option<()> {
        if path.first() != Some(&b'/') || path.len() > 1 && path.last() == Some(&b'/') {
            return None;
        }
        let waiting = [Trail { node: NONE, deep: NONE, start: 1 }; WAITING];
        let mut walk = Hasty { trie: self, passed, arrivals: 0, waiting, count: 0 };
        match *entries.at_root() {
            [] => walk.follow(NONE, NONE, 1, path, Some(entries))?,
            [node] => {
                let view = self.view(node);
                walk.passed.add(view.terminals, path.len() == 1);
                walk.follow(node, view.deep, 1, path, Some(entries))?;
            }
            _ => return None,
        }
        while let Some(count) = walk.count.checked_sub(1) {
            walk.count = count;
            let Trail { node, deep, start } = *walk.waiting.get(count)?;
            walk.follow(node, deep, start, path, None)?;
        }
        Some(())
    }

    #[inline]
    fn surroundings(&self, number: u32) -> Option<Surroundings<'_>> {
        let node = self.nodes.get(number as usize)?;
        Some(Surroundings { number, node, wildcards: self.glob_indexes.get(node.globs as usize) })
    }
}

impl Surroundings<'_> {
    /// Whether a name may lead from here to another node; most lead nowhere from a `**`.
    #[inline]
    fn may_lead(&self, name: Name<'_>) -> bool {
        self.node.may_have(name) || self.wildcards.is_some_and(|index| index.may_match(name.bytes))
    }
}

impl Hasty<'_> {
    /// Follows a trail to the path's end. With entries, it is the first, which passes the whole
    /// path.
    fn follow(
        &mut self,
        mut node: u32,
        mut deep: u32,
        mut start: usize,
        path: &[u8],
        entries: Option<&Entries>,
    ) -> Option<()> {
        let trie = self.trie;
        // Held here: the compiler would ask the trie for it again after every rule that is added.
        let nodes = trie.nodes.as_slice();
        let mut here = nodes.get(node as usize);
        let mut around = trie.surroundings(deep);
        let mut prefix = 0;
        let mut ends = Ends::new(path)?;
        if entries.is_none() {
            while ends.next()? < start.wrapping_sub(1) {}
        }
        while start < path.len() {
            if here.is_none() && around.is_none() && entries.is_none() {
                return Some(());
            }
            let end = ends.next()?;
            let name = Name::within(path, start, end);
            if name.bytes.len() <= 2 && matches!(name.bytes, b"" | b"." | b"..") {
                return None;
            }
            // INVARIANT: a component ends at or before the path's end.
            let is_last = end == path.len();
            start = end.wrapping_add(1);
            let before = around;
            if let Some(at) = here {
                let from = node;
                here = None;
                if at.may_have(name) {
                    node = trie.find(from, name);
                    // There is no node of the number `NONE`.
                    here = nodes.get(node as usize);
                    if let Some(child) = here {
                        self.pass(child, is_last);
                        if child.deep != NONE && deep == NONE {
                            deep = child.deep;
                            around = trie.surroundings(deep);
                        } else if child.deep != NONE {
                            self.wait(NONE, child.deep, start)?;
                        }
                    }
                }
                if at.globs != NONE {
                    self.match_wildcards(from, name.bytes, is_last, start)?;
                }
            }
            if let Some(around) = before
                && around.may_lead(name)
            {
                let child = trie.literal_elsewhere(around.number, name);
                if child != NONE {
                    self.arrive(child, is_last, start)?;
                }
                self.match_wildcards(around.number, name.bytes, is_last, start)?;
            }
            if let Some(entries) = entries
                && end <= entries.longest()
            {
                prefix = join(prefix, name.hash);
                for entry in entries.at(prefix, path, end) {
                    self.arrive(*entry, is_last, start)?;
                }
            }
        }
        Some(())
    }

    /// Adds the rules that end at a node; at most of them, none does.
    #[inline]
    fn pass(&mut self, node: &Node, is_last: bool) {
        if node.terminals.0 != node.terminals.1 {
            self.passed.add(self.trie.terminals_of(node), is_last);
        }
    }

    /// Adds what a node's wildcards lead to.
    #[inline(never)]
    fn match_wildcards(&mut self, node: u32, name: &[u8], is_last: bool, start: usize) -> Option<()> {
        let mut result = Some(());
        self.trie.globs(node, name, |child, _| {
            result = result.and_then(|()| self.arrive(child, is_last, start));
        });
        result
    }

    /// Adds a node's rules, and has what follows there wait.
    #[inline(never)]
    fn arrive(&mut self, node: u32, is_last: bool, start: usize) -> Option<()> {
        let view = self.trie.view(node);
        self.passed.add(view.terminals, is_last);
        if is_last || !view.is_interior && view.deep == NONE {
            self.arrivals = self.arrivals.wrapping_add(1);
            return (self.arrivals <= ARRIVALS).then_some(());
        }
        self.wait(node, view.deep, start)
    }

    #[inline(never)]
    fn wait(&mut self, node: u32, deep: u32, start: usize) -> Option<()> {
        self.arrivals = self.arrivals.wrapping_add(1);
        if self.arrivals > ARRIVALS {
            return None;
        }
        *self.waiting.get_mut(self.count)? = Trail { node, deep, start };
        self.count = self.count.wrapping_add(1);
        Some(())
    }
}
