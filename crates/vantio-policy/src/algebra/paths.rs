//! Path patterns: whether one covers all that another does.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{Sense, sequence::glob_covers};
use crate::{
    glob::Glob,
    path::{Anchor, Component, PathPattern},
};

/// Whether `outer` covers every path that `inner` does, whatever the variables stand for;
/// and, in an allow, everything below one wherever `inner` does.
pub(super) fn covers(
    outer: &PathPattern,
    outer_sense: Sense,
    inner: &PathPattern,
    inner_sense: Sense,
) -> bool {
    let is_of_subtrees = outer_sense == Sense::Allow && inner_sense == Sense::Allow;
    if is_of_subtrees && covers_below(inner) && !covers_below(outer) {
        return false;
    }
    let inner_steps = steps(inner, inner_sense);
    let inner_steps = match (outer.anchor, inner.anchor) {
        (own, other) if own == other => inner_steps,
        // A variable is some absolute path.
        (Anchor::Root, _) => [&[Component::Deep], inner_steps.as_slice()].concat(),
        _ => return false,
    };
    includes(&steps(outer, outer_sense), &inner_steps)
}

/// Whether what is below a match is covered with it in an allow.
fn covers_below(pattern: &PathPattern) -> bool {
    !matches!(pattern.components.last(), Some(Component::Glob(_)))
}

/// The components of every path that is covered, with nothing implied.
fn steps(pattern: &PathPattern, sense: Sense) -> Vec<Component> {
    let mut steps = pattern.components.clone();
    match (steps.last(), sense) {
        (Some(Component::Deep), Sense::Listing)
        | (Some(Component::Glob(_)), Sense::Allow | Sense::Listing) => {}
        (Some(Component::Deep), Sense::Allow | Sense::Deny) => {
            steps.insert(steps.len() - 1, Component::Glob(Glob::anything()));
        }
        _ => steps.push(Component::Deep),
    }
    steps
}

/// Whether every path of `inner` is one of `outer`: walks `inner`, with the set of the
/// places of `outer` that every path so far leads to.
fn includes(outer: &[Component], inner: &[Component]) -> bool {
    let is_literal = |component: &&Component| matches!(component, Component::Literal(_));
    let head = outer.iter().take_while(is_literal).count();
    if inner.get(..head) != Some(&outer[..head]) {
        return false;
    }
    let (outer, inner) = (&outer[head..], &inner[head..]);
    if outer.len() > MAX_OUTER {
        return false;
    }
    let mut seen = BTreeSet::new();
    let mut open = Vec::from([(0, skip(outer, 1))]);
    while let Some((at, places)) = open.pop() {
        if !seen.insert((at, places)) {
            continue;
        }
        if seen.len() > MAX_STATES {
            return false;
        }
        match inner.get(at) {
            None if places >> outer.len() & 1 == 1 => {}
            None => return false,
            Some(Component::Deep) => {
                open.push((at + 1, places));
                open.push((at, step(outer, places, &Component::Glob(Glob::anything()))));
            }
            Some(component) => open.push((at + 1, step(outer, places, component))),
        }
    }
    true
}

/// The places after any name that `component` matches.
fn step(outer: &[Component], places: u64, component: &Component) -> u64 {
    let mut next = 0;
    for (index, own) in outer.iter().enumerate() {
        if places >> index & 1 == 1 {
            next |= match (own, component) {
                (Component::Deep, _) => 1 << index,
                (Component::Literal(own), Component::Literal(name)) if own == name => 2 << index,
                (Component::Glob(own), Component::Literal(name)) if own.matches(name) => 2 << index,
                (Component::Glob(own), Component::Glob(glob)) if glob_covers(own, glob) => 2 << index,
                _ => 0,
            };
        }
    }
    skip(outer, next)
}

/// Adds the places reached by letting each `**` stand for nothing.
fn skip(outer: &[Component], mut places: u64) -> u64 {
    for (index, component) in outer.iter().enumerate() {
        if places >> index & 1 == 1 && *component == Component::Deep {
            places |= 2 << index;
        }
    }
    places
}

/// Places are the bits of one word; a pattern has at most 60 components from its first
/// wildcard on.
const MAX_OUTER: usize = 62;
/// What takes longer is taken for not covered.
const MAX_STATES: usize = 4096;
