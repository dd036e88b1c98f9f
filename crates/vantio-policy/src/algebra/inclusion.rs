//! Whether one sequence of single and many steps matches all that another does.

use alloc::{collections::BTreeSet, vec::Vec};

/// One step of a pattern: a component of a path, a character of a name.
pub(super) trait Step {
    /// Whether it stands for any number of anything.
    fn is_many(&self) -> bool;
    /// Whether it matches all that `inner`, which is not many, does.
    fn covers(&self, inner: &Self) -> bool;
}

/// Whether every sequence of `inner` is one of `outer`: walks `inner`, with the set of the
/// places of `outer` that every sequence so far leads to. `any` is the step that matches any one
/// thing.
pub(super) fn includes<S: Step>(outer: &[S], inner: &[S], any: &S) -> bool {
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
            Some(many) if many.is_many() => {
                open.push((at + 1, places));
                open.push((at, advance(outer, places, any)));
            }
            Some(one) => open.push((at + 1, advance(outer, places, one))),
        }
    }
    true
}

/// The places after anything that `step` matches.
fn advance<S: Step>(outer: &[S], places: u128, step: &S) -> u128 {
    let mut next = 0;
    for (index, own) in outer.iter().enumerate() {
        if places >> index & 1 == 1 {
            next |= match own {
                many if many.is_many() => 1 << index,
                one if one.covers(step) => 2 << index,
                _ => 0,
            };
        }
    }
    skip(outer, next)
}

/// Adds the places reached by letting each step of many stand for nothing.
fn skip<S: Step>(outer: &[S], mut places: u128) -> u128 {
    for (index, step) in outer.iter().enumerate() {
        if places >> index & 1 == 1 && step.is_many() {
            places |= 2 << index;
        }
    }
    places
}

/// Places are the bits of one word.
const MAX_OUTER: usize = 120;
/// What takes longer is taken for not covered.
const MAX_STATES: usize = 4096;
