//! Path patterns: whether one covers all that another does.

use alloc::vec::Vec;

use super::{
    Sense,
    inclusion::{Step, includes},
    sequence::glob_covers,
};
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
    includes_paths(&steps(outer, outer_sense), &inner_steps)
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

impl Step for Component {
    fn is_many(&self) -> bool {
        *self == Self::Deep
    }

    fn covers(&self, inner: &Self) -> bool {
        match (self, inner) {
            (Self::Literal(own), Self::Literal(name)) => own == name,
            (Self::Glob(own), Self::Literal(name)) => own.matches(name),
            (Self::Glob(own), Self::Glob(glob)) => glob_covers(own, glob),
            _ => false,
        }
    }
}

/// [`includes`], after the names that `outer` begins with.
fn includes_paths(outer: &[Component], inner: &[Component]) -> bool {
    let is_literal = |component: &&Component| matches!(component, Component::Literal(_));
    let head = outer.iter().take_while(is_literal).count();
    inner.get(..head) == Some(&outer[..head])
        && includes(&outer[head..], &inner[head..], &Component::Glob(Glob::anything()))
}
