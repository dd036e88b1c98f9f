//! The walk of a path as most go: names lead through the literal beginnings of patterns, which
//! are looked up whole, and little else is active.
//!
//! What else becomes active waits, and is followed from there on, with at most two nodes at a
//! time: one that names lead along, and one that stands for a `**`. Where too much would wait,
//! it gives up, and [`Reached::walk`](super::walk::Reached::walk) walks the path.

use super::{
    NONE, Nodes, Trie,
    block::{BLOCK, Block},
    index::{Index, Place},
    name::Name,
    walk::Passed,
};

/// Nodes that are arrived at or wait. A trail has at most two active, and so has a node that is
/// arrived at; so with those of an index no more than [`MAX_ACTIVE`](super::MAX_ACTIVE) ever are.
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

/// A walk in progress.
struct Hasty<'w> {
    trie: &'w Trie,
    index: &'w Index,
    path: &'w [u8],
    passed: &'w mut Passed,
    arrivals: u32,
    waiting: [Trail; WAITING],
    count: usize,
}

impl Trie {
    /// Adds the rules that a path passes, from every entry. `None` where that takes a thorough
    /// walk, or the path has no answer; what was added then counts for nothing.
    pub(super) fn hasty(&self, index: &Index, path: &[u8], passed: &mut Passed) -> Option<()> {
        if path.first() != Some(&b'/') {
            return None;
        }
        let waiting = [Trail { node: NONE, deep: NONE, start: 1 }; WAITING];
        let mut walk = Hasty { trie: self, index, path, passed, arrivals: 0, waiting, count: 0 };
        if path.len() == 1 {
            index.add(&index.root, true, walk.passed);
            return Some(());
        }
        walk.pass(&index.root, 0)?;
        walk.look_up()?;
        while let Some(count) = walk.count.checked_sub(1) {
            walk.count = count;
            let trail = *walk.waiting.get(count)?;
            walk.follow(trail)?;
        }
        Some(())
    }
}

impl Hasty<'_> {
    /// Looks up every beginning of the path, and every name where a `**` holds from the root on.
    fn look_up(&mut self) -> Option<()> {
        let (index, path) = (self.index, self.path);
        let mut block = Block::new();
        let (mut base, mut start) = (0_usize, 1);
        // The slash that the path begins with ends nothing.
        let mut is_no_end = 1;
        while let Some(rest) = path.get(base..) {
            if !block.advance(rest) || are_close(block.slashes, base == 0) && !is_canonical(path) {
                return None;
            }
            let mut ends = block.slashes & !is_no_end;
            while ends != 0 {
                let at = ends.trailing_zeros();
                ends &= ends.wrapping_sub(1);
                let end = base.wrapping_add(at as usize);
                let hash = block.hash(at);
                let (may_be_place, may_lead) = (index.may_have(hash), index.may_end(block.ending(at)));
                if may_be_place | may_lead {
                    if may_be_place {
                        self.look_at(hash, end)?;
                    }
                    if may_lead {
                        self.leave(index.around, start, end)?;
                    }
                }
                // INVARIANT: a component ends at or before the path's end.
                start = end.wrapping_add(1);
            }
            base = base.wrapping_add(BLOCK);
            is_no_end = 0;
        }
        Some(())
    }

    /// Looks up the first `end` bytes of the path.
    #[inline(never)]
    fn look_at(&mut self, hash: u64, end: usize) -> Option<()> {
        match self.index.find(hash, self.path.get(..end)?) {
            Some(place) => self.pass(place, end),
            None => Some(()),
        }
    }

    /// Adds the rules of a place, where the first `end` bytes of the path lead, and has what
    /// leads on from there wait.
    fn pass(&mut self, place: &Place, end: usize) -> Option<()> {
        let is_last = end == self.path.len();
        self.index.add(place, is_last, self.passed);
        if is_last {
            return Some(());
        }
        let start = end.wrapping_add(1);
        for exit in self.index.exits(place) {
            if exit.deep != NONE {
                self.wait(NONE, exit.deep, start)?;
            }
            if exit.wildcards != NONE {
                let name = Name::component(self.path, start);
                self.match_wildcards(exit.wildcards, name.bytes, start.wrapping_add(name.bytes.len()))?;
            }
        }
        Some(())
    }

    /// Adds what a component leads to from a node that stays active.
    #[inline(never)]
    fn leave(&mut self, node: u32, start: usize, end: usize) -> Option<()> {
        let name = Name::within(self.path, start, end);
        let child = self.trie.literal(node, name);
        if child != NONE {
            self.arrive(child, end)?;
        }
        self.match_wildcards(node, name.bytes, end)
    }

    /// Follows a trail to the path's end.
    #[inline(never)]
    fn follow(&mut self, trail: Trail) -> Option<()> {
        let Trail { mut node, mut deep, mut start } = trail;
        let (trie, path) = (self.trie, self.path);
        while start < path.len() && (node != NONE || deep != NONE) {
            let name = Name::component(path, start);
            // INVARIANT: a component ends at or before the path's end.
            let end = start.wrapping_add(name.bytes.len());
            start = end.wrapping_add(1);
            let (from, around) = (node, deep);
            node = NONE;
            if let Some(at) = trie.nodes.get(from as usize) {
                node = trie.literal(from, name);
                if let Some(child) = trie.nodes.get(node as usize) {
                    self.passed.add(trie.terminals_of(child), end == path.len());
                    if child.deep != NONE && deep == NONE {
                        deep = child.deep;
                    } else if child.deep != NONE {
                        self.wait(NONE, child.deep, start)?;
                    }
                }
                if at.globs != NONE {
                    self.match_wildcards(from, name.bytes, end)?;
                }
            }
            if around != NONE {
                self.leave(around, end.wrapping_sub(name.bytes.len()), end)?;
            }
        }
        Some(())
    }

    /// Adds what a node's wildcards lead to.
    #[inline(never)]
    fn match_wildcards(&mut self, node: u32, name: &[u8], end: usize) -> Option<()> {
        let mut result = Some(());
        self.trie.globs(node, name, |child, _| {
            result = result.and_then(|()| self.arrive(child, end));
        });
        result
    }

    /// Adds a node's rules, and has what follows there wait.
    #[inline(never)]
    fn arrive(&mut self, node: u32, end: usize) -> Option<()> {
        let is_last = end == self.path.len();
        let view = self.trie.view(node);
        self.passed.add(view.terminals, is_last);
        if is_last || !view.is_interior && view.deep == NONE {
            self.arrivals = self.arrivals.wrapping_add(1);
            return (self.arrivals <= ARRIVALS).then_some(());
        }
        self.wait(node, view.deep, end.wrapping_add(1))
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

/// Whether fewer than three bytes stand between two of the slashes, or may stand before the
/// first where that is not the path's.
const fn are_close(slashes: u64, is_first: bool) -> bool {
    slashes & (slashes << 1 | slashes << 2 | slashes << 3) != 0 || !is_first && slashes & 0b111 != 0
}

/// Whether no component is empty, `.` or `..`.
#[cold]
fn is_canonical(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').skip(1).all(|name| !matches!(name, b"" | b"." | b".."))
}
